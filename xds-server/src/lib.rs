//! The control plane as functions over values, with the effects at the edges.
//!
//! ```text
//! source ─> resources ─> translate ─> model ─> render ─> snapshot ─> ads ─> Envoy
//!                             └─> problem ─> log, `toolward check`
//! ```

pub mod admin;
pub mod ads;
pub mod agentgateway;
pub mod binding_keys;
pub mod certificate;
pub mod check;
pub mod cli;
pub mod cluster;
pub mod copy_filter;
pub mod crds;
pub mod key_sets;
pub mod leader;
pub mod metrics;
pub mod model;
pub mod names;
pub mod networks;
pub mod objects;
pub mod problem;
pub mod provision;
pub mod render;
pub mod resources;
pub mod serve;
pub mod settings;
pub mod snapshot;
pub mod source;
pub mod status;
#[cfg(test)]
mod test_world;
pub mod token;
pub mod translate;
