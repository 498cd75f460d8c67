//! Which routes are served, and which are more than a tenant may ask for.
//!
//! ```text
//! hostnames x matches x backends ─> of a route ─> of its namespace, of its Gateways
//! ```
//! Envoy has the routes of a wildcard once for each more specific host, so a host costs what it is covered by: whoever comes
//! later pays. Where hostnames belong to namespaces, routes of others are not served there and cost nothing, but those of the
//! Gateway's own namespace, and of namespaces with which the host is shared: who shares pays, whoever comes later.
//!
//! INVARIANT: no request that a route was meant to catch falls to a looser one of its namespace. What is past a quota answers
//! 503 where it would have been served. Where even that is too much, all other routes of the namespace are closed.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use gateway_api::referencegrants::ReferenceGrant;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::resources::Name;

use super::super::attach::{Attachments, ListenerId};
use super::super::hostname::Hostname;
use super::super::problems::{Fault, GATEWAY_API};
use super::{QUOTA_EXCEEDED, Quotas, Size, TOO_LARGE};

/// A route that asks to be served.
pub(in super::super) struct Candidate<'a> {
    pub(in super::super) name: &'a Arc<Name>,
    pub(in super::super) created: Option<&'a Time>,
    pub(in super::super) attachments: &'a Attachments,
    pub(in super::super) size: Size,
}

/// A route that is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Refused {
    /// Whether Envoy hears nothing of it; else it answers 503.
    pub(in super::super) is_left_out: bool,
    pub(in super::super) fault: Fault,
}

/// Which namespaces let others serve routes on their hosts, where hostnames belong to namespaces.
#[derive(Debug, Default)]
pub(in super::super) struct Sharing<'a>(BTreeMap<&'a str, BTreeSet<&'a str>>);

impl<'a> Sharing<'a> {
    /// By ReferenceGrants, each with its namespace.
    pub(in super::super) fn of(grants: impl Iterator<Item = (&'a str, &'a ReferenceGrant)>) -> Self {
        let mut shared: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (namespace, grant) in grants {
            let is_route = |group: &str, kind: &str| (group, kind) == (GATEWAY_API, "HTTPRoute");
            if !grant.spec.to.iter().any(|to| is_route(&to.group, &to.kind)) {
                continue;
            }
            let from = grant.spec.from.iter().filter(|from| is_route(&from.group, &from.kind));
            let others = from.map(|from| from.namespace.as_str()).filter(|other| *other != namespace);
            shared.entry(namespace).or_default().extend(others);
        }
        Self(shared)
    }

    fn with(&self, namespace: &str) -> impl Iterator<Item = &'a str> {
        self.0.get(namespace).into_iter().flatten().copied()
    }
}

/// The routes that are past a quota. The oldest come first, whatever the order given. `sharing` is there where hostnames belong
/// to namespaces.
pub(in super::super) fn refused(
    mut routes: Vec<Candidate<'_>>,
    quotas: &Quotas,
    sharing: Option<&Sharing<'_>>,
) -> BTreeMap<Arc<Name>, Refused> {
    routes.sort_by(in_age);
    let mut totals = Totals { sharing, ..Totals::default() };
    let guests: BTreeSet<&str> = sharing.iter().flat_map(|sharing| sharing.0.values().flatten()).copied().collect();
    for route in routes.iter().filter(|route| guests.contains(route.name.namespace.as_str())) {
        put(&mut totals.guests, route, Some(&route.name.namespace), route.size.served);
    }
    let mut refused = BTreeMap::new();
    let mut overrun: BTreeSet<&str> = BTreeSet::new();
    for route in &routes {
        let Err(fault) = totals.serve(route, quotas) else { continue };
        let is_left_out = !totals.close(route, quotas);
        if is_left_out {
            overrun.insert(&route.name.namespace);
        }
        refused.insert(Arc::clone(route.name), Refused { is_left_out, fault });
    }
    for route in routes.iter().filter(|route| overrun.contains(route.name.namespace.as_str())) {
        let fault = || {
            let message = format!(
                "routes of namespace {} are so far past their quota that closing them one by one would take more than {} entries \
                 of hostnames, matches and backends (--max-namespace-routes): all routes of the namespace answer 503",
                route.name.namespace, quotas.namespace_routes
            );
            Fault::new(QUOTA_EXCEEDED, message)
        };
        refused.entry(Arc::clone(route.name)).or_insert_with(|| Refused { is_left_out: false, fault: fault() });
    }
    refused
}

/// A route without timestamp is younger than all that have one.
fn in_age(one: &Candidate<'_>, other: &Candidate<'_>) -> Ordering {
    let age = |route: &Candidate<'_>| (route.created.is_none(), route.created.map(|time| time.0));
    age(one).cmp(&age(other)).then_with(|| one.name.cmp(other.name))
}

/// What is served so far, in entries.
#[derive(Default)]
struct Totals<'a> {
    /// Where hostnames belong to namespaces.
    sharing: Option<&'a Sharing<'a>>,
    listeners: ByListener<'a>,
    /// What namespaces ask for with which others share their hosts, served or not.
    guests: ByListener<'a>,
    namespaces: HashMap<&'a str, OfNamespace>,
    gateways: HashMap<&'a Name, usize>,
}

/// By listener, and where hostnames belong to namespaces by namespace.
type ByListener<'a> = HashMap<(&'a ListenerId, Option<&'a str>), Hosts>;

#[derive(Default)]
struct OfNamespace {
    served: usize,
    closed: usize,
}

/// The virtual hosts of a listener.
#[derive(Default)]
struct Hosts {
    /// What is attached by each hostname.
    at: HashMap<Hostname, usize>,
    /// How many hosts a hostname covers beside itself.
    below: HashMap<Hostname, usize>,
}

impl<'a> Totals<'a> {
    fn serve(&mut self, route: &Candidate<'a>, quotas: &Quotas) -> Result<(), Fault> {
        let Size { matches, backends, served, .. } = route.size;
        let listeners = &route.attachments.listeners;
        let hosts = listeners.iter().map(|(_, hostnames)| hostnames.len()).max().unwrap_or_default();
        let entries = hosts.saturating_mul(served);
        if entries > quotas.route {
            let message = format!(
                "{hosts} hostnames x {matches} matches x up to {backends} backends are {entries} entries of Envoy's configuration, and a \
                 route may have {} (--max-route-size): all rules of this route answer 503. Divide it, or use a wildcard or fewer \
                 backends",
                quotas.route
            );
            return Err(Fault::new(TOO_LARGE, message));
        }
        let costs = self.costs(route, served);
        let of_gateways = by_gateway(&costs);
        let (own, namespace) = (costs.iter().map(|(_, cost)| cost).sum::<usize>(), route.name.namespace.as_str());
        let used = self.namespaces.entry(namespace).or_default().served;
        if used.saturating_add(own) > quotas.namespace_routes {
            let message = format!(
                "this route takes {own} entries of hostnames, matches and backends, older ones of namespace {namespace} have {used}, \
                 and all together may have {} (--max-namespace-routes): all rules of this route answer 503",
                quotas.namespace_routes
            );
            return Err(Fault::new(QUOTA_EXCEEDED, message));
        }
        for (gateway, cost) in &of_gateways {
            let used = self.gateways.get(gateway).copied().unwrap_or_default();
            if used.saturating_add(*cost) > quotas.gateway_routes {
                let message = format!(
                    "this route takes {cost} entries of hostnames, matches and backends on Gateway {gateway}, older ones have {used}, \
                     and all together may have {} (--max-gateway-routes): all rules of this route answer 503",
                    quotas.gateway_routes
                );
                return Err(Fault::new(QUOTA_EXCEEDED, message));
            }
        }
        for (gateway, cost) in of_gateways {
            *self.gateways.entry(gateway).or_default() += cost;
        }
        self.namespaces.entry(namespace).or_default().served += own;
        self.put(route, served);
        Ok(())
    }

    /// Whether there is room to close it where it would have been served.
    fn close(&mut self, route: &Candidate<'a>, quotas: &Quotas) -> bool {
        let closed = route.size.closed;
        let own = self.costs(route, closed).iter().map(|(_, cost)| cost).sum::<usize>();
        let of_namespace = self.namespaces.entry(route.name.namespace.as_str()).or_default();
        if of_namespace.closed.saturating_add(own) > quotas.namespace_routes {
            return false;
        }
        of_namespace.closed += own;
        self.put(route, closed);
        true
    }

    /// What a route of this size would add to each listener.
    fn costs(&self, route: &Candidate<'a>, size: usize) -> Vec<(&'a ListenerId, usize)> {
        let namespace = route.name.namespace.as_str();
        let Some(sharing) = self.sharing else {
            let cost = |(id, hostnames): &'a (ListenerId, Box<[Hostname]>)| {
                let hosts = self.listeners.get(&(id, None));
                (id, hostnames.iter().map(|hostname| cost(hosts, &[], hostname, size)).sum())
            };
            return route.attachments.listeners.iter().map(cost).collect();
        };
        let cost = |(id, hostnames): &'a (ListenerId, Box<[Hostname]>)| {
            let own = self.listeners.get(&(id, Some(namespace)));
            let gateway = id.gateway.namespace.as_str();
            let gateway = self.listeners.get(&(id, Some(gateway))).filter(|_| gateway != namespace);
            let guests = sharing.with(namespace).filter_map(|guest| self.guests.get(&(id, Some(guest))));
            let guests: Vec<(&Hosts, bool)> =
                gateway.map(|hosts| (hosts, false)).into_iter().chain(guests.map(|hosts| (hosts, true))).collect();
            (id, hostnames.iter().map(|hostname| cost(own, &guests, hostname, size)).sum())
        };
        route.attachments.listeners.iter().map(cost).collect()
    }

    fn put(&mut self, route: &Candidate<'a>, size: usize) {
        put(&mut self.listeners, route, self.sharing.map(|_| route.name.namespace.as_str()), size);
    }
}

fn put<'a>(all: &mut ByListener<'a>, route: &Candidate<'a>, namespace: Option<&'a str>, size: usize) {
    for (id, hostnames) in &route.attachments.listeners {
        let hosts = all.entry((id, namespace)).or_default();
        hostnames.iter().for_each(|hostname| hosts.put(hostname, size));
    }
}

fn by_gateway<'a>(costs: &[(&'a ListenerId, usize)]) -> BTreeMap<&'a Name, usize> {
    let mut sums: BTreeMap<&Name, usize> = BTreeMap::new();
    for (id, cost) in costs {
        *sums.entry(&id.gateway).or_default() += cost;
    }
    sums
}

/// What a route of this size costs on a host, where others are served as well; with them whether their hosts are this one's to
/// pay for.
fn cost(own: Option<&Hosts>, others: &[(&Hosts, bool)], hostname: &Hostname, size: usize) -> usize {
    let below = own.map_or(0, |own| own.below(hostname));
    let of_others = others.iter().filter(|(_, is_shared)| *is_shared).map(|(hosts, _)| hosts.below(hostname));
    let is_new = own.is_none_or(|own| !own.at.contains_key(hostname));
    let all = own.into_iter().chain(others.iter().map(|(hosts, _)| *hosts)).filter(|_| is_new);
    let inherited: usize = all.map(|hosts| hosts.above(hostname)).sum();
    size.saturating_mul(1 + below + of_others.sum::<usize>()).saturating_add(inherited)
}

impl Hosts {
    fn below(&self, hostname: &Hostname) -> usize {
        self.below.get(hostname).copied().unwrap_or_default()
    }

    /// What comes with a host.
    fn above(&self, hostname: &Hostname) -> usize {
        let above = hostname.covering().into_iter().filter(|covering| covering != hostname);
        above.filter_map(|covering| self.at.get(&covering)).sum()
    }

    fn put(&mut self, hostname: &Hostname, size: usize) {
        if !self.at.contains_key(hostname) {
            for covering in hostname.covering().into_iter().filter(|covering| covering != hostname) {
                *self.below.entry(covering).or_default() += 1;
            }
        }
        *self.at.entry(hostname.clone()).or_default() += size;
    }
}
