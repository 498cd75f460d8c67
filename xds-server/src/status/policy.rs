//! MCPAccessPolicies: one entry for each ancestor, as GEP-713 asks. The ancestor of a policy on a Gateway or on a route
//! is the Gateway; where there is none, what the policy names.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Desired;
use super::conditions::{Condition, World, conditions, is_at, is_reference};
use crate::problem::Problem;
use crate::resources::mcp::{self, TargetRef};
use crate::resources::{Name, ObjectRef, Protects};
use crate::translate::CONTROLLER_NAME;

const GROUP: &str = "gateway.networking.k8s.io";

/// Most ancestors that a status may have.
const MAX_ANCESTORS: usize = 16;

pub(super) fn policies(world: &World<'_>) -> Vec<Desired> {
    let readable = world
        .resources
        .policies
        .iter()
        .map(|(object, policy)| (object, policy.spec.target_refs.as_slice(), policy.metadata.generation));
    let malformed = world.resources.malformed.iter().map(|malformed| {
        let targets = match &malformed.protects {
            Protects::Targets(targets) => targets.as_slice(),
            Protects::Nothing | Protects::Namespace => &[],
        };
        (&malformed.object, targets, malformed.generation)
    });
    let mut all: Vec<_> = readable.chain(malformed).collect();
    all.dedup_by(|one, other| one.0 == other.0);
    all.into_iter()
        .filter(|(object, ..)| (object.group.as_str(), object.kind.as_str()) == (mcp::GROUP, "MCPAccessPolicy"))
        .map(|(object, targets, generation)| status(object, targets, generation, world))
        .collect()
}

fn status(object: &ObjectRef, targets: &[TargetRef], generation: Option<i64>, world: &World<'_>) -> Desired {
    let mut ancestors: Vec<Value> = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, target) in targets.iter().enumerate() {
        let conditions = conditions(&conditions_of(index, world.problems(object)), generation);
        for ancestor in ancestors_of(target, &object.name.namespace, world) {
            if seen.insert(ancestor.to_string()) && ancestors.len() < MAX_ANCESTORS {
                let entry =
                    json!({ "ancestorRef": ancestor, "controllerName": CONTROLLER_NAME, "conditions": conditions });
                ancestors.push(entry);
            }
        }
    }
    Desired { object: object.clone(), status: json!({ "ancestors": ancestors }) }
}

/// The conditions for one targetRef: what is wrong with it, and with the policy as a whole.
fn conditions_of(index: usize, problems: &[&Problem]) -> [Condition; 2] {
    let field = format!("spec.targetRefs[{index}]");
    let concerns = |problem: &&Problem| is_at(problem, &field) || !is_at(problem, "spec.targetRefs");
    let here = || problems.iter().copied().filter(concerns);
    // A target of a wrong kind is no reference that may be resolved later.
    let is_reference = |problem: &&Problem| is_reference(problem) && problem.reason != "InvalidKind";
    let mut accepted = here().filter(|problem| !is_reference(problem)).peekable();
    let accepted = match accepted.peek() {
        Some(first) if !matches!(first.reason.as_str(), "Conflicted" | "TargetNotFound") => {
            let problems: Vec<&Problem> = accepted.collect();
            Condition::new("Accepted", false, "Invalid", super::conditions::messages(&problems))
        }
        _ => Condition::unless("Accepted", accepted),
    };
    [accepted, Condition::unless("ResolvedRefs", here().filter(is_reference))]
}

fn ancestors_of(target: &TargetRef, namespace: &str, world: &World<'_>) -> Vec<Value> {
    let name = Name::new(namespace, &target.name);
    let gateway =
        |name: &Name| json!({ "group": GROUP, "kind": "Gateway", "namespace": name.namespace, "name": name.name });
    let mut itself = json!({ "group": target.group, "kind": target.kind, "namespace": namespace, "name": target.name });
    if let (Some(section), Some(members)) = (&target.section_name, itself.as_object_mut()) {
        members.insert("sectionName".to_owned(), section.as_str().into());
    }
    let through = world.translation.attached.get(&name).filter(|_| target.kind == "HTTPRoute");
    match through {
        Some(gateways) if !gateways.is_empty() => gateways.keys().map(gateway).collect(),
        _ => vec![itself],
    }
}
