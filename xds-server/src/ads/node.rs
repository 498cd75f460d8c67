//! Who a client is: parsed from the `node` of its first message.

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::config::core::v3::node::UserAgentVersionType;

use crate::model::GatewayName;

/// The oldest Envoy that reads all of what it is sent. Older ones pass over the setting that lets the filter hold a
/// request's headers until its body is judged.
const OLDEST_ENVOY: (u32, u32) = (1, 37);

/// Longest `node.id` and `node.cluster`, in bytes.
const MAX_NAME: usize = 512;

/// A client of the control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// `node.id`.
    pub id: String,
    /// `node.cluster`: the Gateway whose resources it wants.
    pub gateway: GatewayName,
}

/// Why a client is turned away.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// There is no `node`.
    #[error("the first request of a stream must have a node")]
    Missing,
    /// `node.id` is empty.
    #[error("node.id is empty: set node.id in Envoy's bootstrap (or --service-node)")]
    NoId,
    /// A part of `node` is absurdly long.
    #[error("node.id or node.cluster is longer than {MAX_NAME} bytes")]
    TooLong,
    /// `node.cluster` does not name a Gateway.
    #[error(
        "node.cluster is {0:?}: set it to NAMESPACE/NAME of the Gateway in Envoy's bootstrap (or --service-cluster)"
    )]
    NoGateway(String),
    /// The Envoy is too old to be trusted with what it is sent.
    #[error("Envoy {0}.{1} is too old: {major}.{minor} is the oldest that works", major = OLDEST_ENVOY.0, minor = OLDEST_ENVOY.1)]
    TooOld(u32, u32),
}

impl TryFrom<Option<Node>> for Client {
    type Error = NodeError;

    fn try_from(node: Option<Node>) -> Result<Self, NodeError> {
        let node = node.ok_or(NodeError::Missing)?;
        if node.id.is_empty() {
            return Err(NodeError::NoId);
        }
        if node.id.len() > MAX_NAME || node.cluster.len() > MAX_NAME {
            return Err(NodeError::TooLong);
        }
        if let Some((major, minor)) = envoy_version(&node)
            && (major, minor) < OLDEST_ENVOY
        {
            return Err(NodeError::TooOld(major, minor));
        }
        match node.cluster.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(Self { id: node.id, gateway: GatewayName(node.cluster) })
            }
            _ => Err(NodeError::NoGateway(node.cluster)),
        }
    }
}

/// Major and minor, where the client says that it is an Envoy and which.
fn envoy_version(node: &Node) -> Option<(u32, u32)> {
    match &node.user_agent_version_type {
        Some(UserAgentVersionType::UserAgentBuildVersion(build)) if node.user_agent_name == "envoy" => {
            build.version.as_ref().map(|version| (version.major_number, version.minor_number))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::config::core::v3::BuildVersion;
    use envoy_types::pb::envoy::r#type::v3::SemanticVersion;

    use super::*;

    fn node(id: &str, cluster: &str) -> Node {
        Node { id: id.into(), cluster: cluster.into(), user_agent_name: "envoy".into(), ..Node::default() }
    }

    fn envoy(major_number: u32, minor_number: u32) -> Node {
        let version = Some(SemanticVersion { major_number, minor_number, patch: 0 });
        let build = BuildVersion { version, metadata: None };
        let user_agent_version_type = Some(UserAgentVersionType::UserAgentBuildVersion(build));
        Node { user_agent_version_type, ..node("a", "ns/gw") }
    }

    #[test]
    fn a_client_says_who_it_is() {
        let good = Client { id: "a".into(), gateway: GatewayName("ns/gw".into()) };
        let rows = [
            ("complete", Some(node("a", "ns/gw")), Ok(good.clone())),
            ("supported version", Some(envoy(1, 37)), Ok(good)),
            ("no node", None, Err(NodeError::Missing)),
            ("no id", Some(node("", "ns/gw")), Err(NodeError::NoId)),
            ("no gateway", Some(node("a", "")), Err(NodeError::NoGateway(String::new()))),
            ("gateway without namespace", Some(node("a", "gw")), Err(NodeError::NoGateway("gw".into()))),
            ("empty namespace", Some(node("a", "/gw")), Err(NodeError::NoGateway("/gw".into()))),
            ("three parts", Some(node("a", "a/b/c")), Err(NodeError::NoGateway("a/b/c".into()))),
            ("long id", Some(node(&"a".repeat(513), "ns/gw")), Err(NodeError::TooLong)),
            ("old Envoy", Some(envoy(1, 36)), Err(NodeError::TooOld(1, 36))),
        ];
        for (name, node, expected) in rows {
            assert_eq!(Client::try_from(node), expected, "{name}");
        }
    }
}
