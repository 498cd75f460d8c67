//! Conditions, and what they are made of: the problems of an object by the field that they stand at.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::Facts;
use crate::problem::Problem;
use crate::resources::{Name, ObjectRef, Resources};
use crate::translate::Translation;

/// Longest message of a condition, in bytes; the API server takes 32768 characters.
const MAX_MESSAGE: usize = 4096;

/// Reasons that say that a reference leads nowhere.
const REFERENCE_REASONS: [&str; 9] = [
    "BackendNotFound",
    "RefNotPermitted",
    "InvalidKind",
    "UnsupportedProtocol",
    "UnsupportedTLS",
    "KeySetNotFound",
    "InvalidKeySet",
    "InvalidCertificateRef",
    "InvalidCACertificateRef",
];

/// Everything that conditions are made of.
pub(super) struct World<'w> {
    pub(super) resources: &'w Resources,
    pub(super) translation: &'w Translation,
    pub(super) facts: &'w Facts,
    problems: BTreeMap<&'w ObjectRef, Vec<&'w Problem>>,
    /// Routes of which a rule is open, by Gateway.
    pub(super) open: BTreeSet<(&'w Name, &'w Name)>,
}

impl<'w> World<'w> {
    pub(super) fn new(resources: &'w Resources, translation: &'w Translation, facts: &'w Facts) -> Self {
        let mut problems: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for problem in &translation.problems {
            if let Some(object) = &problem.resource {
                problems.entry(object).or_default().push(problem);
            }
        }
        let open = translation.unprotected.iter().map(|rule| (&rule.route, &rule.gateway)).collect();
        Self { resources, translation, facts, problems, open }
    }

    /// What is wrong with an object.
    pub(super) fn problems(&self, object: &ObjectRef) -> &[&'w Problem] {
        self.problems.get(object).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Whether a problem is that of a reference.
pub(super) fn is_reference(problem: &Problem) -> bool {
    REFERENCE_REASONS.contains(&problem.reason.as_str())
}

/// Whether a problem stands at this field or below it.
pub(super) fn is_at(problem: &Problem, field: &str) -> bool {
    problem.field.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// A reference to an object of a group.
pub(super) fn object(group: &str, kind: &str, name: &Name) -> ObjectRef {
    ObjectRef { group: group.to_owned(), kind: kind.to_owned(), name: name.clone() }
}

/// A condition that is fulfilled, or not.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    kind: &'static str,
    holds: bool,
    reason: String,
    message: String,
}

impl Condition {
    pub(super) fn new(kind: &'static str, holds: bool, reason: &str, message: impl Into<String>) -> Self {
        let mut message = message.into();
        message.truncate(message.floor_char_boundary(MAX_MESSAGE));
        Self { kind, holds, reason: reason.to_owned(), message }
    }

    /// True for this reason.
    pub(super) fn yes(kind: &'static str, reason: &str) -> Self {
        Self::new(kind, true, reason, "")
    }

    /// True with the reason of the same name when there is no problem, else false for the first one's reason, with all
    /// their messages.
    pub(super) fn unless<'p>(kind: &'static str, problems: impl IntoIterator<Item = &'p Problem>) -> Self {
        let problems: Vec<&Problem> = problems.into_iter().collect();
        match problems.first() {
            None => Self::yes(kind, kind),
            Some(first) => Self::new(kind, false, &first.reason, messages(&problems)),
        }
    }

    pub(super) fn holds(&self) -> bool {
        self.holds
    }
}

/// What the problems say, one to a line, each with its field.
pub(super) fn messages(problems: &[&Problem]) -> String {
    let line = |problem: &&Problem| {
        if problem.field.is_empty() {
            problem.message.clone()
        } else {
            format!("{}: {}", problem.field, problem.message)
        }
    };
    problems.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Conditions as they stand in a status, with the generation of the object that they speak of.
pub(super) fn conditions(list: &[Condition], generation: Option<i64>) -> Value {
    let shown = list.iter().map(|condition| {
        let mut shown = json!({
            "type": condition.kind,
            "status": if condition.holds { "True" } else { "False" },
            "reason": condition.reason,
            "message": condition.message,
        });
        if let (Some(generation), Some(members)) = (generation, shown.as_object_mut()) {
            members.insert("observedGeneration".to_owned(), generation.into());
        }
        shown
    });
    Value::Array(shown.collect())
}

/// `metadata.generation`.
pub(super) fn generation(metadata: &ObjectMeta) -> Option<i64> {
    metadata.generation
}
