//! The status that is to be written, from the one that is desired and the one that is there.

use serde_json::Value;

use super::Desired;
use crate::translate::CONTROLLER_NAME;

/// The lists in which several controllers each have entries of their own, with the most entries that they may have.
const SHARED: [(&str, usize); 2] = [("parents", 32), ("ancestors", 16)];

/// What of a status is ours to write, where it is not in one of those lists.
const OWN: [&str; 5] = ["addresses", "conditions", "listeners", "parents", "ancestors"];

/// The conditions that we write, now or then.
const CONDITIONS: [&str; 7] = [
    "Accepted",
    "Programmed",
    "ResolvedRefs",
    "Conflicted",
    "PartiallyInvalid",
    "SupportedVersion",
    "toolward.dev/Protected",
];

/// The whole status to be written at `now` (RFC 3339); `None` where what is there says the same, or was said of a newer
/// generation of the object than the one that is known here. A condition whose status has not changed keeps its time;
/// entries of other controllers stay.
#[must_use]
pub fn merged(desired: &Desired, current: Option<&Value>, now: &str) -> Option<Value> {
    let mut next = desired.status.clone();
    let mut stale = keep_times(&mut next, current, now);
    for (name, most) in SHARED {
        let Some(entries) = next.get_mut(name).and_then(Value::as_array_mut) else { continue };
        for entry in &mut *entries {
            let last = list(current, name).find(|last| is_ours(last) && same_subject(last, entry));
            stale |= keep_times(entry, last, now);
        }
        *entries = beside_others(std::mem::take(entries), list(current, name), most);
    }
    for listener in next.get_mut("listeners").and_then(Value::as_array_mut).into_iter().flatten() {
        let last = list(current, "listeners").find(|last| last.get("name") == listener.get("name"));
        stale |= keep_times(listener, last, now);
    }
    (!stale && current.map(own) != Some(own(&next))).then_some(next)
}

/// Our entries among those of others, each where it stood before: two controllers that put theirs in order would write
/// for ever.
fn beside_others<'v>(mut ours: Vec<Value>, last: impl Iterator<Item = &'v Value> + Clone, most: usize) -> Vec<Value> {
    let others = last.clone().filter(|entry| !is_ours(entry)).count();
    ours.truncate(most.saturating_sub(others));
    let mut all = Vec::new();
    for last in last {
        if !is_ours(last) {
            all.push(last.clone());
        } else if let Some(index) = ours.iter().position(|entry| same_subject(last, entry)) {
            all.push(ours.remove(index));
        }
    }
    all.extend(ours);
    all
}

fn list<'v>(object: Option<&'v Value>, name: &str) -> impl Iterator<Item = &'v Value> + Clone {
    object.and_then(|object| object.get(name)).and_then(Value::as_array).into_iter().flatten()
}

fn is_ours(entry: &Value) -> bool {
    entry.get("controllerName").and_then(Value::as_str) == Some(CONTROLLER_NAME)
}

fn same_subject(one: &Value, other: &Value) -> bool {
    ["parentRef", "ancestorRef"].iter().all(|name| one.get(*name) == other.get(*name))
}

/// Gives each condition of an entry its time: the last one's where nothing but words changed. Whether the last one was
/// said of a newer generation.
fn keep_times(entry: &mut Value, last: Option<&Value>, now: &str) -> bool {
    let mut stale = false;
    for condition in entry.get_mut("conditions").and_then(Value::as_array_mut).into_iter().flatten() {
        let last = list(last, "conditions").find(|last| last.get("type") == condition.get("type"));
        let generation = |condition: &Value| condition.get("observedGeneration").and_then(Value::as_i64);
        stale |= match (last.and_then(generation), generation(condition)) {
            (Some(last), Some(known)) => last > known,
            _ => false,
        };
        let same = last.filter(|last| last.get("status") == condition.get("status"));
        let time = same.and_then(|last| last.get("lastTransitionTime")).cloned().unwrap_or_else(|| now.into());
        if let Some(members) = condition.as_object_mut() {
            members.insert("lastTransitionTime".to_owned(), time);
        }
    }
    stale
}

/// What of a status is ours, in one order. What others write there by server-side apply is no difference, and stays.
fn own(status: &Value) -> Value {
    let members = status.as_object().into_iter().flatten().filter(|(name, _)| OWN.contains(&name.as_str()));
    let members = members.map(|(name, value)| {
        let value = match name.as_str() {
            "conditions" => own_conditions(value),
            "listeners" => sorted(value.as_array().into_iter().flatten().map(own_listener), "name"),
            _ => value.clone(),
        };
        (name.clone(), value)
    });
    Value::Object(members.collect())
}

fn own_listener(listener: &Value) -> Value {
    let members = listener.as_object().into_iter().flatten().map(|(name, value)| {
        let value = if name == "conditions" { own_conditions(value) } else { value.clone() };
        (name.clone(), value)
    });
    Value::Object(members.collect())
}

fn own_conditions(conditions: &Value) -> Value {
    let ours = |condition: &&Value| {
        condition.get("type").and_then(Value::as_str).is_some_and(|kind| CONDITIONS.contains(&kind))
    };
    sorted(conditions.as_array().into_iter().flatten().filter(ours).cloned(), "type")
}

/// Lists of which the order means nothing, since their entries are told apart by this member.
fn sorted(entries: impl Iterator<Item = Value>, by: &str) -> Value {
    let mut entries: Vec<Value> = entries.collect();
    entries.sort_by_cached_key(|entry| entry.get(by).and_then(Value::as_str).map(str::to_owned));
    Value::Array(entries)
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
        let expected = json!({ "parents": [entry(CONTROLLER_NAME, "a", Some(BEFORE)), other, entry(CONTROLLER_NAME, "b", Some(NOW))] });
        let next = merged(&desired, Some(&current), NOW);
        assert_eq!(next.as_ref(), Some(&expected));
        assert_eq!(merged(&desired, next.as_ref(), "later"), None, "and then there is nothing to write");
    }

    #[test]
    fn another_list_is_cut_where_others_leave_no_room() {
        let entry = |controller: &str, name: String| json!({ "controllerName": controller, "ancestorRef": { "name": name }, "conditions": [] });
        let others: Vec<Value> = (0..10).map(|index| entry("example.com/other", index.to_string())).collect();
        let ours: Vec<Value> = (0..10).map(|index| entry(CONTROLLER_NAME, index.to_string())).collect();
        let expected: Vec<Value> = others.iter().chain(ours.iter().take(6)).cloned().collect();
        let next = merged(&desired(json!({ "ancestors": ours })), Some(&json!({ "ancestors": others })), NOW);
        assert_eq!(next, Some(json!({ "ancestors": expected })));
    }

    #[test]
    fn what_others_say_beside_us_is_no_difference() {
        let theirs = json!({ "type": "example.com/Reachable", "status": "True", "reason": "R", "message": "" });
        let ours = |time| condition("True", "m", time);
        let listener = |conditions: Value| json!([{ "name": "http", "attachedRoutes": 1, "conditions": conditions }]);
        let desired = desired(json!({ "conditions": [ours(None)], "listeners": listener(json!([ours(None)])) }));
        let said = json!([theirs, ours(Some(BEFORE))]);
        let current = json!({ "conditions": said, "listeners": listener(said.clone()), "attachedListenerSets": 2 });
        assert_eq!(merged(&desired, Some(&current), NOW), None);
    }

    #[test]
    fn what_we_no_longer_say_is_a_difference() {
        let partially = json!({ "type": "PartiallyInvalid", "status": "True", "reason": "R", "message": "m",
            "lastTransitionTime": BEFORE });
        let desired = desired(json!({ "conditions": [condition("True", "m", None)] }));
        let said = condition("True", "m", Some(BEFORE));
        for (name, current) in [
            ("a condition", json!({ "conditions": [said.clone(), partially] })),
            ("addresses", json!({ "conditions": [said.clone()], "addresses": [{ "value": "10.0.0.1" }] })),
            ("a listener", json!({ "conditions": [said.clone()], "listeners": [{ "name": "gone" }] })),
        ] {
            assert_eq!(merged(&desired, Some(&current), NOW), Some(json!({ "conditions": [said] })), "{name}");
        }
    }

    #[test]
    fn what_is_known_of_a_newer_generation_is_not_overwritten() {
        let observed = |generation: i64, status: &str, time| {
            let mut condition = condition(status, "m", time);
            condition["observedGeneration"] = generation.into();
            json!({ "conditions": [condition] })
        };
        for (name, there, written) in [
            ("an older one", observed(4, "False", Some(BEFORE)), true),
            ("the same", observed(5, "False", Some(BEFORE)), true),
            ("a newer one", observed(6, "False", Some(BEFORE)), false),
        ] {
            let next = merged(&desired(observed(5, "True", None)), Some(&there), NOW);
            assert_eq!(next, written.then(|| observed(5, "True", Some(NOW))), "{name}");
        }
    }
}
