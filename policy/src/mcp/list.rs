//! Lists in a server's answers: what the caller may not use is taken out, everything else stays byte for byte.
//!
//! A list is known by its shape (`result.tools` and so on), not by the request that asked for it, because lists also
//! come back on streams that no request of this exchange opened.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::value::RawValue;

use super::members::{holds, is_plain};
use super::message::Id;
use crate::policy::Item;
use crate::scan::{Malformed, Scanner};
use crate::strict::Keys;

/// The members of a result that are lists, with the member of an element that names it.
const LISTS: [(&str, Kind); 5] = [
    ("tools", Kind::Tool),
    ("prompts", Kind::Prompt),
    ("resources", Kind::Resource),
    ("resourceTemplates", Kind::Template),
    ("skills", Kind::Resource),
];

/// How long a client may keep a list that depends on the caller, in milliseconds (caching, revision 2026-07-28): a change
/// of policy is to show soon.
const MAX_TTL_MS: u64 = 60_000;

/// How many results may stand in one another: that of a task is the result of another method.
const MAX_RESULTS: usize = 8;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Tool,
    Prompt,
    Resource,
    Template,
}

/// What became of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filtered {
    /// Nothing had to change.
    Unchanged,
    /// The text to send in its place.
    Changed(String),
    /// It may hold a list, but can't be read.
    Unreadable(Option<Id>),
}

/// Takes out of one message (or an array of messages) the elements that are not to be seen. `keep` is asked once for
/// each element.
pub fn filter(text: &str, keep: &mut dyn FnMut(Item<'_>) -> bool) -> Filtered {
    match Found::read(text) {
        Ok(found) => found.filtered(text, keep).map_or(Filtered::Unchanged, Filtered::Changed),
        // What is no JSON and names no list is none of our business.
        Err(Unreadable) if !may_hold_list(text.as_bytes()) => Filtered::Unchanged,
        Err(Unreadable) => {
            let root = serde_json::from_str::<&RawValue>(text).ok();
            Filtered::Unreadable(root.and_then(|root| message_id(root.get())))
        }
    }
}

/// Most texts in UTF-8 need not be read, because they hold the name of no list.
#[must_use]
pub fn may_hold_list(text: &[u8]) -> bool {
    LISTS.iter().any(|(member, _)| holds(text, member)) || !is_plain(text)
}

#[derive(Debug)]
struct Unreadable;

impl From<Malformed> for Unreadable {
    fn from(Malformed: Malformed) -> Self {
        Self
    }
}

/// The lists of a text, and what must be said otherwise where there are lists.
#[derive(Debug, Default)]
struct Found<'t> {
    lists: Vec<List<'t>>,
    replaced: Vec<(Range<usize>, Cow<'static, str>)>,
}

/// One list.
#[derive(Debug)]
struct List<'t> {
    kind: Kind,
    /// Names and places of its elements.
    elements: Vec<(Cow<'t, str>, Range<usize>)>,
}

impl<'t> Found<'t> {
    /// Reads a text, all of it, once.
    fn read(text: &'t str) -> Result<Self, Unreadable> {
        let (mut scanner, mut found) = (Scanner::new(text), Self::default());
        if scanner.peek()? == b'[' {
            let mut more = scanner.open(b']')?;
            while more {
                // An array of messages holds no arrays of messages; whoever would look into them does not know what is in
                // them.
                if scanner.peek()? == b'[' {
                    return Err(Unreadable);
                }
                found.message(&mut scanner)?;
                more = scanner.next(b']')?;
            }
        } else {
            found.message(&mut scanner)?;
        }
        if scanner.is_at_end() { Ok(found) } else { Err(Unreadable) }
    }

    fn message(&mut self, scanner: &mut Scanner<'t>) -> Result<(), Unreadable> {
        members(scanner, |name, scanner| match (name, scanner.peek()?) {
            ("result", b'{') => self.result(scanner, MAX_RESULTS),
            _ => Ok(scanner.skip()?),
        })
    }

    fn result(&mut self, scanner: &mut Scanner<'t>, results_left: usize) -> Result<(), Unreadable> {
        let results_left = results_left.checked_sub(1).ok_or(Unreadable)?;
        let lists = self.lists.len();
        let (mut cache_scope, mut ttl) = (None, None);
        let mut inner = Self::default();
        members(scanner, |name, scanner| {
            let first = scanner.peek()?;
            let start = scanner.at();
            match (name, LISTS.iter().find(|(list, _)| *list == name)) {
                (_, Some((_, kind))) if first == b'[' => return self.list(scanner, *kind),
                // A task's result is that of another method.
                ("result", _) if first == b'{' => return inner.result(scanner, results_left),
                _ => scanner.skip()?,
            }
            match name {
                "cacheScope" => cache_scope = Some((start..scanner.at(), scanner.since(start))),
                "ttlMs" => ttl = Some((start..scanner.at(), scanner.since(start))),
                _ => {}
            }
            Ok(())
        })?;
        if self.lists.len() > lists {
            // A list that depends on the caller must not be kept for others (caching, revision 2026-07-28).
            if let Some((place, _)) = cache_scope.filter(|(_, scope)| *scope != "\"private\"") {
                self.replaced.push((place, Cow::Borrowed("\"private\"")));
            }
            let is_long = |ttl: &str| ttl.parse::<u64>().map_or(true, |ttl| ttl > MAX_TTL_MS);
            if let Some((place, _)) = ttl.filter(|(_, ttl)| is_long(ttl)) {
                self.replaced.push((place, Cow::Owned(MAX_TTL_MS.to_string())));
            }
        }
        self.lists.append(&mut inner.lists);
        self.replaced.append(&mut inner.replaced);
        Ok(())
    }

    fn list(&mut self, scanner: &mut Scanner<'t>, kind: Kind) -> Result<(), Unreadable> {
        let mut elements = Vec::new();
        let mut more = scanner.open(b']')?;
        while more {
            scanner.peek()?;
            let start = scanner.at();
            elements.push((element(scanner, kind)?, start..scanner.at()));
            more = scanner.next(b']')?;
        }
        self.lists.push(List { kind, elements });
        Ok(())
    }

    /// The text without what is not kept; none: nothing has to change.
    fn filtered(mut self, text: &str, keep: &mut dyn FnMut(Item<'_>) -> bool) -> Option<String> {
        for list in &self.lists {
            list.hide(keep, &mut self.replaced);
        }
        if self.replaced.is_empty() {
            return None;
        }
        self.replaced.sort_unstable_by_key(|(place, _)| place.start);
        let (mut changed, mut copied) = (String::with_capacity(text.len()), 0);
        for (place, other) in &self.replaced {
            changed.push_str(text.get(copied..place.start).unwrap_or_default());
            changed.push_str(other);
            copied = place.end;
        }
        changed.push_str(text.get(copied..).unwrap_or_default());
        Some(changed)
    }
}

impl List<'_> {
    /// Takes out the elements that are not kept, each with one of the commas beside it.
    fn hide(&self, keep: &mut dyn FnMut(Item<'_>) -> bool, replaced: &mut Vec<(Range<usize>, Cow<'static, str>)>) {
        let next = self.elements.iter().skip(1).map(|(_, place)| Some(place.start)).chain([None]);
        // Where the element before ends, if any so far is kept.
        let mut end = None;
        for ((name, place), next) in self.elements.iter().zip(next) {
            if keep(self.kind.item(name)) {
                end = Some(place.end);
                continue;
            }
            let hidden = end.map_or(place.start..next.unwrap_or(place.end), |end| end..place.end);
            end = end.map(|_| place.end);
            replaced.push((hidden, Cow::Borrowed("")));
        }
    }
}

impl Kind {
    /// The member by which an element is named.
    fn name(self) -> &'static str {
        match self {
            Self::Tool | Self::Prompt => "name",
            Self::Resource => "uri",
            Self::Template => "uriTemplate",
        }
    }

    fn item(self, name: &str) -> Item<'_> {
        match self {
            Self::Tool => Item::Tool(name),
            Self::Prompt => Item::Prompt(name),
            Self::Resource | Self::Template => Item::Resource(name),
        }
    }
}

/// Takes an object, of which no member may stand twice; what is no object passes.
fn members<'t>(
    scanner: &mut Scanner<'t>,
    mut take: impl FnMut(&str, &mut Scanner<'t>) -> Result<(), Unreadable>,
) -> Result<(), Unreadable> {
    if scanner.peek()? != b'{' {
        return Ok(scanner.skip()?);
    }
    let mut seen = Keys::default();
    scanner.object(|scanner, name| {
        if !seen.insert(name.clone()) {
            return Err(Unreadable);
        }
        take(&name, scanner)
    })
}

/// Takes an element of a list, and gives its name; none but an object has one, and no object two.
fn element<'t>(scanner: &mut Scanner<'t>, kind: Kind) -> Result<Cow<'t, str>, Unreadable> {
    let mut name = None;
    scanner.object(|scanner, key| {
        match (key == kind.name(), scanner.peek()?, &name) {
            (false, ..) => scanner.skip()?,
            (true, b'"', None) => name = Some(scanner.string()?),
            (true, ..) => return Err(Unreadable),
        }
        Ok(())
    })?;
    name.ok_or(Unreadable)
}

pub(crate) fn message_id(text: &str) -> Option<Id> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Raw {
        Integer(i64),
        String(String),
    }
    #[derive(serde::Deserialize)]
    struct WithId {
        id: Raw,
    }
    match serde_json::from_str::<WithId>(text).ok()?.id {
        Raw::Integer(number) => Some(Id::Integer(number)),
        Raw::String(text) => Some(Id::String(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hide(hidden: &[&str], text: &str) -> Filtered {
        filter(text, &mut |item| match item {
            Item::Tool(name) | Item::Prompt(name) | Item::Resource(name) | Item::Method(name) => {
                !hidden.contains(&name)
            }
        })
    }

    fn changed(text: &str) -> Filtered {
        Filtered::Changed(text.to_owned())
    }

    fn nested(open: &str, close: &str) -> String {
        format!("{}\"tools\"{}", open.repeat(100_000), close.repeat(100_000))
    }

    #[test]
    fn lists() {
        let (arrays, results) = (nested("[", "]"), nested("{\"result\":", "}"));
        let rows = [
            ("no list", r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#, Filtered::Unchanged),
            ("nothing hidden", r#"{"id":1,"result":{"tools":[{"name":"a"}]}}"#, Filtered::Unchanged),
            (
                "one hidden, the rest byte for byte",
                r#"{"id": 1, "result": {"nextCursor": "c", "tools": [ {"x":1.50, "name": "a"}, {"name":"b"} ], "z": 1e2}}"#,
                changed(r#"{"id": 1, "result": {"nextCursor": "c", "tools": [ {"x":1.50, "name": "a"} ], "z": 1e2}}"#),
            ),
            (
                "all hidden",
                r#"{"id":1,"result":{"tools":[{"name":"b"}]}}"#,
                changed(r#"{"id":1,"result":{"tools":[]}}"#),
            ),
            (
                "several hidden, at both ends and between",
                r#"{"id":1,"result":{"tools":[{"name":"b","x":[1]}, {"name":"b"} ,{"name":"a"},{"name":"b"}, {"name":"b"} , {"name":"c"} ,{"name":"b"}]}}"#,
                changed(r#"{"id":1,"result":{"tools":[{"name":"a"} , {"name":"c"}]}}"#),
            ),
            (
                "several, all hidden",
                r#"{"id":1,"result":{"tools":[ {"name":"b"} , {"name":"b"} ]}}"#,
                changed(r#"{"id":1,"result":{"tools":[  ]}}"#),
            ),
            (
                "escaped name",
                r#"{"id":1,"result":{"tools":[{"name":"\u0062"}]}}"#,
                changed(r#"{"id":1,"result":{"tools":[]}}"#),
            ),
            (
                "escaped member",
                r#"{"id":1,"result":{"too\u006cs":[{"name":"b"}]}}"#,
                changed(r#"{"id":1,"result":{"too\u006cs":[]}}"#),
            ),
            (
                "prompts",
                r#"{"id":1,"result":{"prompts":[{"name":"b"},{"name":"a"}]}}"#,
                changed(r#"{"id":1,"result":{"prompts":[{"name":"a"}]}}"#),
            ),
            (
                "resources and templates",
                r#"{"id":1,"result":{"resources":[{"uri":"b"}],"resourceTemplates":[{"uriTemplate":"b"},{"uriTemplate":"a"}]}}"#,
                changed(r#"{"id":1,"result":{"resources":[],"resourceTemplates":[{"uriTemplate":"a"}]}}"#),
            ),
            (
                "cache scope",
                r#"{"id":1,"result":{"tools":[{"name":"a"}],"cacheScope":"public"}}"#,
                changed(r#"{"id":1,"result":{"tools":[{"name":"a"}],"cacheScope":"private"}}"#),
            ),
            (
                "any other cache scope",
                r#"{"id":1,"result":{"tools":[],"cacheScope":null,"ttlMs":60000}}"#,
                changed(r#"{"id":1,"result":{"tools":[],"cacheScope":"private","ttlMs":60000}}"#),
            ),
            (
                "time to live",
                r#"{"id":1,"result":{"tools":[],"ttlMs":3600000}}"#,
                changed(r#"{"id":1,"result":{"tools":[],"ttlMs":60000}}"#),
            ),
            (
                "skills",
                r#"{"id":1,"result":{"skills":[{"uri":"b"},{"uri":"a"}]}}"#,
                changed(r#"{"id":1,"result":{"skills":[{"uri":"a"}]}}"#),
            ),
            (
                "the result of a task",
                r#"{"id":1,"result":{"taskId":"t","result":{"tools":[{"name":"b"}]}}}"#,
                changed(r#"{"id":1,"result":{"taskId":"t","result":{"tools":[]}}}"#),
            ),
            (
                "array of messages",
                r#"[{"id":1,"result":{"tools":[{"name":"b"}]}},{"id":2,"result":{}}]"#,
                changed(r#"[{"id":1,"result":{"tools":[]}},{"id":2,"result":{}}]"#),
            ),
            (
                "an element that is no object",
                r#"{"id":7,"result":{"tools":["name"]}}"#,
                Filtered::Unreadable(Some(Id::Integer(7))),
            ),
            (
                "an element that is an array",
                r#"{"id":7,"result":{"tools":[["name"]]}}"#,
                Filtered::Unreadable(Some(Id::Integer(7))),
            ),
            ("element without name", r#"{"id":7,"result":{"tools":[{}]}}"#, Filtered::Unreadable(Some(Id::Integer(7)))),
            (
                "element with two names",
                r#"{"id":"x","result":{"tools":[{"name":"a","name":"b"}]}}"#,
                Filtered::Unreadable(Some(Id::String("x".to_owned()))),
            ),
            (
                "two lists of one name",
                r#"{"id":7,"result":{"tools":[{"name":"a"}],"tools":[{"name":"b"}]}}"#,
                Filtered::Unreadable(Some(Id::Integer(7))),
            ),
            ("an array in an array", r#"[[{"id":1,"result":{"tools":[{"name":"b"}]}}]]"#, Filtered::Unreadable(None)),
            ("UTF-16", "{\0\"\0t\0o\0o\0l\0s\0\"\0:\0\x31\0}\0", Filtered::Unreadable(None)),
            ("arrays without end", arrays.as_str(), Filtered::Unreadable(None)),
            ("results without end", results.as_str(), Filtered::Unreadable(None)),
            ("not JSON", r#"{"result":{"tools":[{"name":"b"}"#, Filtered::Unreadable(None)),
            ("a tool's own member named tools", r#"{"id":1,"result":{"content":{"tools":1}}}"#, Filtered::Unchanged),
        ];
        for (name, text, expected) in rows {
            assert_eq!(hide(&["b"], text), expected, "{name}");
        }
    }
}
