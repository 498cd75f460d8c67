//! From the model to Envoy's own configuration, encoded.
//!
//! ```text
//!          ┌ listener (LDS) ─ names ─> route (RDS) ─ cluster (CDS) ─ endpoint (EDS)
//! Model ───┤                  names ─> filter (ECDS)
//!          └ bootstrap: the same inline, for an Envoy without a control plane
//! ```
//! What changes often is kept out of the listener: a changed listener drains its connections, and long SSE streams
//! with them. Equal models give equal bytes; where a message has a map of more than one entry, see [`message::merged`].

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message;

use crate::model::{Gateway, Model};
use crate::snapshot::{GatewaySnapshot, Resource, ResourceType, Snapshot};

mod access_log;
pub mod bootstrap;
mod cluster;
mod credential;
mod endpoint;
pub mod filter;
mod listener;
mod message;
mod path;
pub mod print;
mod route;
mod secret;
mod tls;
pub mod view;
pub(crate) mod yaml;

/// What does not follow from the resources but from how Toolward is run.
#[derive(Clone, Debug)]
pub struct RenderOptions {
    /// Path of the wasm module as Envoy sees it.
    pub wasm_file: String,
    /// Address that listeners bind to.
    pub listener_address: String,
    /// Path of the system's certificate authorities as Envoy sees it.
    pub system_ca_file: String,
}

/// Renders all Gateways.
#[must_use]
pub fn render(model: &Model, options: &RenderOptions) -> Snapshot {
    let gateways =
        model.gateways.iter().map(|(name, gateway)| (name.clone(), Arc::new(render_gateway(gateway, options))));
    Snapshot { gateways: gateways.collect() }
}

/// Renders one Gateway.
#[must_use]
pub fn render_gateway(gateway: &Gateway, options: &RenderOptions) -> GatewaySnapshot {
    let mut resources: BTreeMap<ResourceType, BTreeMap<String, Resource>> = BTreeMap::new();
    let mut put = |kind: ResourceType, name: &str, bytes: Vec<u8>| {
        resources.entry(kind).or_default().insert(name.to_owned(), Resource::new(bytes));
    };
    for (name, cluster) in &gateway.clusters {
        put(ResourceType::Cluster, name, cluster::discovered(name, cluster, options).encode_to_vec());
        if let Some(assignment) = endpoint::discovered(name, cluster) {
            put(ResourceType::Endpoint, name, assignment.encode_to_vec());
        }
    }
    for secret in secret::of(gateway) {
        put(ResourceType::Secret, &secret.name, secret.encode_to_vec());
    }
    for (port, listener) in &gateway.listeners {
        let name = &listener.name;
        put(ResourceType::Listener, name, listener::discovered(listener, *port, options).encode_to_vec());
        put(ResourceType::ExtensionConfig, name, filter::discovered(listener, options).encode_to_vec());
        for (name, hosts) in listener.routes() {
            put(ResourceType::Route, name, route::configuration(name, hosts, *port).encode_to_vec());
        }
    }
    GatewaySnapshot { resources }
}

#[cfg(test)]
mod tests;
