//! Two hostile tenants beside an honest one, on one Gateway and one control plane, with a real API server and a real Envoy.
//!
//! ```text
//! team-a: calls its server, changes its policy ──┐
//! team-b, team-c: every attack of the table ─────┴─> API server ─> toolward, as its manifests start it ─> Envoy
//! ```
//! The set-up is that of `manifests/examples/multi-tenant`, and beside it what that advises against: a listener that takes
//! routes of all namespaces, and tenants that may make Gateways.

mod attacks;
mod honest;
mod landing;
mod objects;
mod setup;
mod storm;
mod tenant;
mod world;
mod xds;
