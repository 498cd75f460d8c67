//! Resources from a folder of YAML files.

use std::path::{Path, PathBuf};

use tokio_stream::{Stream, StreamExt};

use crate::problem::Problem;
use crate::resources::Resources;

/// Reads a folder, all of it.
///
/// # Errors
/// When the folder as a whole can't be trusted: it is gone or empty, a file is not YAML, two objects have one name.
/// An object that is readable as YAML but wrong in itself is no error here; it lands in [`Resources::malformed`].
pub fn load(_folder: &Path) -> Result<Resources, Vec<Problem>> {
    todo!()
}

/// Reads the folder now, and again whenever it changes.
pub fn watch(folder: PathBuf) -> impl Stream<Item = Result<Resources, Vec<Problem>>> + Send {
    tokio_stream::once(load(&folder)).chain(tokio_stream::pending())
}
