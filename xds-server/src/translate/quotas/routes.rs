//! Which routes are served, and which are more than a tenant may ask for.
//!
//! ```text
//! hostnames x matches x backends ─> of a route ─> of its namespace, of its Gateways
//! ```
//! Envoy has the routes of a wildcard once for each more specific host, so a host costs what it is covered by: whoever comes
//! later pays.
//!
//! INVARIANT: no request that a route was meant to catch falls to a looser one of its namespace. What is past a quota answers
//! 503 where it would have been served. Where even that is too much, all other routes of the namespace are closed.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::resources::Name;

use super::super::attach::{Attachments, ListenerId};
use super::super::hostname::Hostname;
use super::super::problems::Fault;
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

/// The routes that are past a quota. The oldest come first, whatever the order given.
pub(in super::super) fn refused(mut routes: Vec<Candidate<'_>>, quotas: &Quotas) -> BTreeMap<Arc<Name>, Refused> {
    routes.sort_by(in_age);
    let mut totals = Totals::default();
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
    listeners: HashMap<&'a ListenerId, Hosts>,
    namespaces: HashMap<&'a str, OfNamespace>,
    gateways: HashMap<&'a Name, usize>,
}

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
        let cost = |(id, hostnames): &'a (ListenerId, Box<[Hostname]>)| {
            let hosts = self.listeners.get(id);
            (id, hostnames.iter().map(|hostname| cost(hosts, hostname, size)).sum())
        };
        route.attachments.listeners.iter().map(cost).collect()
    }

    fn put(&mut self, route: &Candidate<'a>, size: usize) {
        for (id, hostnames) in &route.attachments.listeners {
            let hosts = self.listeners.entry(id).or_default();
            hostnames.iter().for_each(|hostname| hosts.put(hostname, size));
        }
    }
}

fn by_gateway<'a>(costs: &[(&'a ListenerId, usize)]) -> BTreeMap<&'a Name, usize> {
    let mut sums: BTreeMap<&Name, usize> = BTreeMap::new();
    for (id, cost) in costs {
        *sums.entry(&id.gateway).or_default() += cost;
    }
    sums
}

fn cost(hosts: Option<&Hosts>, hostname: &Hostname, size: usize) -> usize {
    let Some(hosts) = hosts else { return size };
    let below = hosts.below.get(hostname).copied().unwrap_or_default();
    let inherited: usize = if hosts.at.contains_key(hostname) {
        0
    } else {
        hostname.covering().iter().filter_map(|covering| hosts.at.get(covering)).sum()
    };
    size.saturating_mul(1 + below).saturating_add(inherited)
}

impl Hosts {
    fn put(&mut self, hostname: &Hostname, size: usize) {
        if !self.at.contains_key(hostname) {
            for covering in hostname.covering().into_iter().filter(|covering| covering != hostname) {
                *self.below.entry(covering).or_default() += 1;
            }
        }
        *self.at.entry(hostname.clone()).or_default() += size;
    }
}
