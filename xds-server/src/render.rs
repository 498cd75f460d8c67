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
pub(crate) mod overload;
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
    render_after(&Gateway::default(), &GatewaySnapshot::default(), gateway, options)
}

/// Renders one Gateway that was rendered before under the same options: what it was and what became of it. What is made of
/// the same is not made again.
#[must_use]
pub fn render_after(
    last: &Gateway,
    rendered: &GatewaySnapshot,
    gateway: &Gateway,
    options: &RenderOptions,
) -> GatewaySnapshot {
    let mut resources: BTreeMap<ResourceType, BTreeMap<String, Resource>> = BTreeMap::new();
    let mut put = |kind: ResourceType, name: &str, is_same: bool, encode: &dyn Fn() -> Vec<u8>| {
        let rendered = rendered.resources.get(&kind).and_then(|rendered| rendered.get(name));
        let resource = rendered.filter(|_| is_same).cloned().unwrap_or_else(|| {
            let bytes = encode();
            // It may still say the same.
            let unchanged = rendered.filter(|rendered| *rendered.bytes == bytes).cloned();
            unchanged.unwrap_or_else(|| Resource::new(bytes))
        });
        resources.entry(kind).or_default().insert(name.to_owned(), resource);
    };
    for (name, cluster) in &gateway.clusters {
        let is_same = last.clusters.get(name) == Some(cluster);
        put(ResourceType::Cluster, name, is_same, &|| cluster::discovered(name, cluster, options).encode_to_vec());
        if let Some(assignment) = endpoint::discovered(name, cluster) {
            put(ResourceType::Endpoint, name, is_same, &|| assignment.encode_to_vec());
        }
    }
    for secret in secret::of(gateway) {
        put(ResourceType::Secret, &secret.name, false, &|| secret.encode_to_vec());
    }
    for (port, listener) in &gateway.listeners {
        let name = &listener.name;
        let last = last.listeners.get(port).filter(|last| last.name == *name);
        let is_whole_same = last.is_some_and(|last| Arc::ptr_eq(last, listener));
        put(ResourceType::Listener, name, is_whole_same, &|| {
            listener::discovered(listener, *port, options).encode_to_vec()
        });
        let is_same = is_whole_same || last.is_some_and(|last| last.filter == listener.filter);
        put(ResourceType::ExtensionConfig, name, is_same, &|| filter::discovered(listener, options).encode_to_vec());
        for (name, hosts) in listener.routes() {
            let is_same = is_whole_same || last.is_some_and(|last| last.routes().any(|last| last == (name, hosts)));
            put(ResourceType::Route, name, is_same, &|| route::configuration(name, hosts, *port).encode_to_vec());
        }
    }
    let tables = gateway.listeners.iter().map(|(_, listener)| &listener.filter);
    let key_sets =
        tables.flat_map(|table| table.key_sets.values()).filter_map(|key_set| key_set.place.clone()).collect();
    GatewaySnapshot { resources, key_sets }
}

#[cfg(test)]
mod tests;
