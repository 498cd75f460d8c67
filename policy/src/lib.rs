//! Decides which MCP tool a caller may use.
//!
//! ```text
//! headers, body ─> exchange ─┬─ jwt ──> Caller ──┐
//!                            └─ mcp ──> Message ─┴─ decide( policy ) ─> forward | denial
//! ```
//! Everything here is a function over values: no clock, no network, no host. The wasm filter and the control plane
//! both depend on this crate, never on each other.

pub mod arguments;
mod binding;
pub mod claims;
pub mod condition;
pub mod config;
pub mod decide;
pub mod denial;
pub mod detours;
pub mod exchange;
pub mod expression;
pub mod glob;
pub mod jwt;
pub mod mcp;
pub mod moved;
pub mod path;
mod percent;
pub mod policy;
pub mod protected_resource;
pub mod record;
pub mod remote;
pub mod route_choice;
pub mod route_key;
mod scan;
mod spelling;
mod strict;
