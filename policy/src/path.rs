//! Where a value stands. Two inputs, two types: [`ClaimPath`] for what an issuer wrote, [`ArgumentPath`] for what a caller
//! did.

use std::borrow::Cow;
use std::fmt;

use serde_json::{Map, Value};

use crate::arguments::{Argument, Arguments};

/// Leads to a claim. Names may have dots themselves (`https://example.com/roles`), so as many parts as possible are taken for
/// one name. Fit for trusted input alone: whoever writes the members chooses how the path is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPath {
    parts: Vec<String>,
}

/// Leads to an argument: names of members joined by dots, and a dot is nothing else. A name that is not of plain characters is
/// written as a JSON string in brackets: `repo["a.b"].c`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgumentPath {
    names: Vec<String>,
}

/// Why a path does not parse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum PathFault {
    #[error("the path is empty")]
    Empty,
    #[error("between dots stands the name of a member; write an empty name as [\"\"]")]
    NoName,
    #[error(
        "a name with quotes, brackets, blanks or characters beyond ASCII is written as a JSON string in brackets, such as repo[\"a.b\"].c"
    )]
    Character,
    #[error(
        "in brackets stands a name as a JSON string, such as [\"a.b\"]; of an array every element is looked at, so there are no indexes"
    )]
    Brackets,
    #[error("behind brackets stands a dot, another bracket or nothing")]
    BehindBrackets,
}

impl ClaimPath {
    /// Reads a path.
    ///
    /// # Errors
    /// When it is empty.
    pub fn parse(text: &str) -> Result<Self, PathFault> {
        if text.is_empty() {
            return Err(PathFault::Empty);
        }
        Ok(Self { parts: text.split('.').map(str::to_owned).collect() })
    }

    /// The claim, if it is there.
    #[must_use]
    pub fn find<'v>(&self, claims: &'v Map<String, Value>) -> Option<&'v Value> {
        find_claim(claims, &self.parts)
    }
}

/// Takes as many parts as possible for one name; a wrong turn is not taken back, so that one path means one value.
fn find_claim<'v>(members: &'v Map<String, Value>, path: &[String]) -> Option<&'v Value> {
    for taken in (1..=path.len()).rev() {
        let (name, rest) = path.split_at(taken);
        let name = match name {
            [only] => Cow::Borrowed(only.as_str()),
            several => Cow::Owned(several.join(".")),
        };
        if let Some(value) = members.get(name.as_ref()) {
            return match (rest, value) {
                ([], value) => Some(value),
                (rest, Value::Object(members)) => find_claim(members, rest),
                _ => None,
            };
        }
    }
    None
}

impl ArgumentPath {
    /// Reads a path.
    ///
    /// # Errors
    /// When it is not one.
    pub fn parse(text: &str) -> Result<Self, PathFault> {
        let (mut names, mut rest) = (Vec::new(), text);
        if rest.is_empty() {
            return Err(PathFault::Empty);
        }
        loop {
            let (name, behind) = if rest.starts_with('[') { quoted(rest)? } else { plain(rest)? };
            names.push(name);
            rest = match behind.as_bytes() {
                [] => return Ok(Self { names }),
                [b'[', ..] => behind,
                [b'.', ..] => behind.get(1..).filter(|next| !next.starts_with('[')).ok_or(PathFault::NoName)?,
                _ => return Err(PathFault::BehindBrackets),
            };
        }
    }

    /// The argument; none: it is not there, or a server could take another one for it.
    #[must_use]
    pub fn find<'a>(&self, arguments: &'a Arguments) -> Option<&'a Argument> {
        let (last, objects) = self.names.split_last()?;
        let mut members = arguments;
        for name in objects {
            let Some(Argument::Object(inner)) = members.member(name).ok()? else { return None };
            members = inner;
        }
        members.member(last).ok()?
    }

    /// The names of members, from the outside to the inside; never none.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

/// With every name in quotes, so that nobody takes a dot for something else.
impl fmt::Display for ArgumentPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.names.iter().try_for_each(|name| write!(f, "[{}]", Value::from(name.as_str())))
    }
}

/// A name up to the next dot or bracket, and what stands behind it.
fn plain(text: &str) -> Result<(String, &str), PathFault> {
    let (name, behind) = text.split_at(text.find(['.', '[']).unwrap_or(text.len()));
    if name.is_empty() {
        return Err(PathFault::NoName);
    }
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b']' | b'"' | b'\'' | b'\\');
    if name.bytes().all(is_plain) { Ok((name.to_owned(), behind)) } else { Err(PathFault::Character) }
}

/// A JSON string in brackets, and what stands behind them.
fn quoted(text: &str) -> Result<(String, &str), PathFault> {
    let inner = text.get(1..).unwrap_or_default();
    let mut strings = serde_json::Deserializer::from_str(inner).into_iter::<String>();
    match strings.next() {
        Some(Ok(name)) if inner.starts_with('"') => {
            let behind = inner.get(strings.byte_offset()..).and_then(|behind| behind.strip_prefix(']'));
            behind.map(|behind| (name, behind)).ok_or(PathFault::Brackets)
        }
        _ => Err(PathFault::Brackets),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn argument_paths() {
        use PathFault::{BehindBrackets, Brackets, Character, Empty, NoName};
        let rows: [(&str, Result<&[&str], PathFault>); 26] = [
            ("repo", Ok(&["repo"])),
            ("repo.owner", Ok(&["repo", "owner"])),
            ("repo[\"a.b\"].c", Ok(&["repo", "a.b", "c"])),
            ("[\"a.b\"]", Ok(&["a.b"])),
            ("[\"a\"][\"b\"]", Ok(&["a", "b"])),
            ("a[\"\\u00e4\\\"\"].b", Ok(&["a", "ä\"", "b"])),
            ("[\"\"]", Ok(&[""])),
            ("[\"a]\"]", Ok(&["a]"])),
            ("https://example.com/x", Ok(&["https://example", "com/x"])),
            ("$x.@y-z_1", Ok(&["$x", "@y-z_1"])),
            ("", Err(Empty)),
            (".a", Err(NoName)),
            ("a.", Err(NoName)),
            ("a..b", Err(NoName)),
            ("a.[\"b\"]", Err(NoName)),
            ("a[\"b\"].", Err(NoName)),
            ("a b", Err(Character)),
            ("ä", Err(Character)),
            ("a]", Err(Character)),
            ("\"a.b\"", Err(Character)),
            ("a[0]", Err(Brackets)),
            ("a[b]", Err(Brackets)),
            ("a['b']", Err(Brackets)),
            ("a[ \"b\"]", Err(Brackets)),
            ("a[\"b\"", Err(Brackets)),
            ("a[\"b\"]c", Err(BehindBrackets)),
        ];
        for (text, expected) in rows {
            let names = ArgumentPath::parse(text).map(|path| path.names);
            let expected = expected.map(|names| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
            assert_eq!(names, expected, "{text}");
        }
    }

    #[test]
    fn in_arguments_a_dot_is_a_level() {
        let rows = [
            ("a level", r#"{"repo":{"owner":"acme"}}"#, "repo.owner", true),
            ("no level", r#"{"repo.owner":"acme"}"#, "repo.owner", false),
            ("both", r#"{"repo.owner":"acme","repo":{"owner":"evil"}}"#, "repo.owner", false),
            ("a name", r#"{"repo.owner":"acme"}"#, "[\"repo.owner\"]", true),
            ("a name beside its level", r#"{"repo.owner":"acme","repo":{}}"#, "[\"repo.owner\"]", false),
            ("deeper, split in front", r#"{"a.b":{"c":1},"a":{"b":{"c":2}}}"#, "a.b.c", false),
            ("deeper, split behind", r#"{"a":{"b.c":1,"b":{"c":2}}}"#, "a.b.c", false),
            ("deeper", r#"{"a":{"b":{"c":2}}}"#, "a.b.c", true),
            ("through a list", r#"{"a":[{"b":1}]}"#, "a.b", false),
            ("through a text", r#"{"a":"{\"b\":1}"}"#, "a.b", false),
        ];
        for (row, json, path, found) in rows {
            let arguments = Arguments::parse(json.as_bytes()).expect("an object");
            assert_eq!(ArgumentPath::parse(path).expect("a path").find(&arguments).is_some(), found, "{row}");
        }
    }
}
