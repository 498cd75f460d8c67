//! What a caller wrote as the arguments of a call. It is hostile, and the server reads it with a schema that we don't know:
//! it may turn `"1"` into 1, `1.5` into 2, `Force` into `force`. So whatever is asked of it comes to an answer that holds
//! for every such reading, or to [`Unclear`].
//!
//! Claims are another type ([`serde_json::Value`]): their issuer is trusted, and nobody reads them but us.

use std::cell::{Cell, OnceCell};
use std::collections::{BTreeMap, BTreeSet};

use crate::scan::{Malformed, Scanner};
use crate::strict;

mod names;
mod number;

use names::Names;
pub use number::{Number, Operand};

/// The members of an object that a caller wrote.
#[derive(Clone, Debug, Default)]
pub struct Arguments {
    members: BTreeMap<String, Argument>,
    /// Bytes of all names together.
    name_bytes: usize,
    /// Of these members, from when a rule first asks for one.
    names: OnceCell<Names>,
    /// Steps that rules took to look at a call's arguments, these.
    spent: Cell<usize>,
}

impl PartialEq for Arguments {
    fn eq(&self, other: &Self) -> bool {
        self.members == other.members
    }
}

/// A value that a caller wrote.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the variants are JSON's own types")]
pub enum Argument {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Argument>),
    Object(Arguments),
}

/// What a call says of its arguments.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    /// It has none.
    None,
    /// Something stands in their place that servers may or may not take for them.
    Unclear,
    /// These.
    Arguments(Arguments),
}

/// Most steps that all rules together take to look at the arguments of one call.
const MAX_STEPS: usize = 100_000;

/// How much of a text that a caller wrote one step reads in all its spellings.
pub(crate) const BYTES_PER_STEP: usize = 64;

/// There is no one answer: servers differ in what they read, or it takes too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unclear;

impl Arguments {
    /// Reads an object; none: it is not JSON that all read alike, or no object.
    #[must_use]
    pub fn parse(json: &[u8]) -> Option<Self> {
        strict::check(json).ok()?;
        match Argument::read(&mut Scanner::new(std::str::from_utf8(json).ok()?)).ok()? {
            Argument::Object(members) => Some(members),
            _ => None,
        }
    }

    /// Adds a member; false: it was there already.
    pub(crate) fn insert(&mut self, name: String, value: Argument) -> bool {
        self.name_bytes += name.len();
        self.names.take();
        self.members.insert(name, value).is_none()
    }

    /// The member of this name.
    ///
    /// # Errors
    /// When a server could take another member for it or for a part of it: by folding case or dropping characters, by
    /// taking `repo.owner` or `repo[owner]` for a path, or by inheritance.
    pub fn member(&self, name: &str) -> Result<Option<&Argument>, Unclear> {
        let names = self.names.get_or_init(|| Names::new(self.members.keys().map(String::as_str)));
        let member = self.members.get(name);
        if names.may_mean(name, member.is_some()) { Err(Unclear) } else { Ok(member) }
    }

    /// How many members there are.
    ///
    /// # Errors
    /// When a server could take one of them for another, or for a part of it.
    pub fn count(&self) -> Result<usize, Unclear> {
        let different: BTreeSet<_> = self.members.keys().filter_map(|key| names::of_one_level(key)).collect();
        if different.len() == self.members.len() { Ok(different.len()) } else { Err(Unclear) }
    }

    /// All members in the order of their names.
    pub fn members(&self) -> impl ExactSizeIterator<Item = (&str, &Argument)> {
        self.members.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Takes steps of those that all rules have together for a call with these arguments.
    ///
    /// # Errors
    /// When too few are left, and from then on.
    pub(crate) fn spend(&self, steps: usize) -> Result<(), Unclear> {
        let spent = self.spent.get().saturating_add(steps);
        self.spent.set(spent);
        if spent <= MAX_STEPS { Ok(()) } else { Err(Unclear) }
    }

    /// Bytes of all names, which those who compare objects look through.
    #[must_use]
    pub fn name_bytes(&self) -> usize {
        self.name_bytes
    }
}

impl Argument {
    /// Takes a value. INVARIANT: the text was read by [`strict`], which bounds its depth.
    pub(crate) fn read(scanner: &mut Scanner<'_>) -> Result<Self, Malformed> {
        Ok(match scanner.peek()? {
            b'{' => {
                let mut members = Arguments::default();
                scanner.object(|scanner, name| {
                    let is_new = members.insert(name.into_owned(), Self::read(scanner)?);
                    if is_new { Ok(()) } else { Err(Malformed) }
                })?;
                Self::Object(members)
            }
            b'[' => {
                let mut elements = Vec::new();
                let mut more = scanner.open(b']')?;
                while more {
                    elements.push(Self::read(scanner)?);
                    more = scanner.next(b']')?;
                }
                Self::List(elements)
            }
            b'"' => Self::Text(scanner.string()?.into_owned()),
            b'n' => scanner.word("null").map(|()| Self::Null)?,
            b't' => scanner.word("true").map(|()| Self::Bool(true))?,
            b'f' => scanner.word("false").map(|()| Self::Bool(false))?,
            _ => Self::Number(Number::read(scanner.number()?)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_that_could_be_taken_for_another() {
        let rows = [
            ("an unrelated one", r#"{"n":1,"m":2}"#, "n", Ok(true)),
            ("one that begins alike", r#"{"n":1,"nm":2}"#, "n", Ok(true)),
            ("one with a hyphen", r#"{"repo":1,"repo-name":2,"repo_id":3}"#, "repo", Ok(true)),
            ("missing", r#"{"m":2}"#, "n", Ok(false)),
            ("nothing at all", "{}", "n", Ok(false)),
            ("another case", r#"{"n":1,"N":2}"#, "n", Err(Unclear)),
            ("another case, itself missing", r#"{"N":2}"#, "n", Err(Unclear)),
            ("an alias", r#"{"forcePush":true}"#, "force_push", Err(Unclear)),
            ("an alias with hyphens", r#"{"force-push":true}"#, "forcePush", Err(Unclear)),
            ("a look-alike", "{\"a\u{17f}\":2}", "as", Err(Unclear)),
            ("blanks", r#"{" n ":1}"#, "n", Err(Unclear)),
            ("NUL", r#"{"n\u0000":1}"#, "n", Err(Unclear)),
            ("a path with a dot", r#"{"repo.owner":1}"#, "repo", Err(Unclear)),
            ("a path with a dot, folded", r#"{"Re_po.x":1}"#, "repo", Err(Unclear)),
            ("a path with brackets", r#"{"repo[owner]":1}"#, "repo", Err(Unclear)),
            ("a list with brackets", r#"{"labels[]":1}"#, "labels", Err(Unclear)),
            ("a path with slashes", r#"{"/repo/owner":1}"#, "repo", Err(Unclear)),
            ("the whole beside its part", r#"{"repo":{},"repo.owner":1}"#, "repo.owner", Err(Unclear)),
            ("parts beside each other", r#"{"repo.name":1,"repo.owner":1}"#, "repo.owner", Ok(true)),
            ("dots that are dropped", r#"{"re.po":1}"#, "repo", Err(Unclear)),
            ("an empty name", r#"{"":1}"#, "n", Err(Unclear)),
            ("what is inherited", r#"{"__proto__":{"n":1}}"#, "n", Err(Unclear)),
        ];
        for (row, json, name, expected) in rows {
            let arguments = Arguments::parse(json.as_bytes()).expect("an object");
            assert_eq!(arguments.member(name).map(|found| found.is_some()), expected, "{row}");
        }
    }

    #[test]
    fn what_is_no_object() {
        for json in ["[]", "1", "", "{", r#"{"a":1,"a":2}"#, "{}x"] {
            assert_eq!(Arguments::parse(json.as_bytes()), None, "{json}");
        }
    }
}
