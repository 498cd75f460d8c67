//! Lists in a server's answers: what the caller may not use is taken out, everything else stays byte for byte.
//!
//! A list is known by its shape (`result.tools` and so on), not by the request that asked for it: lists also come back on streams
//! that no request of this exchange opened, and a server may put one into any answer, error or notification. What tells how long
//! and for whom an answer may be kept is known by its name in the same way.

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

/// How long a client may keep what depends on the caller, in milliseconds (caching, revision 2026-07-28): a change of policy is to
/// show soon.
pub const MAX_TTL_MS: u64 = 60_000;

/// The tools that a server offers to the client's model are its own (sampling, revision 2025-11-25).
const SAMPLING: &str = "sampling/createMessage";

/// How the methods of messages begin of which nobody waits for an answer.
const NOTIFICATION: &str = "notifications/";

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
    /// It is not to be passed on, and nobody waits for it.
    Dropped,
}

/// Takes out of one message (or an array of messages) the elements that are not to be seen. `keep` is asked once for
/// each element. What may be kept is private, and kept for so many milliseconds at most.
pub fn filter(text: &str, max_ttl_ms: u64, keep: &mut dyn FnMut(Item<'_>) -> bool) -> Filtered {
    match Found::read(text, max_ttl_ms) {
        Ok(found) => found.filtered(text, keep),
        // What is no JSON and names no list is none of our business.
        Err(Unreadable) if !may_hold_list(text.as_bytes()) => Filtered::Unchanged,
        Err(Unreadable) => {
            let root = serde_json::from_str::<&RawValue>(text).ok();
            Filtered::Unreadable(root.and_then(|root| message_id(root.get())))
        }
    }
}

/// Most texts in UTF-8 need not be read, because they hold the name of no list, and tell nothing of a resource or of caching.
#[must_use]
pub fn may_change(text: &[u8]) -> bool {
    WORDS.iter().any(|word| holds(text, word)) || !is_plain(text)
}

/// Whether a text in UTF-8 may hold the name of a list.
fn may_hold_list(text: &[u8]) -> bool {
    LISTS.iter().any(|(member, _)| holds(text, member)) || !is_plain(text)
}

/// One of these stands in every text that may have to change.
const WORDS: [&str; 6] = ["tools", "prompts", "resource", "skills", CACHE_SCOPE, TTL];

/// Who may keep a result (caching, revision 2026-07-28).
pub(super) const CACHE_SCOPE: &str = "cacheScope";

/// For how long, in milliseconds.
pub(super) const TTL: &str = "ttlMs";

/// Whether a member is a list where it stands in a result.
pub(super) fn is_list(member: &str) -> bool {
    LISTS.iter().any(|(list, _)| *list == member)
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
    max_ttl_ms: u64,
    /// The messages of an array, or the one that there is.
    messages: Vec<(Notice<'t>, Range<usize>)>,
    is_array: bool,
    lists: Vec<List<'t>>,
    replaced: Vec<(Range<usize>, Cow<'static, str>)>,
}

/// A message, as far as it could be dropped.
#[derive(Debug)]
enum Notice<'t> {
    /// It passes.
    Other,
    /// It tells of a resource.
    Of(Cow<'t, str>),
    /// It is no answer, and holds what can't be read.
    Unreadable,
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
    fn read(text: &'t str, max_ttl_ms: u64) -> Result<Self, Unreadable> {
        let (mut scanner, mut found) = (Scanner::new(text), Self { max_ttl_ms, ..Self::default() });
        found.is_array = scanner.peek()? == b'[';
        if found.is_array {
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
        scanner.peek()?;
        let start = scanner.at();
        let (mut method, mut params) = (None, None);
        members(scanner, |name, scanner| match (name, scanner.peek()?) {
            ("result", b'{') => self.result(scanner, MAX_RESULTS),
            ("error", b'{') => members(scanner, |name, scanner| match (name, scanner.peek()?) {
                ("data", b'{') => self.result(scanner, MAX_RESULTS),
                _ => Ok(scanner.skip()?),
            }),
            ("method", b'"') => {
                method = Some(scanner.string()?);
                Ok(())
            }
            (name, first) => {
                if name == "params" && first == b'{' {
                    params = Some(*scanner);
                }
                Ok(scanner.skip()?)
            }
        })?;
        let notice = match (method, params) {
            (Some(method), Some(params)) if method != SAMPLING => self.notice(&method, params),
            _ => Notice::Other,
        };
        self.messages.push((notice, start..scanner.at()));
        Ok(())
    }

    /// What a message with a method says in its params, which is read as a result is.
    fn notice(&mut self, method: &str, mut params: Scanner<'t>) -> Notice<'t> {
        let (lists, replaced, mut uri) = (self.lists.len(), self.replaced.len(), params);
        if self.result(&mut params, MAX_RESULTS).is_err() {
            self.lists.truncate(lists);
            self.replaced.truncate(replaced);
            return Notice::Unreadable;
        }
        let mut named = Notice::Other;
        let read = members(&mut uri, |name, scanner| {
            match (name == "uri" && method.starts_with(NOTIFICATION), scanner.peek()?) {
                (true, b'"') => named = Notice::Of(scanner.string()?),
                (true, _) => return Err(Unreadable),
                (false, _) => scanner.skip()?,
            }
            Ok(())
        });
        if read.is_ok() { named } else { Notice::Unreadable }
    }

    fn result(&mut self, scanner: &mut Scanner<'t>, results_left: usize) -> Result<(), Unreadable> {
        let results_left = results_left.checked_sub(1).ok_or(Unreadable)?;
        let (mut cache_scope, mut ttl) = (None, None);
        members(scanner, |name, scanner| {
            let first = scanner.peek()?;
            let start = scanner.at();
            match (name, LISTS.iter().find(|(list, _)| *list == name)) {
                // A list that is none: nobody knows what a client would make of it.
                (_, Some(_)) if first != b'[' => return Err(Unreadable),
                (_, Some((_, kind))) => return self.list(scanner, *kind),
                // A task's result is that of another method.
                ("result", _) if first == b'{' => return self.result(scanner, results_left),
                _ => scanner.skip()?,
            }
            match name {
                CACHE_SCOPE => cache_scope = Some((start..scanner.at(), scanner.since(start))),
                TTL => ttl = Some((start..scanner.at(), scanner.since(start))),
                _ => {}
            }
            Ok(())
        })?;
        // What depends on the caller must not be kept for others, nor for longer than the decision holds.
        let is_said = cache_scope.is_some();
        if let Some((place, _)) = cache_scope.filter(|(_, scope)| *scope != PRIVATE) {
            self.replaced.push((place, Cow::Borrowed(PRIVATE)));
        }
        if let Some((place, _)) = ttl.as_ref().filter(|(_, ttl)| is_longer(ttl, self.max_ttl_ms)) {
            self.replaced.push((place.clone(), Cow::Owned(self.max_ttl_ms.to_string())));
        }
        if let Some((place, _)) = ttl.filter(|_| !is_said) {
            self.replaced.push((place.end..place.end, Cow::Owned(format!(",\"{CACHE_SCOPE}\":{PRIVATE}"))));
        }
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

    /// The text without what is not kept.
    fn filtered(mut self, text: &str, keep: &mut dyn FnMut(Item<'_>) -> bool) -> Filtered {
        for list in &self.lists {
            let kept = list.elements.iter().map(|(name, place)| (keep(list.kind.item(name)), place));
            hide(kept, &mut self.replaced);
        }
        let mut passes = |notice: &Notice<'_>| match notice {
            Notice::Other => true,
            Notice::Of(uri) => keep(Item::Resource(uri)),
            Notice::Unreadable => false,
        };
        let passed: Vec<_> = self.messages.iter().map(|(notice, place)| (passes(notice), place)).collect();
        let any_dropped = passed.iter().any(|(passes, _)| !passes);
        if any_dropped && (!self.is_array || passed.iter().all(|(passes, _)| !passes)) {
            return Filtered::Dropped;
        }
        hide(passed.into_iter(), &mut self.replaced);
        if self.replaced.is_empty() {
            return Filtered::Unchanged;
        }
        // What stands within something that is taken out comes behind it.
        self.replaced.sort_by_key(|(place, _)| place.start);
        let (mut changed, mut copied) = (String::with_capacity(text.len()), 0);
        for (place, other) in &self.replaced {
            if place.start < copied {
                continue;
            }
            changed.push_str(text.get(copied..place.start).unwrap_or_default());
            changed.push_str(other);
            copied = place.end;
        }
        changed.push_str(text.get(copied..).unwrap_or_default());
        Filtered::Changed(changed)
    }
}

/// The only scope that what depends on the caller may have.
pub(super) const PRIVATE: &str = "\"private\"";

/// Whether a time, as written, is longer than it may be; what is no number of milliseconds counts as such.
pub(super) fn is_longer(ttl: &str, max_ttl_ms: u64) -> bool {
    ttl.parse::<u64>().map_or(true, |ttl| ttl > max_ttl_ms)
}

/// Takes out the elements of an array that are not kept, each with one of the commas beside it.
fn hide<'p>(
    elements: impl Iterator<Item = (bool, &'p Range<usize>)>,
    replaced: &mut Vec<(Range<usize>, Cow<'static, str>)>,
) {
    let mut elements = elements.peekable();
    // Where the element before ends, if any so far is kept.
    let mut end = None;
    while let Some((is_kept, place)) = elements.next() {
        if is_kept {
            end = Some(place.end);
            continue;
        }
        let next = elements.peek().map(|(_, next)| next.start);
        let hidden = end.map_or(place.start..next.unwrap_or(place.end), |end| end..place.end);
        end = end.map(|_| place.end);
        replaced.push((hidden, Cow::Borrowed("")));
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
        filter(text, MAX_TTL_MS, &mut |item| match item {
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
                changed(r#"{"id":1,"result":{"tools":[],"ttlMs":60000,"cacheScope":"private"}}"#),
            ),
            (
                "whatever may be kept",
                r#"{"id":1,"result":{"contents":[],"ttlMs":86400000,"cacheScope":"public"}}"#,
                changed(r#"{"id":1,"result":{"contents":[],"ttlMs":60000,"cacheScope":"private"}}"#),
            ),
            (
                "a list that is an object",
                r#"{"id":7,"result":{"tools":{"b":{}}}}"#,
                Filtered::Unreadable(Some(Id::Integer(7))),
            ),
            ("a list that is null", r#"{"id":7,"result":{"skills":null}}"#, Filtered::Unreadable(Some(Id::Integer(7)))),
            ("a list that is text", r#"{"id":7,"result":{"prompts":"b"}}"#, Filtered::Unreadable(Some(Id::Integer(7)))),
            (
                "in an error",
                r#"{"id":1,"error":{"code":1,"data":{"tools":[{"name":"b"}]}}}"#,
                changed(r#"{"id":1,"error":{"code":1,"data":{"tools":[]}}}"#),
            ),
            (
                "in a notification",
                r#"{"params":{"tools":[{"name":"b"},{"name":"a"}]},"method":"notifications/x"}"#,
                changed(r#"{"params":{"tools":[{"name":"a"}]},"method":"notifications/x"}"#),
            ),
            (
                "unreadable in a notification",
                r#"{"method":"notifications/x","params":{"tools":{}}}"#,
                Filtered::Dropped,
            ),
            (
                "what a server offers to a model",
                r#"{"id":1,"method":"sampling/createMessage","params":{"tools":[{"name":"b"}]}}"#,
                Filtered::Unchanged,
            ),
            (
                "a resource that changed",
                r#"{"method":"notifications/resources/updated","params":{"uri":"a"}}"#,
                Filtered::Unchanged,
            ),
            ("a hidden one", r#"{"method":"notifications/resources/updated","params":{"uri":"b"}}"#, Filtered::Dropped),
            (
                "one of many types",
                r#"{"method":"notifications/resources/updated","params":{"uri":["b"]}}"#,
                Filtered::Dropped,
            ),
            (
                "a hidden one among messages",
                r#"[{"id":1,"result":{}} , {"method":"notifications/resources/updated","params":{"uri":"b","tools":[{"name":"b"}]}},{"id":2,"result":{}}]"#,
                changed(r#"[{"id":1,"result":{}},{"id":2,"result":{}}]"#),
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
