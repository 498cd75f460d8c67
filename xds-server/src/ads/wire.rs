//! What the two variants of the protocol differ in on the wire.

use envoy_types::pb::envoy::config::core::v3::Node;

use super::stream::Push;
use super::subscription::{Protocol, Request};

/// A variant of the protocol.
pub trait Wire: Send + 'static {
    /// What clients send.
    type Request: Send + 'static;
    /// What they are sent.
    type Response: Send + 'static;
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
