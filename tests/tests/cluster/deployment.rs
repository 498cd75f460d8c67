//! From the shipped manifests to a protected MCP server, and what the API server itself catches.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use toolward_tests::client::Session;
use toolward_tests::cluster::Cluster;
use toolward_tests::envoy::{ADMIN_SOCKET, Envoy};
use toolward_tests::folder::Folder;
use toolward_tests::http;
use toolward_tests::mcp_server::{McpServer, Sdk};
use toolward_tests::ports;
use toolward_tests::process::eventually;
use toolward_tests::tools::root;
use toolward_tests::toolward::{self, Issuer};
use toolward_tests::upstream::{OK, Upstream};

use crate::world::{OTHER_CLASS, World, condition_of, keys, policy, replica, slice, this_machine};

/// Resources that were sent to Envoys, of all types and of one.
const SENT: &str = "toolward_xds_resources_sent_total";
const SENT_ENDPOINTS: &str = "toolward_xds_resources_sent_total{type=\"ClusterLoadAssignment\"}";

#[test]
fn the_quickstart_with_two_replicas_and_a_real_server() {
    let cluster = Cluster::start();
    let issuer = Issuer::new("ES256");
    let server = McpServer::start_on(this_machine(), Sdk::V2, &root().join("manifests/examples/quickstart/server.py"));
    let port = ports::free();
    let example = root().join("manifests/examples/cluster");
    let example = cluster.kubectl(&["kustomize", example.to_str().expect("UTF-8")]);
    assert!(example.contains("port: 3000"), "{example}");
    cluster.apply(&example.replace("port: 3000", &format!("port: {port}")));
    // What the controllers of a cluster would make of the Deployment and the Service.
    cluster.apply(&slice(server.port));
    cluster.apply(&keys(&issuer.jwks()));
    let (one, two) = (replica(&cluster, "one"), replica(&cluster, "two"));
    for toolward in [&one, &two] {
        let _envoy = Envoy::with_control_plane("default/mcp-gateway", toolward.xds);
        let url = format!("http://127.0.0.1:{port}/mcp");
        eventually("the Gateway answers", || http::client().get(&url).send().is_ok());
        let mut alice = Session::open(&url, &issuer.of_team("sales"));
        assert_eq!(alice.ask("list"), "add");
        assert_eq!(alice.ask("add"), "13");
        assert_eq!(alice.ask("multiply"), "Unknown tool: multiply");
        let mut anonymous = Session::open(&url, "");
        assert!(anonymous.ask("list").starts_with("401 "));
    }
    let condition = |kind: &str, name: &str, condition: &str| {
        let namespace = "default";
        let (status, reason) = condition_of(&cluster.get(kind, namespace, name), condition);
        format!("{kind} {condition} {status} {reason}")
    };
    let conditions = || {
        [
            condition("gatewayclass", "toolward", "Accepted"),
            condition("gatewayclass", "toolward", "SupportedVersion"),
            condition("gateway", "mcp-gateway", "Accepted"),
            condition("gateway", "mcp-gateway", "Programmed"),
            condition("httproute", "math", "Accepted"),
            condition("httproute", "math", "ResolvedRefs"),
            condition("httproute", "math", "toolward.dev/Protected"),
            condition("mcpbackend", "math", "Accepted"),
            condition("mcpbackend", "math", "ResolvedRefs"),
            condition("mcpaccesspolicy", "math", "Accepted"),
            condition("mcpaccesspolicy", "math", "ResolvedRefs"),
        ]
    };
    let expected = [
        "gatewayclass Accepted True Accepted",
        "gatewayclass SupportedVersion True SupportedVersion",
        "gateway Accepted True Accepted",
        "gateway Programmed True Programmed",
        "httproute Accepted True Accepted",
        "httproute ResolvedRefs True ResolvedRefs",
        "httproute toolward.dev/Protected True Protected",
        "mcpbackend Accepted True Accepted",
        "mcpbackend ResolvedRefs True ResolvedRefs",
        "mcpaccesspolicy Accepted True Accepted",
        "mcpaccesspolicy ResolvedRefs True ResolvedRefs",
    ];
    eventually("all conditions are written", || conditions() == expected);
    let listeners = cluster.get("gateway", "default", "mcp-gateway")["status"]["listeners"].clone();
    assert_eq!(listeners.as_array().map(Vec::len), Some(1), "{listeners:#}");
    let listener = &listeners[0];
    assert_eq!((&listener["name"], &listener["attachedRoutes"]), (&"mcp".into(), &1.into()), "{listener:#}");
    let kinds = json!([{ "group": "gateway.networking.k8s.io", "kind": "HTTPRoute" }]);
    assert_eq!(listener["supportedKinds"], kinds);
    let of_listener = listener["conditions"].as_array().expect("conditions").iter();
    let of_listener = of_listener.map(|found| [&found["type"], &found["status"], &found["reason"]].map(text));
    assert_eq!(
        of_listener.collect::<BTreeSet<_>>(),
        BTreeSet::from([
            ["Accepted", "True", "Accepted"],
            ["Conflicted", "False", "NoConflicts"],
            ["Programmed", "True", "Programmed"],
            ["ResolvedRefs", "True", "ResolvedRefs"],
        ])
    );
    // A change that means nothing is observed all the same.
    let touched = r#"{"spec":{"listeners":[{"name":"mcp","port":PORT,"protocol":"HTTP","allowedRoutes":{"namespaces":{"from":"Same"},"kinds":[{"kind":"HTTPRoute"}]}}]}}"#;
    let touched = touched.replace("PORT", &port.to_string());
    cluster.kubectl(&["patch", "gateway", "mcp-gateway", "--type=merge", "-p", &touched]);
    let kinds = [
        ("gatewayclass", "toolward"),
        ("gateway", "mcp-gateway"),
        ("httproute", "math"),
        ("mcpbackend", "math"),
        ("mcpaccesspolicy", "math"),
    ];
    for (kind, name) in kinds {
        eventually("observed", || {
            let object = cluster.get(kind, "default", name);
            let generation = object["metadata"]["generation"].as_i64();
            let observed = observed_generations(&object["status"]);
            generation.is_some() && !observed.is_empty() && observed.iter().all(|observed| *observed == generation)
        });
    }
    assert_eq!(cluster.get("gateway", "default", "mcp-gateway")["metadata"]["generation"], 2);
    let shown = cluster.kubectl(&["get", "mcpaccesspolicies"]);
    assert!(shown.starts_with("NAME   KIND        TARGET   MODE      ACCEPTED   AGE"), "{shown}");
    assert!(shown.contains("math   HTTPRoute   math     Enforce   True"), "{shown}");
    // Nothing changes any more: nothing is written any more.
    let version = || cluster.get("gateway", "default", "mcp-gateway")["metadata"]["resourceVersion"].clone();
    let before = version();
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(version(), before, "the status is written only when it differs");
}

/// The generations that the conditions of a status speak of.
fn observed_generations(status: &Value) -> Vec<Option<i64>> {
    match status {
        Value::Object(members) if members.contains_key("reason") => vec![members["observedGeneration"].as_i64()],
        Value::Object(members) => members.values().flat_map(observed_generations).collect(),
        Value::Array(list) => list.iter().flat_map(observed_generations).collect(),
        _ => Vec::new(),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[test]
fn a_release_of_gateway_api_that_is_not_known() {
    let world = World::start();
    let supported = |status: &str, reason: &str| {
        world.has_condition("gatewayclass", "toolward", "SupportedVersion", status, reason)
    };
    eventually("supported", || supported("True", "SupportedVersion"));
    let definition = "crd/gatewayclasses.gateway.networking.k8s.io";
    let release = "gateway.networking.k8s.io/bundle-version=v1.99.0";
    world.cluster.kubectl(&["annotate", definition, "--overwrite", release]);
    eventually("said", || supported("False", "UnsupportedVersion"));
    let class = world.cluster.get("gatewayclass", "default", "toolward")["status"].to_string();
    assert!(class.contains("v1.99.0"), "{class}");
    assert!(world.has_condition("gatewayclass", "toolward", "Accepted", "True", "Accepted"), "served all the same");
    assert_eq!(world.ask(&world.issuer.of_team("ops"), "add").text, OK);
}

#[test]
fn the_api_server_refuses_what_can_be_caught_there() {
    let cluster = Cluster::start();
    let good = policy("[add]");
    cluster.apply(&good);
    let rows = [
        (
            "no target",
            good.replace(
                "targetRefs: [{ group: gateway.networking.k8s.io, kind: Gateway, name: mcp-gateway }]",
                "targetRefs: []",
            ),
            "targetRefs",
        ),
        ("a kind that can't be protected", good.replace("kind: Gateway,", "kind: Pod,"), "targetRefs"),
        ("two ways to a claim", good.replace("in: [ops] }", "in: [ops], contains: ops }"), "one and only one"),
        ("a rule without a name", good.replace("- name: ops-may\n      tools", "- tools"), "name"),
        ("too much skew", good.replace("jwks:", "clockSkew: 10m, jwks:"), "clockSkew"),
        ("two key sets", good.replace("jwks: {", "jwks: { inline: '{}',"), "exactly one of"),
    ];
    for (name, manifest, says) in rows {
        assert_ne!(manifest, good, "{name}");
        let refused = cluster.try_kubectl(&["apply", "-f", "-"], &manifest).expect_err(name);
        assert!(refused.contains(says), "{name}: {refused}");
    }
}

#[test]
fn gateways_get_their_objects_and_keep_them() {
    let mut world = World::start();
    world.toolward.process.kill();
    let account = world.cluster.service_account("toolward-system", "toolward");
    let arguments = ["--provision", "true", "--namespace", "toolward-system", "--identity", "provisioner"];
    let toolward = toolward::Toolward::in_cluster(&account, &arguments);
    toolward.wait_until_ready();
    let cluster = &world.cluster;
    let get = |kind: &str| cluster.try_kubectl(&["get", kind, "mcp-gateway-toolward", "-o", "json"], "");
    for kind in ["deployment", "service", "serviceaccount", "configmap", "poddisruptionbudget"] {
        eventually(kind, || get(kind).is_ok());
        let object: Value = serde_json::from_str(&get(kind).expect("the object")).expect("JSON");
        let owner = &object["metadata"]["ownerReferences"][0];
        assert_eq!((&owner["kind"], &owner["name"]), (&"Gateway".into(), &"mcp-gateway".into()), "{kind}");
    }
    let no_address = || world.has_condition("gateway", "mcp-gateway", "Programmed", "False", "AddressNotAssigned");
    eventually("no address yet", no_address);
    let address = r#"{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.7"}]}}}"#;
    cluster.kubectl(&[
        "patch",
        "service",
        "mcp-gateway-toolward",
        "--subresource=status",
        "--type=merge",
        "-p",
        address,
    ]);
    let programmed = || world.has_condition("gateway", "mcp-gateway", "Programmed", "True", "Programmed");
    eventually("programmed", programmed);
    assert_eq!(cluster.get("gateway", "default", "mcp-gateway")["status"]["addresses"][0]["value"], "192.0.2.7");
    // Somebody deletes an object, and changes others: all is again as it was.
    let object = |kind: &str| cluster.get(kind, "default", "mcp-gateway-toolward");
    let (replicas, selector) = (object("deployment")["spec"]["replicas"].clone(), selector(&object("service")));
    cluster.kubectl(&["delete", "serviceaccount", "mcp-gateway-toolward"]);
    let change = |kind: &str, patch: &str| {
        cluster.kubectl(&["patch", kind, "mcp-gateway-toolward", "--type=merge", "-p", patch]);
    };
    change("deployment", r#"{"spec":{"replicas":0}}"#);
    change("service", r#"{"spec":{"selector":{"app.kubernetes.io/name":"somebody-else"}}}"#);
    assert_ne!(selector, self::selector(&object("service")));
    let patience = std::time::Instant::now();
    let is_mended = || {
        get("serviceaccount").is_ok()
            && object("deployment")["spec"]["replicas"] == replicas
            && self::selector(&object("service")) == selector
    };
    while !is_mended() {
        assert!(patience.elapsed().as_secs() < 60, "drift is mended");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }

    // The Gateway goes to another class: nothing of ours stays, and what only looks like ours does.
    let alike = cluster.get("configmap", "default", "mcp-gateway-toolward")["metadata"]["labels"].clone();
    let alike = json!({ "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "alike", "namespace": "default", "labels": alike } });
    cluster.apply(&alike.to_string());
    cluster.apply(OTHER_CLASS);
    let class = |name: &str| {
        let patch = json!({ "spec": { "gatewayClassName": name } }).to_string();
        cluster.kubectl(&["patch", "gateway", "mcp-gateway", "--type=merge", "-p", &patch]);
    };
    let kinds = ["deployment", "service", "serviceaccount", "configmap", "poddisruptionbudget"];
    class("other");
    for kind in kinds {
        eventually(kind, || get(kind).is_err());
    }
    assert_eq!(cluster.get("configmap", "default", "alike")["metadata"]["name"], "alike");
    class("toolward");
    for kind in kinds {
        eventually(kind, || get(kind).is_ok());
    }
}

fn selector(service: &Value) -> Value {
    service["spec"]["selector"].clone()
}

/// The Envoys that a Gateway gets, as their pods would start them: with the bootstrap of their ConfigMap, the token of their
/// service account, and over TLS.
#[test]
fn an_envoy_as_it_is_provisioned_gets_its_own_gateway_and_no_other() {
    let mut world = World::start();
    drop(world.envoy.take());
    world.toolward.process.kill();
    let cluster = &world.cluster;
    let certificate = toolward::run(&["xds-certificate"]);
    let secret: Value = serde_yaml_ng::from_slice(&certificate.stdout).expect("a Secret");
    let files = Folder::new();
    for name in ["ca.crt", "tls.crt", "tls.key"] {
        files.write(name, secret["stringData"][name].as_str().expect("PEM"));
    }
    let path = |name: &str| files.path().join(name).to_str().expect("UTF-8").to_owned();
    let account = cluster.service_account("toolward-system", "toolward");
    let (certificate, key, authority) = (path("tls.crt"), path("tls.key"), path("ca.crt"));
    let arguments =
        [["--provision", "true"], ["--xds-tls-cert", &certificate], ["--xds-tls-key", &key], ["--xds-ca", &authority]];
    let toolward = toolward::Toolward::in_cluster(&account, &arguments.concat());
    toolward.wait_until_ready();
    eventually("provisioned", || {
        cluster.try_kubectl(&["get", "configmap", "-n", "default", "mcp-gateway-toolward"], "").is_ok()
    });
    // What the pod would have mounted.
    let data = cluster.get("configmap", "default", "mcp-gateway-toolward")["data"].clone();
    let token = |account: &str| cluster.token("default", account, "toolward.dev/xds");
    let status = ports::free();
    let mounted = |folder: &Folder, token: &str| {
        let here = folder.path().to_str().expect("UTF-8").to_owned();
        let text = |name: &str| {
            let text = data[name].as_str().unwrap_or_else(|| panic!("{name} in {data}"));
            let text = text.replace("/etc/envoy", &here).replace("/var/run/secrets/toolward.dev", &here);
            let text = text.replace("address: toolward.toolward-system.svc", "address: 127.0.0.1");
            let text = text.replace("port_value: 18000", &format!("port_value: {}", toolward.xds));
            let text = text.replace("/run/envoy/admin.sock", ADMIN_SOCKET);
            text.replace("port_value: 19001", &format!("port_value: {status}")).replace("0.0.0.0", "127.0.0.1")
        };
        folder.write("xds-token.yaml", &text("xds-token.yaml"));
        folder.write("xds-ca.crt", &text("xds-ca.crt"));
        folder.write("token", token);
        text("bootstrap.yaml")
    };
    let (own, others) = (Folder::new(), Folder::new());

    // Somebody else's token is good, but not for this Gateway.
    cluster.kubectl(&["create", "serviceaccount", "-n", "default", "other-toolward"]);
    let pretender = Envoy::unready(&mounted(&others, &token("other-toolward")));
    eventually("turned away", || toolward.metric("toolward_xds_streams_refused_total") > 0.0);
    eventually("and told in the log", || toolward.process.log().contains("default/other-toolward"));
    assert_eq!(toolward.metric("toolward_xds_resources_sent_total"), 0.0);
    drop(pretender);

    let _envoy = Envoy::with_config(&mounted(&own, &token("mcp-gateway-toolward")));
    let ops = world.issuer.of_team("ops");
    eventually("the Gateway answers", || std::net::TcpStream::connect(("127.0.0.1", world.port)).is_ok());
    assert_eq!(world.ask(&ops, "add").text, OK);
    assert_eq!(world.ask(&ops, "multiply").code(), Some(-32602));

    // What the pod's port for probes and metrics tells, and no more of the admin interface.
    let client = http::client();
    let page = |method: &str, path: &str| {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        http::send(client.request(method, format!("http://127.0.0.1:{status}{path}"))).status
    };
    let rows = [
        ("GET", "/ready", 200),
        ("GET", "/stats/prometheus?usedonly", 200),
        ("GET", "/alive", 200),
        ("POST", "/ready", 404),
        ("GET", "/ready/", 404),
        ("GET", "/ready/../config_dump", 404),
        ("GET", "/ready/%2e%2e/config_dump", 404),
        ("GET", "//config_dump", 404),
        ("GET", "/config_dump", 404),
        ("GET", "/stats", 404),
        ("POST", "/quitquitquit", 404),
    ];
    for (method, path, expected) in rows {
        assert_eq!(page(method, path), expected, "{method} {path}");
    }
}

#[test]
fn a_server_behind_a_service_of_the_cluster() {
    let world = World::start();
    let ops = world.issuer.of_team("ops");
    assert_eq!(world.ask(&ops, "add").text, OK);
    assert_eq!(world.ask(&ops, "multiply").code(), Some(-32602));

    // The endpoint moves.
    let other = Upstream::start_on(this_machine());
    let steps = || {
        let metric = |name| world.toolward.metric(name);
        [
            metric("toolward_translations_total"),
            metric("toolward_xds_responses_total"),
            metric(SENT),
            metric(SENT_ENDPOINTS),
        ]
    };
    let [translations, responses, sent, endpoints] = steps();
    world.cluster.apply(&slice(other.port));
    eventually("the new endpoint is asked", || {
        let _ = world.ask(&ops, "add");
        !other.take_recorded().is_empty()
    });
    // One response with one ClusterLoadAssignment.
    assert_eq!(steps(), [translations + 1.0, responses + 1.0, sent + 1.0, endpoints + 1.0]);
}
