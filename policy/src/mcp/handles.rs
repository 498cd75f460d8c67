//! Handles in messages of both sides, wherever they stand: ids of tasks, and what a server gives a client to keep for it until
//! the request comes again (`requestState`, revision 2026-07-28).

use super::members::{Members, holds, is_plain, rewrite_elements};
use crate::binding::Kind;

/// The member of `_meta` by which a message says to which task it belongs.
pub(super) const RELATED: &str = "io.modelcontextprotocol/related-task";

/// Where handles stand in a value.
enum Place {
    /// It is a handle, or an array of handles: the list of a `subscriptions/listen` request.
    Handles(Kind),
    /// It is a handle of whoever knows whom.
    Foreign,
    /// In each element of it.
    Elements(&'static Place),
    /// In these members of it.
    Members(&'static [(&'static str, Place)]),
}

const META: Place = Place::Members(&[(RELATED, Place::Members(&[("taskId", Place::Handles(Kind::Task))]))]);

const MESSAGE: Place = Place::Members(&[
    (
        "params",
        Place::Members(&[
            ("taskId", Place::Handles(Kind::Task)),
            ("requestState", Place::Handles(Kind::RequestState)),
            ("notifications", Place::Members(&[("taskIds", Place::Handles(Kind::Task))])),
            ("_meta", META),
        ]),
    ),
    ("result", RESULT),
    ("error", Place::Members(&[("data", INNER)])),
]);

const RESULT: Place = Place::Members(&[
    ("taskId", Place::Handles(Kind::Task)),
    ("requestState", Place::Handles(Kind::RequestState)),
    ("task", Place::Members(&[("taskId", Place::Handles(Kind::Task))])),
    // A server's list of tasks does not say whose they are.
    ("tasks", Place::Elements(&Place::Members(&[("taskId", Place::Foreign)]))),
    // The result of a task.
    ("result", INNER),
    ("_meta", META),
]);

const INNER: Place = Place::Members(&[
    ("taskId", Place::Handles(Kind::Task)),
    ("requestState", Place::Handles(Kind::RequestState)),
    ("task", Place::Members(&[("taskId", Place::Handles(Kind::Task))])),
    ("_meta", META),
]);

/// Who writes a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// What stands in place of a handle and is none is not sent on: servers may take 1 for `"1"`.
    Client,
    /// What is no text is no handle of ours.
    Server,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rewritten {
    /// There is no handle in it.
    Unchanged,
    /// The text to send in its place.
    Changed(String),
    /// It can't be read, or a handle in it is not one that may be there.
    Refused,
}

struct Refused;

impl From<serde_json::Error> for Refused {
    fn from(_: serde_json::Error) -> Self {
        Self
    }
}

/// How the members begin in which all of [`MESSAGE`] ends.
const NAMES: [&str; 2] = ["taskId", "requestState"];

/// Most texts need not be read, because they have no member that is a handle.
pub(crate) fn may_hold_handle(text: &[u8]) -> bool {
    NAMES.iter().any(|name| holds(text, name)) || !is_plain(text)
}

/// Whether a member of this name, which is read and has no escapes any more, may be a handle.
pub(crate) fn is_handle(member: &str) -> bool {
    NAMES.iter().any(|name| member.starts_with(name))
}

/// Puts another handle in place of each; where there is none for it, the message is refused.
pub(crate) fn rewrite(text: &str, side: Side, change: &mut dyn FnMut(Kind, &str) -> Option<String>) -> Rewritten {
    let text = text.trim();
    if !may_hold_handle(text.as_bytes()) {
        return Rewritten::Unchanged;
    }
    if holds(text.as_bytes(), "\0") {
        return Rewritten::Refused;
    }
    let place = if text.starts_with('[') { &Place::Elements(&MESSAGE) } else { &MESSAGE };
    match rewrite_at(text, place, side, change) {
        Ok(None) => Rewritten::Unchanged,
        Ok(Some(text)) => Rewritten::Changed(text),
        Err(Refused) => Rewritten::Refused,
    }
}

fn rewrite_at(
    value: &str,
    place: &Place,
    side: Side,
    change: &mut dyn FnMut(Kind, &str) -> Option<String>,
) -> Result<Option<String>, Refused> {
    match (place, value.as_bytes().first()) {
        (Place::Handles(kind), _) => rewrite_handles(*kind, value, side, change),
        (Place::Foreign, Some(b'"')) => Err(Refused),
        (Place::Elements(place), Some(b'[')) => {
            rewrite_elements(value, &mut |element| rewrite_at(element, place, side, change))
        }
        (Place::Members(places), Some(b'{')) => rewrite_members(value, places, side, change),
        (Place::Foreign | Place::Elements(_) | Place::Members(_), _) => Ok(None),
    }
}

fn rewrite_members(
    value: &str,
    places: &[(&str, Place)],
    side: Side,
    change: &mut dyn FnMut(Kind, &str) -> Option<String>,
) -> Result<Option<String>, Refused> {
    let mut members: Members<'_> = serde_json::from_str(value)?;
    let mut changed = false;
    for (name, place) in places {
        let Some(inner) = members.value(name) else { continue };
        if let Some(inner) = rewrite_at(inner, place, side, change)? {
            members.replace(name, inner);
            changed = true;
        }
    }
    Ok(changed.then(|| members.to_string()))
}

/// A handle, or an array of handles.
fn rewrite_handles(
    kind: Kind,
    value: &str,
    side: Side,
    change: &mut dyn FnMut(Kind, &str) -> Option<String>,
) -> Result<Option<String>, Refused> {
    let mut changed = |handle: &str| change(kind, handle).ok_or(Refused);
    let handles = match value.as_bytes().first() {
        Some(b'"') => {
            let handle: String = serde_json::from_str(value)?;
            serde_json::to_string(&changed(&handle)?)
        }
        Some(b'[') => {
            let handles: Vec<String> = serde_json::from_str(value)?;
            let handles: Vec<String> = handles.iter().map(|handle| changed(handle)).collect::<Result<_, _>>()?;
            serde_json::to_string(&handles)
        }
        // In doubt deny; null says that there is none.
        Some(b'n') => return Ok(None),
        _ => return if side == Side::Client { Err(Refused) } else { Ok(None) },
    };
    handles.map(Some).map_err(|_| Refused)
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
            ("a request again", r#"{"params":{"requestState":"s"}}"#, Some(r#"{"params":{"requestState":"<s>"}}"#)),
            (
                "what it is to keep",
                r#"{"result":{"resultType":"input_required","requestState":"s"}}"#,
                Some(r#"{"result":{"resultType":"input_required","requestState":"<s>"}}"#),
            ),
            (
                "the result of a task",
                r#"{"result":{"result":{"requestState":"s"}}}"#,
                Some(r#"{"result":{"result":{"requestState":"<s>"}}}"#),
            ),
            ("an error", r#"{"error":{"data":{"taskId":"t"}}}"#, Some(r#"{"error":{"data":{"taskId":"T"}}}"#)),
            ("an argument", r#"{"params":{"arguments":{"taskId":"t"}}}"#, None),
            ("none to keep", r#"{"params":{"requestState":null}}"#, None),
            ("no string", r#"{"params":{"taskId":1}}"#, None),
            ("tasks that are none", r#"{"result":{"taskId":1,"tasks":["taskId"]}}"#, None),
            (
                "an array of messages",
                r#"[{"params":{"taskId":"t"}},{"id": 1},{"result":{"taskId":"u"}}]"#,
                Some(r#"[{"params":{"taskId":"T"}},{"id": 1},{"result":{"taskId":"U"}}]"#),
            ),
        ];
        // Of requests' state each is its kind's.
        let mut upper = |kind: Kind, handle: &str| {
            Some(if kind == Kind::Task { handle.to_uppercase() } else { format!("<{handle}>") })
        };
        for (name, text, expected) in rows {
            let expected = expected.map_or(Rewritten::Unchanged, |text| Rewritten::Changed(text.to_owned()));
            assert_eq!(rewrite(text, Side::Server, &mut upper), expected, "{name}");
        }
        assert_eq!(rewrite(r#"{"params":{"taskId":"t"}}"#, Side::Client, &mut |_, _| None), Rewritten::Refused);
        for none in [r#""taskId":1"#, r#""requestState":{"a":1}"#, r#""requestState":true"#, r#""taskId":[1]"#] {
            let text = format!(r#"{{"params":{{{none}}}}}"#);
            assert_eq!(rewrite(&text, Side::Client, &mut |_, id| Some(id.into())), Rewritten::Refused, "{none}");
        }
        let refused = [
            ("an id twice", r#"{"result":{"taskId":"t","taskId":"u"}}"#),
            ("a list of all tasks", r#"{"result":{"tasks":[{"taskId":"t"}]}}"#),
            ("a list of all tasks among messages", r#"[{"id":1},{"result":{"tasks":[{"taskId":"t"}]}}]"#),
            ("UTF-16", "{\0\"\0t\0a\0s\0k\0I\0d\0\"\0:\0}\0"),
        ];
        for (name, text) in refused {
            assert_eq!(rewrite(text, Side::Server, &mut |_, id| Some(id.into())), Rewritten::Refused, "{name}");
        }
    }
}
