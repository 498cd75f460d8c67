//! Which listeners an HTTPRoute attaches to, and for which hostnames.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gateway_api::httproutes::{HttpRoute, HttpRouteParentRefs};

use crate::resources::Name;

use super::gateways::{Gateways, OwnGateway, OwnListener};
use super::hostname::Hostname;
use super::outcome::ParentOutcome;
use super::problems::{Fault, GATEWAY_API, Reporter};
use super::view::View;

/// A listener of one of our Gateways.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ListenerId {
    pub(super) gateway: Name,
    /// Index in the Gateway's listeners.
    pub(super) listener: usize,
}

/// What a route is attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attachments {
    /// By index in the route's parentRefs; other controllers' are left out.
    pub(super) parents: Arc<[(usize, ParentOutcome)]>,
    /// Listeners, served or not, each with the hostnames that both have; all sorted.
    pub(super) listeners: Box<[(ListenerId, Box<[Hostname]>)]>,
}

impl Attachments {
    /// The hostnames that the route and a listener have, where it admits the route.
    pub(super) fn hostnames(&self, gateway: &Name, listener: usize) -> Option<&[Hostname]> {
        let is_at = |id: &ListenerId| id.gateway == *gateway && id.listener == listener;
        self.listeners.iter().find(|(id, _)| is_at(id)).map(|(_, hostnames)| &**hostnames)
    }
}

/// Attaches one route. Without parents, it is not for us.
pub(super) fn attach(
    route: &HttpRoute,
    name: &Name,
    gateways: &Gateways,
    view: &View<'_>,
    reporter: &mut Reporter<'_, '_>,
) -> Attachments {
    let mut parents = Vec::new();
    let mut all: BTreeMap<ListenerId, BTreeSet<Hostname>> = BTreeMap::new();
    let mut hostnames = None;
    for (index, parent) in route.spec.parent_refs.iter().flatten().enumerate() {
        let field = format!("spec.parentRefs[{index}]");
        let gateway = match find(parent, name, gateways, view) {
            Ok(Some(gateway)) => gateway,
            Ok(None) => continue,
            Err(fault) => {
                reporter.report(field, fault);
                continue;
            }
        };
        let hostnames = hostnames.get_or_insert_with(|| route_hostnames(route, reporter));
        let attached = candidates(parent, gateway)
            .and_then(|listeners| allowed(listeners, name, view))
            .and_then(|listeners| meeting(listeners, hostnames));
        let mut listeners = BTreeSet::new();
        for (listener, meeting) in reporter.accept(field, attached).unwrap_or_default() {
            let id = ListenerId { gateway: gateway.name.clone(), listener };
            all.entry(id).or_default().extend(meeting);
            listeners.insert(listener);
        }
        let listeners = listeners.into_iter().collect();
        parents.push((index, ParentOutcome { gateway: gateway.name.clone(), listeners }));
    }
    let listeners = all.into_iter().map(|(id, hostnames)| (id, hostnames.into_iter().collect())).collect();
    Attachments { parents: parents.into(), listeners }
}

/// The Gateway that a parentRef means; `None` where it is another controller's.
fn find<'g>(
    parent: &HttpRouteParentRefs,
    route: &Name,
    gateways: &'g Gateways,
    view: &View<'_>,
) -> Result<Option<&'g OwnGateway>, Fault> {
    let group = parent.group.as_deref().unwrap_or(GATEWAY_API);
    let kind = parent.kind.as_deref().unwrap_or("Gateway");
    if (group, kind) != (GATEWAY_API, "Gateway") {
        return Err(Fault::unsupported(format!("a route can't attach to a {kind}; only to Gateways")));
    }
    let name = Name::new(parent.namespace.as_ref().unwrap_or(&route.namespace), &parent.name);
    match gateways.get(&name, view) {
        None if view.gateway(&name).is_none() => {
            Err(Fault::new("NoMatchingParent", format!("there is no Gateway {name}, or it can't be read")))
        }
        gateway => Ok(gateway),
    }
}

fn candidates<'g>(
    parent: &HttpRouteParentRefs,
    gateway: &'g OwnGateway,
) -> Result<Vec<(usize, &'g OwnListener)>, Fault> {
    let fits = |listener: &OwnListener| {
        parent.section_name.as_ref().is_none_or(|section| *section == listener.name)
            && parent.port.is_none_or(|port| port == listener.port)
    };
    let found: Vec<_> = gateway.listeners.iter().enumerate().filter(|(_, listener)| fits(listener)).collect();
    if found.is_empty() {
        let message = format!("the Gateway {} has no listener with this sectionName and port", gateway.name);
        return Err(Fault::new("NoMatchingParent", message));
    }
    Ok(found)
}

fn allowed<'g>(
    listeners: Vec<(usize, &'g OwnListener)>,
    route: &Name,
    view: &View<'_>,
) -> Result<Vec<(usize, &'g Hostname)>, Fault> {
    let mut allowed = Vec::new();
    let mut refused = false;
    for (index, listener) in listeners {
        // Whether a listener is served does not matter here: that is its own problem, not the route's.
        match (&listener.namespaces, &listener.hostname) {
            (Some(namespaces), Some(hostname))
                if listener.takes_http_routes && namespaces.selects(&route.namespace, view) =>
            {
                allowed.push((index, hostname));
            }
            (Some(_), Some(_)) => refused = true,
            _ => {}
        }
    }
    if !allowed.is_empty() {
        return Ok(allowed);
    }
    let message = if refused {
        format!("no listener takes HTTPRoutes from namespace {}; see its allowedRoutes", route.namespace)
    } else {
        "which routes the listener takes can't be read; see what the Gateway says of it".to_owned()
    };
    Err(Fault::new("NotAllowedByListeners", message))
}

fn meeting(
    listeners: Vec<(usize, &Hostname)>,
    hostnames: &[Hostname],
) -> Result<Vec<(usize, BTreeSet<Hostname>)>, Fault> {
    let mut meeting = Vec::new();
    for (index, own) in listeners {
        let both: BTreeSet<_> = hostnames.iter().filter_map(|name| own.intersection(name)).collect();
        if !both.is_empty() {
            meeting.push((index, both));
        }
    }
    if meeting.is_empty() {
        let message = "no hostname of the route is one of the listener's; change spec.hostnames or the listener";
        return Err(Fault::new("NoMatchingListenerHostname", message));
    }
    Ok(meeting)
}

/// INVARIANT: a route whose hostnames are all wrong has none; it does not become a route for every host.
fn route_hostnames(route: &HttpRoute, reporter: &mut Reporter<'_, '_>) -> Vec<Hostname> {
    let written = route.spec.hostnames.as_deref().unwrap_or_default();
    if written.is_empty() {
        return vec![Hostname::Any];
    }
    let parsed = written.iter().enumerate();
    parsed
        .filter_map(|(index, text)| reporter.accept(format!("spec.hostnames[{index}]"), Hostname::parse(text)))
        .collect()
}
