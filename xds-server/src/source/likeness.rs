//! Objects that are not of a kind that we know, and may have been meant to be: in another case, as a plural, with a letter too
//! few. An API server refuses them; a folder has them all. In doubt an object is a policy, and closes what it is for.

use serde_json::Value;
use strsim::osa_distance;

use crate::resources::ObjectRef;
use crate::resources::mcp;

/// Most letters that may differ from a kind of ours, or from our group.
const NEAR: usize = 2;

/// What only policies have.
const PARTS_OF_POLICIES: [&str; 5] = ["targetRefs", "targetRef", "authentication", "authorization", "protocol"];

/// Whether an object may have been meant to be of a kind of ours.
pub(super) fn is_ours(object: &ObjectRef) -> bool {
    let is_near_kind = nearest(&object.kind).0 <= NEAR;
    is_near_kind || osa_distance(&object.group.to_lowercase(), mcp::GROUP) <= NEAR
}

/// Whether an object may have been meant to be a policy. In our group everything is one that is not plainly a server.
pub(super) fn may_be_policy(object: &ObjectRef, document: &Value) -> bool {
    let kind = object.kind.to_lowercase();
    // It says how a server is spoken to, and what is wrong with it closes the way there.
    if kind == "backendtlspolicy" {
        return false;
    }
    if kind.contains("polic") {
        return true;
    }
    let spec = document.get("spec").and_then(Value::as_object);
    let has_part = spec.is_some_and(|spec| PARTS_OF_POLICIES.iter().any(|part| spec.contains_key(*part)));
    let (distance, nearest) = nearest(&object.kind);
    let is_server = nearest == "MCPBackend" && (object.kind == nearest || (distance <= NEAR && !has_part));
    is_ours(object) && !is_server
}

/// What may have been meant, after what is wrong.
pub(super) fn meant(object: &ObjectRef) -> String {
    match nearest(&object.kind) {
        (distance, kind) if distance <= NEAR => format!("; did you mean {kind} of {}/v1alpha1?", mcp::GROUP),
        _ => String::new(),
    }
}

/// The kind of ours that is nearest to a name, singular or plural, in whatever case, and how many letters differ.
fn nearest(written: &str) -> (usize, &'static str) {
    let written = written.to_lowercase();
    let forms = [
        ("mcpaccesspolicy", mcp::KINDS[1]),
        ("mcpaccesspolicies", mcp::KINDS[1]),
        ("mcpbackend", mcp::KINDS[0]),
        ("mcpbackends", mcp::KINDS[0]),
    ];
    let near = forms.map(|(form, kind)| (osa_distance(&written, form), kind));
    near.into_iter().min().unwrap_or((usize::MAX, mcp::KINDS[1]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::resources::Name;

    #[test]
    fn which_objects_are_taken_for_policies() {
        let (server, policy) = (json!({ "spec": { "targets": [] } }), json!({ "spec": { "targetRefs": [] } }));
        let rows = [
            ("toolward.dev", "mcpaccesspolicy", &policy, true, true),
            ("toolward.dev", "MCPAccessPolicies", &policy, true, true),
            ("toolward.dev", "MCPAccessPolcy", &policy, true, true),
            ("toolward.dev", "MCPAccess", &policy, true, true),
            ("toolward.dev", "Something", &json!({}), true, true),
            ("toolward.dev", "MCPBackend", &policy, true, false),
            ("toolward.dev", "mcpbackends", &server, true, false),
            ("toolward.dev", "MCPBackends", &policy, true, true),
            ("toolwrad.dev", "Access", &policy, true, true),
            ("Toolward.dev", "MCPAccessPolicy", &policy, true, true),
            ("example.com", "MCPAccesPolicy", &policy, true, true),
            ("", "mcpbackend", &server, true, false),
            ("example.com", "NetworkPolicy", &policy, false, true),
            ("example.com", "Widget", &policy, false, false),
            ("gateway.networking.k8s.io", "BackendTLSPolicy", &policy, false, false),
            ("agentgateway.dev", "agentgatewaypolicies", &policy, false, true),
        ];
        for (group, kind, document, ours, may_be) in rows {
            let (group, kind) = (group.to_owned(), kind.to_owned());
            let object = ObjectRef { group, kind, name: Name::new("apps", "x") };
            assert_eq!((is_ours(&object), may_be_policy(&object, document)), (ours, may_be), "{object:?} {document}");
        }
    }
}
