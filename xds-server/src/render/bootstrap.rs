//! A whole Envoy configuration that needs no control plane: what xDS would bring, in one file.

use serde_json::json;

use super::view::{ViewError, message};
use super::{RenderOptions, cluster, listener, yaml};
use crate::model::Gateway;

/// The configuration of an Envoy that is one Gateway, in YAML.
///
/// # Errors
/// When a message has no descriptor, which is a fault in this program.
pub fn bootstrap(gateway: &Gateway, options: &RenderOptions) -> Result<String, ViewError> {
    let clusters = gateway.clusters.iter().map(|(name, cluster)| message(&cluster::complete(name, cluster)));
    let listeners =
        gateway.listeners.iter().map(|(port, listener)| message(&listener::complete(listener, *port, options)));
    Ok(yaml::document(&json!({
        "static_resources": {
            "clusters": clusters.collect::<Result<Vec<_>, _>>()?,
            "listeners": listeners.collect::<Result<Vec<_>, _>>()?,
        }
    })))
}
