//! What is said on a stream, the same for both variants of the protocol, and where the two differ on the wire.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::core::v3::Node;
use serde::Serialize;

use crate::snapshot::{Resource, ResourceType};

/// A variant of the protocol.
pub trait Wire: Send + 'static {
    /// What clients send.
    type Request: prost::Message + Default;
    /// What they are sent.
    type Response: prost::Message + Default;
    /// Which variant this is.
    const PROTOCOL: Protocol;

    /// Reads a message.
    fn read(message: Self::Request) -> Message;

    /// Writes a message.
    fn write(push: Push) -> Self::Response;
}

/// A client's message, the same for both variants.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    /// Who the client is; certain only in the first message of a stream.
    pub node: Option<Node>,
    /// Which type it speaks of.
    pub type_url: String,
    /// What it says.
    pub request: Request,
}

/// The two variants of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Incremental: what changed, resource by resource.
    Delta,
    /// State of the world.
    Sotw,
}

impl Protocol {
    /// `delta` or `sotw`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Delta => "delta",
            Self::Sotw => "sotw",
        }
    }
}

/// What a client says about one type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The nonce of the response that this answers; empty where it answers none.
    pub nonce: String,
    /// Why the client refused that response.
    pub error: Option<String>,
    /// What it wants.
    pub names: Names,
}

/// The part of a request that says what the client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    /// Delta: additions to and removals from what it wants.
    Change {
        /// Wanted from now on, and to be answered even if unchanged.
        subscribe: Vec<String>,
        /// No longer wanted.
        unsubscribe: Vec<String>,
        /// Versions by name that it has from an earlier stream; only in its first request.
        known: BTreeMap<String, String>,
    },
    /// SotW: everything that it wants.
    All {
        /// The names; none stands for all resources of the type where nothing was ever named (LDS and CDS only).
        names: Vec<String>,
        /// The version of the last response that it accepted, perhaps on an earlier stream.
        version: String,
    },
}

impl Names {
    /// Every name and version in it.
    pub fn all(&self) -> impl Iterator<Item = &String> {
        let (listed, more, known) = match self {
            Self::Change { subscribe, unsubscribe, known } => (subscribe, Some(unsubscribe), Some(known)),
            Self::All { names, .. } => (names, None, None),
        };
        let known = known.into_iter().flatten().flat_map(|(name, version)| [name, version]);
        listed.iter().chain(more.into_iter().flatten()).chain(known)
    }

    /// How many versions the client says it has.
    #[must_use]
    pub fn known_count(&self) -> usize {
        match self {
            Self::Change { known, .. } => known.len(),
            Self::All { .. } => 0,
        }
    }
}

impl Default for Names {
    fn default() -> Self {
        Self::Change { subscribe: Vec::new(), unsubscribe: Vec::new(), known: BTreeMap::new() }
    }
}

/// The content of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Says the content of everything that the client is to have of this type.
    pub version: String,
    /// Name and content, each name once.
    pub resources: Vec<(String, Resource)>,
    /// Names that do not exist (any more); delta only.
    pub removed: Vec<String>,
}

/// One response to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The type of its resources.
    pub kind: ResourceType,
    /// Unique on its stream.
    pub nonce: String,
    /// What it says.
    pub update: Update,
}
