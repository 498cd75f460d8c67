//! MCPBackends.

use serde_json::json;

use super::Desired;
use super::conditions::{Condition, World, conditions, is_reference};
use crate::resources::mcp;

pub(super) fn backends(world: &World<'_>) -> Vec<Desired> {
    let readable = world.resources.backends.iter().map(|(object, backend)| (object, backend.metadata.generation));
    let malformed = world.resources.malformed.iter().map(|malformed| (&malformed.object, malformed.generation));
    let mut all: Vec<_> = readable.chain(malformed).collect();
    all.dedup_by(|one, other| one.0 == other.0);
    all.into_iter()
        .filter(|(object, _)| (object.group.as_str(), object.kind.as_str()) == (mcp::GROUP, "MCPBackend"))
        .map(|(object, generation)| {
            let problems = || world.problems(object).iter().copied();
            let list = [
                Condition::unless("Accepted", problems().filter(|problem| !is_reference(problem))),
                Condition::unless("ResolvedRefs", problems().filter(|problem| is_reference(problem))),
            ];
            Desired { object: object.clone(), status: json!({ "conditions": conditions(&list, generation) }) }
        })
        .collect()
}
