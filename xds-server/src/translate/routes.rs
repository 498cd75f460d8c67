//! HTTPRoutes, read once each: what their rules match and what is done with a request.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use gateway_api::httproutes::{HttpRoute, HttpRouteRules, HttpRouteRulesBackendRefs};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::model::{
    Cluster, Forward, HeaderChanges, INVALID_BACKEND, PathMatch, RouteAction, RouteMatch, WeightedCluster,
};
use crate::resources::{Name, ObjectRef};

use super::attach::Attachments;
use super::backends::{BackendRef, Backends, Upstream};
use super::filters::{self, Matched, Rewrite, RuleFilters};
use super::gateways::CONTROLLER_NAME;
use super::matches;
use super::outcome::{HostnameOutcome, RouteOutcome};
use super::problems::{Fault, Reporter, route_ref};
use super::syntax;
use super::view::View;

/// What Gateway API asks for where a rule can't be honoured, or has no valid backend.
const INTERNAL_SERVER_ERROR: RouteAction = RouteAction::Respond { status: 500 };

/// An HTTPRoute.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ParsedRoute {
    pub(super) name: Arc<Name>,
    pub(super) created: Option<Time>,
    /// The hostnames that its status says are its own, by Gateway.
    pub(super) held: Box<[(Name, Box<[String]>)]>,
    pub(super) rules: Box<[ParsedRule]>,
    /// The Services that its rules name, themselves or through an MCP server's description, sorted.
    pub(super) services: Arc<[Name]>,
}

/// A rule of an HTTPRoute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ParsedRule {
    /// Where policies can name it.
    pub(super) name: Option<String>,
    /// With their indexes.
    pub(super) matches: Box<[(usize, RouteMatch)]>,
    pub(super) action: RouteAction,
    pub(super) request_headers: HeaderChanges,
    pub(super) response_headers: HeaderChanges,
    /// Whether one of its backends is shown a credential, whoever calls.
    pub(super) has_credential: bool,
    /// Whether all of its backends are servers outside.
    pub(super) is_remote: bool,
    /// Whether one of them is.
    pub(super) is_partly_remote: bool,
    /// Whether all of its backends are spoken to over TLS.
    pub(super) is_over_tls: bool,
    /// The backends among the action's that policies can attach to; `None` stands for the others.
    pub(super) policy_targets: Box<[Option<ObjectRef>]>,
    /// The namespaces of its backends, without the route's own, sorted.
    pub(super) namespaces: Box<[String]>,
    /// The servers that it leads to, sorted.
    pub(super) servers: Arc<[String]>,
    /// Whether it can be honoured as it is written, wherever its backends are.
    pub(super) valid: bool,
}

/// Reads a route, and the clusters that its actions need, by name. They are apart from the route, so that one of which only
/// endpoints change stays what it is.
pub(super) fn parse(
    name: &Arc<Name>,
    route: &HttpRoute,
    backends: &Backends,
    view: &View<'_>,
    reporter: &mut Reporter<'_, '_>,
) -> (ParsedRoute, Vec<(String, Arc<Cluster>)>) {
    let default = [HttpRouteRules::default()];
    let written = route.spec.rules.as_deref().filter(|rules| !rules.is_empty()).unwrap_or(&default);
    let mut all_matches_hold = true;
    let (mut rules, mut clusters) = (Vec::new(), Vec::new());
    for (index, rule) in written.iter().enumerate() {
        let field = format!("spec.rules[{index}]");
        let (matches, hold) = parse_matches(rule, &field, reporter);
        all_matches_hold &= hold;
        let (rule, needed) = parse_rule(name, rule, matches, &field, backends, view, reporter);
        rules.push(rule);
        clusters.extend(needed);
    }
    let references = written.iter().flat_map(|rule| rule.backend_refs.iter().flatten());
    let services =
        references.filter_map(|reference| backends.service(&route_ref(name), &target(name, reference), view));
    let services: BTreeSet<Name> = services.collect();
    let mut parsed = ParsedRoute {
        name: Arc::clone(name),
        created: route.metadata.creation_timestamp.clone(),
        held: held(name, route),
        services: services.into_iter().collect(),
        rules: rules.into(),
    };
    if !all_matches_hold {
        parsed.refuse();
        clusters.clear();
    }
    (parsed, clusters)
}

/// What we wrote there ourselves.
fn held(name: &Name, route: &HttpRoute) -> Box<[(Name, Box<[String]>)]> {
    let parents = route.status.iter().flat_map(|status| &status.parents);
    let ours = parents.filter(|parent| parent.controller_name == CONTROLLER_NAME);
    let held = ours.filter_map(|parent| {
        let reference = &parent.parent_ref;
        let gateway = Name::new(reference.namespace.as_ref().unwrap_or(&name.namespace), &reference.name);
        let mut conditions = parent.conditions.iter();
        let condition = conditions.find(|it| it.type_ == HostnameOutcome::HELD && it.status == "True")?;
        Some((gateway, condition.message.split_whitespace().map(str::to_owned).collect()))
    });
    held.collect::<BTreeSet<_>>().into_iter().collect()
}

impl ParsedRoute {
    /// INVARIANT: a request that a broken match was meant to catch must not fall to a looser rule.
    pub(super) fn refuse(&mut self) {
        self.rules.iter_mut().for_each(|rule| rule.refuse(INTERNAL_SERVER_ERROR));
    }

    /// The same for one that is past a quota.
    pub(super) fn closed(&self) -> Self {
        let mut closed = self.clone();
        closed.rules.iter_mut().for_each(|rule| rule.refuse(RouteAction::Respond { status: 503 }));
        closed
    }

    /// What is known before it is known what protects it.
    pub(super) fn outcome(&self, attachments: &Attachments) -> RouteOutcome {
        let invalid = self.rules.iter().enumerate().filter(|(_, rule)| !rule.valid);
        let backends: BTreeSet<&ObjectRef> =
            self.rules.iter().flat_map(|rule| rule.policy_targets.iter().flatten()).collect();
        RouteOutcome {
            parents: Arc::clone(&attachments.parents),
            rules: self.rules.len(),
            invalid: invalid.map(|(index, _)| index).collect(),
            backends: backends.into_iter().cloned().collect(),
            services: Arc::clone(&self.services),
            protection: Box::default(),
        }
    }
}

impl ParsedRule {
    /// Whether requests may go to one server or to another one.
    pub(super) fn has_several_servers(&self) -> bool {
        let RouteAction::Forward(forward) = &self.action else { return false };
        let servers = forward.clusters.iter().map(|share| share.cluster.as_str());
        servers.filter(|cluster| *cluster != INVALID_BACKEND).collect::<BTreeSet<_>>().len() > 1
    }

    fn refuse(&mut self, action: RouteAction) {
        self.action = action;
        self.request_headers = HeaderChanges::default();
        self.response_headers = HeaderChanges::default();
        self.policy_targets = Box::default();
        self.namespaces = Box::default();
        self.servers = Arc::default();
        self.valid = false;
    }
}

/// The matches, and whether all of them hold.
fn parse_matches(
    rule: &HttpRouteRules,
    field: &str,
    reporter: &mut Reporter<'_, '_>,
) -> (Vec<(usize, RouteMatch)>, bool) {
    let written = rule.matches.as_deref().unwrap_or_default();
    if written.is_empty() {
        return (vec![(0, matches::any())], true);
    }
    let mut parsed = Vec::new();
    let mut hold = true;
    for (index, written) in written.iter().enumerate() {
        let (matches, faults) = matches::parse(written);
        parsed.push((index, matches));
        for (part, fault) in faults {
            hold = false;
            let message = format!("{}; all rules of this route answer 500 until this is right", fault.message);
            reporter.report(format!("{field}.matches[{index}]{part}"), Fault::new(fault.reason, message));
        }
    }
    (parsed, hold)
}

fn parse_rule(
    route: &Name,
    rule: &HttpRouteRules,
    matches: Vec<(usize, RouteMatch)>,
    field: &str,
    backends: &Backends,
    view: &View<'_>,
    reporter: &mut Reporter<'_, '_>,
) -> (ParsedRule, Vec<(String, Arc<Cluster>)>) {
    let prefixes = matches.iter().all(|(_, matches)| matches!(matches.path, PathMatch::Prefix(_)));
    let matched = if prefixes { Matched::Prefixes } else { Matched::Other };
    let filters = filters::of_rule(rule.filters.as_deref().unwrap_or_default(), matched, field, reporter);
    let timeouts = timeouts(rule, field, reporter);
    let destinations = destinations(route, rule, field, backends, view, reporter);
    let mut parsed = ParsedRule {
        name: rule.name.clone(),
        matches: matches.into(),
        action: INTERNAL_SERVER_ERROR,
        request_headers: HeaderChanges::default(),
        response_headers: HeaderChanges::default(),
        has_credential: false,
        is_remote: false,
        is_partly_remote: false,
        is_over_tls: false,
        policy_targets: Box::default(),
        namespaces: Box::default(),
        servers: Arc::default(),
        valid: destinations.iter().all(|destination| destination.valid),
    };
    let acts = match (filters, timeouts) {
        (Some(filters), Some(timeouts)) => parsed.act(filters, timeouts, destinations, field, reporter),
        _ => None,
    };
    parsed.valid &= acts.is_some();
    (parsed, acts.unwrap_or_default())
}

impl ParsedRule {
    /// Gives the clusters that the action needs; `None` after reporting what is wrong.
    fn act(
        &mut self,
        filters: RuleFilters,
        timeouts: Timeouts,
        destinations: Vec<Destination>,
        field: &str,
        reporter: &mut Reporter<'_, '_>,
    ) -> Option<Vec<(String, Arc<Cluster>)>> {
        if let Some(redirect) = filters.redirect {
            if !destinations.is_empty() {
                let message = "a rule with a RequestRedirect can't have backendRefs";
                reporter.report(format!("{field}.backendRefs"), Fault::new("IncompatibleFilters", message));
                return None;
            }
            self.action = RouteAction::Redirect(redirect);
            self.response_headers = filters.response_headers.unwrap_or_default();
            return Some(Vec::new());
        }
        let used = || destinations.iter().filter(|destination| destination.weight > 0);
        let upstreams = || used().filter_map(|destination| destination.upstream.as_ref());
        let backend_timeout = common_timeout(upstreams());
        let backend_timeout = reporter.accept(format!("{field}.backendRefs"), backend_timeout)?;
        if destinations.is_empty() {
            let message =
                "the rule has neither backendRefs nor a RequestRedirect: every request for it is answered 500";
            reporter.note(field, Fault::new("NoBackends", message));
        }
        if upstreams().next().is_none() {
            return Some(Vec::new());
        }
        let rewrite = filters.rewrite.unwrap_or_default();
        if let Some(fault) = rewrite_fault(&rewrite, upstreams()) {
            reporter.report(format!("{field}.filters"), fault);
            return None;
        }
        let clusters = upstreams().map(|upstream| (upstream.cluster_name.clone(), Arc::clone(&upstream.cluster)));
        let clusters = clusters.collect();
        self.has_credential = upstreams().any(|upstream| upstream.cluster.credential.is_some());
        self.is_remote = upstreams().all(|upstream| upstream.host.is_some());
        self.is_partly_remote = upstreams().any(|upstream| upstream.host.is_some());
        self.is_over_tls = upstreams().all(|upstream| upstream.cluster.tls.is_some());
        self.policy_targets = upstreams().map(|upstream| upstream.policy_target.clone()).collect();
        let elsewhere = used().filter(|used| used.upstream.is_some()).filter_map(|used| used.elsewhere.clone());
        self.namespaces = elsewhere.collect::<BTreeSet<_>>().into_iter().collect();
        let servers: BTreeSet<String> = upstreams().map(|upstream| upstream.server.clone()).collect();
        self.servers = servers.into_iter().collect();
        self.action = RouteAction::Forward(Forward {
            clusters: shares(used()).into(),
            path: rewrite.path,
            host: rewrite.host,
            request_timeout: timeouts.request,
            first_byte_timeout: backend_timeout.filter(|limit| !limit.is_zero()),
            backend_timeout: timeouts.backend,
        });
        self.request_headers = filters.request_headers.unwrap_or_default();
        self.response_headers = filters.response_headers.unwrap_or_default();
        Some(clusters)
    }
}

/// A backendRef.
struct Destination {
    weight: u32,
    /// Its namespace, where that is not the route's.
    elsewhere: Option<String>,
    /// Whether weight and filters are right.
    valid: bool,
    /// `None`: invalid, as a problem says.
    upstream: Option<Upstream>,
    filters: filters::BackendFilters,
}

fn destinations(
    route: &Name,
    rule: &HttpRouteRules,
    field: &str,
    backends: &Backends,
    view: &View<'_>,
    reporter: &mut Reporter<'_, '_>,
) -> Vec<Destination> {
    let written = rule.backend_refs.iter().flatten().enumerate();
    written
        .map(|(index, reference)| {
            let field = format!("{field}.backendRefs[{index}]");
            let weight = u32::try_from(reference.weight.unwrap_or(1)).ok().filter(|weight| *weight <= 1_000_000);
            let weight = weight.ok_or_else(|| Fault::unsupported("a weight is a number from 0 to 1000000"));
            let weight = reporter.accept(format!("{field}.weight"), weight);
            let upstream =
                reporter.accept(&field, backends.resolve(&route_ref(route), &target(route, reference), view));
            let filters = filters::of_backend(reference.filters.as_deref().unwrap_or_default(), &field, reporter);
            let valid = weight.is_some() && filters.is_some();
            let upstream = upstream.filter(|_| valid);
            let elsewhere = reference.namespace.clone().filter(|namespace| *namespace != route.namespace);
            let filters = filters.unwrap_or_default();
            Destination { weight: weight.unwrap_or(1), elsewhere, valid, upstream, filters }
        })
        .collect()
}

fn target<'a>(route: &Name, reference: &'a HttpRouteRulesBackendRefs) -> BackendRef<'a> {
    BackendRef {
        group: reference.group.as_deref().unwrap_or_default(),
        kind: reference.kind.as_deref().unwrap_or("Service"),
        name: Name::new(reference.namespace.as_ref().unwrap_or(&route.namespace), &reference.name),
        port: reference.port,
    }
}

fn shares<'d>(destinations: impl Iterator<Item = &'d Destination>) -> Vec<WeightedCluster> {
    let mut shares = Vec::new();
    let mut invalid = 0_u32;
    for Destination { weight, upstream, filters, .. } in destinations {
        match upstream {
            Some(upstream) => shares.push(WeightedCluster {
                cluster: upstream.cluster_name.clone(),
                weight: *weight,
                path: upstream.path.clone(),
                host: upstream.host.clone(),
                request_headers: filters.request_headers.clone().unwrap_or_default(),
                response_headers: filters.response_headers.clone().unwrap_or_default(),
            }),
            None => invalid = invalid.saturating_add(*weight),
        }
    }
    if invalid > 0 {
        shares.push(WeightedCluster {
            cluster: INVALID_BACKEND.to_owned(),
            weight: invalid,
            path: None,
            host: None,
            request_headers: HeaderChanges::default(),
            response_headers: HeaderChanges::default(),
        });
    }
    shares
}

/// The timeouts of a rule; zero: no limit by wish of the user.
#[derive(Clone, Copy, Debug, Default)]
struct Timeouts {
    request: Option<Duration>,
    backend: Option<Duration>,
}

/// Reads timeouts; `None` after reporting what is wrong.
fn timeouts(rule: &HttpRouteRules, field: &str, reporter: &mut Reporter<'_, '_>) -> Option<Timeouts> {
    let Some(written) = &rule.timeouts else { return Some(Timeouts::default()) };
    let request = written.request.as_deref().map(syntax::duration).transpose();
    let request = reporter.accept(format!("{field}.timeouts.request"), request);
    let backend = written.backend_request.as_deref().map(syntax::duration).transpose();
    let backend = reporter.accept(format!("{field}.timeouts.backendRequest"), backend);
    let (request, backend) = (request?, backend?);
    let too_long = match (request, backend) {
        (Some(request), Some(backend)) => !request.is_zero() && backend > request,
        _ => false,
    };
    if too_long {
        let fault = Fault::unsupported("backendRequest can't be longer than request");
        reporter.report(format!("{field}.timeouts.backendRequest"), fault);
        return None;
    }
    Some(Timeouts { request, backend })
}

/// What a rule can't rewrite: where requests end that its backends name themselves, and for which host a credential of theirs is
/// shown. Else a route that may use a backend could reach all else at its server.
fn rewrite_fault<'u>(rewrite: &Rewrite, mut upstreams: impl Iterator<Item = &'u Upstream>) -> Option<Fault> {
    upstreams.find_map(|upstream| {
        if rewrite.path.is_some() && upstream.path.is_some() {
            let message = "URLRewrite.path can't be honoured: the MCPBackend has a path of its own";
            return Some(Fault::unsupported(message));
        }
        let renames = rewrite.host.is_some() && upstream.cluster.credential.is_some();
        renames.then(|| {
            Fault::unsupported(
                "URLRewrite.hostname can't be honoured: the MCPBackend has credentials, which are for its own host",
            )
        })
    })
}

/// The timeout that all backends of a rule ask for.
fn common_timeout<'u>(mut upstreams: impl Iterator<Item = &'u Upstream>) -> Result<Option<Duration>, Fault> {
    let first = upstreams.next().and_then(|upstream| upstream.request_timeout);
    if upstreams.all(|upstream| upstream.request_timeout == first) {
        return Ok(first);
    }
    Err(Fault::unsupported("these backends have different request timeouts; give each a rule of its own"))
}
