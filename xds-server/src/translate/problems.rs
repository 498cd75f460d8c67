//! Collects what is wrong, each with its object, field and reason.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::objects::Objects;
use crate::problem::Problem;
use crate::resources::{Name, ObjectRef};

/// The group of Gateway API's own kinds.
pub(super) const GATEWAY_API: &str = "gateway.networking.k8s.io";

/// What is wrong with a value, before it is known where the value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The condition reason.
    pub(super) reason: &'static str,
    /// What is wrong, and what to do.
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// A value that the standard allows, or might allow, and that can't be honoured.
    pub(super) fn unsupported(message: impl Into<String>) -> Self {
        Self::new("UnsupportedValue", message)
    }
}

/// All problems so far, sorted and each once.
pub(super) struct Problems<'r> {
    origins: &'r Objects<ObjectRef, PathBuf>,
    found: BTreeSet<Problem>,
    notes: BTreeSet<Problem>,
}

impl<'r> Problems<'r> {
    pub(super) fn new(origins: &'r Objects<ObjectRef, PathBuf>) -> Self {
        Self { origins, found: BTreeSet::new(), notes: BTreeSet::new() }
    }

    pub(super) fn of(&mut self, object: ObjectRef) -> Reporter<'_, 'r> {
        Reporter { problems: self, object }
    }

    pub(super) fn notes(&self) -> Vec<Problem> {
        self.notes.iter().cloned().collect()
    }

    pub(super) fn into_sorted(self) -> Vec<Problem> {
        self.found.into_iter().collect()
    }
}

/// Reports problems of one object.
pub(super) struct Reporter<'p, 'r> {
    problems: &'p mut Problems<'r>,
    object: ObjectRef,
}

impl Reporter<'_, '_> {
    pub(super) fn report(&mut self, field: impl Into<String>, fault: Fault) {
        let problem = self.problem(field, fault);
        self.problems.found.insert(problem);
    }

    /// Tells what is no problem.
    pub(super) fn note(&mut self, field: impl Into<String>, fault: Fault) {
        let note = self.problem(field, fault);
        self.problems.notes.insert(note);
    }

    fn problem(&self, field: impl Into<String>, fault: Fault) -> Problem {
        Problem {
            file: self.problems.origins.get(&self.object).map(|path| PathBuf::clone(path)),
            resource: Some(self.object.clone()),
            field: field.into(),
            reason: fault.reason.to_owned(),
            message: fault.message,
        }
    }

    /// The value, or `None` after reporting why there is none.
    pub(super) fn accept<T>(&mut self, field: impl Into<String>, value: Result<T, Fault>) -> Option<T> {
        value.map_err(|fault| self.report(field, fault)).ok()
    }
}

pub(super) fn gateway_ref(name: &Name) -> ObjectRef {
    object(GATEWAY_API, "Gateway", name)
}

pub(super) fn route_ref(name: &Name) -> ObjectRef {
    object(GATEWAY_API, "HTTPRoute", name)
}

pub(super) fn object(group: &str, kind: &str, name: &Name) -> ObjectRef {
    ObjectRef { group: group.to_owned(), kind: kind.to_owned(), name: name.clone() }
}
