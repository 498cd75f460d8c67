//! Which policies stand on the way of a request.
//!
//! INVARIANT: a policy that is there and can't be carried out closes what it is attached to.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::key_sets::KeySets;
use crate::resources::mcp::TargetRef;
use crate::resources::{Name, ObjectRef, Protects, Resources};

use super::backends::is_mcp_kind;
use super::gateways::OwnGateway;
use super::notes;
use super::problems::{Fault, GATEWAY_API, Problems, object};
use super::sections::{self, Sections};

/// All policies by what they are attached to.
#[derive(Debug, Default)]
pub(super) struct Policies {
    by_target: BTreeMap<Target, Vec<Attached>>,
    /// Those that close a whole namespace.
    by_namespace: BTreeMap<String, Vec<Attached>>,
}

/// What a policy can be attached to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    Gateway(Name),
    /// A listener by name.
    Listener(Name, String),
    Route(Name),
    /// A rule by name.
    Rule(Name, String),
    Backend(ObjectRef),
}

/// A policy where it is attached.
#[derive(Clone, Debug)]
pub(super) struct Attached {
    pub(super) policy: ObjectRef,
    pub(super) content: Rc<Content>,
    pub(super) reach: Reach,
    /// The targetRef by which it came, by index.
    target_ref: Option<usize>,
}

/// How a policy came to its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// It names the target.
    Named,
    /// It names a part of the target that is not there.
    MissingPart,
}

/// What an attached policy says.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Working(Box<Sections>),
    /// Closes what it is attached to.
    Broken {
        reason: String,
        message: String,
    },
}

impl Policies {
    pub(super) fn new(
        resources: &Resources,
        gateways: &BTreeMap<Name, OwnGateway>,
        key_sets: &KeySets,
        problems: &mut Problems<'_>,
    ) -> Self {
        let targets = Targets { resources, gateways };
        let mut policies = Self::default();
        for (policy, written) in &resources.policies {
            let notes = written.spec.authorization.iter().flat_map(notes::of_rules);
            notes.for_each(|(field, note)| problems.of(policy.clone()).note(field, note));
            let content = match sections::check(&policy.name, &written.spec, resources, key_sets) {
                Ok(sections) => {
                    let mut reporter = problems.of(policy.clone());
                    let notes = sections.notes.iter().cloned();
                    notes.for_each(|(field, note)| reporter.report(field, note));
                    Content::Working(Box::new(sections))
                }
                Err(faults) => {
                    let first = faults.first().map(|(_, fault)| broken(policy, fault));
                    let mut reporter = problems.of(policy.clone());
                    faults.into_iter().for_each(|(field, fault)| reporter.report(field, fault));
                    first.unwrap_or_else(|| broken(policy, &Fault::new("Invalid", "it can't be read")))
                }
            };
            policies.attach(policy, &written.spec.target_refs, &Rc::new(content), &targets, problems);
        }
        // An object may be listed once for each of its faults; the first closes.
        let mut seen = BTreeSet::new();
        for malformed in resources.malformed.iter().filter(|malformed| seen.insert(&malformed.object)) {
            let problem = &malformed.problem;
            let policy = &malformed.object;
            let content = Content::Broken {
                reason: problem.reason.clone(),
                message: format!("{policy} can't be read: {}", problem.message),
            };
            let content = Rc::new(content);
            match &malformed.protects {
                Protects::Nothing => {}
                Protects::Targets(written) => policies.attach(policy, written, &content, &targets, problems),
                Protects::Namespace => {
                    let namespace = policies.by_namespace.entry(policy.name.namespace.clone()).or_default();
                    namespace.push(Attached { policy: policy.clone(), content, reach: Reach::Named, target_ref: None });
                }
            }
        }
        for attached in policies.by_target.values_mut().chain(policies.by_namespace.values_mut()) {
            attached.sort_by(|one, other| one.order().cmp(&other.order()));
        }
        policies.report_conflicts(problems);
        policies
    }

    /// The policies of a target, and those that close its namespace.
    pub(super) fn of(&self, target: &Target) -> Vec<&Attached> {
        let closing = match target {
            Target::Gateway(name) | Target::Route(name) => self.by_namespace.get(&name.namespace),
            Target::Backend(object) => self.by_namespace.get(&object.name.namespace),
            // Parts of what is closed already.
            Target::Listener(..) | Target::Rule(..) => None,
        };
        self.by_target.get(target).into_iter().chain(closing).flatten().collect()
    }

    fn attach(
        &mut self,
        policy: &ObjectRef,
        written: &[TargetRef],
        content: &Rc<Content>,
        targets: &Targets<'_>,
        problems: &mut Problems<'_>,
    ) {
        let mut reporter = problems.of(policy.clone());
        if written.is_empty() {
            let message = "the policy has no targetRefs and protects nothing; name what it is for";
            reporter.report("spec.targetRefs", Fault::new("Invalid", message));
        }
        for (index, written) in written.iter().enumerate() {
            let field = format!("spec.targetRefs[{index}]");
            let (target, content, reach) = match targets.find(written, &policy.name.namespace) {
                Found::Target(target) => (target, Rc::clone(content), Reach::Named),
                Found::OnlyWhole(target, fault) => {
                    let closing = Rc::new(broken(policy, &fault));
                    reporter.report(format!("{field}.sectionName"), fault);
                    (target, closing, Reach::MissingPart)
                }
                Found::Nothing(fault) => {
                    reporter.report(field, fault);
                    continue;
                }
            };
            // Attached nevertheless: should the Gateway become ours, it is never open.
            reporter.accept(&field, targets.check_owner(&target));
            let attached = self.by_target.entry(target).or_default();
            // Naming a target twice says nothing new.
            if !attached.iter().any(|other| other.policy == *policy && other.reach == reach) {
                attached.push(Attached { policy: policy.clone(), content, reach, target_ref: Some(index) });
            }
        }
    }

    fn report_conflicts(&self, problems: &mut Problems<'_>) {
        for attached in self.by_target.values() {
            if let Some(fault) = conflict(attached) {
                for one in attached.iter().filter(|one| one.asks_for_a_token()) {
                    let field = one.target_ref.map(|index| format!("spec.targetRefs[{index}]")).unwrap_or_default();
                    problems.of(one.policy.clone()).report(field, fault.clone());
                }
            }
        }
    }
}

/// Several policies on one target must not differ in whose tokens they accept. None has a better right than another.
pub(super) fn conflict<'a>(attached: impl IntoIterator<Item = &'a Attached>) -> Option<Fault> {
    let asking: Vec<_> = attached.into_iter().filter(|one| one.asks_for_a_token()).collect();
    if asking.len() < 2 {
        return None;
    }
    let names: Vec<_> = asking.iter().map(|one| one.policy.to_string()).collect();
    let message = format!(
        "{} have an authentication section for the same target, which is closed until only one has",
        names.join(" and ")
    );
    Some(Fault::new("Conflicted", message))
}

impl Attached {
    fn asks_for_a_token(&self) -> bool {
        matches!(&*self.content, Content::Working(sections) if sections.authentication.is_some())
    }

    /// Names the policy, and nothing of what it says.
    pub(super) fn label(&self) -> String {
        match self.reach {
            Reach::Named => self.policy.to_string(),
            Reach::MissingPart => format!("{} (sectionName)", self.policy),
        }
    }

    fn order(&self) -> (&Name, &str, &str, Reach) {
        (&self.policy.name, &self.policy.kind, &self.policy.group, self.reach)
    }
}

fn broken(policy: &ObjectRef, fault: &Fault) -> Content {
    Content::Broken { reason: fault.reason.to_owned(), message: format!("{policy}: {}", fault.message) }
}

/// What a targetRef means.
enum Found {
    Target(Target),
    /// The named part is not there. What it would be a part of is closed instead: in doubt deny.
    OnlyWhole(Target, Fault),
    Nothing(Fault),
}

/// What policies can name.
struct Targets<'r> {
    resources: &'r Resources,
    gateways: &'r BTreeMap<Name, OwnGateway>,
}

impl Targets<'_> {
    /// Says so where a policy is for a Gateway that we have nothing to do with.
    fn check_owner(&self, target: &Target) -> Result<(), Fault> {
        let (Target::Gateway(name) | Target::Listener(name, _)) = target else { return Ok(()) };
        if self.gateways.contains_key(name) {
            return Ok(());
        }
        let message = format!(
            "the Gateway {name} is not of a GatewayClass that is ours and accepted: nothing is protected there"
        );
        Err(Fault::new("TargetNotFound", message))
    }

    fn find(&self, written: &TargetRef, namespace: &str) -> Found {
        let resources = self.resources;
        let TargetRef { group, kind, name, section_name } = written;
        let name = Name::new(namespace, name);
        let missing =
            || Found::Nothing(Fault::new("TargetNotFound", format!("there is no {kind} {name}, or it can't be read")));
        let no_part = |part: &str, section: &str| {
            let message =
                format!("the {kind} {name} has no {part} {section:?}; all of it is closed until this is right");
            Fault::new("TargetNotFound", message)
        };
        match (group.as_str(), kind.as_str()) {
            (GATEWAY_API, "Gateway") => match (resources.gateways.get(&name), section_name) {
                (None, _) => missing(),
                (Some(_), None) => Found::Target(Target::Gateway(name)),
                (Some(gateway), Some(section)) => {
                    if gateway.spec.listeners.iter().any(|listener| listener.name == *section) {
                        Found::Target(Target::Listener(name, section.clone()))
                    } else {
                        let fault = no_part("listener", section);
                        Found::OnlyWhole(Target::Gateway(name), fault)
                    }
                }
            },
            (GATEWAY_API, "HTTPRoute") => match (resources.http_routes.get(&name), section_name) {
                (None, _) => missing(),
                (Some(_), None) => Found::Target(Target::Route(name)),
                (Some(route), Some(section)) => {
                    if route.spec.rules.iter().flatten().any(|rule| rule.name.as_ref() == Some(section)) {
                        Found::Target(Target::Rule(name, section.clone()))
                    } else {
                        let fault = no_part("rule", section);
                        Found::OnlyWhole(Target::Route(name), fault)
                    }
                }
            },
            (group, kind) if is_mcp_kind(group, kind) => {
                let backend = object(group, kind, &name);
                match (resources.backends.contains_key(&backend), section_name) {
                    (false, _) => missing(),
                    (true, None) => Found::Target(Target::Backend(backend)),
                    (true, Some(_)) => {
                        let message = "a backend has no sections; all of it is closed until sectionName is gone";
                        Found::OnlyWhole(Target::Backend(backend), Fault::unsupported(message))
                    }
                }
            }
            (group, kind) => {
                let message = format!(
                    "a policy can't be attached to a {kind} of {group:?}; name a Gateway, HTTPRoute or MCPBackend"
                );
                Found::Nothing(Fault::new("InvalidKind", message))
            }
        }
    }
}
