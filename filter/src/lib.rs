//! The proxy-wasm filter: asks `toolward-policy` inside Envoy. It exists for wasm32 only.
//!
//! ```text
//! Envoy ─> root (configuration) ─> http (one exchange each) ─> toolward_policy::exchange
//!              └──────── host: the one file that makes host calls ────────┘
//! ```
//! No bytes from outside may trap the VM: a trap takes down all requests of its worker.
#![cfg(target_arch = "wasm32")]

mod entry;
mod host;
mod http;
mod metrics;
mod missing_keys;
#[cfg(feature = "probe")]
mod probe;
mod root;
mod signature;
mod streams;
