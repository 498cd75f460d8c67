//! Worlds of this crate's tests, as manifests.

use crate::resources::Resources;
use crate::source::documents::{self, File};

/// A Gateway `infra/gw` with one listener, to which routes of all namespaces attach. Other manifests follow it after `---`.
pub(crate) const GATEWAY: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: toolward }
spec: { controllerName: toolward.dev/gateway-controller }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: gw, namespace: infra }
spec:
  gatewayClassName: toolward
  listeners: [{ name: web, port: 80, protocol: HTTP, allowedRoutes: { namespaces: { from: All } } }]
";

/// What these manifests say.
pub(crate) fn world(manifests: &str) -> Resources {
    let file = File { path: "world.yaml".into(), content: manifests.as_bytes().to_vec() };
    documents::read(&[file]).unwrap_or_else(|problems| panic!("{problems:#?}"))
}
