//! A folder of manifests.

use std::path::Path;

/// A temporary folder of manifests.
#[derive(Debug)]
pub struct Folder(tempfile::TempDir);

impl Folder {
    /// An empty one.
    ///
    /// # Panics
    /// When there is no room.
    #[must_use]
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file as editors do: a new one takes the old one's place.
    ///
    /// # Panics
    /// When it can't be written.
    pub fn write(&self, name: &str, content: &str) {
        let staging = self.path().join(format!(".{name}.new"));
        std::fs::write(&staging, content).expect("writable");
        std::fs::rename(staging, self.path().join(name)).expect("writable");
    }

    /// Removes a file.
    ///
    /// # Panics
    /// When it is not there.
    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.path().join(name)).expect("a file");
    }
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}
