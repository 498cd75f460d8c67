//! Policies that were replaced stay in Envoy for a while, within bounds: one tenant's take no room of others, nor Envoy's memory.

use std::time::Duration;

use serde_json::{Value, json};
use toolward_tests::process::eventually;
use toolward_tests::upstream::OK;

use crate::world::World;

/// Rules of about a megabyte.
fn large(name: &str) -> Value {
    let tools =
        |rule: usize| -> Vec<String> { (0..64).map(|tool| format!("{rule}-{tool}-{}", "x".repeat(480))).collect() };
    let rules: Vec<Value> = (0..32).map(|rule| json!({ "name": format!("r{rule}"), "tools": tools(rule) })).collect();
    let target = json!({ "group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "large" });
    json!({ "apiVersion": "toolward.dev/v1alpha1", "kind": "MCPAccessPolicy",
        "metadata": { "name": name, "namespace": "mallory" },
        "spec": { "targetRefs": [target], "authorization": { "rules": rules } } })
}

#[test]
fn a_large_policy_that_is_renamed_again_and_again() {
    let world = World::start();
    let cluster = &world.cluster;
    cluster.kubectl(&["create", "namespace", "mallory"]);
    let shared = json!([{ "op": "add", "path": "/spec/listeners/0/allowedRoutes", "value": { "namespaces": { "from": "All" } } }]);
    cluster.kubectl(&["patch", "gateway", "mcp-gateway", "-n", "default", "--type", "json", "-p", &shared.to_string()]);
    cluster.apply(
        "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: large, namespace: mallory }
spec:
  parentRefs: [{ name: mcp-gateway, namespace: default }]
  rules:
  - matches: [{ path: { type: PathPrefix, value: /large } }]
    backendRefs: [{ name: large, port: 80 }]
---
apiVersion: v1
kind: Service
metadata: { name: large, namespace: mallory }
spec: { ports: [{ port: 80 }] }
",
    );
    let token = world.issuer.of_team("ops");
    eventually("the honest tenant is served", || world.ask(&token, "add").text == OK);
    let table = || {
        let snapshot = world.toolward.get("/snapshot?gateway=default/mcp-gateway").json();
        let text = snapshot["TypedExtensionConfig"].to_string();
        (text.len(), text.matches("31-63-").count())
    };
    let envoy = world.envoy.as_ref().expect("an Envoy");
    // Too large for an annotation of what was applied last.
    let create =
        |name: &str| drop(cluster.try_kubectl(&["create", "-f", "-"], &large(name).to_string()).expect("created"));
    create("large-0");
    eventually("it is served", || table().1 > 0);
    let before = envoy.process.resident_mib();
    let mut most = 0;
    for name in 1..=16 {
        create(&format!("large-{name}"));
        cluster.kubectl(&["delete", "mcpaccesspolicy", "-n", "mallory", &format!("large-{}", name - 1)]);
        std::thread::sleep(Duration::from_millis(300));
        let (bytes, _) = table();
        most = most.max(bytes);
        assert_eq!(world.ask(&token, "add").text, OK, "the honest tenant, after {name}");
    }
    let after = envoy.process.resident_mib();
    println!("table of {most} bytes at most; Envoy {before} MiB before, {after} after");
    assert!(most < 6 * 1024 * 1024, "a table of {most} bytes");
    assert!(after < before + 300, "Envoy has {after} MiB, {before} before");
    // Envoy has acknowledged the routes that name the last one only: the others are gone long before their time.
    eventually("what nobody names is gone", || table().1 == 1);
    assert_eq!(world.ask(&token, "add").text, OK);
}
