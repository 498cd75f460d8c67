//! Envoy's pods.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::service::port_name;
use super::{Owned, Parameters, ProvisionOptions, STATUS_PORT, TOKEN_AUDIENCE, WASM_FILE, bootstrap, said};

/// The folder of [`WASM_FILE`].
const WASM_FOLDER: &str = "/toolward";

/// Where the init container sees that folder. It must not hide the module in its own image.
const COPY_FOLDER: &str = "/copy";

/// The user `nonroot` of distroless images.
const USER: u32 = 65532;

/// Load balancers learn in this time that a pod is about to end.
const LEAVE_SECONDS: u32 = 15;

/// The `spec` of the Deployment. The content of the ConfigMap is part of it, so that new content makes new pods.
pub(super) fn deployment(own: &Owned, parameters: &Parameters, options: &ProvisionOptions, config: &Value) -> Value {
    let mut annotations = own.annotations.clone();
    annotations.insert("toolward.dev/config-hash".to_owned(), hash(config));
    json!({
        "replicas": parameters.replicas,
        "selector": { "matchLabels": own.selector },
        "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } },
        "template": {
            "metadata": { "labels": own.labels, "annotations": annotations },
            "spec": pod(own, parameters, options),
        },
    })
}

fn hash(config: &Value) -> String {
    Sha256::digest(config.to_string()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn pod(own: &Owned, parameters: &Parameters, options: &ProvisionOptions) -> Value {
    let spread = |topology: &str| {
        json!({
            "maxSkew": 1,
            "topologyKey": topology,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": { "matchLabels": own.selector },
            "matchLabelKeys": ["pod-template-hash"],
        })
    };
    said(json!({
        "serviceAccountName": own.name,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": 4 * LEAVE_SECONDS,
        "securityContext": pod_security(own),
        "topologySpreadConstraints": [spread("kubernetes.io/hostname"), spread("topology.kubernetes.io/zone")],
        "initContainers": [copy_filter(options)],
        "containers": [envoy(own, parameters)],
        "volumes": [
            { "name": "config", "configMap": { "name": own.name } },
            { "name": "filter", "emptyDir": { "sizeLimit": "64Mi" } },
            { "name": "admin", "emptyDir": { "sizeLimit": "1Mi" } },
            { "name": "xds-token", "projected": { "sources": [{ "serviceAccountToken": {
                "audience": TOKEN_AUDIENCE, "expirationSeconds": 3600, "path": bootstrap::TOKEN_FILE,
            } }] } },
        ],
        "nodeSelector": parameters.node_selector,
        "tolerations": parameters.tolerations,
    }))
}

/// What the Pod Security Standard `restricted` asks for.
fn pod_security(own: &Owned) -> Value {
    // A listener's port is Envoy's port, and low ones need not be root's alone in a pod's own network. A safe sysctl.
    let low_ports = own.ports.iter().any(|port| *port < 1024);
    said(json!({
        "runAsNonRoot": true,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "seccompProfile": { "type": "RuntimeDefault" },
        "sysctls": low_ports.then(|| json!([{ "name": "net.ipv4.ip_unprivileged_port_start", "value": "0" }])),
    }))
}

fn container_security() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": { "drop": ["ALL"] },
    })
}

fn copy_filter(options: &ProvisionOptions) -> Value {
    json!({
        "name": "filter",
        "image": options.image,
        "args": ["copy-filter", "--wasm-file", WASM_FILE, COPY_FOLDER],
        "securityContext": container_security(),
        "resources": { "requests": { "cpu": "10m", "memory": "32Mi" }, "limits": { "memory": "128Mi" } },
        "volumeMounts": [{ "name": "filter", "mountPath": COPY_FOLDER }],
    })
}

fn envoy(own: &Owned, parameters: &Parameters) -> Value {
    let listener = |port: &u16| json!({ "name": port_name(*port), "containerPort": port, "protocol": "TCP" });
    let mut ports: Vec<Value> = own.ports.iter().map(listener).collect();
    ports.push(json!({ "name": "status", "containerPort": STATUS_PORT, "protocol": "TCP" }));
    let page = |path: &str| json!({ "path": path, "port": "status" });
    json!({
        "name": "envoy",
        "image": parameters.image,
        "command": ["envoy"],
        "args": [
            "--config-path", format!("{}/{}", bootstrap::FOLDER, bootstrap::FILE),
            "--service-node", "$(POD_NAME)",
            "--concurrency", parameters.concurrency.to_string(),
            // No second Envoy ever takes over from this one, so it needs no shared memory.
            "--disable-hot-restart",
        ],
        "env": [{ "name": "POD_NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }],
        "ports": ports,
        "securityContext": container_security(),
        "resources": parameters.resources,
        // It starts to answer with the first configuration. While there is no control plane it waits, and is left to.
        "startupProbe": { "httpGet": page("/ready"), "periodSeconds": 2, "failureThreshold": 1800 },
        "readinessProbe": { "httpGet": page("/ready"), "periodSeconds": 5, "timeoutSeconds": 2, "failureThreshold": 2 },
        "livenessProbe": { "httpGet": page("/alive"), "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6 },
        // Envoy ends at once when it is told to; before, nothing new must be sent to it.
        "lifecycle": { "preStop": { "sleep": { "seconds": LEAVE_SECONDS } } },
        "volumeMounts": [
            { "name": "config", "mountPath": bootstrap::FOLDER, "readOnly": true },
            { "name": "filter", "mountPath": WASM_FOLDER, "readOnly": true },
            { "name": "admin", "mountPath": bootstrap::ADMIN_FOLDER },
            { "name": "xds-token", "mountPath": bootstrap::TOKEN_FOLDER, "readOnly": true },
        ],
    })
}
