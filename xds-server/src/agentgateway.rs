//! The kinds of agentgateway, as far as they mean the same as ours. What else they can say is refused, never ignored:
//! the types below know only the fields that are translated.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use crate::resources::mcp::{
    AuthenticationSpec, IssuerSpec, JwksSpec, MCPAccessPolicy, MCPAccessPolicySpec, MCPBackend, MCPBackendSpec,
    StaticTarget, Target, TargetRef, TargetTls,
};

/// The group of the open-source kinds.
pub const GROUP: &str = "agentgateway.dev";

/// The group of the enterprise kinds.
pub const ENTERPRISE_GROUP: &str = "enterpriseagentgateway.solo.io";

/// `AgentgatewayBackend` with MCP targets.
#[derive(Clone, Debug, Deserialize)]
pub struct AgentgatewayBackend {
    metadata: ObjectMeta,
    spec: BackendSpec,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BackendSpec {
    mcp: McpSpec,
    #[serde(default)]
    policies: BackendPolicies,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct McpSpec {
    targets: Vec<McpTarget>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct McpTarget {
    name: String,
    #[serde(rename = "static")]
    host: McpHost,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct McpHost {
    host: String,
    port: u16,
    #[serde(default = "default_path")]
    path: String,
    /// The only protocol that is spoken; `SSE` is not.
    #[serde(default, rename = "protocol")]
    _protocol: Protocol,
    #[serde(default)]
    policies: BackendPolicies,
}

fn default_path() -> String {
    "/mcp".to_owned()
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
enum Protocol {
    #[default]
    StreamableHTTP,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct BackendPolicies {
    tls: Option<TargetTls>,
    http: Option<HttpPolicy>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct HttpPolicy {
    request_timeout: Option<String>,
}

impl AgentgatewayBackend {
    /// The same in our own kind.
    #[must_use]
    pub fn into_backend(self) -> MCPBackend {
        let BackendSpec { mcp, policies: shared } = self.spec;
        let shared_timeout = shared.http.and_then(|http| http.request_timeout);
        let targets = mcp
            .targets
            .into_iter()
            .map(|McpTarget { name, host }| Target {
                name,
                service: None,
                host: Some(StaticTarget { host: host.host, port: host.port }),
                path: Some(host.path),
                tls: host.policies.tls.or_else(|| shared.tls.clone()),
                // The more specific one wins.
                request_timeout: host
                    .policies
                    .http
                    .and_then(|http| http.request_timeout)
                    .or_else(|| shared_timeout.clone()),
                credentials: None,
            })
            .collect();
        MCPBackend { metadata: self.metadata, spec: MCPBackendSpec { targets }, status: None }
    }
}

/// `AgentgatewayPolicy` and `EnterpriseAgentgatewayPolicy` with JWT authentication.
#[derive(Clone, Debug, Deserialize)]
pub struct AgentgatewayPolicy {
    metadata: ObjectMeta,
    spec: PolicySpec,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PolicySpec {
    target_refs: Vec<TargetRef>,
    traffic: Traffic,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Traffic {
    jwt_authentication: JwtAuthentication,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct JwtAuthentication {
    #[serde(default)]
    mode: AuthenticationMode,
    providers: Vec<Provider>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
enum AuthenticationMode {
    #[default]
    Strict,
    Optional,
    Permissive,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Provider {
    issuer: String,
    #[serde(default)]
    audiences: Vec<String>,
    jwks: ProviderJwks,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProviderJwks {
    inline: String,
}

impl AgentgatewayPolicy {
    /// The same in our own kind.
    ///
    /// # Errors
    /// Field and message, when it says what we don't do.
    pub fn into_policy(self) -> Result<MCPAccessPolicy, (&'static str, &'static str)> {
        let PolicySpec { target_refs, traffic } = self.spec;
        if traffic.jwt_authentication.mode != AuthenticationMode::Strict {
            let message = "a token is always necessary here; use Strict, or a route without a policy for open access";
            return Err(("spec.traffic.jwtAuthentication.mode", message));
        }
        let issuers = traffic
            .jwt_authentication
            .providers
            .into_iter()
            .map(|provider| IssuerSpec {
                issuer: provider.issuer,
                audiences: if provider.audiences.is_empty() { vec!["*".to_owned()] } else { provider.audiences },
                algorithms: Vec::new(),
                client: None,
                jwks: JwksSpec { inline: Some(provider.jwks.inline), ..JwksSpec::default() },
                clock_skew: None,
                token_type: Default::default(),
            })
            .collect();
        let authentication = Some(AuthenticationSpec { issuers, ..AuthenticationSpec::default() });
        let spec = MCPAccessPolicySpec { target_refs, authentication, authorization: None, protocol: None };
        Ok(MCPAccessPolicy { metadata: self.metadata, spec, status: None })
    }
}
