//! HTTPRoutes: one entry for each parentRef that names a Gateway of ours.

use gateway_api::httproutes::{HttpRoute, HttpRouteParentRefs};
use serde_json::{Value, json};

use super::Desired;
use super::conditions::{Condition, World, conditions, generation, is_at, is_reference, messages, object};
use crate::problem::Problem;
use crate::resources::Name;
use crate::translate::CONTROLLER_NAME;

const GROUP: &str = "gateway.networking.k8s.io";

pub(super) fn routes(world: &World<'_>) -> Vec<Desired> {
    world.resources.http_routes.iter().filter_map(|(name, route)| status(name, route, world)).collect()
}

/// The status of a route; none where it has nothing to do with us, and never had.
fn status(name: &Name, route: &HttpRoute, world: &World<'_>) -> Option<Desired> {
    let object = object(GROUP, "HTTPRoute", name);
    let problems = world.problems(&object);
    let parents: Vec<Value> = route
        .spec
        .parent_refs
        .iter()
        .flatten()
        .enumerate()
        .filter_map(|(index, parent)| {
            let gateway = gateway_of(parent, name)?;
            let ours = world.translation.gateways.contains(&gateway);
            ours.then(|| entry(index, parent, &gateway, name, route, problems, world))
        })
        .collect();
    let was_ours = || {
        let parents = route.status.iter().flat_map(|status| &status.parents);
        parents.into_iter().any(|parent| parent.controller_name == CONTROLLER_NAME)
    };
    (!parents.is_empty() || was_ours()).then(|| Desired { object, status: json!({ "parents": parents }) })
}

fn gateway_of(parent: &HttpRouteParentRefs, route: &Name) -> Option<Name> {
    let group = parent.group.as_deref().unwrap_or(GROUP);
    let kind = parent.kind.as_deref().unwrap_or("Gateway");
    let namespace = parent.namespace.as_ref().unwrap_or(&route.namespace);
    ((group, kind) == (GROUP, "Gateway")).then(|| Name::new(namespace, &parent.name))
}

fn entry(
    index: usize,
    parent: &HttpRouteParentRefs,
    gateway: &Name,
    name: &Name,
    route: &HttpRoute,
    problems: &[&Problem],
    world: &World<'_>,
) -> Value {
    let field = format!("spec.parentRefs[{index}]");
    let here = problems.iter().copied().filter(|problem| is_at(problem, &field));
    let elsewhere = || problems.iter().copied().filter(|problem| !is_at(problem, "spec.parentRefs"));
    let mut list = vec![
        Condition::unless("Accepted", here),
        Condition::unless("ResolvedRefs", elsewhere().filter(|problem| is_reference(problem))),
    ];
    let faulty: Vec<&Problem> = elsewhere().filter(|problem| !is_reference(problem)).collect();
    if !faulty.is_empty() {
        list.push(Condition::new("PartiallyInvalid", true, "UnsupportedValue", messages(&faulty)));
    }
    if world.translation.attached.get(name).is_some_and(|gateways| gateways.contains_key(gateway)) {
        list.push(if world.open.contains(&(name, gateway)) {
            let message = "no MCPAccessPolicy protects some rule of this route: everybody may call everything";
            Condition::new("toolward.dev/Protected", false, "Unprotected", message)
        } else {
            Condition::yes("toolward.dev/Protected", "Protected")
        });
    }
    json!({
        "parentRef": parent,
        "controllerName": CONTROLLER_NAME,
        "conditions": conditions(&list, generation(&route.metadata)),
    })
}
