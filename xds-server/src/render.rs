//! From the model to Envoy's own configuration, encoded.

use crate::model::Model;
use crate::snapshot::Snapshot;

/// What does not follow from the resources but from how Toolward is run.
#[derive(Clone, Debug)]
pub struct RenderOptions {
    /// Path of the wasm module as Envoy sees it.
    pub wasm_file: String,
    /// Address that listeners bind to.
    pub listener_address: String,
}

/// Renders all Gateways.
#[must_use]
pub fn render(_model: &Model, _options: &RenderOptions) -> Snapshot {
    todo!()
}
