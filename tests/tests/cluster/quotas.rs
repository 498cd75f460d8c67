//! What a tenant asks for beyond its quotas is closed and said, and takes nothing from others.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use toolward_tests::http::{self, call};
use toolward_tests::process::eventually;
use toolward_tests::upstream::OK;

use crate::world::{World, condition_of, policy};

/// Limit of the manifests for the control plane, in MiB.
const CONTROL_PLANE: u64 = 512;

/// As large as Gateway API lets one be: 16 hostnames x 128 matches x 16 backends.
fn large_route(number: usize) -> Value {
    let hostnames: Vec<String> = (0..16).map(|host| format!("h{number}-{host}.greedy.example.com")).collect();
    let backends: Vec<Value> = (0..16).map(|backend| json!({ "name": format!("s{backend}"), "port": 80 })).collect();
    let rule = |rule: usize| {
        let matches: Vec<Value> = (0..64)
            .map(|path| json!({ "path": { "type": "PathPrefix", "value": format!("/{rule}/{path}") } }))
            .collect();
        json!({ "matches": matches, "backendRefs": backends })
    };
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": { "name": format!("large-{number}"), "namespace": "greedy" },
        "spec": {
            "parentRefs": [{ "name": "mcp-gateway", "namespace": "default" }],
            "hostnames": hostnames,
            "rules": [rule(0), rule(1)],
        },
    })
}

fn service(number: usize) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": format!("s{number}"), "namespace": "greedy" },
        "spec": { "ports": [{ "port": 80 }] },
    })
}

#[test]
fn routes_whose_lists_multiply_are_closed_and_others_go_on() {
    let world = World::start();
    let cluster = &world.cluster;
    let open = format!(
        r#"{{"spec":{{"listeners":[{{"name":"mcp","port":{},"protocol":"HTTP","allowedRoutes":{{"namespaces":{{"from":"All"}}}}}}]}}}}"#,
        world.port
    );
    cluster.kubectl(&["patch", "gateway", "mcp-gateway", "--type=merge", "-p", &open]);
    cluster.kubectl(&["create", "namespace", "greedy"]);
    let items: Vec<Value> = (0..16).map(service).chain((0..12).map(large_route)).collect();
    cluster.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string());
    for number in 0..12 {
        eventually("the route says why", || {
            let route = cluster.get("httproute", "greedy", &format!("large-{number}"));
            condition_of(&route, "Accepted") == ("False".to_owned(), "TooLarge".to_owned())
        });
    }
    let route = cluster.get("httproute", "greedy", "large-0");
    let text = route["status"].to_string();
    assert!(text.contains("16 hostnames x 128 matches x up to 16 backends are 32768 entries"), "{text}");
    assert!(text.contains("--max-route-size"), "{text}");

    let ops = world.issuer.of_team("ops");
    let asked = http::post(&http::client(), &world.url("/0/5"), call("add")).bearer_auth(&ops);
    let asked = http::send(asked.header("host", "h3-7.greedy.example.com"));
    assert_eq!(asked.status, 503, "closed where it would have been served");

    // Another tenant's change is in force as quickly as ever.
    assert_eq!(world.ask(&ops, "add").text, OK);
    let changed = Instant::now();
    cluster.apply(&policy("[echo]"));
    eventually("the change is in force", || world.ask(&ops, "add").code() == Some(-32602));
    let took = changed.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?} on a machine that others use as well");

    let (control_plane, envoy) =
        (world.toolward.process.resident_mib(), world.envoy.as_ref().map(|it| it.process.resident_mib()));
    println!("control plane {control_plane} MiB, Envoy {envoy:?} MiB, the change after {took:?}");
    assert!(control_plane < CONTROL_PLANE / 2, "{control_plane} MiB");
    assert!(envoy.is_some_and(|envoy| envoy < 512), "{envoy:?} MiB");
}
