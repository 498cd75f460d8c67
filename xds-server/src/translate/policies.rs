//! Which policies stand on the way of a request.
//!
//! INVARIANT: a policy that is there and can't be carried out closes what it is attached to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::problem::Problem;
use crate::resources::mcp::{self, TargetRef};
use crate::resources::{Name, ObjectRef, Protects};

use super::changing::Changing;
use super::gateways::Gateways;
use super::notes;
use super::parts::Parts;
use super::problems::{Fault, Problems, Reporter};
use super::protection::Way;
use super::sections::{self, Sections};
use super::targets::{Found, Target, Targets};
use super::view::{Source, Sources, View};

/// What a policy does that names nothing.
const CLOSES_THE_REST: &str = "routes of this namespace that no other policy protects are closed until this is right";

/// All policies by what they are attached to.
#[derive(Debug, Default)]
pub(super) struct Policies {
    policies: Parts<ObjectRef, Vec<(Place, Attached)>>,
    by_place: BTreeMap<Place, Vec<Attached>>,
}

/// Where a policy stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    At(Target),
    /// It closes a whole namespace.
    Closing(String),
    /// It is gone, and protected this.
    Deleted(Target),
    /// It is gone, and closed a whole namespace.
    DeletedIn(String),
    /// It names something that is not there: it may have been meant for whatever nobody else protects in this namespace.
    Lost(String),
}

/// A policy where it is attached.
#[derive(Clone, Debug)]
pub(super) struct Attached {
    pub(super) policy: ObjectRef,
    pub(super) content: Arc<Content>,
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
    /// Takes over what changed.
    pub(super) fn update(&mut self, world: &Changing<'_>, gateways: &Gateways, changed: &mut Sources) {
        let differing = world.next.policies.differing(&world.last.policies).into_iter();
        let differing = differing.chain(world.next.malformed.differing(&world.last.malformed));
        let differing = differing.chain(world.next.deleted.differing(&world.last.deleted));
        let updates = self.policies.update(differing, changed, |policy| {
            let is_there = world.next.policies.contains_key(policy)
                || world.next.deleted.contains_key(policy)
                || world.next.malformed.contains_key(policy);
            is_there.then(|| {
                world.part(|view, problems| read(policy, gateways, view, &mut problems.of(ObjectRef::clone(policy))))
            })
        });
        let mut places = BTreeSet::new();
        for (policy, last) in updates {
            for (place, _) in last.iter().flat_map(|last| last.iter()) {
                if let Some(attached) = self.by_place.get_mut(place) {
                    attached.retain(|attached| attached.policy != *policy);
                }
                places.insert(place.clone());
            }
            for (place, attached) in self.policies.get(&policy).into_iter().flat_map(|next| next.iter()) {
                self.by_place.entry(place.clone()).or_default().push(attached.clone());
                places.insert(place.clone());
            }
        }
        for place in places {
            if let Some(attached) = self.by_place.get_mut(&place) {
                attached.sort_by(|one, other| one.order().cmp(&other.order()));
                if attached.is_empty() {
                    self.by_place.remove(&place);
                }
            }
            changed.note(&match &place {
                Place::At(target) => Source::Policies(target),
                Place::Closing(namespace) => Source::Closing(namespace),
                Place::Lost(namespace) => Source::Lost(namespace),
                Place::Deleted(target) => Source::Deleted(Some(target), ""),
                Place::DeletedIn(namespace) => Source::Deleted(None, namespace),
            });
        }
    }

    /// The policies of a target, and those that close its namespace.
    pub(super) fn of(&self, target: &Target, view: &View<'_>) -> Vec<&Attached> {
        view.note(&Source::Policies(target));
        let namespace = match target {
            Target::Gateway(name) | Target::Route(name) => Some(&name.namespace),
            Target::Backend(object) => Some(&object.name.namespace),
            // Parts of what is closed already.
            Target::Listener(..) | Target::Rule(..) => None,
        };
        let closing = namespace.and_then(|namespace| {
            view.note(&Source::Closing(namespace));
            self.by_place.get(&Place::Closing(namespace.clone()))
        });
        self.by_place.get(&Place::At(target.clone())).into_iter().chain(closing).flatten().collect()
    }

    /// The policies that may have been meant for a way through or to this namespace which nobody protects: what they name is
    /// not there, or can't be read. Those that close what can be attached to close the way to a Service, too.
    pub(super) fn lost(&self, namespace: &str, view: &View<'_>) -> impl Iterator<Item = &ObjectRef> {
        view.note(&Source::Lost(namespace));
        view.note(&Source::Closing(namespace));
        let places = [Place::Lost(namespace.to_owned()), Place::Closing(namespace.to_owned())];
        let attached = places.into_iter().filter_map(|place| self.by_place.get(&place)).flatten();
        attached.map(|attached| &attached.policy)
    }

    /// The policies that protected a way until they were deleted, where its route was not written since.
    pub(super) fn deleted(&self, way: &Way<'_>, namespaces: &[String], view: &View<'_>) -> BTreeSet<&ObjectRef> {
        let targets = way.targets().map(|target| {
            view.note(&Source::Deleted(Some(&target), ""));
            Place::Deleted(target)
        });
        let own = [&way.route.namespace, &way.gateway.namespace];
        let namespaces = own.into_iter().chain(namespaces).map(|namespace| {
            view.note(&Source::Deleted(None, namespace));
            Place::DeletedIn(namespace.clone())
        });
        let gone = targets.chain(namespaces).filter_map(|place| self.by_place.get(&place)).flatten();
        let gone = gone.map(|attached| &attached.policy);
        let is_later =
            |policy: &&ObjectRef| view.deleted(policy).is_some_and(|deleted| deleted.turn > view.written(way.route));
        gone.filter(is_later).collect()
    }

    pub(super) fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.policies.problems()
    }

    pub(super) fn notes(&self) -> impl Iterator<Item = &Problem> {
        self.policies.notes()
    }

    /// What is wrong with policies together, where each is right.
    pub(super) fn report_conflicts(&self, problems: &mut Problems<'_>) {
        for attached in
            self.by_place.iter().filter(|(place, _)| matches!(place, Place::At(_))).map(|(_, attached)| attached)
        {
            if let Some(fault) = conflict(attached) {
                for one in attached.iter().filter(|one| one.asks_for_a_token()) {
                    problems.of(one.policy.clone()).report(one.field(), fault.clone());
                }
            }
        }
    }
}

/// Reads a policy, and finds what it is attached to.
fn read(
    policy: &ObjectRef,
    gateways: &Gateways,
    view: &View<'_>,
    reporter: &mut Reporter<'_, '_>,
) -> Vec<(Place, Attached)> {
    let targets = Targets { view, gateways };
    let mut places = Vec::new();
    if let Some(written) = view.policy(policy) {
        let notes = written.spec.authorization.iter().flat_map(notes::of_rules);
        notes.for_each(|(field, note)| reporter.note(field, note));
        let content = match sections::check(&policy.name, &written.spec, view) {
            Ok(sections) => {
                let notes = sections.notes.iter().cloned();
                notes.for_each(|(field, note)| reporter.report(field, note));
                Content::Working(Box::new(sections))
            }
            Err(faults) => {
                let first = faults.first().map(|(_, fault)| broken(policy, fault));
                faults.into_iter().for_each(|(field, fault)| reporter.report(field, fault));
                first.unwrap_or_else(|| broken(policy, &Fault::new("Invalid", "it can't be read")))
            }
        };
        places.extend(attach(policy, &written.spec.target_refs, &Arc::new(content), &targets, reporter));
    }
    if let Some(malformed) = view.malformed(policy) {
        let problem = &malformed.problem;
        let message = format!("{policy} can't be read: {}", problem.message);
        let content = Arc::new(Content::Broken { reason: problem.reason.clone(), message });
        match &malformed.protects {
            Protects::Nothing | Protects::Services(_) => {}
            Protects::Targets(written) => places.extend(attach(policy, written, &content, &targets, reporter)),
            Protects::Namespace => {
                let attached = Attached { policy: policy.clone(), content, reach: Reach::Named, target_ref: None };
                places.push((Place::Closing(policy.name.namespace.clone()), attached));
            }
        }
    }
    if let Some(deleted) = view.deleted(policy) {
        places.extend(remembered(policy, &deleted.protected, &targets));
    }
    places
}

/// Where a policy stood that is gone.
fn remembered(policy: &ObjectRef, protected: &Protects, targets: &Targets<'_, '_>) -> Vec<(Place, Attached)> {
    let namespace = &policy.name.namespace;
    let places: BTreeSet<Place> = match protected {
        Protects::Nothing | Protects::Services(_) => BTreeSet::new(),
        Protects::Namespace => BTreeSet::from([Place::DeletedIn(namespace.clone())]),
        Protects::Targets(written) => {
            let place = |written| match targets.find(written, namespace) {
                Found::Target(target) | Found::OnlyWhole(target, _) => Some(Place::Deleted(target)),
                Found::Unreadable(_) | Found::Nothing(..) => None,
            };
            written.iter().filter_map(place).collect()
        }
    };
    let content = Arc::new(broken(policy, &Fault::new("PolicyDeleted", "it is gone")));
    let attached = |place| {
        let content = Arc::clone(&content);
        (place, Attached { policy: policy.clone(), content, reach: Reach::Named, target_ref: None })
    };
    places.into_iter().map(attached).collect()
}

fn attach(
    policy: &ObjectRef,
    written: &[TargetRef],
    content: &Arc<Content>,
    targets: &Targets<'_, '_>,
    reporter: &mut Reporter<'_, '_>,
) -> Vec<(Place, Attached)> {
    let mut places: Vec<(Place, Attached)> = Vec::new();
    let mut put = |place: Place, content: Arc<Content>, reach: Reach, target_ref: Option<usize>| {
        // Naming a target twice says nothing new.
        if !places.iter().any(|(other, attached)| *other == place && attached.reach == reach) {
            places.push((place, Attached { policy: policy.clone(), content, reach, target_ref }));
        }
    };
    let lost = || Place::Lost(policy.name.namespace.clone());
    if written.is_empty() {
        let message = format!("the policy has no targetRefs and protects nothing; {CLOSES_THE_REST}");
        reporter.report("spec.targetRefs", Fault::new("Invalid", message));
        put(lost(), Arc::clone(content), Reach::Named, None);
    }
    for (index, written) in written.iter().enumerate() {
        let field = format!("spec.targetRefs[{index}]");
        let (target, content, reach) = match targets.find(written, &policy.name.namespace) {
            Found::Target(target) => (target, Arc::clone(content), Reach::Named),
            Found::OnlyWhole(target, fault) => {
                let closing = Arc::new(broken(policy, &fault));
                reporter.report(format!("{field}.sectionName"), fault);
                (target, closing, Reach::MissingPart)
            }
            Found::Unreadable(fault) => {
                reporter.report(field, fault);
                continue;
            }
            Found::Nothing(Fault { reason, message }, question) => {
                let TargetRef { group, kind, name, .. } = written;
                let elsewhere = targets.view.namespaces_with(policy, group, kind, name);
                let hint = match elsewhere.first() {
                    Some(namespace) => format!(" (there is one in {namespace}, where its policies must be)"),
                    None => String::new(),
                };
                let message = format!("{message}{hint}; {CLOSES_THE_REST}.{question}");
                reporter.report(field, Fault { reason, message });
                let elsewhere = elsewhere.into_iter().map(|namespace| Place::Lost(namespace.to_owned()));
                elsewhere.chain([lost()]).for_each(|place| put(place, Arc::clone(content), Reach::Named, Some(index)));
                continue;
            }
        };
        // Attached nevertheless: should the Gateway become ours, it is never open. Until then it may have been meant for one
        // of ours, if it is of our kind: policies of others are for their Gateways as well.
        if reporter.accept(&field, targets.check_owner(&target)).is_none() && policy.group == mcp::GROUP {
            put(lost(), Arc::clone(&content), Reach::Named, Some(index));
        }
        put(Place::At(target), content, reach, Some(index));
    }
    places
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

    /// The field by which it came.
    pub(super) fn field(&self) -> String {
        self.target_ref.map(|index| format!("spec.targetRefs[{index}]")).unwrap_or_default()
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
