//! The listeners of one port: who owns which host, and in which order routes are tried.
//!
//! A host belongs to the most specific listener that covers it, and to no other: where that listener has no route for a
//! request the answer is 404, even if a less specific listener has one, and where it is not served, 503.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use toolward_policy::config;
use toolward_policy::route_key;

use crate::model::{
    HeaderChanges, Listener, PathMatch, Redirect, Route, RouteAction, RouteMatch, TlsHosts, VirtualHost,
};
use crate::resources::{Name, ObjectRef};

use super::TranslateOptions;
use super::candidates::{Candidate, Standing, takes_plain_calls};
use super::gateways::{ServedListener, Transport};
use super::hostname::Hostname;
use super::in_place::{self, Claim, Claimant};
use super::matches;
use super::metadata::{self, Described};
use super::outcome::RouteProtection;
use super::ownership::Ownership;
use super::policies::Policies;
use super::problems::{Problems, gateway_ref, route_ref};
use super::routes::{ParsedRoute, ParsedRule};
use super::shared_hosts::{self, Withheld};
use super::table::Table;
use super::view::View;
use super::well_known;

mod judged;

use judged::{Alike, Judged};

/// What all Gateways have in common.
pub(super) struct World<'w> {
    pub(super) policies: &'w Policies,
    pub(super) options: &'w TranslateOptions,
    pub(super) ownership: &'w Ownership<'w>,
    pub(super) view: &'w View<'w>,
}

/// A listener of a port with what is attached to it.
pub(super) struct AttachedListener<'a> {
    pub(super) name: &'a str,
    pub(super) served: &'a ServedListener,
    pub(super) routes: Vec<AttachedRoute<'a>>,
}

/// A route with the hostnames that it and the listener have in common, of those that it may serve.
pub(super) struct AttachedRoute<'a> {
    route: &'a ParsedRoute,
    hostnames: Vec<&'a Hostname>,
    /// The rules that it had here when all that restricts was known; `None`: it is known now.
    vouched: Option<&'a [ParsedRule]>,
}

impl<'a> AttachedRoute<'a> {
    /// None: there are no such hostnames.
    pub(super) fn new(
        route: &'a ParsedRoute,
        hostnames: Vec<&'a Hostname>,
        vouched: Option<&'a [ParsedRule]>,
    ) -> Option<Self> {
        (!hostnames.is_empty()).then_some(Self { route, hostnames, vouched })
    }
}

/// Puts together one port of a Gateway.
pub(super) fn listener<'r>(
    gateway: &Name,
    port: u16,
    listeners: &[AttachedListener<'_>],
    refused: &[&Hostname],
    world: &World<'_>,
    protection: &mut BTreeMap<Arc<Name>, RouteProtection>,
    problems: &mut Problems<'r>,
) -> Listener {
    let name = format!("{gateway}/{port}");
    let options = world.options;
    let table = Table::new(&name, gateway, options);
    let (judged, lost) = (BTreeMap::new(), BTreeMap::new());
    let mut builder = Builder { gateway, port, world, secure: false, table, judged, lost, protection, problems };
    let owners: BTreeSet<&Hostname> =
        listeners.iter().map(|listener| &listener.served.hostname).chain(refused.iter().copied()).collect();
    let mut virtual_hosts = BTreeMap::new();
    let mut tls = Vec::new();
    for listener in listeners {
        match &listener.served.transport {
            Transport::Clear => virtual_hosts.extend(builder.hosts(&name, listener, &owners)),
            // A connection belongs to the listener of its server name. Clients that ask on it for a host of another
            // listener are told to open another one (GEP-3567): else they would pass by what protects that listener.
            Transport::Tls(certificates) => {
                let name = format!("{name}/{}", listener.name);
                let mut hosts = builder.hosts(&name, listener, &owners);
                for other in listeners {
                    let domain = other.served.hostname.domain();
                    hosts.entry(domain.clone()).or_insert_with(|| builder.answering(421, &name, domain));
                }
                hosts.extend(builder.refused(&name, refused));
                tls.push(TlsHosts {
                    server_name: listener.served.hostname.server_name(),
                    certificates: certificates.keys().cloned().collect(),
                    virtual_hosts: hosts.into_values().collect(),
                    name,
                });
            }
        }
    }
    if tls.is_empty() {
        virtual_hosts.extend(builder.refused(&name, refused));
    }
    let filter = builder.table.finish(&mut problems.of(gateway_ref(gateway)));
    Listener { name, virtual_hosts: virtual_hosts.into_values().collect(), tls, filter }
}

/// The hostnames for which a listener needs a virtual host: its own, even without routes, and those of its routes,
/// except where a more specific listener of the port owns them.
fn domains(
    listener: &AttachedListener<'_>,
    owners: &BTreeSet<&Hostname>,
    ownership: &Ownership<'_>,
) -> BTreeSet<Hostname> {
    let own = &listener.served.hostname;
    let routes =
        || listener.routes.iter().flat_map(|attached| attached.hostnames.iter().map(move |it| (*it, attached)));
    let mut wildcards: BTreeMap<&Hostname, BTreeSet<&str>> = BTreeMap::new();
    for (hostname, attached) in routes().filter(|(hostname, _)| matches!(hostname, Hostname::Wildcard(_))) {
        wildcards.entry(hostname).or_default().insert(&attached.route.name.namespace);
    }
    let kept_out = ownership.kept_out_of(&wildcards);
    let routes = routes().map(|(hostname, _)| hostname).chain(kept_out).filter(|hostname| {
        let covering = owners.iter().copied().filter(|owner| owner.covers(hostname));
        covering.max() == Some(own)
    });
    routes.chain([own]).cloned().collect()
}

/// Tells a route from all others of its host: streams follow it by that. So it is what it matches, and not its place in a list.
fn route_id(route: &Name, matches: &RouteMatch) -> String {
    // No value of this type can't be written.
    let matches = serde_json::to_vec(matches).unwrap_or_default();
    let hash = Sha256::new_with_prefix(format!("{route}\n")).chain_update(matches).finalize();
    hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// The routes of a virtual host in order of precedence (HTTPRouteRule.matches and HTTPRoute.hostnames of Gateway API), and
/// those that tell of endpoints.
fn in_order<'a>(domain: &Hostname, routes: &'a OnHost<'a>, passed_over: &BTreeSet<ObjectRef>) -> Vec<Candidate<'a>> {
    let mut candidates = Vec::new();
    for &RouteOnHost { hostname, attached, rules, .. } in routes {
        let hostname = hostname.unwrap_or(domain);
        let ParsedRoute { name, created, .. } = attached.route;
        // As one text, in which a hyphen stands before the slash: `a-b/x` before `a/x`.
        let text = name.to_string();
        for rule in rules {
            let is_passed_over = rule.client.as_ref().is_some_and(|client| passed_over.contains(&client.policy));
            // A route without timestamp is younger than all that have one.
            let age = (created.is_none(), created);
            let RuleRoutes { index: rule_index, standing, .. } = *rule;
            for (index, of, told) in &rule.routes {
                let mut add = |route: &Arc<Route>, described: Option<&'a Described>| {
                    // Routes that somebody wrote come before those that are added to them; of these, what tells of plain calls.
                    let added = described.map(|_| !takes_plain_calls(&of.matches));
                    let precedence = (matches::precedence(&route.matches), added, age);
                    let order = (Reverse(hostname), precedence, text.clone(), rule_index, *index);
                    let (matches, route) = (&of.matches, Arc::clone(route));
                    let candidate = Candidate { name, rule: rule_index, standing, matches, route, described };
                    candidates.push((order, candidate));
                };
                add(of, None);
                let told = told.iter().filter(|described| !(is_passed_over && described.is_in_place()));
                told.for_each(|described| described.routes.iter().for_each(|route| add(route, Some(described))));
            }
        }
    }
    candidates.sort_by(|(one, _), (other, _)| one.cmp(other));
    candidates.into_iter().map(|(_, candidate)| candidate).collect()
}

/// The routes of a listener for a domain.
type OnHost<'a> = Vec<RouteOnHost<'a>>;

/// A route for a domain.
struct RouteOnHost<'a> {
    /// Its place among the routes of the listener.
    index: usize,
    /// The hostname by which it is for the domain; none: the domain itself.
    hostname: Option<&'a Hostname>,
    attached: &'a AttachedRoute<'a>,
    rules: &'a [RuleRoutes],
}

/// The routes of a listener by hostname, each with its place among them.
fn by_hostname<'a>(listener: &'a AttachedListener<'_>) -> BTreeMap<&'a Hostname, Vec<usize>> {
    let mut routes: BTreeMap<&Hostname, Vec<usize>> = BTreeMap::new();
    for (index, attached) in listener.routes.iter().enumerate() {
        for hostname in &attached.hostnames {
            routes.entry(hostname).or_default().push(index);
        }
    }
    routes
}

/// The routes for a domain, each by the most specific of its hostnames that covers it.
fn on_host<'a>(
    domain: &Hostname,
    routes: &BTreeMap<&'a Hostname, Vec<usize>>,
    listener: &'a AttachedListener<'a>,
    protected: &'a [Vec<RuleRoutes>],
    ownership: &Ownership<'_>,
) -> OnHost<'a> {
    let mut found = BTreeMap::new();
    for covering in domain.covering() {
        let Some((hostname, indexes)) = routes.get_key_value(&covering) else { continue };
        for index in indexes {
            found.entry(*index).or_insert((covering != *domain).then_some(*hostname));
        }
    }
    let on_host = found.into_iter().filter_map(|(index, hostname)| {
        let (attached, rules) = (listener.routes.get(index)?, protected.get(index)?);
        // What is for a wildcard is not for all hosts below it.
        let is_admitted = ownership.admits(&attached.route.name, domain);
        is_admitted.then_some(RouteOnHost { index, hostname, attached, rules })
    });
    on_host.collect()
}

/// The routes of one rule, by the indexes of their matches, with those that tell of their endpoints.
struct RuleRoutes {
    index: usize,
    standing: Standing,
    /// The policy that says which client the clients of these routes are to be.
    client: Option<Claimant>,
    routes: Vec<(usize, Arc<Route>, Option<Described>)>,
}

struct Builder<'b, 'r> {
    gateway: &'b Name,
    port: u16,
    world: &'b World<'b>,
    /// Whether the listener at hand speaks TLS.
    secure: bool,
    table: Table,
    judged: BTreeMap<Alike<'b>, Rc<Judged>>,
    /// The policies that may have been meant for ways, by the namespaces of their routes and backends.
    lost: BTreeMap<(String, Vec<String>), Rc<BTreeSet<&'b ObjectRef>>>,
    /// What protects each route.
    protection: &'b mut BTreeMap<Arc<Name>, RouteProtection>,
    problems: &'b mut Problems<'r>,
}

impl<'b> Builder<'b, '_> {
    /// The virtual hosts of a listener by domain, beside the hostnames of the port's other listeners.
    fn hosts(
        &mut self,
        name: &str,
        listener: &AttachedListener<'_>,
        owners: &BTreeSet<&Hostname>,
    ) -> BTreeMap<String, VirtualHost> {
        self.secure = matches!(listener.served.transport, Transport::Tls(_));
        let protected: Vec<_> =
            listener.routes.iter().map(|attached| self.routes_of(listener.name, attached)).collect();
        let by_hostname = by_hostname(listener);
        // Hosts with the same routes have one virtual host. Those of a wildcard keep to themselves: streams know their route by it.
        let mut groups: BTreeMap<_, (OnHost<'_>, Vec<Hostname>)> = BTreeMap::new();
        let ownership = self.world.ownership;
        for domain in domains(listener, owners, ownership) {
            let routes = on_host(&domain, &by_hostname, listener, &protected, ownership);
            let alone = (!matches!(domain, Hostname::Exact(_))).then(|| domain.clone());
            let key: Vec<_> = routes.iter().map(|route| (route.index, route.hostname.cloned())).collect();
            groups.entry((alone, key)).or_insert((routes, Vec::new())).1.push(domain);
        }
        let mut hosts = BTreeMap::new();
        for (routes, domains) in groups.into_values() {
            let mut passed_over = BTreeSet::new();
            domains.iter().for_each(|domain| passed_over = self.passed_over(domain, &routes));
            let Some(first) = domains.first() else { continue };
            let candidates = in_order(first, &routes, &passed_over);
            let origin = self.origin(first);
            let mut domains: Vec<String> = domains.iter().map(Hostname::domain).collect();
            domains.sort();
            let routes = self.settled(&domains, candidates);
            let Some(first) = domains.first().cloned() else { continue };
            hosts.insert(first.clone(), VirtualHost { name: format!("{name}/{first}"), domains, origin, routes });
        }
        hosts
    }

    /// The routes of a host, of which each namespace has what is its own.
    fn settled(&mut self, hosts: &[String], mut candidates: Vec<Candidate<'_>>) -> Vec<Arc<Route>> {
        let gateway = self.gateway;
        let withheld = shared_hosts::withhold(&mut candidates, hosts, gateway, self.world.ownership, &mut self.table);
        for Withheld { route, rule, closed } in withheld {
            let outcome = self.protection.entry(Arc::clone(&route)).or_default();
            outcome.hostnames.withheld.extend(hosts.iter().cloned());
            if let Some(fault) = closed {
                outcome.closed.insert(rule, format!("{} ({})", fault.message, fault.reason));
                self.problems.of(route_ref(&route)).report("spec.hostnames", fault);
            }
        }
        let settled = well_known::settle(&mut candidates, gateway, &mut self.table);
        let conflicts = hosts.iter().flat_map(|host| settled.conflicts.iter().map(move |conflict| (host, conflict)));
        for (host, conflict) in conflicts {
            self.problems.of(route_ref(&conflict.route)).report("spec.rules", conflict.fault(host));
            if let Some(owner) = &conflict.owner {
                let outcome = &mut self.protection.entry(Arc::clone(owner)).or_default().hostnames;
                outcome.defended.entry(host.clone()).or_default().insert(conflict.route.namespace.clone());
            }
            let outcome = &mut self.protection.entry(Arc::clone(&conflict.route)).or_default().hostnames;
            outcome.conflicts.insert(format!("{host}{}", conflict.path), conflict.owner.clone());
        }
        // Several matches may have one path.
        let mut seen = BTreeSet::new();
        candidates
            .retain(|candidate| candidate.described.is_none() || seen.insert(candidate.route.matches.path.clone()));
        let described: Vec<&Described> = candidates.iter().filter_map(|candidate| candidate.described).collect();
        let routes: Vec<Arc<Route>> = candidates.iter().map(|candidate| Arc::clone(&candidate.route)).collect();
        let at_root = if settled.has_several_owners {
            Vec::new()
        } else {
            metadata::at_root(&routes, &described, &mut self.table)
        };
        at_root.into_iter().map(Arc::new).chain(settled.first).chain(routes).collect()
    }

    /// The policies of a host whose client nobody is told of, since another one's is: each says so.
    fn passed_over(&mut self, hostname: &Hostname, routes: &OnHost<'_>) -> BTreeSet<ObjectRef> {
        let view = self.world.view;
        let endpoints = routes.iter().filter(|route| route.rules.iter().any(|rule| rule.standing.is_endpoint));
        let owners: BTreeSet<&str> = endpoints.map(|route| route.attached.route.name.namespace.as_str()).collect();
        let rules = routes.iter().flat_map(|route| route.rules);
        let clients: BTreeSet<&Claimant> = rules.filter_map(|rule| rule.client.as_ref()).collect();
        // No namespace decides for another one's endpoints.
        let has_say = |claimant: &&Claimant| owners.len() < 2 || claimant.is_for_all();
        let first = in_place::first(clients.iter().copied().filter(has_say), view);
        let told = first.and_then(|first| Claim::of(first, view));
        let others = clients.iter().filter(|claimant| !has_say(claimant) || Claim::of(&claimant.policy, view) != told);
        let others: BTreeSet<ObjectRef> = others.map(|claimant| claimant.policy.clone()).collect();
        for policy in &others {
            let host = hostname.domain();
            let fault = first.map_or_else(|| in_place::not_alone(&host), |first| in_place::conflict(&host, first));
            self.problems.of(policy.clone()).report("spec.authentication.issuers[0].client", fault);
        }
        others
    }

    /// The virtual hosts of listeners that are not served: requests for them must not fall to a looser one.
    fn refused(&mut self, name: &str, refused: &[&Hostname]) -> Vec<(String, VirtualHost)> {
        let domains = refused.iter().map(|hostname| hostname.domain());
        domains.map(|domain| (domain.clone(), self.answering(503, name, domain))).collect()
    }

    /// Answers every request for a domain.
    fn answering(&mut self, status: u16, name: &str, domain: String) -> VirtualHost {
        let name = format!("{name}/{domain}");
        let route = Route {
            name: name.clone(),
            id: String::new(),
            matches: RouteMatch {
                path: PathMatch::Prefix("/".to_owned()),
                method: None,
                headers: Vec::new(),
                query: Vec::new(),
            },
            action: RouteAction::Respond { status },
            request_headers: HeaderChanges::default(),
            response_headers: HeaderChanges::default(),
            policy: self.table.add_harmless(),
            names_host: false,
            transport: config::Transport::default(),
        };
        VirtualHost { name, domains: vec![domain], origin: None, routes: vec![Arc::new(route)] }
    }

    /// Scheme and port by which clients know a host of the listener at hand.
    fn origin(&self, hostname: &Hostname) -> Option<String> {
        let Hostname::Exact(_) = hostname else { return None };
        let host = route_key::ANY_HOST;
        Some(match (self.secure, self.port) {
            (true, 443) => format!("https://{host}"),
            (true, port) => format!("https://{host}:{port}"),
            (false, 80) => format!("http://{host}"),
            (false, port) => format!("http://{host}:{port}"),
        })
    }

    fn routes_of(&mut self, listener: &str, attached: &AttachedRoute<'_>) -> Vec<RuleRoutes> {
        let route = attached.route;
        let mut rules = Vec::new();
        for (index, rule) in route.rules.iter().enumerate() {
            let (policy, told, client, standing) = self.policy(listener, attached, index, rule);
            let action = match &rule.action {
                RouteAction::Redirect(redirect) => RouteAction::Redirect(self.with_port(redirect.clone())),
                other => other.clone(),
            };
            let routes = rule.matches.iter().map(|(match_index, matches)| {
                let route = Route {
                    name: format!("{}/{index}/{match_index}", route.name),
                    id: route_id(&route.name, matches),
                    matches: matches.clone(),
                    action: action.clone(),
                    request_headers: rule.request_headers.clone(),
                    response_headers: rule.response_headers.clone(),
                    policy: policy.clone(),
                    names_host: self.table.names_endpoint(&policy),
                    transport: self.table.transport(&policy),
                };
                let table = &mut self.table;
                let described = told.as_ref().and_then(|told| Described::new(&route, told, rule.is_over_tls, table));
                (*match_index, Arc::new(route), described)
            });
            let routes = routes.collect();
            rules.push(RuleRoutes { index, standing, client, routes });
        }
        rules
    }

    /// Where a redirect names no port but another host or scheme, the port is the scheme's own, or else this listener's.
    /// One that the new URL has anyway is not written.
    fn with_port(&self, mut redirect: Redirect) -> Redirect {
        let well_known = match redirect.scheme.as_deref() {
            Some("https") => Some(443),
            Some(_) => Some(80),
            None => None,
        };
        redirect.port = match (redirect.port, &redirect.hostname) {
            (None, None) => well_known.filter(|_| !matches!(self.port, 80 | 443)),
            (port, hostname) => {
                let port = port.or(well_known).unwrap_or(self.port);
                let own = if self.secure { 443 } else { 80 };
                let implied = hostname.is_some() && port == well_known.unwrap_or(own);
                (!implied).then_some(port)
            }
        };
        redirect
    }
}
