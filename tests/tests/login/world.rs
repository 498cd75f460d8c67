//! What all tests begin with: an authorization server, and an MCP server behind a gateway that accepts its tokens.

use toolward_tests::authorization_server::AuthorizationServer;
use toolward_tests::stack::{PUBLIC_URL, Stack};
use toolward_tests::toolward::Issuer;

/// Everybody may add; multiply takes another scope.
pub(crate) const RULES: &str = "
    - { name: reading, tools: [add], scopes: [tools.read] }
    - { name: writing, tools: [multiply], scopes: [tools.read, tools.write] }";

/// What MCP Inspector is to do.
pub(crate) const ADD: [&str; 8] =
    ["--method", "tools/call", "--tool-name", "add", "--tool-arg", "a=6", "--tool-arg", "b=7"];

/// A gateway for a server on this port, and what more its policy says.
pub(crate) fn protected(upstream: u16, login: &AuthorizationServer, resource: &str, more: &str) -> Stack {
    Stack::with_policy(upstream, Issuer::new("ES256"), &policy(login, &public(resource), more))
}

/// With how clients reach the gateway.
fn public(resource: &str) -> String {
    if resource.contains("publicURL") {
        return resource.to_owned();
    }
    resource.replacen('{', &format!("{{ publicURL: {PUBLIC_URL},"), 1)
}

/// A policy by which tokens of an issuer must be for the endpoint.
pub(crate) fn policy(login: &AuthorizationServer, resource: &str, more: &str) -> String {
    let (issuer, jwks) = (&login.issuer, login.jwks());
    format!(
        "apiVersion: toolward.dev/v1alpha1
kind: MCPAccessPolicy
metadata: {{ name: math }}
spec:
  targetRefs: [{{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: math }}]
  authentication:
    issuers: [{{ issuer: '{issuer}', jwks: {{ inline: '{jwks}' }} }}]
    resource: {resource}
{more}
"
    )
}

/// A gateway for a server on this port that fetches the keys of these issuers from loopback, and what more its policy says.
pub(crate) fn discovering(upstream: u16, issuers: &str, resource: &str, more: &str) -> Stack {
    let resource = public(resource);
    let policy = format!(
        "apiVersion: toolward.dev/v1alpha1
kind: MCPAccessPolicy
metadata: {{ name: math }}
spec:
  targetRefs: [{{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: math }}]
  authentication:
    issuers: {issuers}
    resource: {resource}
{more}
"
    );
    Stack::with_arguments(upstream, Issuer::new("ES256"), &policy, &["--key-set-networks", "127.0.0.0/8"])
}
