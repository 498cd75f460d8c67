//! What every object should say of itself: the conditions of Gateway API, and of GEP-713 for policies. Functions over
//! values; [`crate::cluster`] brings them to the API server.
//!
//! ```text
//! Resources, Translation, Facts ─ desired ─> Desired ─ merged with what is there ─> to be written, if it differs
//! ```

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::GatewayName;
use crate::resources::{Current, ObjectRef, Resources};
use crate::translate::Translation;

mod backend;
mod backend_tls_policy;
mod class;
mod conditions;
mod gateway;
mod merge;
mod policy;
mod route;

pub use class::DEFINITION;
pub use merge::merged;

/// What only the running system knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// What Envoys refuse at present.
    pub refusals: BTreeSet<Refusal>,
    /// Whether Gateways get Envoys and a Service from us, whose address is theirs.
    pub provisioned: bool,
    /// What keeps Gateways from having these, by the uid of the Gateway.
    pub unwritten: BTreeMap<String, ObjectFault>,
    /// The release of Gateway API whose kinds are installed, as they say themselves.
    pub bundle_version: Option<String>,
}

/// Why an object of a Gateway can't be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectFault {
    /// Of the condition Programmed.
    pub reason: &'static str,
    /// Which object, what is wrong, and what to do.
    pub message: String,
}

/// What an Envoy refuses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Refusal {
    /// Whose Envoy it is.
    pub gateway: GatewayName,
    /// The port whose listeners are refused, or something of theirs; none where it can't be told which they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// What is refused, and why, in Envoy's own words.
    pub message: String,
}

/// The status that an object should have, but for the times at which its conditions changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// The object.
    pub object: ObjectRef,
    /// Its status.
    pub status: Value,
}

/// The status of all objects that are ours, or that ask us for something.
#[must_use]
pub fn desired(resources: &Resources, translation: &Translation, facts: &Facts) -> Vec<Desired> {
    let world = conditions::World::new(resources, translation, facts);
    let mut all = Vec::new();
    all.extend(class::classes(&world));
    all.extend(gateway::gateways(&world));
    all.extend(route::routes(&world));
    all.extend(backend::backends(&world));
    all.extend(backend_tls_policy::policies(&world));
    all.extend(policy::policies(&world));
    all
}

/// What there is of an object, as far as it was read.
#[must_use]
pub fn current(object: &ObjectRef, resources: &Resources) -> Option<Current> {
    fn of(metadata: &ObjectMeta, status: Option<&impl Serialize>) -> Current {
        Current::new(metadata, status.and_then(|status| serde_json::to_value(status).ok()))
    }
    if let Some(malformed) = resources.malformed.get(object) {
        return Some(malformed.current.clone());
    }
    let name = &object.name;
    match object.kind.as_str() {
        "GatewayClass" => resources.gateway_classes.get(name).map(|it| of(&it.metadata, it.status.as_ref())),
        "Gateway" => resources.gateways.get(name).map(|it| of(&it.metadata, it.status.as_ref())),
        "HTTPRoute" => resources.http_routes.get(name).map(|it| of(&it.metadata, it.status.as_ref())),
        "BackendTLSPolicy" => resources.backend_tls_policies.get(name).map(|it| of(&it.metadata, it.status.as_ref())),
        "MCPBackend" => resources.backends.get(object).map(|it| of(&it.metadata, it.status.as_ref())),
        "MCPAccessPolicy" => resources.policies.get(object).map(|it| of(&it.metadata, it.status.as_ref())),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
