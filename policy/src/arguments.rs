//! What a caller wrote as the arguments of a call. It is hostile, and the server reads it with a schema that we don't know:
//! it may turn `"1"` into 1, `1.5` into 2, `Force` into `force`. So whatever is asked of it comes to an answer that holds
//! for every such reading, or to [`Unclear`].
//!
//! Claims are another type ([`serde_json::Value`]): their issuer is trusted, and nobody reads them but us.

use std::collections::{BTreeMap, BTreeSet};

use crate::scan::{Malformed, Scanner};
use crate::strict;

mod number;

pub use number::{Number, Operand};

/// The members of an object that a caller wrote.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arguments {
    members: BTreeMap<String, Argument>,
    /// Bytes of all names together.
    name_bytes: usize,
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

/// There is no one answer: servers differ in what they read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unclear;

/// The name by which JavaScript knows the object of which an object inherits.
const PROTOTYPE: &str = "__proto__";

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
        self.members.insert(name, value).is_none()
    }

    /// The member of this name.
    ///
    /// # Errors
    /// When a server could take another member for it or for a part of it: by folding case or dropping characters, by
    /// taking `repo.owner` or `repo[owner]` for a path, or by inheritance.
    pub fn member(&self, name: &str) -> Result<Option<&Argument>, Unclear> {
        let others = self.members.keys().filter(|key| *key != name);
        if others.into_iter().any(|key| may_mean(key, name)) { Err(Unclear) } else { Ok(self.members.get(name)) }
    }

    /// How many members there are.
    ///
    /// # Errors
    /// When a server could take one of them for another, or for a part of it.
    pub fn count(&self) -> Result<usize, Unclear> {
        let is_name = |key: &&String| is_plain(key) && *key != PROTOTYPE && levels(key).eq([key.as_str()]);
        let different: BTreeSet<_> =
            self.members.keys().filter(is_name).map(|key| letters(key).collect::<Vec<_>>()).collect();
        if different.len() == self.members.len() { Ok(different.len()) } else { Err(Unclear) }
    }

    /// All members in the order of their names.
    pub fn members(&self) -> impl ExactSizeIterator<Item = (&str, &Argument)> {
        self.members.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// What [`Arguments::member`] has to look through, in bytes.
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

/// Whether a server could take the member `key` for another one, or for a part of it, or the other for a part of it.
///
/// Servers know their arguments by aliases (`forcePush`, `force_push`), fold case, drop blanks and brackets, and make
/// objects of names such as `repo.owner`, `repo[owner]` and `repo/owner`. What is not ASCII may fold to anything.
fn may_mean(key: &str, name: &str) -> bool {
    let fold_alike = |own: &str, other: &str| letters(own).eq(letters(other));
    !is_plain(key)
        || key == PROTOTYPE
        || fold_alike(key, name)
        || levels(key).zip(levels(name)).all(|(own, other)| fold_alike(own, other))
}

fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
}

/// What a name is made of for those who take it for a path.
fn levels(name: &str) -> impl Iterator<Item = &str> {
    let is_within = |byte: char| byte.is_ascii_alphanumeric() || byte == '_' || byte == '-' || !byte.is_ascii();
    name.split(move |byte| !is_within(byte)).filter(|level| !level.is_empty())
}

/// What is left of a name for those who fold case and drop everything but letters and digits.
fn letters(name: &str) -> impl Iterator<Item = u8> {
    name.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_lowercase())
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
