//! Where resources come from: a folder, or a Kubernetes API server. Nothing behind this knows which. And issuers' key sets.

use std::sync::Arc;

use crate::problem::Problem;
use crate::resources::Resources;

pub mod dir;
pub mod documents;
mod files;
pub mod jwks;
pub mod kube;
mod last_good;
pub mod latest;
mod likeness;
mod lists;
pub mod names;
mod nulls;
mod object;
mod references;
mod route;

/// What a source has to say.
#[derive(Clone, Debug)]
pub enum Change {
    /// The world; what did not change of it is shared with the last one.
    World(Arc<Resources>),
    /// The world, of which nothing changed but what it says of itself, in statuses.
    Statuses(Arc<Resources>),
    /// The source can't be read, for these reasons; the last world stays in force.
    Broken(Vec<Problem>),
}
