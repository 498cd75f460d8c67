//! Nothing is granted that is not needed, and what is needed is granted: the roles of the manifests against what the API
//! server has logged of a life of `toolward`.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use toolward_tests::cluster::{Cluster, NAMESPACE};
use toolward_tests::credentials::{Authority, Credentials, Mount};
use toolward_tests::envoy::Envoy;
use toolward_tests::http;
use toolward_tests::ports;
use toolward_tests::process::eventually;
use toolward_tests::stack::gateway;
use toolward_tests::toolward::{Issuer, Toolward};

use crate::world::{condition_of, keys, policy, route, server};

/// What the log does not tell, with how it is known to be needed. Verb, and resource with its group.
const NOT_LOGGED: [(&str, &str, &str); 1] = [(
    "update",
    "gateways/finalizers.gateway.networking.k8s.io",
    "asked for by the admission plugin OwnerReferencesPermissionEnforcement, which the API server of these tests has: \
     without it no object of a Gateway is made",
)];

#[test]
fn every_right_is_used_and_every_use_is_a_right() {
    let cluster = Cluster::start();
    for (group, kind) in FOREIGN {
        cluster.apply(&definition(group, kind).to_string());
    }
    a_life(&cluster);
    let log = cluster.audit_log();
    let refused: Vec<String> = log.iter().filter(|event| decision(event) != "allow").map(Value::to_string).collect();
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    let used: BTreeSet<(String, String)> = log.iter().flat_map(uses).collect();
    let (mut granted, mut useless) = (BTreeSet::new(), Vec::new());
    for (role, right) in rights(&cluster) {
        let known = NOT_LOGGED.iter().any(|(verb, resource, _)| (*verb, *resource) == (&*right.0, &*right.1));
        if used.contains(&right) == known {
            useless.push(format!("{role}: {} {}: is it needed?", right.0, right.1));
        }
        if !granted.insert(right.clone()) {
            useless.push(format!("{role}: {} {}: another role grants it", right.0, right.1));
        }
    }
    assert!(useless.is_empty(), "{}", useless.join("\n"));
    assert!(granted.len() > 50, "{granted:?}");
    // Secrets are read one by one, and only those that something refers to.
    let read: BTreeSet<String> = cluster.secrets_asked_for().into_iter().collect();
    assert_eq!(read, BTreeSet::from(["default/web".to_owned()]));
}

/// Everything that toolward does in a cluster: reads all kinds, reviews a token, writes all statuses, makes the objects
/// of a Gateway, and deletes those that it is not to have any more.
fn a_life(cluster: &Cluster) {
    let port = ports::free();
    let files = Authority::new().host("web.example.com");
    for name in ["web", "unrelated"] {
        let data = json!({ (files[0].0): files[0].1, (files[1].0): files[1].1 });
        cluster.apply(
            &json!({ "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
                "metadata": { "name": name, "namespace": "default" }, "stringData": data })
            .to_string(),
        );
    }
    cluster.apply(&parameters(2));
    cluster.apply(&gateway(port).replace("name: mcp-gateway", "name: mcp-gateway, namespace: default"));
    let patch = |spec: Value| {
        let patch = json!({ "spec": spec }).to_string();
        cluster.kubectl(&["patch", "gateway", "mcp-gateway", "--type=merge", "-p", &patch]);
    };
    let reference = json!({ "group": "", "kind": "ConfigMap", "name": "parameters" });
    let listeners = json!([{ "name": "mcp", "port": port, "protocol": "HTTP" },
        { "name": "https", "port": ports::free(), "protocol": "HTTPS", "tls": { "certificateRefs": [{ "name": "web" }] } }]);
    patch(json!({ "infrastructure": { "parametersRef": reference }, "listeners": listeners }));
    cluster.apply(&server(ports::free()));
    cluster.apply(&keys(&Issuer::new("ES256").jwks()));
    cluster.apply(&route("math", "default"));
    cluster.apply(&policy("[add]"));
    cluster.apply(TLS);

    let authority = Authority::new();
    let mount = Mount::new(&authority.server());
    let [certificate, key] = ["tls.crt", "tls.key"].map(|name| mount.path(name).display().to_string());
    let authorities = Mount::new(&[("ca.crt", authority.pem.clone())]);
    let authorities = authorities.path("ca.crt").display().to_string();
    let account = cluster.service_account(NAMESPACE, "toolward");
    let arguments = [
        ["--xds-tls-cert", &certificate],
        ["--xds-tls-key", &key],
        ["--xds-ca", &authorities],
        ["--namespace", NAMESPACE],
        ["--provision", "true"],
    ];
    let toolward = Toolward::in_cluster(&account, &arguments.concat());
    toolward.wait_until_ready();

    // The objects of the Gateway, its Envoy, and the statuses.
    let object = |kind: &str| cluster.try_kubectl(&["get", kind, "-n", "default", "mcp-gateway-toolward"], "");
    for kind in ["serviceaccount", "configmap", "deployment", "service", "poddisruptionbudget"] {
        eventually(kind, || object(kind).is_ok());
    }
    let token = cluster.token("default", "mcp-gateway-toolward", "toolward.dev/xds");
    let credentials = Credentials::new(&[("token", token)], &authority);
    let _envoy = Envoy::secured("envoy/ads-tls.yaml", &credentials, "default/mcp-gateway", toolward.xds);
    eventually("the Gateway answers", || http::client().get(format!("http://127.0.0.1:{port}/mcp")).send().is_ok());
    for (kind, name) in [
        ("gatewayclass", "toolward"),
        ("gateway", "mcp-gateway"),
        ("httproute", "math"),
        ("mcpbackend", "math"),
        ("mcpaccesspolicy", "math"),
        ("backendtlspolicy", "math"),
    ] {
        let accepted = ("True".to_owned(), "Accepted".to_owned());
        eventually(kind, || condition_of(&cluster.get(kind, "default", name), "Accepted") == accepted);
    }

    // What Envoy refuses is known to all replicas.
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let refused = taken.local_addr().expect("an address").port();
    patch(json!({ "listeners": [{ "name": "mcp", "port": port, "protocol": "HTTP" },
        { "name": "taken", "port": refused, "protocol": "HTTP" }] }));
    let selected = ["get", "leases", "-n", NAMESPACE, "-l", "toolward.dev/holds=refusals", "-o", "name"];
    eventually("a refusal is told", || !cluster.kubectl(&selected).is_empty());

    // One Envoy needs no budget; a Gateway without a listener that can be served needs no Service.
    cluster.apply(&parameters(1));
    eventually("the budget is deleted", || object("poddisruptionbudget").is_err());
    patch(json!({ "listeners": [{ "name": "mcp", "port": port, "protocol": "TCP" }] }));
    eventually("the Service is deleted", || object("service").is_err());
    eventually("nothing is refused any more", || cluster.kubectl(&selected).is_empty());
    // The Gateway goes to a class of somebody else.
    cluster.apply(crate::world::OTHER_CLASS);
    patch(json!({ "gatewayClassName": "other" }));
    for kind in ["deployment", "configmap", "serviceaccount"] {
        eventually(kind, || object(kind).is_err());
    }
    eventually("the Lease is renewed", || {
        cluster.get("lease", NAMESPACE, "toolward")["spec"]["renewTime"] != Value::Null
            && cluster.audit_log().iter().any(|event| event["verb"] == "update")
    });
}

fn parameters(replicas: u16) -> String {
    let data = json!({ "replicas": replicas.to_string() });
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "parameters", "namespace": "default" }, "data": data })
        .to_string()
}

/// Asks for TLS towards the server.
const TLS: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: { name: math, namespace: default }
spec:
  targetRefs: [{ group: '', kind: Service, name: math }]
  validation: { hostname: math.example.com, wellKnownCACertificates: System }
";

/// Kinds of others that are read where they are installed.
const FOREIGN: [(&str, &str); 3] = [
    ("agentgateway.dev", "AgentgatewayBackend"),
    ("agentgateway.dev", "AgentgatewayPolicy"),
    ("enterpriseagentgateway.solo.io", "EnterpriseAgentgatewayPolicy"),
];

/// The least definition of such a kind.
fn definition(group: &str, kind: &str) -> Value {
    let singular = kind.to_lowercase();
    let plural =
        if let Some(stem) = singular.strip_suffix('y') { format!("{stem}ies") } else { format!("{singular}s") };
    let schema = json!({ "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.{group}") },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": { "kind": kind, "plural": plural, "singular": singular },
            "versions": [{ "name": "v1alpha1", "served": true, "storage": true, "schema": schema }],
        },
    })
}

fn decision(event: &Value) -> &str {
    event["annotations"]["authorization.k8s.io/decision"].as_str().unwrap_or_default()
}

/// What a request needed: verb, and resource with its group.
fn uses(event: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (verb, object) = (text(&event["verb"]), &event["objectRef"]);
    if object.is_null() {
        return Vec::new();
    }
    let resource = match object["subresource"].as_str() {
        Some(part) => format!("{}/{part}", text(&object["resource"])),
        None => text(&object["resource"]),
    };
    let resource = format!("{resource}.{}", text(&object["apiGroup"]));
    // A patch that makes an object needs both rights.
    let made = verb == "patch" && event["responseStatus"]["code"] == 201;
    let create = made.then(|| ("create".to_owned(), resource.clone()));
    create.into_iter().chain([(verb, resource)]).collect()
}

/// What the roles of the manifests grant, with the role.
fn rights(cluster: &Cluster) -> Vec<(String, (String, String))> {
    let selected = ["-l", "app.kubernetes.io/name=toolward", "--all-namespaces", "-o", "json"];
    let roles = cluster.kubectl(&[&["get", "clusterroles,roles"], &selected[..]].concat());
    let roles: Value = serde_json::from_str(&roles).expect("JSON");
    let list = |value: &Value| {
        let items = value.as_array().cloned().unwrap_or_default();
        items.iter().map(|item| item.as_str().expect("text").to_owned()).collect::<Vec<_>>()
    };
    let mut rights = Vec::new();
    for role in roles["items"].as_array().expect("roles") {
        let name = format!("{} {}", role["kind"], role["metadata"]["name"]).replace('"', "");
        for rule in role["rules"].as_array().expect("rules") {
            for group in list(&rule["apiGroups"]) {
                for resource in list(&rule["resources"]) {
                    for verb in list(&rule["verbs"]) {
                        rights.push((name.clone(), (verb, format!("{resource}.{group}"))));
                    }
                }
            }
        }
    }
    rights
}
