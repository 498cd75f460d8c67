//! What one Gateway's Envoys are to have: encoded xDS resources with versions that say their content.
//!
//! Rendered once and shared by all streams; the streams only compare versions and copy bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::model::GatewayName;

/// The kinds of xDS resources that are served, in the order in which Envoy must get new ones ("make before break").
/// The order matters: a route may only name clusters that Envoy has, a listener needs its routes and filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceType {
    /// CDS.
    Cluster,
    /// EDS.
    Endpoint,
    /// SDS.
    Secret,
    /// LDS.
    Listener,
    /// ECDS: the filter's configuration. Before routes, so that a route never names a policy key that is not there.
    ExtensionConfig,
    /// RDS.
    Route,
}

impl ResourceType {
    /// All of them, in the order in which they are sent.
    pub const ALL: [Self; 6] =
        [Self::Cluster, Self::Endpoint, Self::Secret, Self::Listener, Self::ExtensionConfig, Self::Route];

    /// The type URL on the wire.
    #[must_use]
    pub fn type_url(self) -> &'static str {
        match self {
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoint => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::ExtensionConfig => "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            Self::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        }
    }

    /// The last word of the type URL, such as `RouteConfiguration`: for logs, metrics and the admin port.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.type_url().rsplit('.').next().unwrap_or_default()
    }

    /// The type with this URL, if it is served.
    #[must_use]
    pub fn from_type_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.type_url() == url)
    }
}

/// One xDS resource, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Hash of the bytes: the same content has the same version on every replica and after every restart.
    pub version: Arc<str>,
    /// The protobuf message, without its `Any` wrapper.
    pub bytes: Arc<[u8]>,
}

impl Resource {
    /// Gives encoded bytes their version.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        let digest = Sha256::digest(&bytes);
        let version: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self { version: version.into(), bytes: bytes.into() }
    }
}

/// All resources of one Gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatewaySnapshot {
    /// By type, then by resource name. A type without resources may be absent.
    pub resources: BTreeMap<ResourceType, BTreeMap<String, Resource>>,
    /// The ids of the key sets in its filters' tables that are fetched: those of which its Envoys may say that they miss a key.
    pub key_sets: BTreeSet<String>,
}

/// All resources of all Gateways.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// What each Gateway's Envoys are to have.
    pub gateways: BTreeMap<GatewayName, Arc<GatewaySnapshot>>,
}

impl Snapshot {
    /// Whether both have the same Gateways, and for each the very same resources.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let same = |((name, one), (other_name, other)): (_, _)| name == other_name && Arc::ptr_eq(one, other);
        self.gateways.len() == other.gateways.len() && self.gateways.iter().zip(&other.gateways).all(same)
    }
}
