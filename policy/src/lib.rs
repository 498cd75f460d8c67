//! Decides which MCP tool a caller may use.
//!
//! Everything here is a function over values: no clock, no network, no host. The wasm filter and the control plane
//! both depend on this crate, never on each other.

pub mod config;
