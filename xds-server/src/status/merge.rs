//! The status that is to be written, from the one that is desired and the one that is there.

use serde_json::Value;

use super::Desired;
use crate::translate::CONTROLLER_NAME;

/// The lists in which several controllers each have entries of their own.
const SHARED: [&str; 2] = ["parents", "ancestors"];

/// The whole status to be written at `now` (RFC 3339); `None` where what is there says the same. A condition whose
/// status has not changed keeps its time, and entries of other controllers stay.
#[must_use]
pub fn merged(desired: &Desired, current: Option<&Value>, now: &str) -> Option<Value> {
    let mut next = desired.status.clone();
    keep_times(&mut next, current, now);
    for name in SHARED {
        let Some(entries) = next.get_mut(name).and_then(Value::as_array_mut) else { continue };
        let there = current.and_then(|current| current.get(name)).and_then(Value::as_array);
        let mut all: Vec<Value> = there.into_iter().flatten().filter(|entry| !is_ours(entry)).cloned().collect();
        for mut entry in std::mem::take(entries) {
            let last = there.into_iter().flatten().find(|last| is_ours(last) && same_subject(last, &entry));
            keep_times(&mut entry, last, now);
            all.push(entry);
        }
        *entries = all;
    }
    if let Some(listeners) = next.get_mut("listeners").and_then(Value::as_array_mut) {
        let there = current.and_then(|current| current.get("listeners")).and_then(Value::as_array);
        for listener in listeners {
            let last = there.into_iter().flatten().find(|last| last.get("name") == listener.get("name"));
            keep_times(listener, last, now);
        }
    }
    (current != Some(&next)).then_some(next)
}

fn is_ours(entry: &Value) -> bool {
    entry.get("controllerName").and_then(Value::as_str) == Some(CONTROLLER_NAME)
}

fn same_subject(one: &Value, other: &Value) -> bool {
    ["parentRef", "ancestorRef"].iter().all(|name| one.get(*name) == other.get(*name))
}

/// Gives each condition of an entry its time: the last one's where nothing but words changed.
fn keep_times(entry: &mut Value, last: Option<&Value>, now: &str) {
    let Some(conditions) = entry.get_mut("conditions").and_then(Value::as_array_mut) else { return };
    let there = last.and_then(|last| last.get("conditions")).and_then(Value::as_array);
    for condition in conditions {
        let same = |last: &&Value| ["type", "status"].iter().all(|name| last.get(*name) == condition.get(*name));
        let time = there.into_iter().flatten().find(same).and_then(|last| last.get("lastTransitionTime"));
        let time = time.cloned().unwrap_or_else(|| now.into());
        if let Some(members) = condition.as_object_mut() {
            members.insert("lastTransitionTime".to_owned(), time);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::resources::ObjectRef;

    const BEFORE: &str = "2026-01-01T00:00:00Z";
    const NOW: &str = "2026-02-02T00:00:00Z";

    fn desired(status: Value) -> Desired {
        let object = ObjectRef { group: String::new(), kind: "HTTPRoute".to_owned(), name: Default::default() };
        Desired { object, status }
    }

    fn condition(status: &str, message: &str, time: Option<&str>) -> Value {
        let mut condition = json!({ "type": "Accepted", "status": status, "reason": "R", "message": message });
        if let Some(time) = time {
            condition["lastTransitionTime"] = time.into();
        }
        condition
    }

    #[test]
    fn times_say_when_a_status_changed() {
        for (name, there, expected) in [
            ("nothing there", None, Some(condition("True", "m", Some(NOW)))),
            ("the same", Some(condition("True", "m", Some(BEFORE))), None),
            ("other words", Some(condition("True", "n", Some(BEFORE))), Some(condition("True", "m", Some(BEFORE)))),
            ("another status", Some(condition("False", "m", Some(BEFORE))), Some(condition("True", "m", Some(NOW)))),
        ] {
            let desired = desired(json!({ "conditions": [condition("True", "m", None)] }));
            let current = there.map(|there| json!({ "conditions": [there] }));
            let expected = expected.map(|expected| json!({ "conditions": [expected] }));
            assert_eq!(merged(&desired, current.as_ref(), NOW), expected, "{name}");
        }
    }

    #[test]
    fn entries_of_other_controllers_stay() {
        let entry = |controller: &str, parent: &str, time: Option<&str>| {
            let conditions = [condition("True", "m", time)];
            json!({ "controllerName": controller, "parentRef": { "name": parent }, "conditions": conditions })
        };
        let other = entry("example.com/other", "a", Some(BEFORE));
        let current = json!({ "parents": [entry(CONTROLLER_NAME, "a", Some(BEFORE)), other.clone(), entry(CONTROLLER_NAME, "gone", Some(BEFORE))] });
        let desired =
            desired(json!({ "parents": [entry(CONTROLLER_NAME, "a", None), entry(CONTROLLER_NAME, "b", None)] }));
        let expected = json!({ "parents": [other, entry(CONTROLLER_NAME, "a", Some(BEFORE)), entry(CONTROLLER_NAME, "b", Some(NOW))] });
        let next = merged(&desired, Some(&current), NOW);
        assert_eq!(next.as_ref(), Some(&expected));
        assert_eq!(merged(&desired, next.as_ref(), "later"), None, "and then there is nothing to write");
    }
}
