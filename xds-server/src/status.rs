//! What every object should say of itself: the conditions of Gateway API, and of GEP-713 for policies. Functions over
//! values; [`crate::cluster`] brings them to the API server.
//!
//! ```text
//! Resources, Translation, Facts ─ desired ─> Desired ─ merged with what is there ─> to be written, if it differs
//! ```

use std::collections::BTreeMap;

use serde_json::Value;

use crate::model::GatewayName;
use crate::resources::{ObjectRef, Resources};
use crate::translate::Translation;

mod backend;
mod backend_tls_policy;
mod class;
mod conditions;
mod gateway;
mod merge;
mod policy;
mod route;

pub use merge::merged;

/// What only the running system knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// What the Envoys of a Gateway refuse at present, in their own words.
    pub refusals: BTreeMap<GatewayName, String>,
    /// Whether Gateways get Envoys and a Service from us, whose address is theirs.
    pub provisioned: bool,
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

/// The status that an object has now, as far as it was read.
#[must_use]
pub fn current(object: &ObjectRef, resources: &Resources) -> Option<Value> {
    if let Some(malformed) = resources.malformed.iter().find(|malformed| malformed.object == *object) {
        return malformed.status.clone();
    }
    let name = &object.name;
    let status = match object.kind.as_str() {
        "GatewayClass" => serde_json::to_value(resources.gateway_classes.get(name)?.status.as_ref()?),
        "Gateway" => serde_json::to_value(resources.gateways.get(name)?.status.as_ref()?),
        "HTTPRoute" => serde_json::to_value(resources.http_routes.get(name)?.status.as_ref()?),
        "BackendTLSPolicy" => serde_json::to_value(resources.backend_tls_policies.get(name)?.status.as_ref()?),
        "MCPBackend" => serde_json::to_value(resources.backends.get(object)?.status.as_ref()?),
        "MCPAccessPolicy" => serde_json::to_value(resources.policies.get(object)?.status.as_ref()?),
        _ => return None,
    };
    status.ok()
}

#[cfg(test)]
mod tests;
