//! Ids of tasks in messages of both sides, wherever they stand.

use super::members::Members;

/// The member of `_meta` by which a message says to which task it belongs.
const RELATED: &str = "io.modelcontextprotocol/related-task";

/// Where ids stand in a value.
enum Place {
    /// It is an id, or an array of ids: the list of a `subscriptions/listen` request.
    Ids,
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
        Place::Members(&[("taskId", Place::Ids), ("task", Place::Members(&[("taskId", Place::Ids)])), ("_meta", META)]),
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

/// A JSON text without escapes holds the name of a member as it is written, so most texts need not be read.
pub(crate) fn may_name_task(text: &str) -> bool {
    text.contains('\\') || text.contains("taskId")
}

/// Puts another id in place of each; where there is none for it, the message is refused.
pub(crate) fn rewrite(text: &str, change: &mut dyn FnMut(&str) -> Option<String>) -> Rewritten {
    let text = text.trim();
    if !may_name_task(text) || !text.starts_with('{') {
        return Rewritten::Unchanged;
    }
    match rewrite_at(text, &MESSAGE, change) {
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
    let inner_places = match place {
        Place::Ids => return rewrite_ids(value, change),
        Place::Members(inner) => inner,
    };
    if !value.starts_with('{') {
        return Ok(None);
    }
    let mut members: Members<'_> = serde_json::from_str(value).map_err(|_| Refused)?;
    let mut changed = false;
    for (name, place) in *inner_places {
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
            let id: String = serde_json::from_str(value).map_err(|_| Refused)?;
            serde_json::to_string(&changed(&id)?)
        }
        Some(b'[') => {
            let ids: Vec<String> = serde_json::from_str(value).map_err(|_| Refused)?;
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
            ("a list of all tasks", r#"{"result":{"tasks":[{"taskId":"t"}]}}"#, None),
        ];
        for (name, text, expected) in rows {
            let expected = expected.map_or(Rewritten::Unchanged, |text| Rewritten::Changed(text.to_owned()));
            assert_eq!(rewrite(text, &mut |id| Some(id.to_uppercase())), expected, "{name}");
        }
        assert_eq!(rewrite(r#"{"params":{"taskId":"t"}}"#, &mut |_| None), Rewritten::Refused);
        assert_eq!(rewrite(r#"{"result":{"taskId":"t","taskId":"u"}}"#, &mut |id| Some(id.into())), Rewritten::Refused);
    }
}
