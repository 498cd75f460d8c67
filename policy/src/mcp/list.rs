//! Lists in a server's answers: what the caller may not use is taken out, everything else stays byte for byte.
//!
//! A list is known by its shape (`result.tools` and so on), not by the request that asked for it, because lists also
//! come back on streams that no request of this exchange opened.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::members::{Members, is_plain, rewrite_elements};
use super::message::Id;
use crate::policy::Item;

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

#[derive(Clone, Copy)]
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
pub fn filter(text: &[u8], keep: &mut dyn FnMut(Item<'_>) -> bool) -> Filtered {
    if !may_hold_list(text) {
        return Filtered::Unchanged;
    }
    let Ok(root) = serde_json::from_slice::<&RawValue>(text) else { return Filtered::Unreadable(None) };
    match filter_value(root.get(), keep) {
        Ok(None) => Filtered::Unchanged,
        Ok(Some(changed)) => Filtered::Changed(changed),
        Err(Unreadable) => Filtered::Unreadable(message_id(root.get())),
    }
}

/// Most texts need not be read, because they hold the name of no list.
#[must_use]
pub fn may_hold_list(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return true };
    !is_plain(text) || LISTS.iter().any(|(member, _)| text.contains(member))
}

#[derive(Debug)]
struct Unreadable;

impl From<serde_json::Error> for Unreadable {
    fn from(_: serde_json::Error) -> Self {
        Self
    }
}

fn filter_value(text: &str, keep: &mut dyn FnMut(Item<'_>) -> bool) -> Result<Option<String>, Unreadable> {
    match text.as_bytes().first() {
        Some(b'[') => rewrite_elements(text, &mut |element| filter_element(element, keep)),
        _ => filter_element(text, keep),
    }
}

/// An array of messages holds no arrays of messages; whoever would look into them does not know what is in them.
fn filter_element(text: &str, keep: &mut dyn FnMut(Item<'_>) -> bool) -> Result<Option<String>, Unreadable> {
    match text.as_bytes().first() {
        Some(b'{') => filter_message(text, keep),
        Some(b'[') => Err(Unreadable),
        _ => Ok(None),
    }
}

fn filter_message(text: &str, keep: &mut dyn FnMut(Item<'_>) -> bool) -> Result<Option<String>, Unreadable> {
    let mut message: Members<'_> = serde_json::from_str(text)?;
    let Some(result) = message.value("result") else { return Ok(None) };
    if !result.starts_with('{') {
        return Ok(None);
    }
    match filter_result(result, MAX_RESULTS, keep)? {
        None => Ok(None),
        Some(result) => {
            message.replace("result", result);
            Ok(Some(message.to_string()))
        }
    }
}

fn filter_result(
    text: &str,
    results_left: usize,
    keep: &mut dyn FnMut(Item<'_>) -> bool,
) -> Result<Option<String>, Unreadable> {
    let results_left = results_left.checked_sub(1).ok_or(Unreadable)?;
    let mut result: Members<'_> = serde_json::from_str(text)?;
    let mut is_list = false;
    let mut changed = false;
    for (member, kind) in LISTS {
        let Some(list) = result.value(member).filter(|list| list.starts_with('[')) else { continue };
        is_list = true;
        if let Some(list) = filter_list(list, kind, keep)? {
            result.replace(member, list);
            changed = true;
        }
    }
    // A list that depends on the caller must not be kept for others (caching, revision 2026-07-28).
    if is_list && result.value("cacheScope").is_some_and(|scope| scope != "\"private\"") {
        result.replace("cacheScope", "\"private\"".to_owned());
        changed = true;
    }
    let is_long = |ttl: &str| ttl.parse::<u64>().map_or(true, |ttl| ttl > MAX_TTL_MS);
    if is_list && result.value("ttlMs").is_some_and(is_long) {
        result.replace("ttlMs", MAX_TTL_MS.to_string());
        changed = true;
    }
    // A task's result is that of another method.
    if let Some(inner) = result.value("result").filter(|inner| inner.starts_with('{'))
        && let Some(inner) = filter_result(inner, results_left, keep)?
    {
        result.replace("result", inner);
        changed = true;
    }
    Ok(changed.then(|| result.to_string()))
}

fn filter_list(text: &str, kind: Kind, keep: &mut dyn FnMut(Item<'_>) -> bool) -> Result<Option<String>, Unreadable> {
    let elements: Vec<&RawValue> = serde_json::from_str(text)?;
    let mut kept = Vec::with_capacity(elements.len());
    for element in &elements {
        let name = name(element.get(), kind)?;
        let item = match kind {
            Kind::Tool => Item::Tool(&name),
            Kind::Prompt => Item::Prompt(&name),
            Kind::Resource | Kind::Template => Item::Resource(&name),
        };
        if keep(item) {
            kept.push(element.get());
        }
    }
    Ok((kept.len() < elements.len()).then(|| format!("[{}]", kept.join(","))))
}

/// Reads the member that names an element; one that stands twice is an error, as is an element that is no object: `serde`
/// would read `["x"]` as an object whose first member is `x`.
fn name(element: &str, kind: Kind) -> Result<Cow<'_, str>, Unreadable> {
    if !element.starts_with('{') {
        return Err(Unreadable);
    }
    #[derive(serde::Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        name: Cow<'a, str>,
    }
    #[derive(serde::Deserialize)]
    struct Located<'a> {
        #[serde(borrow)]
        uri: Cow<'a, str>,
    }
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Template<'a> {
        #[serde(borrow)]
        uri_template: Cow<'a, str>,
    }
    match kind {
        Kind::Tool | Kind::Prompt => Ok(serde_json::from_str::<Named<'_>>(element)?.name),
        Kind::Resource => Ok(serde_json::from_str::<Located<'_>>(element)?.uri),
        Kind::Template => Ok(serde_json::from_str::<Template<'_>>(element)?.uri_template),
    }
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
        filter(text.as_bytes(), &mut |item| match item {
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
                changed(r#"{"id":1,"result":{"nextCursor":"c","tools":[{"x":1.50, "name": "a"}],"z":1e2}}"#),
            ),
            (
                "all hidden",
                r#"{"id":1,"result":{"tools":[{"name":"b"}]}}"#,
                changed(r#"{"id":1,"result":{"tools":[]}}"#),
            ),
            (
                "escaped name",
                r#"{"id":1,"result":{"tools":[{"name":"\u0062"}]}}"#,
                changed(r#"{"id":1,"result":{"tools":[]}}"#),
            ),
            (
                "escaped member",
                r#"{"id":1,"result":{"too\u006cs":[{"name":"b"}]}}"#,
                changed(r#"{"id":1,"result":{"tools":[]}}"#),
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
                "element that is an array",
                r#"{"id":7,"result":{"tools":[["a"]]}}"#,
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
