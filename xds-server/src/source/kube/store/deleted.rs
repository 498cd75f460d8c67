//! Policies that are gone. What they protected does not open by that alone: the route must be written after them, or another
//! policy says what holds.
//!
//! A replica knows what it saw itself: one that starts later knows of no deletion before. `--unprotected-routes=deny` closes
//! there as well.

use toolward_policy::config::Mode;

use crate::resources::mcp::{MCPAccessPolicy, TargetRef};
use crate::resources::{Deleted, Name, ObjectRef, Protects, Resources, Turn};
use crate::source::object::GATEWAY_API;

/// Most policies that are remembered of a namespace. Past it they are taken together, for all of the namespace.
const MOST: usize = 64;

/// What a policy protects that is about to go; `None`: nothing is asked by it.
pub(super) fn protected(policy: &ObjectRef, resources: &Resources) -> Option<Protects> {
    if let Some(policy) = resources.policies.get(policy) {
        return asks(policy).then(|| Protects::Targets(policy.spec.target_refs.clone()));
    }
    // It closed what it was for.
    let malformed = resources.malformed.get(policy)?;
    matches!(malformed.protects, Protects::Targets(_) | Protects::Namespace).then(|| malformed.protects.clone())
}

/// Whether a policy asks for anything of callers or calls.
fn asks(policy: &MCPAccessPolicy) -> bool {
    let for_tokens = policy.spec.authentication.as_ref().is_some_and(|section| section.anonymous.is_none());
    let for_rules = policy.spec.authorization.as_ref().is_some_and(|section| section.mode == Mode::Enforce);
    for_tokens || for_rules
}

/// Remembers a policy that is gone.
pub(super) fn remember(policy: &ObjectRef, protected: Protects, turn: Turn, resources: &mut Resources) {
    let namespace = &policy.name.namespace;
    let others = resources.deleted.iter().filter(|(other, _)| other.name.namespace == *namespace);
    let (mattering, past): (Vec<_>, Vec<_>) =
        others.partition(|(other, deleted)| matters(&other.name.namespace, deleted, resources));
    let is_full = mattering.len() >= MOST;
    let mattering = mattering.into_iter().filter(|_| is_full);
    let forgotten: Vec<ObjectRef> = past.into_iter().chain(mattering).map(|(other, _)| other.clone()).collect();
    forgotten.iter().for_each(|other| drop(resources.deleted.remove(other)));
    let protected = if is_full { Protects::Namespace } else { protected };
    resources.deleted.insert(policy.clone(), Deleted { protected, turn });
}

/// Whether something is left that the policy protected, and was not written since.
fn matters(namespace: &str, deleted: &Deleted, resources: &Resources) -> bool {
    let is_left = |TargetRef { group, kind, name, .. }: &TargetRef| {
        let name = Name::new(namespace, name.clone());
        match (group.as_str(), kind.as_str()) {
            (GATEWAY_API, "Gateway") => resources.gateways.contains_key(&name),
            (GATEWAY_API, "HTTPRoute") => {
                let is_older = resources.written.get(&name).is_none_or(|written| **written < deleted.turn);
                is_older && resources.http_routes.contains_key(&name)
            }
            (group, kind) => {
                let (group, kind) = (group.to_owned(), kind.to_owned());
                resources.backends.contains_key(&ObjectRef { group, kind, name })
            }
        }
    };
    match &deleted.protected {
        Protects::Targets(targets) => targets.iter().any(is_left),
        Protects::Namespace => true,
        Protects::Nothing | Protects::Services(_) => false,
    }
}

/// A namespace is gone, with all that was protected there.
pub(super) fn forget(namespace: &str, resources: &mut Resources) {
    let there = resources.deleted.keys().filter(|policy| policy.name.namespace == namespace);
    let there: Vec<ObjectRef> = there.cloned().collect();
    there.iter().for_each(|policy| drop(resources.deleted.remove(policy)));
}
