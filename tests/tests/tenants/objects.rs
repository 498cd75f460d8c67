//! What tenants write.

use serde_json::{Value, json};

use crate::world::GATEWAY;

pub(crate) fn object(api_version: &str, kind: &str, name: &str, fields: Value) -> Value {
    let mut object = json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": name } });
    let members = object.as_object_mut().expect("an object");
    members.extend(fields.as_object().expect("an object").clone());
    object
}

pub(crate) fn config_map(name: &str, key: &str, value: &str) -> Value {
    object("v1", "ConfigMap", name, json!({ "data": { (key): value } }))
}

/// A Service of which nothing but the name is of use.
pub(crate) fn service(name: &str) -> Value {
    object("v1", "Service", name, json!({ "spec": { "ports": [{ "port": 80, "targetPort": 8000 }] } }))
}

/// An MCPBackend that is named by host.
pub(crate) fn host_backend(name: &str, host: &str, port: u16) -> Value {
    backend(name, &json!({ "static": { "host": host, "port": port } }))
}

/// An MCPBackend behind a Service of the namespace.
pub(crate) fn service_backend(name: &str, service: &str) -> Value {
    backend(name, &json!({ "service": { "name": service, "port": 80 } }))
}

fn backend(name: &str, place: &Value) -> Value {
    let mut target = place.clone();
    target["name"] = json!("target");
    target["path"] = json!("/mcp");
    object("toolward.dev/v1alpha1", "MCPBackend", name, json!({ "spec": { "targets": [target] } }))
}

/// An HTTPRoute on a listener of the shared Gateway.
pub(crate) fn route(name: &str, listener: &str, hostnames: &[&str], rules: Value) -> Value {
    let parent = json!({ "name": GATEWAY.1, "namespace": GATEWAY.0, "sectionName": listener });
    let spec = json!({ "parentRefs": [parent], "hostnames": hostnames, "rules": rules });
    object("gateway.networking.k8s.io/v1", "HTTPRoute", name, json!({ "spec": spec }))
}

/// A rule for what begins with this path.
pub(crate) fn prefix(path: &str, backend: &Value) -> Value {
    json!({ "matches": [{ "path": { "type": "PathPrefix", "value": path } }], "backendRefs": [backend] })
}

pub(crate) fn to_backend(name: &str) -> Value {
    json!({ "group": "toolward.dev", "kind": "MCPBackend", "name": name })
}

/// An MCPAccessPolicy on something of Gateway API.
pub(crate) fn policy(name: &str, kind: &str, target: &str, spec: &Value) -> Value {
    let group = if kind == "MCPBackend" { "toolward.dev" } else { "gateway.networking.k8s.io" };
    let mut spec = spec.clone();
    spec["targetRefs"] = json!([{ "group": group, "kind": kind, "name": target }]);
    object("toolward.dev/v1alpha1", "MCPAccessPolicy", name, json!({ "spec": spec }))
}

pub(crate) fn gateway(name: &str, port: u16, more: &Value) -> Value {
    let mut spec = json!({
        "gatewayClassName": "toolward",
        "listeners": [{ "name": "mcp", "port": port, "protocol": "HTTP" }],
    });
    spec.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    object("gateway.networking.k8s.io/v1", "Gateway", name, json!({ "spec": spec }))
}

/// The same object as somebody may have written it who means to be read by nobody.
pub(crate) fn poisoned(object: &Value, deep: bool) -> Value {
    let mut fields = json!({});
    for _ in 0..if deep { 150 } else { 1 } {
        fields = json!({ "f:a": fields });
    }
    let time = if deep { "2026-01-01T00:00:00Z" } else { "9999-12-31T23:59:59Z" };
    let mut object = object.clone();
    object["metadata"]["managedFields"] = json!([{
        "manager": "tenant", "operation": "Update", "apiVersion": object["apiVersion"], "time": time,
        "fieldsType": "FieldsV1", "fieldsV1": fields,
    }]);
    object
}
