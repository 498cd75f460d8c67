//! MCPAccessPolicies: one entry for each ancestor, as GEP-713 asks. The ancestor of a policy is the Gateway through which
//! it is reached; where there is none, what the policy names.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::Desired;
use super::conditions::{Condition, World, conditions, is_at, messages};
use crate::problem::Problem;
use crate::resources::mcp::{self, TargetRef};
use crate::resources::status::AncestorRef;
use crate::resources::{Name, ObjectRef, Protects};
use crate::translate::{
    CONTROLLER_NAME, HOST_UNKNOWN, KEY_LEFT_OUT, KEY_REMOVED, KEY_SET_EMPTY, KEY_SET_PENDING, KEY_SET_STALE,
    NOT_NARROWER, TOO_SPECIFIC,
};

const KIND: &str = "MCPAccessPolicy";

const GATEWAY_API: &str = "gateway.networking.k8s.io";

/// Most ancestors that a status may have.
pub(super) const MAX_ANCESTORS: usize = 16;

/// Reasons that say that what a policy refers to can't be had.
const REFERENCE_REASONS: [&str; 8] = [
    "KeySetNotFound",
    "InvalidKeySet",
    "RefNotPermitted",
    "KeySetNotFetched",
    "KeySetExpired",
    KEY_SET_EMPTY,
    KEY_SET_PENDING,
    KEY_SET_STALE,
];

/// Reasons that say what is to be known of key sets of a policy that is carried out all the same.
const TOLD_REASONS: [&str; 3] = [KEY_SET_STALE, KEY_REMOVED, KEY_LEFT_OUT];

pub(super) fn policies(world: &World<'_>) -> Vec<Desired> {
    let ours = |object: &&ObjectRef| (object.group.as_str(), object.kind.as_str()) == (mcp::GROUP, KIND);
    let readable = world.resources.policies.iter().filter(|(object, _)| ours(object)).map(|(object, policy)| {
        let policy = Policy {
            object,
            targets: &policy.spec.target_refs,
            generation: policy.metadata.generation,
            readable: true,
        };
        policy.status(world)
    });
    let malformed = world.malformed(mcp::GROUP, KIND).map(|(object, malformed)| {
        let targets = match &malformed.protects {
            Protects::Targets(targets) => targets.as_slice(),
            Protects::Nothing | Protects::Namespace | Protects::Services(_) => &[],
        };
        let generation = malformed.generation;
        Policy { object, targets, generation, readable: false }.status(world)
    });
    readable.chain(malformed).collect()
}

struct Policy<'w> {
    object: &'w ObjectRef,
    targets: &'w [TargetRef],
    generation: Option<i64>,
    readable: bool,
}

impl Policy<'_> {
    fn status(&self, world: &World<'_>) -> Desired {
        // The targetRefs that each ancestor stands for: what is wrong with one of them is said there.
        let mut ancestors: BTreeMap<AncestorRef, BTreeSet<usize>> = BTreeMap::new();
        for (index, target) in self.targets.iter().enumerate() {
            for ancestor in ancestors_of(target, &self.object.name.namespace, world) {
                ancestors.entry(ancestor).or_default().insert(index);
            }
        }
        if ancestors.is_empty() {
            ancestors.insert(namespace(&self.object.name.namespace), BTreeSet::new());
        }
        let left_out = ancestors.len().saturating_sub(MAX_ANCESTORS);
        let mut entries: Vec<(bool, Value)> = Vec::new();
        for (ancestor, targets) in &ancestors {
            let note = match (left_out, ancestor.kind.as_str()) {
                (0, "Gateway") => String::new(),
                (0, kind) => format!("no Gateway of ours leads to this {kind} yet"),
                (more, _) => format!("there are {more} more ancestors, for which there is no room here"),
            };
            let (accepted, list) = self.conditions(targets, note, world.problems(self.object));
            let conditions = conditions(&list, self.generation);
            let entry = json!({ "ancestorRef": ancestor, "controllerName": CONTROLLER_NAME, "conditions": conditions });
            entries.push((accepted, entry));
        }
        // Where there is no room for all, what is wrong is not left out.
        entries.sort_by_key(|(accepted, _)| *accepted);
        let shown: Vec<Value> = entries.into_iter().take(MAX_ANCESTORS).map(|(_, entry)| entry).collect();
        Desired { object: self.object.clone(), status: json!({ "ancestors": shown }) }
    }

    /// What is wrong with these targetRefs, and with the policy as a whole; and whether the policy is accepted.
    fn conditions(&self, targets: &BTreeSet<usize>, note: String, problems: &[&Problem]) -> (bool, Vec<Condition>) {
        let concerns = |problem: &&Problem| {
            let mut fields = targets.iter().map(|index| format!("spec.targetRefs[{index}]"));
            !is_at(problem, "spec.targetRefs") || targets.is_empty() || fields.any(|field| is_at(problem, &field))
        };
        let here: Vec<&Problem> = problems.iter().copied().filter(concerns).collect();
        let (told, against): (Vec<&Problem>, Vec<&Problem>) =
            here.iter().copied().partition(|problem| TOLD_REASONS.contains(&problem.reason.as_str()));
        let accepted = if against.is_empty() {
            let told = Some(messages(&told)).filter(|told| !told.is_empty());
            let said: Vec<String> = Some(note).filter(|note| !note.is_empty()).into_iter().chain(told).collect();
            Condition::new("Accepted", true, "Accepted", said.join("; "))
        } else {
            Condition::new("Accepted", false, reason(&against), messages(&against))
        };
        if !self.readable {
            return (false, vec![accepted]);
        }
        let references = here.iter().copied().filter(|problem| REFERENCE_REASONS.contains(&problem.reason.as_str()));
        (accepted.holds(), vec![accepted, Condition::unless("ResolvedRefs", references)])
    }
}

/// The standard knows three, and there are three of our own, for what other policies or routes do not let it; a policy that is wrong in
/// itself is so everywhere, and that is said first.
fn reason(problems: &[&Problem]) -> &'static str {
    let all = |reasons: &[&str]| problems.iter().all(|problem| reasons.contains(&problem.reason.as_str()));
    if let Some(own) = [NOT_NARROWER, TOO_SPECIFIC, HOST_UNKNOWN].into_iter().find(|own| all(&[own])) {
        own
    } else if all(&["Conflicted"]) {
        "Conflicted"
    } else if all(&["TargetNotFound", "Conflicted"]) {
        "TargetNotFound"
    } else {
        "Invalid"
    }
}

fn ancestors_of(target: &TargetRef, namespace: &str, world: &World<'_>) -> Vec<AncestorRef> {
    let name = Name::new(namespace, &target.name);
    let gateways: BTreeSet<&Name> = match (target.group.as_str(), target.kind.as_str()) {
        (GATEWAY_API, "HTTPRoute") => {
            world.translation.routes.get(&name).into_iter().flat_map(|route| route.gateways()).collect()
        }
        (group, kind) => {
            let backend = ObjectRef { group: group.to_owned(), kind: kind.to_owned(), name: name.clone() };
            world.backends.get(&backend).into_iter().flatten().copied().collect()
        }
    };
    if gateways.is_empty() {
        return vec![AncestorRef {
            group: target.group.clone(),
            kind: target.kind.clone(),
            namespace: Some(namespace.to_owned()),
            name: target.name.clone(),
            section_name: target.section_name.clone(),
        }];
    }
    gateways.into_iter().map(gateway).collect()
}

/// A Gateway as an ancestor.
pub(super) fn gateway(name: &Name) -> AncestorRef {
    AncestorRef {
        group: GATEWAY_API.to_owned(),
        kind: "Gateway".to_owned(),
        namespace: Some(name.namespace.clone()),
        name: name.name.clone(),
        section_name: None,
    }
}

/// What stands for a policy whose targets can't be read, and which closes all of its namespace.
fn namespace(name: &str) -> AncestorRef {
    AncestorRef {
        group: String::new(),
        kind: "Namespace".to_owned(),
        namespace: None,
        name: name.to_owned(),
        section_name: None,
    }
}
