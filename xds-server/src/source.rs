//! Where resources come from: a folder, or a Kubernetes API server. Nothing behind this knows which. And issuers' key sets.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::problem::Problem;
use crate::resources::{Name, Resources};

pub mod dir;
pub mod documents;
pub mod jwks;
pub mod kube;
mod last_good;
mod object;
mod route;

/// What a source has to say.
#[derive(Clone, Debug)]
pub enum Change {
    /// The world, of which anything may have changed.
    World(Arc<Resources>),
    /// The world, of which nothing changed but the EndpointSlices of these Services.
    Endpoints {
        /// All of it.
        resources: Arc<Resources>,
        /// The Services.
        services: BTreeSet<Name>,
    },
    /// The world, of which nothing changed but what it says of itself, in statuses.
    Statuses(Arc<Resources>),
    /// The source can't be read, for these reasons; the last world stays in force.
    Broken(Vec<Problem>),
}
