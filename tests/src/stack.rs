//! The whole: a folder of manifests, `toolward`, Envoy, and a server behind it.

use reqwest::blocking::{Client, RequestBuilder};

use crate::envoy::Envoy;
use crate::folder::Folder;
use crate::http::{self, Answer};
use crate::ports;
use crate::process::eventually;
use crate::toolward::{AUDIENCE, ISSUER, Issuer, Toolward};

/// A running whole.
#[derive(Debug)]
pub struct Stack {
    /// The manifests.
    pub folder: Folder,
    /// The control plane.
    pub toolward: Toolward,
    /// The proxy.
    pub envoy: Envoy,
    /// Whose tokens are accepted.
    pub issuer: Issuer,
    /// The Gateway's port.
    pub port: u16,
    /// The server's port.
    pub upstream: u16,
    /// A client that keeps its connections.
    pub client: Client,
}

impl Stack {
    /// Protects the server on this port with [`policy`] and these rules.
    #[must_use]
    pub fn start(upstream: u16, rules: &str) -> Self {
        let issuer = Issuer::new("ES256");
        let jwks = issuer.jwks();
        Self::with_policy(upstream, issuer, &policy(&jwks, rules))
    }

    /// Protects the server on this port with this policy, in which [`PUBLIC_URL`] stands for how clients reach the gateway.
    #[must_use]
    pub fn with_policy(upstream: u16, issuer: Issuer, policy: &str) -> Self {
        Self::with_arguments(upstream, issuer, policy, &[])
    }

    /// The same with more arguments for `toolward serve`.
    #[must_use]
    pub fn with_arguments(upstream: u16, issuer: Issuer, policy: &str, arguments: &[&str]) -> Self {
        let folder = Folder::new();
        let port = ports::free();
        folder.write("gateway.yaml", &gateway(port));
        folder.write("route.yaml", &route("/mcp"));
        folder.write("backend.yaml", &backend(upstream));
        folder.write("policy.yaml", &policy.replace(PUBLIC_URL, &format!("http://127.0.0.1:{port}")));
        let toolward = Toolward::serve_with(folder.path(), arguments);
        toolward.wait_until_ready();
        let envoy = Envoy::with_control_plane("default/mcp-gateway", toolward.xds);
        let stack = Self { folder, toolward, envoy, issuer, port, upstream, client: http::client() };
        let url = stack.url();
        eventually("the Gateway answers", || stack.client.get(&url).send().is_ok());
        stack
    }

    /// The MCP endpoint.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/mcp", self.port)
    }

    /// A POST to the endpoint.
    pub fn post(&self, body: impl Into<Vec<u8>>) -> RequestBuilder {
        http::post(&self.client, &self.url(), body)
    }

    /// Sends a body with a token.
    #[must_use]
    pub fn ask(&self, token: &str, body: impl Into<Vec<u8>>) -> Answer {
        http::send(self.post(body).bearer_auth(token))
    }

    /// Writes the policy anew, with these rules.
    pub fn set_rules(&self, rules: &str) {
        self.folder.write("policy.yaml", &policy(&self.issuer.jwks(), rules));
    }
}

/// Stands in policies for how clients reach the gateway: an address is no hostname that a route could have.
pub const PUBLIC_URL: &str = "PUBLIC_URL";

/// Rules by which team ops may add and echo.
pub const OPS_MAY_ADD: &str = "
    - name: ops-may-add
      tools: [add, echo]
      claims: [{ path: team, in: [ops] }]";

/// A GatewayClass and a Gateway `default/mcp-gateway` with one listener.
#[must_use]
pub fn gateway(port: u16) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {{ name: toolward }}
spec: {{ controllerName: toolward.dev/gateway-controller }}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{ name: mcp-gateway }}
spec:
  gatewayClassName: toolward
  listeners: [{{ name: mcp, port: {port}, protocol: HTTP }}]
"
    )
}

/// An HTTPRoute `default/math` from a path to the backend `math`.
#[must_use]
pub fn route(path: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: math }}
spec:
  parentRefs: [{{ name: mcp-gateway }}]
  rules:
  - matches: [{{ path: {{ type: PathPrefix, value: {path} }} }}]
    backendRefs: [{{ group: toolward.dev, kind: MCPBackend, name: math }}]
"
    )
}

/// An MCPBackend `default/math` for a server on loopback.
#[must_use]
pub fn backend(port: u16) -> String {
    format!(
        "apiVersion: toolward.dev/v1alpha1
kind: MCPBackend
metadata: {{ name: math }}
spec:
  targets: [{{ name: math, static: {{ host: 127.0.0.1, port: {port} }}, path: /mcp }}]
"
    )
}

/// An MCPAccessPolicy `default/math` for the route.
#[must_use]
pub fn policy(jwks: &str, rules: &str) -> String {
    format!(
        "apiVersion: toolward.dev/v1alpha1
kind: MCPAccessPolicy
metadata: {{ name: math }}
spec:
  targetRefs: [{{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: math }}]
  authentication:
    issuers: [{{ issuer: {ISSUER}, audiences: [{AUDIENCE}], jwks: {{ inline: '{jwks}' }} }}]
  authorization:
    rules: {rules}
"
    )
}

/// An MCPAccessPolicy `default/math` for the route without rules, which accepts these issuers, each with where its keys are.
#[must_use]
pub fn accepting(issuers: &[(&str, String)]) -> String {
    let issuer = |(name, jwks): &(&str, String)| {
        format!("    - {{ issuer: '{name}', audiences: ['{AUDIENCE}'], jwks: {jwks} }}\n")
    };
    let issuers: String = issuers.iter().map(issuer).collect();
    format!(
        "apiVersion: toolward.dev/v1alpha1
kind: MCPAccessPolicy
metadata: {{ name: math }}
spec:
  targetRefs: [{{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: math }}]
  authentication:
    issuers:
{issuers}"
    )
}
