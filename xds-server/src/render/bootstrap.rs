//! A whole Envoy configuration that needs no control plane: what xDS would bring, in one file.

use serde_json::json;

use super::overload::{self, Bounds};
use super::view::{ViewError, message};
use super::{RenderOptions, cluster, listener, secret, yaml};
use crate::model::Gateway;

/// What such an Envoy may use of memory, where nobody says otherwise: whoever runs it knows its machine.
const MEMORY: u64 = 1 << 30;

/// The configuration of an Envoy that is one Gateway, in YAML.
///
/// # Errors
/// When a message has no descriptor, which is a fault in this program.
pub fn bootstrap(gateway: &Gateway, options: &RenderOptions) -> Result<String, ViewError> {
    let clusters = gateway.clusters.iter().map(|(name, cluster)| message(&cluster::complete(name, cluster, options)));
    let listeners =
        gateway.listeners.iter().map(|(port, listener)| message(&listener::complete(listener, *port, options)));
    let secrets = secret::of(gateway).map(|secret| message(&secret));
    let mut resources = json!({
        "clusters": clusters.collect::<Result<Vec<_>, _>>()?,
        "listeners": listeners.collect::<Result<Vec<_>, _>>()?,
    });
    let secrets = secrets.collect::<Result<Vec<_>, _>>()?;
    if let (false, Some(members)) = (secrets.is_empty(), resources.as_object_mut()) {
        members.insert("secrets".to_owned(), secrets.into());
    }
    let overload_manager = Bounds::of_memory(Some(MEMORY)).manager();
    Ok(yaml::document(&json!({
        "static_resources": resources,
        "overload_manager": overload_manager,
        "memory_allocator_manager": overload::allocator(),
    })))
}
