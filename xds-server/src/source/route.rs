//! What is left of an HTTPRoute that can't be read as a whole: which requests were meant for it, so that none of them falls
//! to a looser route. In doubt more than it was meant for.

use gateway_api::httproutes::{HttpRoute, HttpRouteParentRefs, HttpRouteRules, HttpRouteRulesMatches, HttpRouteSpec};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The Gateways, hostnames, names of rules and matches of a route, without all else.
pub(super) fn remains(document: &Value) -> HttpRoute {
    let spec = document.get("spec").unwrap_or(&Value::Null);
    let parent_refs = list(spec, "parentRefs").map(|parents| parents.iter().filter_map(parent).collect());
    // All must be there: a route without hostnames is for every host.
    let hostnames = list(spec, "hostnames").and_then(|names| names.iter().map(text).collect());
    let rules = list(spec, "rules").map(|rules| rules.iter().map(rule).collect());
    HttpRoute {
        metadata: part(document, "metadata").unwrap_or_default(),
        spec: HttpRouteSpec { parent_refs, hostnames, rules },
        status: part(document, "status"),
    }
}

/// Where a part can't be read, all listeners of the Gateway are meant.
fn parent(written: &Value) -> Option<HttpRouteParentRefs> {
    let whole = Some(written).filter(|written| written.is_object()).and_then(read);
    whole.or_else(|| {
        Some(HttpRouteParentRefs {
            name: part(written, "name")?,
            namespace: part(written, "namespace"),
            group: part(written, "group"),
            kind: part(written, "kind"),
            ..HttpRouteParentRefs::default()
        })
    })
}

fn rule(written: &Value) -> HttpRouteRules {
    let matches = list(written, "matches").map(|all| all.iter().map(matches).collect());
    HttpRouteRules { name: part(written, "name"), matches, ..HttpRouteRules::default() }
}

/// Without a part, more requests match.
fn matches(written: &Value) -> HttpRouteRulesMatches {
    HttpRouteRulesMatches {
        path: part(written, "path"),
        method: part(written, "method"),
        headers: part(written, "headers"),
        query_params: part(written, "queryParams"),
    }
}

fn list<'v>(value: &'v Value, field: &str) -> Option<&'v Vec<Value>> {
    value.get(field).and_then(Value::as_array)
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn part<T: DeserializeOwned>(value: &Value, field: &str) -> Option<T> {
    // Where objects belong, lists could be read as their fields in order.
    let is_readable = |part: &&Value| part.as_array().is_none_or(|items| items.iter().all(Value::is_object));
    value.get(field).filter(is_readable).and_then(read)
}

fn read<T: DeserializeOwned>(value: &Value) -> Option<T> {
    T::deserialize(value).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_left_is_never_narrower() {
        let spec = |spec: Value| remains(&json!({ "metadata": { "name": "r" }, "spec": spec })).spec;
        let broken = spec(json!({
            "parentRefs": [{ "name": "gw", "port": "80", "sectionName": "http" }, 7],
            "hostnames": ["a.example.com", 7],
            "rules": [
                { "name": "one", "matches": [{ "path": { "type": "Glob", "value": "/a" }, "method": "GET" }, 7] },
                { "matches": 7 },
                7,
            ],
        }));
        let parents: Vec<_> = broken.parent_refs.iter().flatten().collect();
        assert!(matches!(parents.as_slice(), [one] if one.name == "gw" && one.section_name.is_none()), "{parents:?}");
        assert_eq!(broken.hostnames, None);
        let rules = broken.rules.unwrap();
        let first = rules[0].matches.as_ref().unwrap();
        assert_eq!((rules.len(), rules[0].name.as_deref(), first.len()), (3, Some("one"), 2));
        assert!(first[0].path.is_none() && first[0].method.is_some() && first[1] == HttpRouteRulesMatches::default());
        assert_eq!((&rules[1].matches, &rules[2].matches), (&None, &None));
        assert_eq!(spec(json!({ "rules": 7 })).rules, None);
        let matches = json!({ "path": ["Exact", "/a"], "headers": [["a", "Exact", "b"]], "queryParams": [{ "name": "a", "value": "b" }] });
        let lists = spec(json!({ "rules": [{ "matches": [matches] }] })).rules.unwrap();
        let read = &lists[0].matches.as_ref().unwrap()[0];
        assert!(read.path.is_none() && read.headers.is_none() && read.query_params.is_some(), "{read:?}");
    }
}
