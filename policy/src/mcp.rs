//! MCP on the wire: JSON-RPC messages, lists, server-sent events.

mod arguments;
pub(crate) mod handles;
pub mod list;
pub(crate) mod members;
pub mod message;
pub mod method;
pub mod passing;
pub mod sse;
