//! What the policies on the way of a request make of it together.
//!
//! Gates add up: each policy with an authorization section must let a call pass. For authentication the most specific
//! section applies: rule, route, backend, listener, Gateway.

use std::collections::{BTreeMap, BTreeSet};

use toolward_policy::config::{Audience, Authentication, Gate, KeySet, Protocol, RoutePolicy};

use crate::resources::{Name, ObjectRef};

use super::in_place::IssuerAtGateway;
use super::metadata::Told;
use super::policies::{Attached, Content, Policies, conflict};
use super::problems::Fault;
use super::sections::{self, Asked};
use super::targets::Target;
use super::view::View;

/// It can't be told for which host a token must be.
const HOST_UNKNOWN: &str = "HostUnknown";

/// The way of a request through one rule.
#[derive(Clone, Debug)]
pub(super) struct Way<'a> {
    pub(super) gateway: &'a Name,
    pub(super) listener: &'a str,
    pub(super) route: &'a Name,
    pub(super) rule: Option<&'a str>,
    /// Where requests may end; `None` stands for a backend that policies can't attach to.
    pub(super) backends: &'a [Option<ObjectRef>],
}

/// Which policies stand on a way, level by level.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity(Vec<(String, Vec<*const Attached>)>);

/// What protects a way.
#[derive(Clone, Debug)]
pub(super) struct Protection {
    /// Names the attached policies by level, and nothing of their content: a policy that changes keeps its key, so that
    /// the filter's configuration changes alone and no route is ever without its policy.
    pub(super) key: String,
    /// The policies on the way.
    pub(super) attached: BTreeSet<ObjectRef>,
    pub(super) policy: RoutePolicy,
    /// Those that the policy names.
    pub(super) key_sets: BTreeMap<String, KeySet>,
    /// An issuer that the policy names, for clients that take the gateway for it.
    issuer_at_gateway: Option<IssuerAtGateway>,
    /// What is wrong with the way itself, where each policy is right.
    fault: Option<Fault>,
}

impl Protection {
    /// Who says what clients are told that are to log in.
    pub(super) fn told(&self) -> Option<Told> {
        match &self.policy {
            RoutePolicy::Protected { authentication: Authentication::Jwt { resource, .. }, .. } => {
                let issuer = self.issuer_at_gateway.clone();
                resource.clone().map(|resource| Told::Own { resource, issuer })
            }
            RoutePolicy::Protected { authentication: Authentication::Passthrough { public_url }, .. } => {
                Some(Told::Remote { public_url: public_url.clone() })
            }
            _ => None,
        }
    }

    /// Whether callers are verified.
    pub(super) fn verifies_callers(&self) -> bool {
        matches!(self.policy, RoutePolicy::Protected { authentication: Authentication::Jwt { .. }, .. })
    }

    /// Whether tokens must be for the URL of the endpoint, and the policy does not say how clients reach the gateway.
    fn takes_any_host(&self) -> bool {
        match &self.policy {
            RoutePolicy::Protected { authentication: Authentication::Jwt { issuers, resource, .. }, .. } => {
                let is_public = resource.as_ref().is_some_and(|resource| resource.public_url.is_some());
                !is_public && issuers.iter().any(|issuer| issuer.audience == Audience::Resource {})
            }
            _ => false,
        }
    }

    /// The same for a route that is for many hosts: closed where it must be known for which one a token is. A client could
    /// name whichever host it has a token for.
    pub(super) fn for_many_hosts(self) -> Self {
        if !self.takes_any_host() {
            return self;
        }
        let message = "tokens must be for the URL of the endpoint, but neither the route nor its listener says for which \
                       host; give one of them hostnames without `*`, or the policy resource.publicURL or audiences";
        let key = format!("{}; any host", self.key);
        Self { key, ..self.closed(Fault::new(HOST_UNKNOWN, message)) }
    }

    /// What is wrong with the way itself, by the field of the route.
    pub(super) fn fault(&self, rule: usize) -> Option<(String, Fault)> {
        let fault = self.fault.clone()?;
        let field = match fault.reason {
            HOST_UNKNOWN => "spec.hostnames".to_owned(),
            _ => format!("spec.rules[{rule}].backendRefs"),
        };
        Some((field, fault))
    }

    /// The same, closed.
    pub(super) fn closed(self, fault: Fault) -> Self {
        let policy = RoutePolicy::Closed { reason: fault.reason.to_owned(), message: fault.message.clone() };
        Self { policy, key_sets: BTreeMap::new(), issuer_at_gateway: None, fault: Some(fault), ..self }
    }
}

/// The policies of one level.
#[derive(Debug)]
struct Level<'p> {
    label: String,
    policies: Vec<&'p Attached>,
}

/// The levels of a way, from the outside to the inside.
#[derive(Debug)]
pub(super) struct Levels<'p> {
    gateway: Level<'p>,
    listener: Level<'p>,
    route: Level<'p>,
    rule: Level<'p>,
    /// One for each backend.
    backends: Vec<Level<'p>>,
}

impl<'p> Levels<'p> {
    /// The policies on a way.
    pub(super) fn new(policies: &'p Policies, way: &Way<'_>, view: &View<'_>) -> Self {
        let level =
            |label: &str, target: Target| Level { label: label.to_owned(), policies: policies.of(&target, view) };
        let distinct: BTreeSet<_> = way.backends.iter().collect();
        let single = distinct.len() == 1;
        let backends = distinct.into_iter().map(|backend| match backend {
            Some(backend) if single => level("backend", Target::Backend(backend.clone())),
            Some(backend) => level(&format!("backend {backend}"), Target::Backend(backend.clone())),
            None => Level { label: "service".to_owned(), policies: Vec::new() },
        });
        Self {
            gateway: level("gateway", Target::Gateway(way.gateway.clone())),
            listener: level("listener", Target::Listener(way.gateway.clone(), way.listener.to_owned())),
            route: level("route", Target::Route(way.route.clone())),
            rule: match way.rule {
                Some(rule) => level("rule", Target::Rule(way.route.clone(), rule.to_owned())),
                None => Level { label: "rule".to_owned(), policies: Vec::new() },
            },
            backends: backends.collect(),
        }
    }

    /// What protects the way; `None`: no policy does.
    pub(super) fn protection(&self) -> Option<Protection> {
        self.all().next()?;
        let attached = || self.all().map(|attached| attached.policy.clone()).collect();
        let closed = |reason: String, message: String| Protection {
            key: self.key(),
            attached: attached(),
            policy: RoutePolicy::Closed { reason, message },
            key_sets: BTreeMap::new(),
            issuer_at_gateway: None,
            fault: None,
        };
        for attached in self.all() {
            if let Content::Broken { reason, message } = &*attached.content {
                return Some(closed(reason.clone(), message.clone()));
            }
        }
        if let Some(fault) = self.each().find_map(|level| conflict(level.policies.iter().copied())) {
            return Some(closed(fault.reason.to_owned(), fault.message));
        }
        let authentication = match self.authentication() {
            Ok(authentication) => authentication,
            Err(fault) => {
                let closed = closed(fault.reason.to_owned(), fault.message.clone());
                return Some(Protection { fault: Some(fault), ..closed });
            }
        };
        let key_sets = authentication.map(|(_, asked)| asked.key_sets()).unwrap_or_default();
        let issuer_at_gateway = authentication.and_then(|(_, asked)| asked.issuer_at_gateway().cloned());
        let authentication = match authentication {
            Some((policy, asked)) => asked.authentication(policy.name.to_string()),
            None => Authentication::Anonymous {},
        };
        let policy = RoutePolicy::Protected { authentication, gates: self.gates(), protocol: self.protocol() };
        Some(Protection { key: self.key(), attached: attached(), policy, key_sets, issuer_at_gateway, fault: None })
    }

    /// Which policies these are. INVARIANT: they are told by their places in memory, so this is compared only while the
    /// policies are borrowed, and nothing goes by its order.
    pub(super) fn identity(&self) -> Identity {
        let policies =
            |level: &Level<'_>| level.policies.iter().map(|attached| std::ptr::from_ref(*attached)).collect();
        Identity(self.each().map(|level| (level.label.clone(), policies(level))).collect())
    }

    /// Whether each backend has a policy of its own.
    pub(super) fn guards_backends(&self) -> bool {
        !self.backends.is_empty() && self.backends.iter().all(|backend| !backend.policies.is_empty())
    }

    fn each(&self) -> impl Iterator<Item = &Level<'p>> {
        [&self.gateway, &self.listener, &self.route, &self.rule].into_iter().chain(&self.backends)
    }

    fn all(&self) -> impl Iterator<Item = &'p Attached> {
        self.each().flat_map(|level| level.policies.iter().copied())
    }

    fn key(&self) -> String {
        // Several backends count even where they have no policy: whether all have the same decides as well.
        let several = self.backends.len() > 1 && self.backends.iter().any(|level| !level.policies.is_empty());
        let outer = [&self.gateway, &self.listener, &self.route, &self.rule].into_iter();
        let outer = outer.filter(|level| !level.policies.is_empty());
        let backends = self.backends.iter().filter(|level| several || !level.policies.is_empty());
        let parts = outer.chain(backends).map(|level| {
            let names: Vec<_> = level.policies.iter().map(|attached| attached.label()).collect();
            format!("{}: {}", level.label, if names.is_empty() { "none".to_owned() } else { names.join(", ") })
        });
        parts.collect::<Vec<_>>().join("; ")
    }

    /// The section that applies, with the policy that it is of.
    fn authentication(&self) -> Result<Option<(&'p ObjectRef, &'p Asked)>, Fault> {
        if let Some(specific) = self.rule.authentication().or_else(|| self.route.authentication()) {
            return Ok(Some(specific));
        }
        let outer = self.listener.authentication().or_else(|| self.gateway.authentication());
        let mut effective = self.backends.iter().map(|backend| backend.authentication().or(outer));
        let Some(first) = effective.next() else { return Ok(outer) };
        let asked = |section: Option<(_, &'p Asked)>| section.map(|(_, asked)| asked);
        if effective.all(|other| asked(other) == asked(first)) {
            return Ok(first);
        }
        let message = "the policies of this rule's backends differ in whose tokens they accept; the rule is closed until \
                       it, or its route, has a policy with an authentication section of its own";
        Err(Fault::new("Conflicted", message))
    }

    fn gates(&self) -> Vec<Gate> {
        let mut seen = BTreeSet::new();
        let attached = self.all().filter(|attached| seen.insert(&attached.policy));
        let gates = attached.filter_map(|attached| match &*attached.content {
            Content::Working(sections) => sections.gate.clone(),
            Content::Broken { .. } => None,
        });
        gates.collect()
    }

    fn protocol(&self) -> Protocol {
        let sections: Vec<_> = self.all().collect();
        sections::protocol(sections.iter().filter_map(|attached| match &*attached.content {
            Content::Working(sections) => Some(&sections.protocol),
            Content::Broken { .. } => None,
        }))
    }
}

impl<'p> Level<'p> {
    fn authentication(&self) -> Option<(&'p ObjectRef, &'p Asked)> {
        self.policies.iter().find_map(|attached| match &*attached.content {
            Content::Working(sections) => sections.authentication.as_ref().map(|asked| (&attached.policy, asked)),
            Content::Broken { .. } => None,
        })
    }
}
