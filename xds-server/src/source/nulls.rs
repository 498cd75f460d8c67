//! Nulls where something should stand: a section whose content is commented out is null in YAML, and its author believes it to
//! be there. So it is no absent one, but a fault of the object.
//!
//! Of Gateway API's own kinds this goes for files: an API server drops their nulls before anybody sees them. Of ours it keeps
//! them, as their definitions say; `kubectl apply` does not even send them, and keeps what it was given in an annotation.

use serde_json::Value;

use super::object::{Fault, GATEWAY_API, Origin};
use crate::agentgateway;
use crate::resources::mcp;

/// Most faults that are told of one object.
const MAX_FAULTS: usize = 16;

/// What a null stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nulls {
    /// Nothing, as for Kubernetes' own kinds.
    Absent,
    /// A fault.
    Refused,
}

impl Nulls {
    /// What they stand for in objects of a group.
    pub(super) fn of(group: &str, origin: Origin) -> Self {
        match (group, origin) {
            (mcp::GROUP | agentgateway::GROUP | agentgateway::ENTERPRISE_GROUP, _) | (GATEWAY_API, Origin::File) => {
                Self::Refused
            }
            _ => Self::Absent,
        }
    }

    /// The nulls of an object that are faults. Metadata and status are none of its author's: `kubectl` itself writes
    /// `creationTimestamp: null`.
    pub(super) fn faults(self, object: &Value) -> Vec<Fault> {
        let mut found = Vec::new();
        if self == Self::Refused {
            let members = object.as_object().into_iter().flatten();
            for (name, value) in members.filter(|(name, _)| !matches!(name.as_str(), "metadata" | "status")) {
                walk(name, value, &mut found);
            }
        }
        found.into_iter().map(fault).collect()
    }
}

/// Puts nulls back into an object that `kubectl apply` was given and did not send, where nobody has written the field since.
pub(super) fn put_back(applied: &Value, object: &mut Value) {
    let applied = applied.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
    let applied = applied.as_ref().and_then(|applied| applied.get("spec"));
    if let Some((applied, spec)) = applied.zip(object.get_mut("spec")) {
        put_back_into(applied, spec);
    }
}

fn put_back_into(applied: &Value, value: &mut Value) {
    match (applied, value) {
        (Value::Object(applied), Value::Object(members)) => {
            for (name, applied) in applied {
                match members.get_mut(name) {
                    Some(member) => put_back_into(applied, member),
                    None if applied.is_null() => drop(members.insert(name.clone(), Value::Null)),
                    None => {}
                }
            }
        }
        // Of a list that was changed since it is not known which item is which.
        (Value::Array(applied), Value::Array(items)) if applied.len() == items.len() => {
            applied.iter().zip(items).for_each(|(applied, item)| put_back_into(applied, item));
        }
        _ => {}
    }
}

fn fault(field: String) -> Fault {
    let message =
        "null stands here, as where everything below a field is commented out; write what it is to hold, or remove \
                   the field"
            .to_owned();
    Fault { field, reason: "NullValue", message }
}

/// The parser bounds the depth.
fn walk(path: &str, value: &Value, found: &mut Vec<String>) {
    if found.len() == MAX_FAULTS {
        return;
    }
    match value {
        Value::Null => found.push(path.to_owned()),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| walk(&format!("{path}[{index}]"), item, found));
        }
        Value::Object(members) => {
            members.iter().for_each(|(name, member)| walk(&format!("{path}.{name}"), member, found));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn fields(group: &str, origin: Origin, object: &Value) -> Vec<String> {
        Nulls::of(group, origin).faults(object).into_iter().map(|fault| fault.field).collect()
    }

    #[test]
    fn where_a_null_is_a_fault() {
        let object = json!({
            "metadata": { "name": "x", "creationTimestamp": null, "annotations": null },
            "spec": { "authentication": null, "authorization": { "rules": [{ "tools": null }, null] } },
            "status": null,
        });
        let all = ["spec.authentication", "spec.authorization.rules[0].tools", "spec.authorization.rules[1]"];
        for (group, origin, expected) in [
            (mcp::GROUP, Origin::File, &all[..]),
            (mcp::GROUP, Origin::ApiServer, &all[..]),
            (agentgateway::GROUP, Origin::File, &all[..]),
            (GATEWAY_API, Origin::File, &all[..]),
            (GATEWAY_API, Origin::ApiServer, &[]),
            ("", Origin::File, &[]),
        ] {
            assert_eq!(fields(group, origin, &object), expected, "{group} {origin:?}");
        }
        assert_eq!(fields(mcp::GROUP, Origin::File, &json!({ "spec": null })), ["spec"]);
        assert_eq!(fields(mcp::GROUP, Origin::File, &json!({ "spec": vec![Value::Null; 99] })).len(), MAX_FAULTS);
    }

    #[test]
    fn what_kubectl_did_not_send() {
        let applied = json!({ "spec": { "authentication": null, "authorization": { "rules": [{ "name": "a", "claims": null }] } } });
        let applied = Value::from(applied.to_string());
        let rows = [
            (
                "as it was sent",
                json!({ "authorization": { "rules": [{ "name": "a" }] } }),
                vec!["spec.authentication", "spec.authorization.rules[0].claims"],
            ),
            (
                "one was written since",
                json!({ "authentication": {}, "authorization": { "rules": [{ "name": "a" }] } }),
                vec!["spec.authorization.rules[0].claims"],
            ),
            (
                "a rule is new",
                json!({ "authorization": { "rules": [{ "name": "b" }, { "name": "a" }] } }),
                vec!["spec.authentication"],
            ),
        ];
        for (row, spec, expected) in rows {
            let mut object = json!({ "spec": spec });
            put_back(&applied, &mut object);
            let mut found = fields(mcp::GROUP, Origin::ApiServer, &object);
            found.sort();
            assert_eq!(found, expected, "{row}");
        }
        for nonsense in [Value::Null, Value::from("{"), Value::from("[]"), Value::from("{\"spec\":3}")] {
            let mut object = json!({ "spec": { "a": 1 } });
            put_back(&nonsense, &mut object);
            assert_eq!(object, json!({ "spec": { "a": 1 } }), "{nonsense}");
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf =
            prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), "[a-c]{0,3}".prop_map(Value::from)];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-c]{1,2}", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn there_is_a_fault_exactly_where_a_null_is_written(spec in value()) {
            let object = json!({ "metadata": {}, "spec": spec });
            let has_null = spec.to_string().contains("null");
            prop_assert_eq!(!fields(mcp::GROUP, Origin::File, &object).is_empty(), has_null);
        }
    }
}
