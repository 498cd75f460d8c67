//! Envoy's own filters, granting the same: the strict settings, as the lax ones can be passed by.

use serde_json::{Value, json};
use toolward_tests::toolward::{AUDIENCE, ISSUER};

use crate::world::{GRANTED, tool};

/// Whether Envoy remembers verified tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenCache {
    On,
    Off,
}

/// `jwt_authn` alone.
pub(crate) fn jwt(jwks: &Value, cache: TokenCache) -> Value {
    let mut provider = json!({
        "issuer": ISSUER, "audiences": [AUDIENCE], "require_expiration": true,
        "local_jwks": { "inline_string": jwks.to_string() },
        "payload_in_metadata": "claims",
        "normalize_payload_in_metadata": { "space_delimited_claims": ["scope"] },
    });
    if cache == TokenCache::On {
        // As many as the filter's own cache has.
        provider["jwt_cache_config"] = json!({ "jwt_cache_size": 1024 });
    }
    json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": { "idp": provider },
            "rules": [{ "match": { "prefix": "/" }, "requires": { "provider_name": "idp" } }],
        },
    })
}

/// `jwt_authn`, `mcp` and `rbac`, the last with so many rules.
pub(crate) fn chain(jwks: &Value, cache: TokenCache, rules: usize) -> Vec<Value> {
    let mcp = json!({
        "name": "envoy.filters.http.mcp",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.mcp.v3.Mcp",
            "traffic_mode": "REJECT_NO_MCP",
            "reject_duplicate_keys": true,
            "max_request_body_size": 4_194_304,
            "max_supported_protocol_version": "2026-07-28",
        },
    });
    let mut policies: serde_json::Map<String, Value> =
        (0..rules).map(|number| (format!("rule-{number:03}"), rule(number, rules))).collect();
    policies.insert("base".to_owned(), base());
    let rbac = json!({
        "name": "envoy.filters.http.rbac",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
            "rules": { "action": "ALLOW", "policies": policies },
        },
    });
    vec![jwt(jwks, cache), mcp, rbac]
}

fn rule(number: usize, rules: usize) -> Value {
    let tools: Vec<Value> =
        (number..GRANTED.max(rules)).step_by(rules).map(|number| json!({ "exact": tool(number) })).collect();
    let of_group = json!({ "list_match": { "one_of": { "string_match": { "exact": "dev" } } } });
    json!({
        "permissions": [{ "and_rules": { "rules": [
            { "sourced_metadata": { "metadata_matcher": mcp(&["method"], &one_of(&[json!({ "exact": "tools/call" })])) } },
            { "sourced_metadata": { "metadata_matcher": mcp(&["params", "name"], &one_of(&tools)) } },
        ] } }],
        "principals": [{ "sourced_metadata": { "metadata_matcher": {
            "filter": "envoy.filters.http.jwt_authn", "path": [{ "key": "claims" }, { "key": "groups" }], "value": of_group,
        } } }],
    })
}

/// The protocol's own housekeeping, for everybody.
fn base() -> Value {
    let methods = ["initialize", "ping", "tools/list"].map(|name| json!({ "exact": name }));
    let methods = [&methods[..], &[json!({ "prefix": "notifications/" })]].concat();
    json!({
        "permissions": [
            { "sourced_metadata": { "metadata_matcher": mcp(&["method"], &one_of(&methods)) } },
            { "header": { "name": ":method", "string_match": { "exact": "GET" } } },
        ],
        "principals": [{ "any": true }],
    })
}

fn mcp(path: &[&str], value: &Value) -> Value {
    let path: Vec<Value> = path.iter().map(|key| json!({ "key": key })).collect();
    json!({ "filter": "envoy.filters.http.mcp", "path": path, "value": value })
}

fn one_of(matches: &[Value]) -> Value {
    let matchers: Vec<Value> = matches.iter().map(|one| json!({ "string_match": one })).collect();
    match &matchers[..] {
        [only] => only.clone(),
        _ => json!({ "or_match": { "value_matchers": matchers } }),
    }
}
