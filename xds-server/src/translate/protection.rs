//! What the policies on the way of a request make of it together.
//!
//! Gates add up: each policy with an authorization section must let a call pass. For authentication the most specific
//! section applies: rule, route, backend, listener, Gateway; it narrows the others (see [`super::narrowing`]).

use std::collections::{BTreeMap, BTreeSet};

use toolward_policy::config::{
    Audience, Authentication, Batches, Gate, KeySet, Protocol, RoutePolicy, SessionBinding, Transport,
};

use crate::resources::mcp::ProtocolSpec;
use crate::resources::{Name, ObjectRef};

use super::in_place::IssuerAtGateway;
use super::metadata::Told;
use super::narrowing::{Chain, Complaint, LEVELS, Section, working};
use super::policies::{Attached, Content, Policies, conflict};
use super::problems::Fault;
use super::sections::{self, Sections};
use super::targets::Target;
use super::view::View;

/// It can't be told for which host a token must be.
pub const HOST_UNKNOWN: &str = "HostUnknown";

/// A token for one server would go to another one.
const SEVERAL_SERVERS: &str = "PassthroughToSeveralServers";

/// A policy says what a less specific one does not let it.
const NO_EFFECT: &str = "NotLoosened";

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

impl Way<'_> {
    /// All that policies can be attached to on it.
    pub(super) fn targets(&self) -> impl Iterator<Item = Target> {
        let rule = self.rule.map(|rule| Target::Rule(self.route.clone(), rule.to_owned()));
        let outer = [
            Target::Gateway(self.gateway.clone()),
            Target::Listener(self.gateway.clone(), self.listener.to_owned()),
            Target::Route(self.route.clone()),
        ];
        outer.into_iter().chain(rule).chain(self.backends.iter().flatten().cloned().map(Target::Backend))
    }
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
    pub(super) issuer_at_gateway: Option<IssuerAtGateway>,
    /// The policy whose authentication section applies.
    pub(super) asking: Option<ObjectRef>,
    /// Which of several authentication sections applies, in words.
    pub(super) applying: Option<String>,
    /// What is wrong with policies where they meet.
    pub(super) complaints: Vec<Complaint>,
    /// What policies say in vain.
    pub(super) notes: Vec<Complaint>,
    /// What is wrong with the way itself, where each policy is right.
    pub(super) fault: Option<Fault>,
}

impl Protection {
    /// Of these policies, with nothing else to be said.
    pub(super) fn new(key: String, attached: BTreeSet<ObjectRef>, policy: RoutePolicy) -> Self {
        Self {
            key,
            attached,
            policy,
            key_sets: BTreeMap::new(),
            issuer_at_gateway: None,
            asking: None,
            applying: None,
            complaints: Vec::new(),
            notes: Vec::new(),
            fault: None,
        }
    }

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
            RoutePolicy::Remote {} => Some(Told::Remote { public_url: None }),
            _ => None,
        }
    }

    /// Whether every request is denied.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.policy, RoutePolicy::Closed { .. })
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
        let fault = Fault::new(HOST_UNKNOWN, message);
        let complaint = self.asking.clone().map(|policy| {
            let field = "spec.authentication.issuers".to_owned();
            Complaint { policy, field, fault: fault.clone() }
        });
        let complaints = self.complaints.iter().cloned().chain(complaint).collect();
        Self { key, complaints, ..self.closed(fault) }
    }

    /// The same for a rule with several servers: closed where a caller's token goes through. It is for one server, and the
    /// others could use it there.
    pub(super) fn for_several_servers(self, some_are_remote: bool) -> Self {
        let passes_tokens = match &self.policy {
            RoutePolicy::Protected { authentication, .. } => {
                matches!(authentication, Authentication::Passthrough { .. })
            }
            RoutePolicy::Remote {} => true,
            // A server outside asks for tokens of its own, whatever the others do.
            RoutePolicy::Open {} => some_are_remote,
            _ => false,
        };
        if !passes_tokens {
            return self;
        }
        let message = "with passthrough, or without a policy, the token that a caller has for one server would go to another \
                       one; give each of the backendRefs a rule of its own, with a path or hostname of its own";
        let key = format!("{}; several servers", self.key);
        Self { key, ..self.closed(Fault::new(SEVERAL_SERVERS, message)) }
    }

    /// What is wrong with policies on the way of a route. What is wrong with the route as well is told of policies beside it
    /// alone: who writes routes in one namespace has no say in the status of another's policies.
    pub(super) fn complaints(&self, route: &Name) -> impl Iterator<Item = &Complaint> {
        let is_told = |complaint: &&Complaint| {
            complaint.fault.reason != HOST_UNKNOWN || complaint.policy.name.namespace == route.namespace
        };
        self.complaints.iter().filter(is_told)
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
        let key_sets = BTreeMap::new();
        Self { policy, key_sets, issuer_at_gateway: None, applying: None, fault: Some(fault), ..self }
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
        let of = |policy| Protection::new(self.key(), attached(), policy);
        let closed = |reason: String, message: String| RoutePolicy::Closed { reason, message };
        for attached in self.all() {
            if let Content::Broken { reason, message } = &*attached.content {
                return Some(of(closed(reason.clone(), message.clone())));
            }
        }
        if let Some(fault) = self.each().find_map(|level| conflict(level.policies.iter().copied())) {
            return Some(of(closed(fault.reason.to_owned(), fault.message)));
        }
        let chains = self.chains();
        let complaints: Vec<Complaint> = chains.iter().flat_map(Chain::complaints).collect();
        if let Some(Complaint { fault, .. }) = complaints.first() {
            let closed = of(closed(fault.reason.to_owned(), fault.message.clone()));
            return Some(Protection { complaints, ..closed });
        }
        let section = match applying(&chains) {
            Ok(section) => section,
            Err(fault) => {
                let closed = of(closed(fault.reason.to_owned(), fault.message.clone()));
                return Some(Protection { fault: Some(fault), ..closed });
            }
        };
        let key_sets = section.map(|section| section.asked.key_sets()).unwrap_or_default();
        let asking = section.map(|section| section.policy().clone());
        let issuer_at_gateway = section.and_then(|section| section.asked.issuer_at_gateway().cloned());
        let authentication = match section {
            Some(section) => section.asked.authentication(section.policy().name.to_string()),
            None => Authentication::Anonymous {},
        };
        let applying: BTreeSet<String> = chains.iter().filter_map(Chain::told).collect();
        let applying: Vec<String> = applying.into_iter().collect();
        let (protocol, notes) = self.protocol();
        let policy = RoutePolicy::Protected { authentication, gates: self.gates(), protocol };
        let applying = (!applying.is_empty()).then(|| applying.join("; "));
        Some(Protection { key_sets, issuer_at_gateway, asking, applying, notes, ..of(policy) })
    }

    /// The policies from the most to the least specific with their levels, whether they can be carried out or not.
    pub(super) fn inside_first(&self) -> impl Iterator<Item = (usize, &'p ObjectRef)> {
        let backends = self.backends.iter().map(|level| (2, level));
        let levels = [(4, &self.rule), (3, &self.route)].into_iter().chain(backends);
        let levels = levels.chain([(1, &self.listener), (0, &self.gateway)]);
        levels.flat_map(|(index, level)| level.policies.iter().map(move |attached| (index, &attached.policy)))
    }

    /// The policies on the way to each backend, from the outside to the inside.
    fn chains(&self) -> Vec<Chain<'_, 'p>> {
        if self.backends.is_empty() {
            vec![self.chain(None)]
        } else {
            self.backends.iter().map(|one| self.chain(Some(one))).collect()
        }
    }

    fn chain<'l>(&'l self, backend: Option<&'l Level<'p>>) -> Chain<'l, 'p> {
        let of = |level: &'l Level<'p>| level.policies.as_slice();
        let backend = backend.map(of).unwrap_or_default();
        Chain([of(&self.gateway), of(&self.listener), backend, of(&self.route), of(&self.rule)])
    }

    /// Whether policies open all of the way on purpose: one outside of the backends, or one at each of them.
    pub(super) fn are_opened(&self) -> bool {
        let opens = |attached: &&Attached| matches!(&*attached.content, Content::Working(sections) if sections.opens);
        let opened = |level: &Level<'_>| level.policies.iter().any(opens);
        let outer = [&self.gateway, &self.listener, &self.route, &self.rule];
        outer.into_iter().any(opened) || (!self.backends.is_empty() && self.backends.iter().all(opened))
    }

    /// Which policies these are. INVARIANT: they are told by their places in memory, so this is compared only while the
    /// policies are borrowed, and nothing goes by its order.
    pub(super) fn identity(&self) -> Identity {
        let policies =
            |level: &Level<'_>| level.policies.iter().map(|attached| std::ptr::from_ref(*attached)).collect();
        Identity(self.each().map(|level| (level.label.clone(), policies(level))).collect())
    }

    /// Whether each backend has a policy of its own that asks for something.
    pub(super) fn guards_backends(&self) -> bool {
        let asks = |attached: &&Attached| match &*attached.content {
            Content::Working(sections) => sections.ask(),
            Content::Broken { .. } => true,
        };
        !self.backends.is_empty() && self.backends.iter().all(|backend| backend.policies.iter().any(asks))
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

    fn gates(&self) -> Vec<Gate> {
        let mut seen = BTreeSet::new();
        let attached = self.all().filter(|attached| seen.insert(&attached.policy));
        let gates = attached.filter_map(|attached| match &*attached.content {
            Content::Working(sections) => sections.gate.clone(),
            Content::Broken { .. } => None,
        });
        gates.collect()
    }

    /// What the policies ask for together, and what of it has no effect. A request may go to each of the backends, so what holds
    /// on the way to one of them holds for all.
    fn protocol(&self) -> (Protocol, Vec<Complaint>) {
        let chains = self.chains();
        let up_to = |count: usize| sections::strictest(chains.iter().map(|chain| chain.protocol(count)));
        let mut notes = Vec::new();
        for index in 0..LEVELS {
            // What is further inside may be stricter without making anything vain.
            let holds = up_to(index + 1);
            let level = chains.iter().filter_map(|chain| chain.0.get(index)).copied().flatten();
            for (attached, Sections { protocol: said, .. }) in level.filter_map(|one| Some((one, working(one)?))) {
                let note = |field| Complaint {
                    policy: attached.policy.clone(),
                    field: format!("spec.protocol.{field}"),
                    fault: Fault::new(
                        NO_EFFECT,
                        "it is looser than what holds by a less specific policy on the way of requests, or on the way to \
                         another backend of the rule",
                    ),
                };
                let found = in_vain(said, &holds).into_iter().map(note);
                notes.extend(found.filter(|note| !notes.contains(note)).collect::<Vec<_>>());
            }
        }
        (up_to(LEVELS), notes)
    }
}

/// The fields that say something looser than what holds; of transports that is the one that gives way.
fn in_vain(said: &ProtocolSpec, holds: &Protocol) -> Vec<&'static str> {
    let mut fields = Vec::new();
    if said.batches == Some(Batches::Allow) && holds.batches != Batches::Allow {
        fields.push("batches");
    }
    if said.session_binding == Some(SessionBinding::None) && holds.session_binding != SessionBinding::None {
        fields.push("sessionBinding");
    }
    if said.transport.is_some_and(|said| said != holds.transport && said != Transport::default()) {
        fields.push("transport");
    }
    let origins = said.allowed_origins.as_deref().unwrap_or_default();
    let allowed = |origin: &String| holds.allowed_origins.iter().any(|one| one == origin || one == "*");
    if !origins.iter().all(allowed) {
        fields.push("allowedOrigins");
    }
    fields
}

/// The section that applies to the ways to all backends.
fn applying<'p>(chains: &[Chain<'_, 'p>]) -> Result<Option<Section<'p>>, Fault> {
    let mut sections = chains.iter().map(Chain::applying);
    let first = sections.next().flatten();
    let asked = |section: Option<Section<'p>>| section.map(|section| section.asked);
    if sections.all(|other| asked(other) == asked(first)) {
        return Ok(first);
    }
    let message = "the policies of this rule's backends differ in whose tokens they accept; the rule is closed until \
                   it, or its route, has a policy with an authentication section that narrows them all";
    Err(Fault::new("Conflicted", message))
}
