//! The kinds of the group `toolward.dev/v1alpha1`, and what an API server checks of them when they are applied: bounds,
//! patterns and CEL rules stand at the fields, [`crate::crds`] makes the definitions. `translate` checks all of it again,
//! since a folder has no API server.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toolward_policy::config::{Algorithm, Batches, Denial, Mode, Rule, SessionBinding, StepUp, TokenType, Transport};

use super::status::{BackendStatus, PolicyStatus};

/// The API group.
pub const GROUP: &str = "toolward.dev";

/// The kinds of it; no other group has kinds of these names.
pub const KINDS: [&str; 2] = ["MCPBackend", "MCPAccessPolicy"];

/// An MCP server that an HTTPRoute can name in its backendRefs.
#[derive(Clone, Debug, PartialEq, CustomResource, Serialize, Deserialize, JsonSchema)]
#[kube(group = "toolward.dev", version = "v1alpha1", kind = "MCPBackend", namespaced)]
#[kube(status = "BackendStatus", derive = "PartialEq")]
#[kube(shortname = "mcpb", category = "toolward", category = "gateway-api")]
#[kube(doc = "An MCP server that an HTTPRoute can name in its backendRefs.")]
#[kube(printcolumn = r#"{ "name": "Service", "type": "string", "jsonPath": ".spec.targets[0].service.name" }"#)]
#[kube(printcolumn = r#"{ "name": "Host", "type": "string", "jsonPath": ".spec.targets[0].static.host" }"#)]
#[kube(
    printcolumn = r#"{ "name": "Accepted", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Accepted\")].status" }"#
)]
#[kube(printcolumn = r#"{ "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp" }"#)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MCPBackendSpec {
    /// The servers; so far exactly one.
    #[schemars(length(min = 1, max = 1))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub targets: Vec<Target>,
}

/// One MCP server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    { "rule": "has(self.service) != has(self.static)", "message": "exactly one of service and static must be given" }
]))]
pub struct Target {
    /// Unique within the backend.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// A Service of the same namespace. Exactly one of `service` and `static` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceTarget>,
    /// A host outside the cluster, or a Service by its DNS name.
    #[serde(default, rename = "static", skip_serializing_if = "Option::is_none")]
    pub host: Option<StaticTarget>,
    /// The server's own path, such as `/mcp`; it takes the place of the request's path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^/([A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*$"))]
    #[schemars(extend("x-kubernetes-validations" = [{
        "rule": "!['//', '/./', '/../', '%2f', '%2F'].exists(part, self.contains(part)) && !self.endsWith('/.') && !self.endsWith('/..')",
        "message": "the path must be in normal form: //, /./, /../ and %2F can't stand in it"
    }]))]
    pub path: Option<String>,
    /// TLS towards the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TargetTls>,
    /// Until the answer begins, such as `10s`: one that is a stream may last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"))]
    pub request_timeout: Option<String>,
    /// What the gateway shows the server, whoever calls; nothing by default. Callers must be verified then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<CredentialsSpec>,
}

/// A header with a secret value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CredentialsSpec {
    /// Where the value is.
    pub secret_ref: SecretKeyRef,
    /// Name of the header; `Authorization` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"))]
    pub header: Option<String>,
    /// What stands before the value; `Bearer ` by default where the header is `Authorization`, and nothing elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = r"^[\x20-\x7e]*$"))]
    pub prefix: Option<String>,
}

/// A key of a Secret of the same namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in its data; `token` by default.
    #[serde(default = "default_secret_key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

fn default_secret_key() -> String {
    "token".to_owned()
}

/// A Service of the backend's namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ServiceTarget {
    /// Its name.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// One of its ports.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
}

/// A host by name or address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StaticTarget {
    /// DNS name or IP address.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$|^[0-9A-Fa-f:.]+$")
    )]
    pub host: String,
    /// Port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
}

/// TLS towards an MCP server, whose certificate is always verified.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.wellKnownCACertificates) || !has(self.caCertificateRefs)",
    "message": "give wellKnownCACertificates or caCertificateRefs, not both"
}]))]
pub struct TargetTls {
    /// Server name for SNI and certificate check; the target's host by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub sni: Option<String>,
    /// Which public authorities may have signed the server's certificate; `System` where nothing is given.
    #[serde(default, rename = "wellKnownCACertificates", skip_serializing_if = "Option::is_none")]
    pub well_known_ca_certificates: Option<WellKnownAuthorities>,
    /// ConfigMaps of the backend's namespace with the authorities that may have signed it, in the key `ca.crt`.
    #[serde(default, rename = "caCertificateRefs", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub ca_certificate_refs: Vec<LocalRef>,
    /// A Secret of the type kubernetes.io/tls of the backend's namespace, shown to the server where it asks who is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_ref: Option<LocalRef>,
}

/// Public certificate authorities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WellKnownAuthorities {
    /// Those of the system that Envoy runs on.
    System,
}

/// An object of the same namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LocalRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Who may call which tool through the Gateways, routes and backends that it is attached to.
#[derive(Clone, Debug, PartialEq, CustomResource, Serialize, Deserialize, JsonSchema)]
#[kube(group = "toolward.dev", version = "v1alpha1", kind = "MCPAccessPolicy", namespaced)]
#[kube(status = "PolicyStatus", derive = "PartialEq")]
#[kube(plural = "mcpaccesspolicies", shortname = "mcpap", category = "toolward", category = "gateway-api")]
#[kube(doc = "Who may call which MCP tool through the Gateways, routes and backends that it is attached to (GEP-713).")]
// It reaches from a Gateway down to what is behind it.
#[kube(label("gateway.networking.k8s.io/policy", "Inherited"))]
#[kube(printcolumn = r#"{ "name": "Kind", "type": "string", "jsonPath": ".spec.targetRefs[0].kind" }"#)]
#[kube(printcolumn = r#"{ "name": "Target", "type": "string", "jsonPath": ".spec.targetRefs[0].name" }"#)]
#[kube(printcolumn = r#"{ "name": "Mode", "type": "string", "jsonPath": ".spec.authorization.mode" }"#)]
#[kube(
    printcolumn = r#"{ "name": "Accepted", "type": "string", "jsonPath": ".status.ancestors[0].conditions[?(@.type==\"Accepted\")].status" }"#
)]
#[kube(printcolumn = r#"{ "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp" }"#)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.authentication) || has(self.authorization) || has(self.protocol)",
    "message": "the policy says nothing; add authentication, authorization or protocol"
}]))]
pub struct MCPAccessPolicySpec {
    /// What it protects, in its own namespace.
    #[schemars(length(min = 1, max = 16))]
    pub target_refs: Vec<TargetRef>,
    /// Makes a token necessary, or says that none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<AuthenticationSpec>,
    /// Says what verified callers may do; absent: everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<AuthorizationSpec>,
    /// How MCP is spoken. Of several policies on the way of a request, the strictest that says so holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<ProtocolSpec>,
}

/// How MCP is spoken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ProtocolSpec {
    /// Whether a body may be an array of messages; `Refuse` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batches: Option<Batches>,
    /// To whom sessions, tasks, events and the state of requests belong; `Subject` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_binding: Option<SessionBinding>,
    /// How messages travel; `StreamableHTTP` by default. `HTTPSSE` is for servers of revision 2024-11-05, which announce on a
    /// stream where to send messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
    /// From which other origins a browser's pages may ask, such as `https://app.example.com`, or `*` for all; none by
    /// default. Of several policies that say so, each must allow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    pub allowed_origins: Option<Vec<String>>,
}

/// What a policy protects (GEP-713): a Gateway, an HTTPRoute or an MCPBackend of the policy's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "self.group == 'gateway.networking.k8s.io' ? self.kind in ['Gateway', 'HTTPRoute'] : self.group == 'toolward.dev' ? self.kind == 'MCPBackend' : self.group == 'agentgateway.dev' && self.kind == 'AgentgatewayBackend'",
        "message": "a policy is attached to a Gateway or HTTPRoute of gateway.networking.k8s.io, or to an MCPBackend of toolward.dev"
    },
    {
        "rule": "!has(self.sectionName) || self.group == 'gateway.networking.k8s.io'",
        "message": "a backend has no sections; sectionName is for a listener of a Gateway or a named rule of an HTTPRoute"
    }
]))]
pub struct TargetRef {
    /// API group: `gateway.networking.k8s.io`, or `toolward.dev` for an MCPBackend.
    #[schemars(length(min = 1, max = 253))]
    pub group: String,
    /// Kind: Gateway, HTTPRoute or MCPBackend.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// A listener of a Gateway, or a named rule of an HTTPRoute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}

/// Whose tokens are accepted: those of `issuers`, or with `passthrough` those that the server itself accepts. `anonymous` asks
/// for none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "[has(self.issuers), has(self.passthrough), has(self.anonymous)].exists_one(given, given)",
        "message": "exactly one of issuers, passthrough and anonymous must be given"
    },
    {
        "rule": "!has(self.anonymous) || !(has(self.resource) || has(self.scopeImplies))",
        "message": "with anonymous there is nowhere to log in and there are no tokens; resource and scopeImplies can't be given"
    },
    {
        "rule": "!has(self.passthrough) || !has(self.scopeImplies)",
        "message": "scopeImplies is for tokens of issuers; with passthrough there are none to look into"
    },
    {
        "rule": "!has(self.passthrough) || !has(self.resource) || !(has(self.resource.scopes) || has(self.resource.name) || has(self.resource.documentation))",
        "message": "with passthrough the server says of itself what clients are told; only publicURL can be given"
    }
]))]
pub struct AuthenticationSpec {
    /// One or more issuers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["issuer"]))]
    pub issuers: Vec<IssuerSpec>,
    /// The server has an authorization server of its own: callers' tokens go to it unread, and what it says of where to log
    /// in is told as the gateway's. Rules then know no claims and no scopes. The rule of a route then has one server alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passthrough: Option<PassthroughSpec>,
    /// Whether the sections of more specific policies on the way of a request may replace this one, or only narrow it. From
    /// the least to the most specific: Gateway, listener, backend, route, rule.
    #[serde(default, rename = "override")]
    pub overriding: Override,
    /// Opens on purpose what no policy protects: callers need no token. It takes nothing away: where another policy on the way
    /// asks for tokens, they are necessary, and rules still apply. Rules then know no claims and no scopes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anonymous: Option<AnonymousSpec>,
    /// What clients are told that are to log in. Where the name of an issuer is a URL, each endpoint says who issues tokens
    /// for it (RFC 9728), even without this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceSpec>,
    /// Scopes that hold others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["scope"]))]
    pub scope_implies: Vec<ScopeSpec>,
}

/// What more specific policies may do with an authentication section.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Override {
    /// They may ask for more, of the same callers: fewer of the issuers with the same keys, fewer audiences and algorithms.
    /// What accepts anybody else is closed.
    #[default]
    Narrow,
    /// They may put a section of their own in its place.
    Allow,
}

/// Says that callers' tokens go to the server; there is nothing to set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PassthroughSpec {}

/// Says that callers need no token; there is nothing to set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnonymousSpec {}

/// A scope that holds others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ScopeSpec {
    /// Whoever has this one.
    #[schemars(length(min = 1, max = 256))]
    pub scope: String,
    /// Has these as well.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 256)))]
    pub implies: Vec<String>,
}

/// What clients are told that are to log in (RFC 9728 section 2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ResourceSpec {
    /// Scheme, host and port by which clients reach the gateway, such as `https://mcp.example.com`; by default those of
    /// the route's or listener's hostname and the listener's port, or of each request where that is none or has a `*`.
    #[serde(default, rename = "publicURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), regex(pattern = r"^https?://[A-Za-z0-9._:\[\]-]+$"))]
    pub public_url: Option<String>,
    /// Scopes to ask for at first; few. `offline_access` is for clients to ask for, not here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    pub scopes: Vec<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
    /// URL of a page for developers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048), regex(pattern = r"^https?://"))]
    pub documentation: Option<String>,
}

/// One issuer of tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct IssuerSpec {
    /// Compared byte for byte with the token's `iss`.
    #[schemars(length(min = 1, max = 2048))]
    pub issuer: String,
    /// The token's `aud` must hold one of these; `*` alone: not checked. Absent: the URL of the endpoint (RFC 8707), which is
    /// known by `publicURL`, or by hostnames without `*` of routes or listeners; other routes are closed. An issuer that is
    /// no URL needs them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 2048)))]
    pub audiences: Vec<String>,
    /// Narrows what the keys allow; absent: what the keys say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub algorithms: Vec<Algorithm>,
    /// The issuer's public keys.
    pub jwks: JwksSpec,
    /// For an issuer where clients can't register, or that refuses the parameter `resource` (RFC 8707): clients take the
    /// gateway for the issuer, and are told to be this client, which the issuer knows. It is then the only issuer, with
    /// `discovery` and `audiences`, and `publicURL` must be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientSpec>,
    /// Allowed difference of clocks, in whole seconds and at most `60s`; `30s` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"))]
    #[schemars(extend("x-kubernetes-validations" = [{
        "rule": "duration(self) <= duration('60s') && duration(self).getMilliseconds() % 1000 == 0",
        "message": "a clock skew is of whole seconds and at most 60s"
    }]))]
    pub clock_skew: Option<String>,
    /// Which `typ` headers pass.
    #[serde(default)]
    pub token_type: TokenType,
}

/// A public client, which has no secret, as the issuer knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ClientSpec {
    /// Its `client_id`.
    #[schemars(length(min = 1, max = 2048), regex(pattern = r"^[\x20-\x7e]+$"))]
    pub id: String,
    /// Where the issuer sends callers back to. The issuer decides; clients are told.
    #[serde(rename = "redirectURIs")]
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 2048), regex(pattern = r"^https?://")))]
    pub redirect_uris: Vec<String>,
}

/// Where an issuer's JWK Set is; exactly one of `inline`, `configMapRef`, `uri` and `discovery` is given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "[has(self.inline), has(self.configMapRef), has(self.uri), has(self.discovery)].exists_one(given, given)",
        "message": "exactly one of inline, configMapRef, uri and discovery must be given"
    },
    {
        "rule": "!has(self.caCertificateRefs) || has(self.uri) || has(self.discovery)",
        "message": "caCertificateRefs are for key sets that are fetched, by uri or discovery"
    }
]))]
pub struct JwksSpec {
    /// The JWK Set itself, as JSON (RFC 7517).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 262144))]
    pub inline: Option<String>,
    /// A key of a ConfigMap of the policy's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<ConfigMapKeyRef>,
    /// The URL at which the issuer publishes it. The control plane fetches it, and again whenever it is due or a token names
    /// a key that it does not have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048), regex(pattern = r"^https?://[^\s@#]+$"))]
    pub uri: Option<String>,
    /// The issuer's metadata say where it is (RFC 8414, OpenID Connect Discovery 1.0); the name of the issuer is a URL then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discovery: Option<DiscoverySpec>,
    /// ConfigMaps of the policy's namespace with the authorities that may have signed the certificate of the server from
    /// which it is fetched, in the key `ca.crt`; those of the control plane's system by default.
    #[serde(default, rename = "caCertificateRefs", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub ca_certificate_refs: Vec<LocalRef>,
}

/// Says that the issuer's metadata are to be asked; there is nothing to set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverySpec {}

/// A key of a ConfigMap.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ConfigMapKeyRef {
    /// Name of the ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in its data; `jwks.json` by default.
    #[serde(default = "default_config_map_key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
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
    /// Whether a caller is asked for more scopes where these would help.
    #[serde(default)]
    pub step_up: StepUp,
    /// A call passes when some rule matches; when none matches it is denied.
    #[serde(default)]
    #[schemars(length(max = 256))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub rules: Vec<Rule<String>>,
}
