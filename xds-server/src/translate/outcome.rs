//! What became of Gateways and routes, as far as their status tells it and the model does not: a listener that is not
//! served, a rule that can't be honoured, a way that is closed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::objects::Objects;
use crate::resources::{Name, ObjectRef};

use super::same_server::ServerWay;

/// A listener of one of our Gateways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerOutcome {
    /// Whether it is in the model.
    pub served: bool,
    /// Whether its protocol and its `allowedRoutes.kinds` let HTTPRoutes attach.
    pub takes_http_routes: bool,
}

/// An HTTPRoute that names one of our Gateways.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteOutcome {
    /// With their indexes in `spec.parentRefs`; parents that are not our Gateways are left out.
    pub parents: Arc<[(usize, ParentOutcome)]>,
    /// How many rules it has.
    pub rules: usize,
    /// Rules that can't be honoured as they are written, by index. A rule is not among them because its backends can't be
    /// had.
    pub invalid: BTreeSet<usize>,
    /// The MCP servers that it leads to, sorted.
    pub backends: Box<[ObjectRef]>,
    /// The Services that it leads to, by itself or through the description of an MCP server, sorted.
    pub services: Arc<[Name]>,
    /// What stands on the way to its backends, by Gateway, sorted.
    pub protection: Box<[(Name, Arc<RouteProtection>)]>,
}

/// A Gateway that a route names as its parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentOutcome {
    /// The Gateway.
    pub gateway: Name,
    /// Listeners that admit the route, by index, whether they are served or not. Where there are none, a problem of the
    /// route at this parentRef says why.
    pub listeners: Box<[usize]>,
}

/// What stands on the way of requests to the backends of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouteProtection {
    /// The policies.
    pub policies: BTreeSet<ObjectRef>,
    /// Rules with backends to which no policy on the way asks for anything, by index.
    pub unprotected: BTreeSet<usize>,
    /// Rules that a policy opens on purpose, by index.
    pub opened: BTreeSet<usize>,
    /// Rules that answer 503, by index, with what closes them.
    pub closed: BTreeMap<usize, String>,
    /// Rules on whose way several policies have an authentication section, by index, with the one that applies.
    pub applying: BTreeMap<usize, String>,
    /// The ways to servers that are not closed.
    pub ways: BTreeSet<ServerWay>,
    /// What became of its hostnames.
    pub hostnames: HostnameOutcome,
}

/// What became of the hostnames that a route has in common with a Gateway's listeners.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostnameOutcome {
    /// Whether it is served on one of them.
    pub is_served: bool,
    /// Those that belong to the route's namespace. Its status remembers them, and nobody takes them while it has them.
    pub held: BTreeSet<String>,
    /// Those of other namespaces, on which it is not served, each with reason and message.
    pub refused: BTreeMap<String, (&'static str, String)>,
    /// Those that routes of these other namespaces have as well, and are not served on.
    pub contested: BTreeMap<String, BTreeSet<String>>,
    /// Those on which routes of these other namespaces are served as well.
    pub shared: BTreeMap<String, BTreeSet<String>>,
    /// Those on which the route's servers get no token of a caller, since it could be for another namespace's.
    pub withheld: BTreeSet<String>,
    /// Paths of the protocol that the route does not get, by host and path, with the route for whose endpoint they are; none:
    /// they are for the host, on which several namespaces have endpoints.
    pub conflicts: BTreeMap<String, Option<Arc<Name>>>,
    /// Hosts on which routes of these other namespaces match such paths, which are for this route's endpoints.
    pub defended: BTreeMap<String, BTreeSet<String>>,
}

impl HostnameOutcome {
    /// The condition in which the status of a route remembers which hostnames are its own.
    pub const HELD: &str = "toolward.dev/HoldsHostnames";

    /// Whether the route is served on none of them, since all are others'.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        !self.is_served && !self.refused.is_empty()
    }
}

/// A rule of a route that no policy protects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnprotectedRule {
    /// The HTTPRoute.
    pub route: Name,
    /// Index of the rule.
    pub rule: usize,
    /// The Gateway through which it is reached.
    pub gateway: Name,
    /// Why it answers 503; none: it is open.
    pub closed: Option<String>,
}

impl RouteOutcome {
    /// What a route has to say of a parentRef.
    #[must_use]
    pub fn parent(&self, index: usize) -> Option<&ParentOutcome> {
        self.parents.iter().find(|(other, _)| *other == index).map(|(_, parent)| parent)
    }

    /// What stands on the way to its backends through a Gateway.
    #[must_use]
    pub fn protection_on(&self, gateway: &Name) -> Option<&RouteProtection> {
        self.protection.iter().find(|(other, _)| other == gateway).map(|(_, protection)| &**protection)
    }

    /// Whether a rule of it can be honoured.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.invalid.len() < self.rules
    }

    /// The Gateways of which a listener admits the route.
    pub fn gateways(&self) -> impl Iterator<Item = &Name> {
        let parents = self.parents.iter().map(|(_, parent)| parent);
        parents.filter(|parent| !parent.listeners.is_empty()).map(|parent| &parent.gateway)
    }

    /// Whether the route counts as attached to a listener: it admits the route, and the route is valid.
    #[must_use]
    pub fn is_attached(&self, gateway: &Name, listener: usize) -> bool {
        let mut parents = self.parents.iter().map(|(_, parent)| parent);
        let is_refused = self.protection_on(gateway).is_some_and(|protection| protection.hostnames.is_refused());
        self.is_valid()
            && !is_refused
            && parents.any(|parent| parent.gateway == *gateway && parent.listeners.contains(&listener))
    }
}

/// The rules that no policy protects, of all routes.
pub(super) fn unprotected(routes: &Objects<Name, RouteOutcome>) -> BTreeSet<UnprotectedRule> {
    let mut all = BTreeSet::new();
    for (route, outcome) in routes {
        for (gateway, protection) in &outcome.protection {
            all.extend(protection.unprotected.iter().map(|&rule| UnprotectedRule {
                route: route.clone(),
                rule,
                gateway: gateway.clone(),
                closed: protection.closed.get(&rule).cloned(),
            }));
        }
    }
    all
}

impl fmt::Display for UnprotectedRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { route, rule, gateway, closed } = self;
        write!(f, "HTTPRoute {route} rule {rule} on Gateway {gateway}")?;
        match closed {
            Some(message) => write!(f, "; it answers 503: {message}"),
            None => f.write_str("; it is open to everybody"),
        }
    }
}
