//! The kinds that are read from an API server.

use ::kube::discovery::ApiResource;

/// A kind, with how it is read.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Version in which it is read.
    pub version: &'static str,
    /// Name of the kind.
    pub kind: &'static str,
    /// Name of the kind in URLs.
    pub plural: &'static str,
    /// What of its objects is kept.
    pub content: Content,
    /// Whether it may be missing from the API server.
    pub presence: Presence,
}

/// What of a kind's objects is kept in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// All of every object.
    Whole,
    /// Only objects that another one refers to; of the others only that they exist.
    WhenReferenced,
}

/// Whether a kind may be missing from the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Without it nothing is served.
    Required,
    /// Without it there are no such objects.
    Optional,
}

use Content::{WhenReferenced, Whole};
use Presence::{Optional, Required};

const GATEWAY_API: &str = "gateway.networking.k8s.io";

/// All of them.
pub static KINDS: [Kind; 15] = [
    kind("", "v1", "Namespace", "namespaces", Whole, Required),
    kind("", "v1", "Service", "services", Whole, Required),
    kind("", "v1", "ConfigMap", "configmaps", WhenReferenced, Required),
    kind("", "v1", "Secret", "secrets", WhenReferenced, Required),
    kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", Whole, Required),
    kind(GATEWAY_API, "v1", "GatewayClass", "gatewayclasses", Whole, Required),
    kind(GATEWAY_API, "v1", "Gateway", "gateways", Whole, Required),
    kind(GATEWAY_API, "v1", "HTTPRoute", "httproutes", Whole, Required),
    kind(GATEWAY_API, "v1beta1", "ReferenceGrant", "referencegrants", Whole, Required),
    kind(GATEWAY_API, "v1", "BackendTLSPolicy", "backendtlspolicies", Whole, Optional),
    kind("toolward.dev", "v1alpha1", "MCPBackend", "mcpbackends", Whole, Required),
    kind("toolward.dev", "v1alpha1", "MCPAccessPolicy", "mcpaccesspolicies", Whole, Required),
    kind("agentgateway.dev", "v1alpha1", "AgentgatewayBackend", "agentgatewaybackends", Whole, Optional),
    kind("agentgateway.dev", "v1alpha1", "AgentgatewayPolicy", "agentgatewaypolicies", Whole, Optional),
    kind(
        "enterpriseagentgateway.solo.io",
        "v1alpha1",
        "EnterpriseAgentgatewayPolicy",
        "enterpriseagentgatewaypolicies",
        Whole,
        Optional,
    ),
];

const fn kind(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    content: Content,
    presence: Presence,
) -> Kind {
    Kind { group, version, kind, plural, content, presence }
}

impl Kind {
    /// The same in the client's terms.
    #[must_use]
    pub fn resource(&self) -> ApiResource {
        ApiResource {
            group: self.group.to_owned(),
            version: self.version.to_owned(),
            api_version: if self.group.is_empty() {
                self.version.to_owned()
            } else {
                format!("{}/{}", self.group, self.version)
            },
            kind: self.kind.to_owned(),
            plural: self.plural.to_owned(),
        }
    }

    /// `plural.group`, as kubectl takes it.
    #[must_use]
    pub fn plural_name(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }
}
