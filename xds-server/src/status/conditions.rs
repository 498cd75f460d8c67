//! Conditions, and what they are made of: the problems of an object by the field that they stand at.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::Facts;
use crate::problem::Problem;
use crate::resources::{Malformed, Name, ObjectRef, Resources};
use crate::translate::Translation;

/// Longest message of a condition, in bytes; the API server takes 32768 characters.
pub(super) const MAX_MESSAGE: usize = 4096;

/// Everything that conditions are made of.
pub(super) struct World<'w> {
    pub(super) resources: &'w Resources,
    pub(super) translation: &'w Translation,
    pub(super) facts: &'w Facts,
    /// The Gateways through which MCP servers are reached.
    pub(super) backends: BTreeMap<&'w ObjectRef, BTreeSet<&'w Name>>,
    /// The Gateways through which Services are reached.
    pub(super) services: BTreeMap<&'w Name, BTreeSet<&'w Name>>,
    problems: BTreeMap<&'w ObjectRef, Vec<&'w Problem>>,
}

impl<'w> World<'w> {
    pub(super) fn new(resources: &'w Resources, translation: &'w Translation, facts: &'w Facts) -> Self {
        let mut problems: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for problem in &translation.problems {
            if let Some(object) = &problem.resource {
                problems.entry(object).or_default().push(problem);
            }
        }
        problems.values_mut().for_each(|problems| problems.sort_by_cached_key(|problem| in_order(&problem.field)));
        let (backends, services) = (translation.backends(), translation.services());
        Self { resources, translation, facts, backends, services, problems }
    }

    /// What is wrong with an object, in the order of its fields.
    pub(super) fn problems(&self, object: &ObjectRef) -> &[&'w Problem] {
        self.problems.get(object).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether an object can't be read.
    pub(super) fn is_malformed(&self, object: &ObjectRef) -> bool {
        self.resources.malformed.contains_key(object)
    }

    /// The objects of a kind that can't be read.
    pub(super) fn malformed(&self, group: &str, kind: &str) -> impl Iterator<Item = (&'w ObjectRef, &'w Malformed)> {
        self.resources.malformed_of(group, kind)
    }
}

/// Sorts fields as they are written: numbers as numbers.
fn in_order(field: &str) -> String {
    let mut key = String::new();
    for part in field.split_inclusive(['[', ']']) {
        match part.strip_suffix(']') {
            Some(index) => key.push_str(&format!("{index:0>8}]")),
            None => key.push_str(part),
        }
    }
    key
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_in_the_order_of_the_resource() {
        let written = ["spec.hostnames[0]", "spec.rules[2].filters[0]", "spec.rules[10]", "spec.rules[10].filters[1]"];
        let mut sorted = written;
        sorted.reverse();
        sorted.sort_by_cached_key(|field| in_order(field));
        assert_eq!(sorted, written);
    }

    #[test]
    fn a_field_is_at_itself_and_above_what_is_below() {
        let rows = [
            ("itself", "spec.rules[1]", true),
            ("a part", "spec.rules[1].matches[0]", true),
            ("another with the same digits", "spec.rules[10]", false),
            ("another with the same letters", "spec.rulesets", false),
        ];
        for (row, field, expected) in rows {
            let problem = Problem {
                file: None,
                resource: None,
                field: field.to_owned(),
                reason: String::new(),
                message: String::new(),
            };
            let above = if row == "another with the same letters" { "spec.rules" } else { "spec.rules[1]" };
            assert_eq!(is_at(&problem, above), expected, "{row}");
        }
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let condition = Condition::new("Accepted", false, "Invalid", "ä".repeat(MAX_MESSAGE));
        assert_eq!(condition.message.len(), MAX_MESSAGE);
        let condition = Condition::new("Accepted", false, "Invalid", format!("x{}", "ä".repeat(MAX_MESSAGE)));
        assert_eq!(condition.message.len(), MAX_MESSAGE - 1);
    }
}
