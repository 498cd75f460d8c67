//! Ids of tasks in messages of both sides, wherever they stand.

use super::members::{Members, holds, is_plain, rewrite_elements};

/// The member of `_meta` by which a message says to which task it belongs.
const RELATED: &str = "io.modelcontextprotocol/related-task";

/// Where ids stand in a value.
enum Place {
    /// It is an id, or an array of ids: the list of a `subscriptions/listen` request.
    Ids,
    /// It is an id of whoever knows whom.
    Foreign,
    /// In each element of it.
    Elements(&'static Place),
    /// In these members of it.
    Members(&'static [(&'static str, Place)]),
}

const META: Place = Place::Members(&[(RELATED, Place::Members(&[("taskId", Place::Ids)]))]);

const MESSAGE: Place = Place::Members(&[
    (
        "params",
        Place::Members(&[
            ("taskId", Place::Ids),
            ("notifications", Place::Members(&[("taskIds", Place::Ids)])),
            ("_meta", META),
        ]),
    ),
    (
        "result",
        Place::Members(&[
            ("taskId", Place::Ids),
            ("task", Place::Members(&[("taskId", Place::Ids)])),
            // A server's list of tasks does not say whose they are.
            ("tasks", Place::Elements(&Place::Members(&[("taskId", Place::Foreign)]))),
            ("_meta", META),
        ]),
    ),
]);

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rewritten {
    /// There is no id in it.
    Unchanged,
    /// The text to send in its place.
    Changed(String),
    /// It can't be read, or an id in it is not one that may be there.
    Refused,
}

struct Refused;

impl From<serde_json::Error> for Refused {
    fn from(_: serde_json::Error) -> Self {
        Self
    }
}

/// Most texts need not be read, because they hold no member that names a task.
pub(crate) fn may_name_task(text: &[u8]) -> bool {
    holds(text, "taskId") || !is_plain(text)
}

/// Whether a member of this name, which is read and has no escapes any more, may carry ids: all of [`MESSAGE`] end in one.
pub(crate) fn names_task(member: &str) -> bool {
    member.starts_with("taskId")
}

/// Puts another id in place of each; where there is none for it, the message is refused.
pub(crate) fn rewrite(text: &str, change: &mut dyn FnMut(&str) -> Option<String>) -> Rewritten {
    let text = text.trim();
    if !may_name_task(text.as_bytes()) {
        return Rewritten::Unchanged;
    }
    if holds(text.as_bytes(), "\0") {
        return Rewritten::Refused;
    }
    let place = if text.starts_with('[') { &Place::Elements(&MESSAGE) } else { &MESSAGE };
    match rewrite_at(text, place, change) {
        Ok(None) => Rewritten::Unchanged,
        Ok(Some(text)) => Rewritten::Changed(text),
        Err(Refused) => Rewritten::Refused,
    }
}

fn rewrite_at(
    value: &str,
    place: &Place,
    change: &mut dyn FnMut(&str) -> Option<String>,
) -> Result<Option<String>, Refused> {
    match (place, value.as_bytes().first()) {
        (Place::Ids, _) => rewrite_ids(value, change),
        (Place::Foreign, Some(b'"')) => Err(Refused),
        (Place::Elements(place), Some(b'[')) => {
            rewrite_elements(value, &mut |element| rewrite_at(element, place, change))
        }
        (Place::Members(places), Some(b'{')) => rewrite_members(value, places, change),
        (Place::Foreign | Place::Elements(_) | Place::Members(_), _) => Ok(None),
    }
}

fn rewrite_members(
    value: &str,
    places: &[(&str, Place)],
    change: &mut dyn FnMut(&str) -> Option<String>,
) -> Result<Option<String>, Refused> {
    let mut members: Members<'_> = serde_json::from_str(value)?;
    let mut changed = false;
    for (name, place) in places {
        let Some(inner) = members.value(name) else { continue };
        if let Some(inner) = rewrite_at(inner, place, change)? {
            members.replace(name, inner);
            changed = true;
        }
    }
    Ok(changed.then(|| members.to_string()))
}

/// An id, or an array of ids; what is neither is none of our business.
fn rewrite_ids(value: &str, change: &mut dyn FnMut(&str) -> Option<String>) -> Result<Option<String>, Refused> {
    let mut changed = |id: &str| change(id).ok_or(Refused);
    let ids = match value.as_bytes().first() {
        Some(b'"') => {
            let id: String = serde_json::from_str(value)?;
            serde_json::to_string(&changed(&id)?)
        }
        Some(b'[') => {
            let ids: Vec<String> = serde_json::from_str(value)?;
            let ids: Vec<String> = ids.iter().map(|id| changed(id)).collect::<Result<_, _>>()?;
            serde_json::to_string(&ids)
        }
        _ => return Ok(None),
    };
    ids.map(Some).map_err(|_| Refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place() {
        let rows = [
            ("none", r#"{"id":1,"result":{"x":"taskId"}}"#, None),
            ("a call", r#"{"params":{"taskId": "t" ,"x": 1.50}}"#, Some(r#"{"params":{"taskId":"T","x":1.50}}"#)),
            ("a new task", r#"{"result":{"task":{"taskId":"t"}}}"#, Some(r#"{"result":{"task":{"taskId":"T"}}}"#)),
            ("its state", r#"{"result":{"taskId":"t"}}"#, Some(r#"{"result":{"taskId":"T"}}"#)),
            (
                "listening",
                r#"{"params":{"notifications":{"taskIds":["t","t"]}}}"#,
                Some(r#"{"params":{"notifications":{"taskIds":["T","T"]}}}"#),
            ),
            (
                "related",
                r#"{"result":{"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t"}}}}"#,
                Some(r#"{"result":{"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"T"}}}}"#),
            ),
            ("an escaped name", r#"{"result":{"task\u0049d":"t"}}"#, Some(r#"{"result":{"taskId":"T"}}"#)),
            ("an argument", r#"{"params":{"arguments":{"taskId":"t"}}}"#, None),
            ("no string", r#"{"params":{"taskId":1}}"#, None),
            ("tasks that are none", r#"{"result":{"taskId":1,"tasks":["taskId"]}}"#, None),
            (
                "an array of messages",
                r#"[{"params":{"taskId":"t"}},{"id": 1},{"result":{"taskId":"u"}}]"#,
                Some(r#"[{"params":{"taskId":"T"}},{"id": 1},{"result":{"taskId":"U"}}]"#),
            ),
        ];
        for (name, text, expected) in rows {
            let expected = expected.map_or(Rewritten::Unchanged, |text| Rewritten::Changed(text.to_owned()));
            assert_eq!(rewrite(text, &mut |id| Some(id.to_uppercase())), expected, "{name}");
        }
        assert_eq!(rewrite(r#"{"params":{"taskId":"t"}}"#, &mut |_| None), Rewritten::Refused);
        let refused = [
            ("an id twice", r#"{"result":{"taskId":"t","taskId":"u"}}"#),
            ("a list of all tasks", r#"{"result":{"tasks":[{"taskId":"t"}]}}"#),
            ("a list of all tasks among messages", r#"[{"id":1},{"result":{"tasks":[{"taskId":"t"}]}}]"#),
            ("UTF-16", "{\0\"\0t\0a\0s\0k\0I\0d\0\"\0:\0}\0"),
        ];
        for (name, text) in refused {
            assert_eq!(rewrite(text, &mut |id| Some(id.into())), Rewritten::Refused, "{name}");
        }
    }
}
