//! From resources to the model: resolves every reference, attaches routes and policies, and says what is wrong.

use crate::model::Model;
use crate::problem::Problem;
use crate::resources::Resources;

/// What resources mean.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Translation {
    /// What is to be served.
    pub model: Model,
    /// Everything wrong with the resources, sorted. What a broken resource protects is closed in the model.
    pub problems: Vec<Problem>,
    /// Routes that no policy protects, as `HTTPRoute namespace/name rule N on Gateway namespace/name`.
    pub unprotected: Vec<String>,
}

/// Translates the whole world.
#[must_use]
pub fn translate(_resources: &Resources) -> Translation {
    todo!()
}
