//! How callers reach a Gateway's Envoys.

use serde_json::{Value, json};

use super::parameters::ExternalTrafficPolicy;
use super::{Owned, Parameters, said};

/// `None` where no listener can be served: a Service has a port.
pub(super) fn service(own: &Owned, parameters: &Parameters) -> Option<Value> {
    if own.ports.is_empty() {
        return None;
    }
    let wanted = &parameters.service;
    let port = |port: &u16| json!({ "name": port_name(*port), "port": port, "targetPort": port, "protocol": "TCP" });
    let spec = said(json!({
        "type": wanted.kind.word(),
        "loadBalancerClass": wanted.load_balancer_class,
        "externalTrafficPolicy": wanted.external_traffic_policy.map(ExternalTrafficPolicy::word),
        "selector": own.selector,
        "ports": own.ports.iter().map(port).collect::<Vec<_>>(),
    }));
    let mut annotations = own.annotations.clone();
    annotations.extend(wanted.annotations.clone());
    Some(own.annotated("v1", "Service", &annotations, json!({ "spec": spec })))
}

pub(super) fn port_name(port: u16) -> String {
    format!("port-{port}")
}
