//! What end-to-end tests and the demo stand on: real processes on free loopback ports.
//!
//! ```text
//! client ─> Envoy ─> Upstream (records) | McpServer (Python SDKs)
//!             └─ xDS ─ Toolward ─ Folder
//! ```

pub mod authorization_server;
pub mod client;
pub mod clients;
pub mod cluster;
pub mod conformance;
pub mod credentials;
pub mod envoy;
pub mod examples;
pub mod folder;
pub mod hostile;
pub mod http;
pub mod http2;
pub mod inspector_page;
pub mod lenient;
pub mod mcp_server;
pub mod name_server;
pub mod ports;
pub mod probe;
pub mod process;
pub mod publisher;
pub mod readers;
pub mod remote;
pub mod servers;
pub mod stack;
pub mod stream;
pub mod tls_front;
pub mod tools;
pub mod toolward;
pub mod upstream;
