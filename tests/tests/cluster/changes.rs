//! Whatever changes in the cluster is in force soon, and is said in status.

use std::time::Instant;

use toolward_tests::credentials::{Authority, Mount};
use toolward_tests::http::{self, call};
use toolward_tests::process::eventually;
use toolward_tests::toolward::Issuer;
use toolward_tests::upstream::OK;

use crate::world::{World, keys, policy, route};

#[test]
fn policies_keys_grants_routes_and_gateways() {
    let world = World::start();
    let cluster = &world.cluster;
    let ops = world.issuer.of_team("ops");
    assert_eq!(world.ask(&ops, "add").text, OK);

    // A policy is edited.
    cluster.apply(&policy("[echo]"));
    eventually("denied", || world.ask(&ops, "add").code() == Some(-32602));
    cluster.apply(&policy("[add]"));
    eventually("granted", || world.ask(&ops, "add").text == OK);

    // The key set is rotated: the old key is refused, the new one accepted, in one step.
    let next = Issuer::new("RS256");
    let steps = || ["toolward_translations_total", "toolward_xds_responses_total"].map(|it| world.toolward.metric(it));
    let [translations, responses] = steps();
    cluster.apply(&keys(&next.jwks()));
    let applied = Instant::now();
    eventually("the old key is refused", || world.ask(&ops, "add").status == 401);
    println!("a rotated key was in force {:?} after the API server had it", applied.elapsed());
    assert_eq!(world.ask(&next.of_team("ops"), "add").text, OK);
    assert_eq!(steps(), [translations + 1.0, responses + 1.0], "one translation, one response to Envoy");
    cluster.apply(&keys(r#"{"keys":[]}"#));
    eventually("no key: closed", || world.ask(&ops, "add").status == 503);
    eventually("and said", || world.has_condition("mcpaccesspolicy", "math", "ResolvedRefs", "False", "InvalidKeySet"));
    cluster.kubectl(&["delete", "configmap", "login-keys"]);
    eventually("said", || world.has_condition("mcpaccesspolicy", "math", "ResolvedRefs", "False", "KeySetNotFound"));
    assert_eq!(world.ask(&ops, "add").status, 503);
    cluster.apply(&keys(&world.issuer.jwks()));
    eventually("the first key is back", || world.ask(&ops, "add").text == OK);
    eventually("said", || world.has_condition("mcpaccesspolicy", "math", "ResolvedRefs", "True", "ResolvedRefs"));

    // An invalid object beside valid ones.
    cluster.apply(
        &route("broken", "default").replace("name: math, namespace", "name: nope, namespace").replace("/mcp", "/x"),
    );
    eventually("said", || world.has_condition("httproute", "broken", "ResolvedRefs", "False", "BackendNotFound"));
    assert_eq!(world.ask(&ops, "add").text, OK);
    cluster.kubectl(&["delete", "httproute", "broken"]);

    // The route moves to another namespace, from which the backend may be used only as long as it is granted.
    cluster.kubectl(&["create", "namespace", "apps"]);
    let open = r#"{"spec":{"listeners":[{"name":"mcp","port":PORT,"protocol":"HTTP","allowedRoutes":{"namespaces":{"from":"All"}}}]}}"#;
    let open = open.replace("PORT", &world.port.to_string());
    cluster.kubectl(&["patch", "gateway", "mcp-gateway", "--type=merge", "-p", &open]);
    cluster.apply(
        "apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: { name: apps, namespace: default }
spec:
  from: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: apps }]
  to: [{ group: toolward.dev, kind: MCPBackend }]
",
    );
    cluster.apply(&route("moved", "apps"));
    cluster.kubectl(&["delete", "httproute", "math"]);
    eventually("served from the other namespace", || world.ask(&ops, "add").text == OK);
    cluster.kubectl(&["delete", "referencegrant", "apps"]);
    eventually("the route closes", || world.ask(&ops, "add").status == 500);
    eventually("and says why", || {
        let route = cluster.get("httproute", "apps", "moved");
        crate::world::condition_of(&route, "ResolvedRefs") == ("False".to_owned(), "RefNotPermitted".to_owned())
    });

    // The Gateway goes.
    cluster.kubectl(&["delete", "gateway", "mcp-gateway"]);
    eventually("nobody listens", || std::net::TcpStream::connect(("127.0.0.1", world.port)).is_err());
}

#[test]
fn certificates() {
    let world = World::start();
    let cluster = &world.cluster;
    let ops = world.issuer.of_team("ops");
    let listener = format!(
        r#"{{"spec":{{"listeners":[{{"name":"mcp","port":{},"protocol":"HTTPS","tls":{{"certificateRefs":[{{"name":"web"}}]}}}}]}}}}"#,
        world.port
    );
    cluster.kubectl(&["patch", "gateway", "mcp-gateway", "--type=merge", "-p", &listener]);
    let listener = || cluster.get("gateway", "default", "mcp-gateway")["status"]["listeners"][0].clone();
    let resolved = || {
        let conditions = listener()["conditions"].clone();
        let found = conditions.as_array().into_iter().flatten().find(|found| found["type"] == "ResolvedRefs").cloned();
        found.map(|found| found["reason"].clone()).unwrap_or_default()
    };
    eventually("no certificate yet", || resolved() == "InvalidCertificateRef");
    for authority in [Authority::new(), Authority::new()] {
        let files = Mount::new(&authority.host("web.example.com"));
        let (certificate, key) = (files.path("tls.crt"), files.path("tls.key"));
        let path = |option: &str, path: &std::path::Path| format!("--{option}={}", path.display());
        let made = cluster.kubectl(&[
            "create",
            "secret",
            "tls",
            "web",
            &path("cert", &certificate),
            &path("key", &key),
            "--dry-run=client",
            "-o",
            "yaml",
        ]);
        cluster.apply(&made);
        let root = reqwest::Certificate::from_pem(authority.pem.as_bytes()).expect("a certificate");
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], world.port));
        let url = format!("https://web.example.com:{}/mcp", world.port);
        eventually("served with the new certificate", || {
            let client = reqwest::blocking::Client::builder().resolve("web.example.com", address).no_proxy();
            let client = client.tls_certs_only([root.clone()]).build().expect("a client");
            let answer = http::post(&client, &url, call("add")).bearer_auth(&ops).send();
            answer.is_ok_and(|answer| answer.status() == 200)
        });
    }
    eventually("said", || resolved() == "ResolvedRefs");
}
