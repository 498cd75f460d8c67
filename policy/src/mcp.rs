//! MCP on the wire: JSON-RPC messages, lists, server-sent events.

pub mod list;
mod members;
pub mod message;
pub mod method;
pub mod sse;
pub(crate) mod tasks;
