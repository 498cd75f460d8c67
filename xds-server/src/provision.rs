//! What stands in the cluster for a Gateway of ours: Envoys, and what they need.
//!
//! ```text
//! Gateway ──────────┐   ┌ ServiceAccount: who the Envoys are to the control plane
//! Parameters ───────┼──>┤ ConfigMap: bootstrap ── Deployment: Envoy, the filter copied in ── Service
//! ProvisionOptions ─┘   └ PodDisruptionBudget, when there are several
//! ```
//! A pure function; what it returns is the whole wish, for server-side apply.

use std::collections::{BTreeMap, BTreeSet};

use gateway_api::gateways::Gateway;
use serde_json::{Value, json};

use crate::render::yaml;
use crate::resources::{Name, Resources};
use crate::translate::Translation;

mod bootstrap;
pub mod bounds;
mod deployment;
pub mod names;
pub mod options;
pub mod ownership;
pub mod parameters;
mod quantity;
mod service;
#[cfg(test)]
mod tests;

pub use options::{ProvisionOptions, Trust};
pub use parameters::{ClassParameters, Parameters};

/// Where Envoy finds the wasm module: the init container puts it there, and `toolward serve --wasm-file` names it.
pub const WASM_FILE: &str = "/toolward/toolward.wasm";

/// Audience of the token by which an Envoy proves to the control plane who it is.
pub const TOKEN_AUDIENCE: &str = "toolward.dev/xds";

/// Port of a pod for probes and metrics, which no listener can have.
pub const STATUS_PORT: u16 = 19001;

/// The objects of all Gateways that are served.
#[must_use]
pub fn all(resources: &Resources, translation: &Translation, options: &ProvisionOptions) -> Vec<Value> {
    let parameters = translation.parameters.iter();
    let gateways = parameters.filter_map(|(name, parameters)| Some((resources.gateways.get(name)?, parameters)));
    gateways.flat_map(|(gateway, parameters)| objects(gateway, parameters, options)).collect()
}

/// The objects of one Gateway, in the order in which they are needed.
#[must_use]
pub fn objects(gateway: &Gateway, parameters: &Parameters, options: &ProvisionOptions) -> Vec<Value> {
    let own = Owned::new(gateway);
    let bootstrap = yaml::document(&bootstrap::bootstrap(&own.gateway, parameters, options));
    let authorities = match &options.xds_trust {
        Trust::System => None,
        Trust::Authorities(certificates) => Some(certificates.trim_end()),
    };
    let data = said(json!({
        bootstrap::FILE: bootstrap.trim_end(),
        bootstrap::TOKEN_SECRET_FILE: bootstrap::token_secret(),
        bootstrap::AUTHORITIES_FILE: authorities,
    }));
    let deployment = deployment::deployment(&own, parameters, options, &data);
    let mut objects = vec![
        own.object("v1", "ServiceAccount", json!({ "automountServiceAccountToken": false })),
        own.object("v1", "ConfigMap", json!({ "data": data })),
        own.object("apps/v1", "Deployment", json!({ "spec": deployment })),
    ];
    if let Some(service) = service::service(&own, parameters) {
        objects.push(service);
    }
    if parameters.replicas > 1 {
        let budget = json!({ "maxUnavailable": 1, "selector": { "matchLabels": own.selector } });
        objects.push(own.object("policy/v1", "PodDisruptionBudget", json!({ "spec": budget })));
    }
    objects
}

/// What all objects of a Gateway have in common.
struct Owned {
    gateway: Name,
    name: String,
    /// Ports of the listeners.
    ports: BTreeSet<u16>,
    selector: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    /// Empty where the Gateway comes from a folder and has no uid.
    owners: Vec<Value>,
}

impl Owned {
    fn new(gateway: &Gateway) -> Self {
        let metadata = &gateway.metadata;
        let name = metadata.name.clone().unwrap_or_default();
        let namespace = metadata.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let selector = names::selector(&name);
        let infrastructure = gateway.spec.infrastructure.as_ref();
        let mut labels = infrastructure.and_then(|it| it.labels.clone()).unwrap_or_default();
        // What selects and finds the objects can't be changed by a Gateway's own labels.
        labels.extend(names::labels(&name, &gateway.spec.gateway_class_name));
        let owner = |uid| {
            json!({
                "apiVersion": "gateway.networking.k8s.io/v1",
                "kind": "Gateway",
                "name": name,
                "uid": uid,
                "controller": true,
                "blockOwnerDeletion": true,
            })
        };
        Self {
            name: names::object(&name),
            ports: ports(gateway),
            selector,
            labels,
            annotations: infrastructure.and_then(|it| it.annotations.clone()).unwrap_or_default(),
            owners: metadata.uid.iter().map(owner).collect(),
            gateway: Name::new(namespace, name),
        }
    }

    /// An object with the fields that stand beside its metadata.
    fn object(&self, api_version: &str, kind: &str, fields: Value) -> Value {
        self.annotated(api_version, kind, &self.annotations, fields)
    }

    /// The same with annotations of its own.
    fn annotated(&self, api_version: &str, kind: &str, annotations: &BTreeMap<String, String>, fields: Value) -> Value {
        let metadata = said(json!({
            "name": self.name,
            "namespace": self.gateway.namespace,
            "labels": self.labels,
            "annotations": annotations,
            "ownerReferences": self.owners,
        }));
        let mut object = json!({ "apiVersion": api_version, "kind": kind, "metadata": metadata });
        if let (Value::Object(object), Value::Object(fields)) = (&mut object, fields) {
            object.extend(fields);
        }
        object
    }
}

/// An object without the fields that say nothing: null, and empty lists and maps.
fn said(object: Value) -> Value {
    let says_nothing = |value: &Value| match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    match object {
        Value::Object(fields) => fields.into_iter().filter(|(_, value)| !says_nothing(value)).collect(),
        other => other,
    }
}

/// The ports of all listeners of protocols that Envoy is told about.
fn ports(gateway: &Gateway) -> BTreeSet<u16> {
    let listeners = gateway.spec.listeners.iter();
    let served = listeners.filter(|listener| matches!(listener.protocol.as_str(), "HTTP" | "HTTPS"));
    served.filter_map(|listener| u16::try_from(listener.port).ok().filter(|port| *port != 0)).collect()
}
