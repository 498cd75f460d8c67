//! The recommended set-up, as `docs/multi-tenant.md` has it.

use reqwest::Method;
use serde_json::{Value, json};
use toolward_tests::process::eventually;

use crate::objects::{config_map, gateway, prefix, route, service_backend, to_backend};
use crate::tenant::Tenant;
use crate::world::{HONEST, HOSTILE, OWN_HOST, World};

#[test]
fn each_team_has_a_listener_of_its_own() {
    let world = World::start(&["platform.yaml", "tenants.yaml"]);
    let other = Tenant::new(&world.cluster, HOSTILE[0], &[]);
    let token = world.issuer.of_team("ops");
    let calls = |host: &str, tool: &str| world.try_call(world.own, host, &token, tool).expect("an answer");
    assert!(calls(OWN_HOST, "add").text.contains(r#""13""#));
    assert!(!calls(OWN_HOST, "multiply").text.contains(r#""42""#), "the team's policy does not grant it");
    let nobody = world.try_call(world.own, OWN_HOST, "", "add").expect("an answer");
    assert_eq!(nobody.status, 401, "the platform's policy asks for a token");

    // Another team's route gets no place on this listener, and says why.
    other.applies(&service_backend("evil", "evil"));
    let rules = || json!([prefix("/mcp", &to_backend("evil"))]);
    other.applies(&route("intruder", HONEST, &[OWN_HOST], rules()));
    other.applies(&route("stranger", HOSTILE[0], &[OWN_HOST], rules()));
    let reason = |name: &str| {
        let route = world.cluster.get("httproute", HOSTILE[0], name);
        let conditions = route["status"]["parents"][0]["conditions"].as_array().cloned().unwrap_or_default();
        let accepted = conditions.iter().find(|condition| condition["type"] == "Accepted");
        accepted.map_or(Value::Null, |accepted| accepted["reason"].clone())
    };
    eventually("no place", || reason("intruder") == "NotAllowedByListeners");
    eventually("no such host", || reason("stranger") == "NoMatchingListenerHostname");
    assert!(calls(OWN_HOST, "add").text.contains(r#""13""#));

    // Rights end at the namespace.
    for (method, namespace, kind, name) in [
        (Method::GET, HONEST, "secrets", "own"),
        (Method::GET, HONEST, "mcpaccesspolicies", "math"),
        (Method::DELETE, HONEST, "httproutes", "math"),
        (Method::GET, "mcp-platform", "gateways", "shared"),
        (Method::DELETE, "mcp-platform", "mcpaccesspolicies", "guardrail"),
        (Method::GET, HOSTILE[0], "gateways", ""),
        (Method::GET, HOSTILE[0], "endpointslices", ""),
    ] {
        assert_eq!(other.status_of(method.clone(), namespace, kind, name), 403, "{method} {kind} {namespace}/{name}");
    }
    assert_eq!(other.apply(&gateway("own", 3000, &json!({}))), 403);

    // The API server counts. What its controllers would say of the quota, which is used up by one more:
    world.cluster.kubectl(&["apply", "-f", "../manifests/examples/multi-tenant/quotas.yaml"]);
    let quota = world.cluster.get("resourcequota", HOSTILE[0], "mcp");
    let hard = quota["spec"]["hard"].as_object().expect("amounts").clone();
    let mut used = hard.clone();
    used.insert("count/configmaps".to_owned(), json!("49"));
    let status = json!({ "status": { "hard": hard, "used": used } }).to_string();
    let patch =
        ["patch", "resourcequota", "-n", HOSTILE[0], "mcp", "--subresource=status", "--type=merge", "-p", &status];
    world.cluster.kubectl(&patch);
    eventually("the last one", || matches!(other.apply(&config_map("last", "key", "value")), 200 | 201));
    assert_eq!(other.apply(&config_map("too-many", "key", "value")), 403);
}
