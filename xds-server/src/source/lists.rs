//! Lists where the fields of an object should stand: serde reads them as the fields in the order in which a type has them, so
//! `anonymous: []` would be `anonymous: {}`. Nobody means that, and an API server refuses it; in a file it is a fault.
//!
//! Where there are to be fields is known by the schemas of our own kinds.

use std::sync::LazyLock;

use serde_json::Value;

use super::object::Fault;
use crate::crds;

/// Most faults that are told of one object.
const MAX_FAULTS: usize = 16;

static DEFINITIONS: LazyLock<Vec<Value>> =
    LazyLock::new(|| crds::definitions().map(|all| all.into_iter().collect()).unwrap_or_default());

/// The lists in an object of a kind of ours that are faults.
pub(super) fn faults(kind: &str, object: &Value) -> Vec<Fault> {
    let is_of_kind = |definition: &&Value| {
        definition.pointer("/spec/names/kind").and_then(Value::as_str).is_some_and(|name| name == kind)
    };
    let schema = DEFINITIONS
        .iter()
        .find(is_of_kind)
        .and_then(|definition| definition.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec"));
    let mut found = Vec::new();
    if let Some((schema, spec)) = schema.zip(object.get("spec")) {
        walk("spec", schema, spec, &mut found);
    }
    found.into_iter().map(fault).collect()
}

fn fault(field: String) -> Fault {
    let message = "a list stands here, where an object with fields is expected".to_owned();
    Fault { field, reason: "Invalid", message }
}

/// As deep as the schema.
fn walk(path: &str, schema: &Value, value: &Value, found: &mut Vec<String>) {
    if found.len() == MAX_FAULTS {
        return;
    }
    match (schema.get("type").and_then(Value::as_str), value) {
        (Some("object"), Value::Array(_)) => found.push(path.to_owned()),
        (Some("object"), Value::Object(members)) => {
            for (name, member) in members {
                if let Some(schema) = schema.get("properties").and_then(|fields| fields.get(name)) {
                    walk(&format!("{path}.{name}"), schema, member, found);
                }
            }
        }
        (Some("array"), Value::Array(items)) => {
            if let Some(schema) = schema.get("items") {
                items
                    .iter()
                    .enumerate()
                    .for_each(|(index, item)| walk(&format!("{path}[{index}]"), schema, item, found));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(kind: &str, spec: &Value) -> Vec<String> {
        faults(kind, &json!({ "spec": spec })).into_iter().map(|fault| fault.field).collect()
    }

    #[test]
    fn where_a_list_is_a_fault() {
        let policy = |spec: Value| fields("MCPAccessPolicy", &spec);
        assert_eq!(policy(json!([])), ["spec"]);
        assert_eq!(policy(json!({ "authentication": { "anonymous": [] } })), ["spec.authentication.anonymous"]);
        assert_eq!(policy(json!({ "authentication": { "passthrough": [] } })), ["spec.authentication.passthrough"]);
        assert_eq!(policy(json!({ "protocol": ["Allow", "None"] })), ["spec.protocol"]);
        assert_eq!(policy(json!({ "authorization": ["DryRun"] })), ["spec.authorization"]);
        assert_eq!(policy(json!({ "targetRefs": [{}, ["toolward.dev", "MCPBackend", "a"]] })), ["spec.targetRefs[1]"]);
        let rules = json!({ "authorization": { "rules": [{ "tools": ["a"], "claims": [["team", ["ops"]]] }, ["r"]] } });
        assert_eq!(policy(rules), ["spec.authorization.rules[0].claims[0]", "spec.authorization.rules[1]"]);
        assert_eq!(policy(json!({ "targetRefs": vec![json!([]); 99] })).len(), MAX_FAULTS);
        let backend = json!({ "targets": [{ "static": ["host", 80], "service": {} }, ["name"]] });
        assert_eq!(fields("MCPBackend", &backend), ["spec.targets[0].static", "spec.targets[1]"]);
        let whole =
            json!({ "targetRefs": [{}], "authentication": { "issuers": [{ "audiences": ["x"], "jwks": {} }] } });
        assert!(policy(whole).is_empty());
    }
}
