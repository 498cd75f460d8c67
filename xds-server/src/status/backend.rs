//! MCPBackends.

use serde_json::json;

use super::Desired;
use super::conditions::{Condition, World, conditions};
use crate::problem::Problem;
use crate::resources::{ObjectRef, mcp};
use crate::translate::NAME_PENDING;

const KIND: &str = "MCPBackend";

/// Reasons that say that what a backend refers to can't be had.
const REFERENCE_REASONS: [&str; 7] = [
    "BackendNotFound",
    "RefNotPermitted",
    "UnsupportedProtocol",
    "InvalidCertificateRef",
    "InvalidCACertificateRef",
    NAME_PENDING,
    "NameNotResolved",
];

pub(super) fn backends(world: &World<'_>) -> Vec<Desired> {
    let ours = |object: &&ObjectRef| (object.group.as_str(), object.kind.as_str()) == (mcp::GROUP, KIND);
    let readable = world.resources.backends.iter().filter(|(object, _)| ours(object)).map(|(object, backend)| {
        let problems = || world.problems(object).iter().copied();
        let list = [
            Condition::unless("Accepted", problems().filter(|problem| !is_reference(problem))),
            Condition::unless("ResolvedRefs", problems().filter(|problem| is_reference(problem))),
        ];
        desired(object, &list, backend.metadata.generation)
    });
    let malformed = world.malformed(mcp::GROUP, KIND).map(|(object, malformed)| {
        let accepted = Condition::unless("Accepted", world.problems(object).iter().copied());
        desired(object, &[accepted], malformed.generation)
    });
    readable.chain(malformed).collect()
}

fn desired(object: &ObjectRef, list: &[Condition], generation: Option<i64>) -> Desired {
    Desired { object: object.clone(), status: json!({ "conditions": conditions(list, generation) }) }
}

fn is_reference(problem: &Problem) -> bool {
    REFERENCE_REASONS.contains(&problem.reason.as_str())
}
