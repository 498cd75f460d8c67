//! Lists where the fields of an object should stand: serde reads them as the fields in the order in which a type has them, so
//! `anonymous: []` would be `anonymous: {}`. Nobody means that, and an API server refuses it; in a file it is a fault.
//!
//! Where there are to be fields is known by the schemas of the kinds.

use std::sync::LazyLock;

use gateway_api::backendtlspolicies::BackendTlsPolicy;
use gateway_api::gatewayclasses::GatewayClass;
use gateway_api::gateways::Gateway;
use gateway_api::httproutes::HttpRoute;
use gateway_api::referencegrants::ReferenceGrant;
use kube::CustomResourceExt as _;
use serde_json::Value;

use super::object::Fault;
use crate::crds;
use crate::resources::ObjectRef;

/// Most faults that are told of one object.
const MAX_FAULTS: usize = 16;

/// Of our own kinds and those of Gateway API that are read.
static DEFINITIONS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let of_gateway_api =
        [GatewayClass::crd(), Gateway::crd(), HttpRoute::crd(), ReferenceGrant::crd(), BackendTlsPolicy::crd()];
    let of_gateway_api = of_gateway_api.into_iter().filter_map(|definition| serde_json::to_value(definition).ok());
    crds::definitions().into_iter().flatten().chain(of_gateway_api).collect()
});

/// The lists in an object that are faults. An object of a kind without a schema is one as a whole.
pub(super) fn faults(object: &ObjectRef, document: &Value) -> Vec<Fault> {
    let Some(schema) = schema(object) else {
        let message = format!("it is not known where {} of {} has lists", object.kind, object.group);
        return vec![Fault { field: "kind".to_owned(), reason: "Invalid", message }];
    };
    let mut found = Vec::new();
    if let Some(spec) = document.get("spec") {
        walk("spec", schema, spec, &mut found);
    }
    found.into_iter().map(fault).collect()
}

/// That of the spec of a kind.
fn schema(object: &ObjectRef) -> Option<&'static Value> {
    let is_of_kind = |definition: &&Value| {
        let is = |pointer: &str, name: &str| definition.pointer(pointer).and_then(Value::as_str) == Some(name);
        is("/spec/group", &object.group) && is("/spec/names/kind", &object.kind)
    };
    let definition = DEFINITIONS.iter().find(is_of_kind)?;
    definition.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec")
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
    use crate::resources::{Name, mcp};
    use crate::source::object::GATEWAY_API;

    fn fields(group: &str, kind: &str, spec: &Value) -> Vec<String> {
        let object = ObjectRef { group: group.to_owned(), kind: kind.to_owned(), name: Name::new("apps", "a") };
        faults(&object, &json!({ "spec": spec })).into_iter().map(|fault| fault.field).collect()
    }

    #[test]
    fn where_a_list_is_a_fault() {
        let policy = |spec: Value| fields(mcp::GROUP, "MCPAccessPolicy", &spec);
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
        assert_eq!(fields(mcp::GROUP, "MCPBackend", &backend), ["spec.targets[0].static", "spec.targets[1]"]);
        let whole =
            json!({ "targetRefs": [{}], "authentication": { "issuers": [{ "audiences": ["x"], "jwks": {} }] } });
        assert!(policy(whole).is_empty());
    }

    #[test]
    fn kinds_of_gateway_api_have_fields_as_well() {
        let of = |kind: &str, spec: Value| fields(GATEWAY_API, kind, &spec);
        let rows = [
            ("GatewayClass", json!([]), "spec"),
            ("Gateway", json!({ "listeners": [{ "tls": [] }] }), "spec.listeners[0].tls"),
            ("HTTPRoute", json!({ "rules": [{ "matches": [[]] }] }), "spec.rules[0].matches[0]"),
            (
                "HTTPRoute",
                json!({ "rules": [{ "matches": [{ "path": ["Exact", "/"] }] }] }),
                "spec.rules[0].matches[0].path",
            ),
            ("HTTPRoute", json!({ "rules": [{ "backendRefs": [["a"]] }] }), "spec.rules[0].backendRefs[0]"),
            ("ReferenceGrant", json!({ "from": [["group", "kind", "apps"]] }), "spec.from[0]"),
            ("BackendTLSPolicy", json!({ "validation": [] }), "spec.validation"),
        ];
        for (kind, spec, field) in rows {
            assert_eq!(of(kind, spec.clone()), [field], "{kind} {spec}");
        }
        let route = json!({ "hostnames": ["a"], "rules": [{ "matches": [{ "headers": [{ "name": "a" }] }] }] });
        assert!(of("HTTPRoute", route).is_empty());
    }

    #[test]
    fn a_kind_without_a_schema_is_a_fault() {
        assert_eq!(fields(mcp::GROUP, "MCPOther", &json!({})), ["kind"]);
        assert_eq!(fields("other.dev", "MCPBackend", &json!({})), ["kind"]);
    }
}
