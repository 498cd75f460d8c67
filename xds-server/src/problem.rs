//! What is wrong with the input: where, what, and what to do about it.

use std::fmt;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

use crate::resources::ObjectRef;

/// One fault in one resource (or file), as `toolward check`, the log and the status conditions tell it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// The file, where resources come from a folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The object, shown as `Kind namespace/name`; `None` where the file does not even parse that far.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text")]
    pub resource: Option<ObjectRef>,
    /// Path of the field, such as `spec.rules[0].backendRefs[1].name`; empty for the resource as a whole.
    pub field: String,
    /// A word in CamelCase: the standard's condition reason where there is one (`RefNotPermitted`, `BackendNotFound`…).
    pub reason: String,
    /// What is wrong, and what to do.
    pub message: String,
}

fn as_text<S: Serializer>(object: &Option<ObjectRef>, serializer: S) -> Result<S::Ok, S::Error> {
    match object {
        Some(object) => serializer.collect_str(object),
        None => serializer.serialize_none(),
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}: ", file.display())?;
        }
        if let Some(resource) = &self.resource {
            write!(f, "{resource}: ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        write!(f, "{} ({})", self.message, self.reason)
    }
}
