//! GatewayClasses.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde_json::json;

use super::Desired;
use super::conditions::{Condition, World, conditions, messages, object};
use crate::resources::{Asks, Name, ObjectRef};
use crate::translate::CONTROLLER_NAME;

const GROUP: &str = "gateway.networking.k8s.io";

/// Releases 1.Y of Gateway API whose kinds are read. BackendTLSPolicy is v1 since 1.4; fields that came after 1.5 are
/// not known.
const SUPPORTED: RangeInclusive<u32> = 4..=5;

/// Its annotation says of which release the kinds are.
pub const DEFINITION: &str = "gatewayclasses.gateway.networking.k8s.io";

/// A GatewayClass that names our controller.
struct OwnClass {
    object: ObjectRef,
    generation: Option<i64>,
    accepted: Condition,
}

pub(super) fn classes(world: &World<'_>) -> Vec<Desired> {
    let shown = own(world).into_values().map(|OwnClass { object, generation, accepted }| {
        let list = [accepted, supported_version(world.facts.bundle_version.as_deref())];
        Desired { object, status: json!({ "conditions": conditions(&list, generation) }) }
    });
    shown.collect()
}

/// By name, whether each class of ours is accepted: Gateways of one that is not are not served.
pub(super) fn accepted(world: &World<'_>) -> BTreeMap<String, bool> {
    own(world).into_iter().map(|(name, class)| (name, class.accepted.holds())).collect()
}

/// What is served is served in any case, as well as we know how.
fn supported_version(installed: Option<&str>) -> Condition {
    let known = format!("v1.{} to v1.{} are known", SUPPORTED.start(), SUPPORTED.end());
    let message = match installed {
        Some(version) if minor(version).is_some_and(|minor| SUPPORTED.contains(&minor)) => {
            return Condition::yes("SupportedVersion", "SupportedVersion");
        }
        Some(version) => format!("the kinds of Gateway API are of release {version}; {known}"),
        None => format!("the CustomResourceDefinition {DEFINITION} does not say of which release it is; {known}"),
    };
    Condition::new("SupportedVersion", false, "UnsupportedVersion", message)
}

/// The Y of `v1.Y.Z`, where a later part may follow.
fn minor(version: &str) -> Option<u32> {
    version.strip_prefix("v1.")?.split('.').next()?.parse().ok()
}

fn own(world: &World<'_>) -> BTreeMap<String, OwnClass> {
    let readable = world.resources.gateway_classes.iter();
    let readable = readable.filter(|(_, class)| class.spec.controller_name == CONTROLLER_NAME).map(|(name, class)| {
        let object = object(GROUP, "GatewayClass", name);
        let accepted = Condition::unless("Accepted", world.problems(&object).iter().copied());
        OwnClass { object, generation: class.metadata.generation, accepted }
    });
    let malformed = world.malformed(GROUP, "GatewayClass");
    let malformed = malformed.filter(|(_, malformed)| malformed.asks == Asks::Controller(CONTROLLER_NAME.to_owned()));
    let malformed = malformed.map(|(object, malformed)| {
        let message = messages(world.problems(object));
        let accepted = Condition::new("Accepted", false, "Unsupported", message);
        OwnClass { object: object.clone(), generation: malformed.generation, accepted }
    });
    let name = |class: &OwnClass| -> String {
        let Name { name, .. } = &class.object.name;
        name.clone()
    };
    readable.chain(malformed).map(|class| (name(&class), class)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_that_are_known() {
        for (name, version, supported) in [
            ("the oldest", Some("v1.4.0"), true),
            ("the newest", Some("v1.5.1"), true),
            ("of a candidate", Some("v1.5.0-rc.2"), true),
            ("without a patch", Some("v1.5"), true),
            ("an older one", Some("v1.3.0"), false),
            ("a newer one", Some("v1.6.0"), false),
            ("begins alike", Some("v1.50.0"), false),
            ("another major one", Some("v2.5.0"), false),
            ("no release", Some("dev"), false),
            ("nothing said", None, false),
        ] {
            assert_eq!(supported_version(version).holds(), supported, "{name}");
        }
    }
}
