//! Whose a hostname is on a Gateway that routes of several namespaces attach to.
//!
//! The precedence of Gateway API (the longer path, the older route) is made for people who trust each other. With
//! `--hostnames-belong-to-namespaces` a hostname belongs to one namespace, on all listeners of the Gateway, and to no other:
//!
//! 1. to the Gateway's own, if that names it; what it names by a wildcard or not at all does not keep others from names below;
//! 2. else to that which has it already, as the status of its HTTPRoute says: a route that is old may be given other hostnames
//!    at any time;
//! 3. else to that which has a wildcard above it already;
//! 4. else to that of the oldest HTTPRoute with it, or with a wildcard above it.
//!
//! Where the most specific listeners for a hostname take no routes of a namespace, that namespace has no claim, nor has a wildcard
//! of it above that name. Who owns a
//! hostname may let others share it by a ReferenceGrant for its HTTPRoutes. Times are the API server's.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::resources::Name;

use super::gateways::OwnGateway;
use super::grants::Routes;
use super::hostname::Hostname;
use super::outcome::HostnameOutcome;
use super::problems::Fault;
use super::routes::ParsedRoute;
use super::view::View;

/// A hostname of a route is another namespace's.
const CONFLICT: &str = "HostnameConflict";

/// A route would be for every host that nobody names.
const NEEDED: &str = "HostnameNeeded";

/// The namespaces to which the hostnames of a Gateway belong.
pub(super) struct Ownership<'a> {
    own: &'a OwnGateway,
    gateway: &'a Name,
    is_enforced: bool,
    view: &'a View<'a>,
    /// Each hostname that a route has on a listener, the less specific ones first.
    names: BTreeMap<Hostname, Owned<'a>>,
    /// What namespaces share with others, by both, as far as somebody asked.
    shared: RefCell<BTreeMap<(String, String), Rc<Shared>>>,
}

/// What a namespace shares with another one.
struct Shared {
    /// Its routes.
    routes: Routes,
    /// Their hostnames.
    hostnames: BTreeSet<Hostname>,
}

/// What is known of a hostname.
struct Owned<'a> {
    /// The routes that have it by namespace, the oldest first.
    claims: BTreeMap<&'a str, Vec<&'a Claim<'a>>>,
    owner: Option<Owner<'a>>,
    /// The namespaces that share hosts of it.
    sharing: BTreeSet<&'a str>,
}

/// The claim by which a hostname is somebody's.
#[derive(Clone, Copy)]
struct Owner<'a> {
    claim: &'a Claim<'a>,
    /// Whether the claim is for a wildcard above the hostname.
    is_above: bool,
    /// Whether the hostname is the claim's already.
    is_held: bool,
}

impl Owner<'_> {
    /// The least comes first.
    fn rank(&self) -> impl Ord {
        let rank = match (self.is_held, self.is_above) {
            (true, false) => 0,
            (true, true) => 1,
            (false, _) => 2,
        };
        (rank, self.claim)
    }
}

/// A route of the Gateway. The order is that of age; without a timestamp it is younger than all that have one.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim<'a> {
    age: (bool, Option<&'a Time>),
    /// As one text, in which a hyphen stands before the slash.
    text: String,
    pub(super) route: &'a Arc<Name>,
    /// What it has in common with listeners, served or not: who owns a name keeps it while a certificate can't be read.
    hostnames: BTreeSet<&'a Hostname>,
    /// Those that it has already.
    held: &'a [String],
}

impl<'a> Claim<'a> {
    /// Of a route with these hostnames on a Gateway.
    pub(super) fn new(route: &'a ParsedRoute, gateway: &Name, hostnames: BTreeSet<&'a Hostname>) -> Self {
        let ParsedRoute { name, created, held, .. } = route;
        let held = held.iter().find(|(other, _)| other == gateway).map(|(_, held)| &**held).unwrap_or_default();
        Self { age: (created.is_none(), created.as_ref()), text: name.to_string(), route: name, hostnames, held }
    }

    fn holds(&self, hostname: &Hostname) -> bool {
        !self.held.is_empty() && self.held.contains(&hostname.domain())
    }

    fn namespace(&self) -> &'a str {
        &self.route.namespace
    }
}

impl<'a> Ownership<'a> {
    pub(super) fn new(
        gateway: &'a OwnGateway,
        claims: &'a BTreeSet<Claim<'a>>,
        is_enforced: bool,
        view: &'a View<'a>,
    ) -> Self {
        let mut names: BTreeMap<Hostname, Owned<'a>> = BTreeMap::new();
        for claim in claims {
            for hostname in &claim.hostnames {
                let new = || Owned { claims: BTreeMap::new(), owner: None, sharing: BTreeSet::new() };
                let owned = names.entry(Hostname::clone(hostname)).or_insert_with(new);
                owned.claims.entry(claim.namespace()).or_default().push(claim);
            }
        }
        let shared = RefCell::default();
        let mut this = Self { own: gateway, gateway: &gateway.name, is_enforced, view, names, shared };
        let hostnames: Vec<Hostname> = this.names.keys().cloned().collect();
        for hostname in &hostnames {
            let owner = this.find_owner(hostname);
            if let Some(owned) = this.names.get_mut(hostname) {
                owned.owner = owner;
            }
        }
        for hostname in &hostnames {
            this.note_sharing(hostname);
        }
        this
    }

    /// INVARIANT: the owners of the names above are known.
    fn find_owner(&self, hostname: &Hostname) -> Option<Owner<'a>> {
        let claims = self.names.get(hostname).into_iter().flat_map(|owned| &owned.claims);
        let of = |claims: &Vec<&'a Claim<'a>>| {
            let held = claims.iter().find(|claim| claim.holds(hostname)).map(|claim| (*claim, true));
            let (claim, is_held) = held.or_else(|| Some((*claims.first()?, false)))?;
            Some(Owner { claim, is_above: false, is_held })
        };
        let mut firsts: BTreeMap<&str, Owner<'a>> =
            claims.filter_map(|(namespace, claims)| Some((*namespace, of(claims)?))).collect();
        if let Some(own) = firsts.remove(self.gateway.namespace.as_str()) {
            return Some(own);
        }
        let here = firsts.into_iter().filter(|(namespace, _)| is_admitted(self.own, hostname, namespace, self.view));
        let here = here.map(|(_, owner)| owner);
        let above = self.owners_above(hostname);
        here.filter(|_| *hostname != Hostname::Any).chain(above).min_by(|one, other| one.rank().cmp(&other.rank()))
    }

    /// The owners of wildcards above a hostname, who have it as well where nobody had it before.
    fn owners_above<'n>(&'n self, hostname: &'n Hostname) -> impl Iterator<Item = Owner<'a>> + 'n {
        let above = hostname.above().filter_map(|above| self.names.get(&above)?.owner);
        let above = above.filter(|owner| owner.claim.namespace() != self.gateway.namespace);
        let above = above.filter(|owner| is_admitted(self.own, hostname, owner.claim.namespace(), self.view));
        above.map(|owner| Owner { is_above: true, ..owner })
    }

    fn owner(&self, hostname: &Hostname) -> Option<Owner<'a>> {
        if let Some(owned) = self.names.get(hostname) {
            return owned.owner;
        }
        self.owners_above(hostname).min_by(|one, other| one.rank().cmp(&other.rank()))
    }

    /// Whether a route may serve hosts of this name, of those that its own hostnames cover.
    pub(super) fn admits(&self, route: &Name, hostname: &Hostname) -> bool {
        if !self.is_enforced || route.namespace == self.gateway.namespace {
            return true;
        }
        match self.owner(hostname).map(|owner| owner.claim.namespace()) {
            Some(owner) => owner == route.namespace || self.is_delegated(route, owner, hostname),
            None => false,
        }
    }

    /// Whether the owner lets a route share the hostnames of one of its own routes for this name.
    fn is_delegated(&self, route: &Name, owner: &str, hostname: &Hostname) -> bool {
        let shared = self.shared(&route.namespace, owner);
        let mut names = hostname.above().chain([hostname.clone()]).filter(|_| !shared.hostnames.is_empty());
        names.any(|name| shared.hostnames.contains(&name))
    }

    /// Whether a ReferenceGrant beside the second route lets those of a namespace share its hostnames.
    pub(super) fn may_share(&self, namespace: &str, with: &Name) -> bool {
        namespace == with.namespace || self.shared(namespace, &with.namespace).routes.has(&with.name)
    }

    /// What the second namespace shares with the first one. Asked for each hostname and route, so it is found out once.
    fn shared(&self, with: &str, owner: &str) -> Rc<Shared> {
        let key = (owner.to_owned(), with.to_owned());
        if let Some(shared) = self.shared.borrow().get(&key) {
            return Rc::clone(shared);
        }
        let routes = Routes::granted(self.view, with, owner);
        let names = self.names.iter().filter(|_| !routes.are_none());
        let is_shared = |owned: &Owned<'_>| {
            owned.claims.get(owner).is_some_and(|claims| claims.iter().any(|claim| routes.has(&claim.route.name)))
        };
        let hostnames = names.filter(|(_, owned)| is_shared(owned)).map(|(hostname, _)| hostname.clone()).collect();
        let shared = Rc::new(Shared { routes, hostnames });
        self.shared.borrow_mut().insert(key, Rc::clone(&shared));
        shared
    }

    /// Why a route does not serve a hostname of its own; `None`: it does.
    pub(super) fn refusal(&self, route: &Name, hostname: &Hostname) -> Option<Fault> {
        if self.admits(route, hostname) {
            return None;
        }
        let (gateway, name) = (self.gateway, hostname.domain());
        if *hostname == Hostname::Any {
            let message = format!(
                "on the Gateway {gateway} routes of other namespaces than its own must name their hostnames: without \
                 them, this one would be for every host that nobody names; set spec.hostnames"
            );
            return Some(Fault::new(NEEDED, message));
        }
        let message = match self.owner(hostname) {
            None => format!(
                "the listeners of the Gateway {gateway} for {name} take no routes of namespace {}, so it has no claim to \
                 that name on another listener either; use another hostname",
                route.namespace
            ),
            Some(Owner { claim, .. }) if claim.namespace() == gateway.namespace => format!(
                "{name} belongs to the own namespace of the Gateway {gateway}, whose HTTPRoute {} names it; requests for \
                 it are not for this route; use another hostname",
                claim.route
            ),
            Some(Owner { claim, is_above, .. }) => format!(
                "{name} belongs to namespace {} on the Gateway {gateway}, whose HTTPRoute {} has it already or is the oldest with it{}; \
                 requests for it are not for this route; use another hostname, or let that namespace share its own by a \
                 ReferenceGrant for its HTTPRoutes",
                claim.namespace(),
                claim.route,
                if is_above { " or a wildcard above it" } else { "" },
            ),
        };
        Some(Fault::new(CONFLICT, message))
    }

    /// Names below wildcards of routes that may not serve them. A listener with these wildcards needs virtual hosts for them:
    /// else requests for them would be those of a wildcard.
    pub(super) fn kept_out_of<'n>(
        &'n self,
        wildcards: &'n BTreeMap<&Hostname, BTreeSet<&str>>,
    ) -> impl Iterator<Item = &'n Hostname> {
        let is_of_others = |hostname: &Hostname, namespaces: &BTreeSet<&str>| {
            let owner = self.owner(hostname).map(|owner| owner.claim.namespace());
            namespaces.iter().any(|namespace| Some(*namespace) != owner)
        };
        let names = self.names.keys().filter(|_| self.is_enforced && !wildcards.is_empty());
        names.filter(move |hostname| {
            let mut above = hostname.above().filter_map(|above| wildcards.get(&above));
            above.any(|namespaces| is_of_others(hostname, namespaces))
        })
    }

    /// Notes which namespaces share hosts of a name, and of the names above it; the Gateway's own is not told of.
    fn note_sharing(&mut self, hostname: &Hostname) {
        let names = [hostname.clone()].into_iter().chain(hostname.above());
        let mut names: Vec<Hostname> = names.filter(|name| self.names.contains_key(name)).collect();
        if *hostname != Hostname::Any && self.names.contains_key(&Hostname::Any) {
            names.push(Hostname::Any);
        }
        let owner = self.owner(hostname).map(|owner| owner.claim.namespace());
        let serves = |(namespace, claims): (&&'a str, &Vec<&Claim<'_>>)| {
            let is_own = !self.is_enforced || Some(*namespace) == owner;
            // All routes of a namespace are alike in this.
            let serves = is_own || claims.first().is_some_and(|claim| self.admits(claim.route, hostname));
            (serves && *namespace != self.gateway.namespace).then_some(*namespace)
        };
        let sharing = names.iter().filter_map(|name| self.names.get(name));
        let sharing: BTreeSet<&'a str> = sharing.flat_map(|owned| owned.claims.iter().filter_map(serves)).collect();
        if sharing.len() < 2 {
            return;
        }
        for name in &names {
            if let Some(owned) = self.names.get_mut(name) {
                owned.sharing.extend(&sharing);
            }
        }
    }

    /// What became of the hostnames of each route.
    pub(super) fn outcomes(&self) -> BTreeMap<Arc<Name>, HostnameOutcome> {
        let mut outcomes: BTreeMap<Arc<Name>, HostnameOutcome> = BTreeMap::new();
        for (hostname, owned) in &self.names {
            for claim in owned.claims.values().flatten() {
                let namespace = claim.namespace();
                let Some(Fault { reason, message }) = self.refusal(claim.route, hostname) else {
                    let outcome = outcomes.entry(Arc::clone(claim.route)).or_default();
                    outcome.is_served = true;
                    let is_owner = owned.owner.is_some_and(|owner| owner.claim.namespace() == namespace);
                    if self.is_enforced && is_owner && namespace != self.gateway.namespace {
                        outcome.held.insert(hostname.domain());
                    }
                    let others = owned.sharing.iter().filter(|other| **other != namespace);
                    let others: BTreeSet<String> = others.map(|other| (*other).to_owned()).collect();
                    if !others.is_empty() && namespace != self.gateway.namespace {
                        outcome.shared.insert(hostname.domain(), others);
                    }
                    continue;
                };
                let outcome = outcomes.entry(Arc::clone(claim.route)).or_default();
                outcome.refused.insert(hostname.domain(), (reason, message));
                if let Some(Owner { claim: owner, .. }) = owned.owner.filter(|_| *hostname != Hostname::Any) {
                    let names = hostname.above().chain([hostname.clone()]);
                    // The name by which it is the owner's.
                    let own = names.filter(|name| owner.hostnames.contains(name)).max();
                    let contested = &mut outcomes.entry(Arc::clone(owner.route)).or_default().contested;
                    let name = own.unwrap_or_else(|| hostname.clone()).domain();
                    contested.entry(name).or_default().insert(namespace.to_owned());
                }
            }
        }
        outcomes
    }
}

/// Whether a namespace may have a claim: one of the most specific listeners that are for this very hostname, and not for every
/// one, takes its routes. A listener for one tenant keeps others from its hosts on all listeners.
fn is_admitted(gateway: &OwnGateway, hostname: &Hostname, namespace: &str, view: &View<'_>) -> bool {
    let listeners = gateway.listeners.iter().filter(|listener| listener.takes_http_routes);
    let covering = listeners.filter_map(|listener| Some((listener.hostname.as_ref()?, listener.namespaces.as_ref()?)));
    let covering: Vec<_> = covering.filter(|(own, _)| **own != Hostname::Any && own.covers(hostname)).collect();
    let Some(most) = covering.iter().map(|(own, _)| *own).max() else { return true };
    covering.iter().filter(|(own, _)| *own == most).any(|(_, namespaces)| namespaces.selects(namespace, view))
}
