//! The kinds of the group `toolward.dev/v1alpha1`.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toolward_policy::config::{Algorithm, Denial, Mode, Rule, TokenType};

/// The API group.
pub const GROUP: &str = "toolward.dev";

/// An MCP server that an HTTPRoute can name in its backendRefs.
#[derive(Clone, Debug, PartialEq, CustomResource, Serialize, Deserialize, JsonSchema)]
#[kube(group = "toolward.dev", version = "v1alpha1", kind = "MCPBackend", namespaced, category = "toolward")]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MCPBackendSpec {
    /// The servers; so far exactly one.
    pub targets: Vec<Target>,
}

/// One MCP server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Target {
    /// Unique within the backend.
    pub name: String,
    /// A Service of the same namespace. Exactly one of `service` and `static` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceTarget>,
    /// A host outside the cluster, or a Service by its DNS name.
    #[serde(default, rename = "static", skip_serializing_if = "Option::is_none")]
    pub host: Option<StaticTarget>,
    /// The server's own path, such as `/mcp`; it takes the place of the request's path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// TLS towards the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TargetTls>,
    /// Until the answer is complete, such as `10s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_timeout: Option<String>,
}

/// A Service of the backend's namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ServiceTarget {
    /// Its name.
    pub name: String,
    /// One of its ports.
    pub port: u16,
}

/// A host by name or address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StaticTarget {
    /// DNS name or IP address.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// TLS towards an MCP server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TargetTls {
    /// Server name for SNI and certificate check; the target's host by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sni: Option<String>,
}

/// Who may call which tool through the Gateways, routes and backends that it is attached to.
#[derive(Clone, Debug, PartialEq, CustomResource, Serialize, Deserialize, JsonSchema)]
#[kube(group = "toolward.dev", version = "v1alpha1", kind = "MCPAccessPolicy", namespaced, category = "toolward")]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MCPAccessPolicySpec {
    /// What it protects, in its own namespace.
    pub target_refs: Vec<TargetRef>,
    /// Makes a token necessary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<AuthenticationSpec>,
    /// Says what verified callers may do; absent: everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<AuthorizationSpec>,
}

/// What a policy protects (GEP-713): a Gateway, an HTTPRoute or an MCPBackend of the policy's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TargetRef {
    /// API group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
    /// A listener of a Gateway, or a named rule of an HTTPRoute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
}

/// Whose tokens are accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AuthenticationSpec {
    /// One or more issuers.
    pub issuers: Vec<IssuerSpec>,
}

/// One issuer of tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct IssuerSpec {
    /// Compared byte for byte with the token's `iss`.
    pub issuer: String,
    /// The token's `aud` must hold one of these; absent: not checked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audiences: Vec<String>,
    /// Narrows what the keys allow; absent: what the keys say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub algorithms: Vec<Algorithm>,
    /// The issuer's public keys.
    pub jwks: JwksSpec,
    /// Allowed difference of clocks, at most `60s`; `30s` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_skew: Option<String>,
    /// Which `typ` headers pass.
    #[serde(default)]
    pub token_type: TokenType,
}

/// Where an issuer's JWK Set is; exactly one is given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct JwksSpec {
    /// The JWK Set itself, as JSON (RFC 7517).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inline: Option<String>,
    /// A key of a ConfigMap of the policy's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<ConfigMapKeyRef>,
}

/// A key of a ConfigMap.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ConfigMapKeyRef {
    /// Name of the ConfigMap.
    pub name: String,
    /// The key in its data; `jwks.json` by default.
    #[serde(default = "default_config_map_key")]
    pub key: String,
}

fn default_config_map_key() -> String {
    "jwks.json".to_owned()
}

/// What verified callers may do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AuthorizationSpec {
    /// Whether a denial is carried out.
    #[serde(default)]
    pub mode: Mode,
    /// What a denied caller is told.
    #[serde(default)]
    pub denial: Denial,
    /// A call passes when some rule matches; when none matches it is denied.
    #[serde(default)]
    pub rules: Vec<Rule>,
}
