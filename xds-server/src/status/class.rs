//! GatewayClasses.

use std::collections::BTreeMap;

use serde_json::json;

use super::Desired;
use super::conditions::{Condition, World, conditions, messages, object};
use crate::resources::{Asks, Name, ObjectRef};
use crate::translate::CONTROLLER_NAME;

const GROUP: &str = "gateway.networking.k8s.io";

/// A GatewayClass that names our controller.
struct OwnClass {
    object: ObjectRef,
    generation: Option<i64>,
    accepted: Condition,
}

pub(super) fn classes(world: &World<'_>) -> Vec<Desired> {
    let shown = own(world).into_values().map(|OwnClass { object, generation, accepted }| {
        let list = [accepted, Condition::yes("SupportedVersion", "SupportedVersion")];
        Desired { object, status: json!({ "conditions": conditions(&list, generation) }) }
    });
    shown.collect()
}

/// By name, whether each class of ours is accepted: Gateways of one that is not are not served.
pub(super) fn accepted(world: &World<'_>) -> BTreeMap<String, bool> {
    own(world).into_iter().map(|(name, class)| (name, class.accepted.holds())).collect()
}

fn own(world: &World<'_>) -> BTreeMap<String, OwnClass> {
    let readable = world.resources.gateway_classes.iter();
    let readable = readable.filter(|(_, class)| class.spec.controller_name == CONTROLLER_NAME).map(|(name, class)| {
        let object = object(GROUP, "GatewayClass", name);
        let accepted = Condition::unless("Accepted", world.problems(&object).iter().copied());
        OwnClass { object, generation: class.metadata.generation, accepted }
    });
    let malformed = world.malformed(GROUP, "GatewayClass");
    let malformed = malformed.filter(|malformed| malformed.asks == Asks::Controller(CONTROLLER_NAME.to_owned()));
    let malformed = malformed.map(|malformed| {
        let message = messages(world.problems(&malformed.object));
        let accepted = Condition::new("Accepted", false, "Unsupported", message);
        OwnClass { object: malformed.object.clone(), generation: malformed.generation, accepted }
    });
    let name = |class: &OwnClass| -> String {
        let Name { name, .. } = &class.object.name;
        name.clone()
    };
    readable.chain(malformed).map(|class| (name(&class), class)).collect()
}
