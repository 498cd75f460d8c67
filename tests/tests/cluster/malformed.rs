//! One object that can't be read, or that is only odd, is nobody else's problem: a replica that starts becomes ready, and one
//! that runs takes what others change.

use serde_json::{Value, json};
use toolward_tests::process::eventually;
use toolward_tests::upstream::OK;

use crate::world::{World, policy, replica, route};

/// Deeper than a parser of values goes.
const LEVELS: usize = 150;

fn deep() -> Value {
    (0..LEVELS).fold(json!({}), |inner, _| json!({ "f:a": inner }))
}

/// What a tenant may write into the metadata of whatever it may write.
fn managed_fields(version: &str) -> Value {
    let field = |manager: &str, time: &str, fields: Value| {
        json!({ "manager": manager, "operation": "Update", "apiVersion": version, "time": time,
            "fieldsType": "FieldsV1", "fieldsV1": fields })
    };
    json!([field("deep", "2026-01-01T00:00:00Z", deep()), field("late", "9999-12-31T23:59:59Z", json!({ "f:b": {} }))])
}

/// An object of each kind that is read, as good as they come but for its metadata, and where they are posted.
fn odd_ones() -> Vec<(String, Value)> {
    let core = |plural: &str| format!("/api/v1/namespaces/tenant/{plural}");
    let of = |group: &str, version: &str, plural: &str| format!("/apis/{group}/{version}/namespaces/tenant/{plural}");
    let gateway_api = "gateway.networking.k8s.io";
    let named = json!({ "group": gateway_api, "kind": "HTTPRoute", "name": "odd" });
    let target = json!({ "name": "one", "static": { "host": "example.com", "port": 443 } });
    let rows = [
        ("/api/v1/namespaces".to_owned(), "v1", "Namespace", json!({})),
        (core("services"), "v1", "Service", json!({ "spec": { "ports": [{ "port": 80 }] } })),
        (core("configmaps"), "v1", "ConfigMap", json!({ "data": { "a": "b" } })),
        (core("secrets"), "v1", "Secret", json!({ "stringData": { "a": "b" } })),
        (
            of("discovery.k8s.io", "v1", "endpointslices"),
            "discovery.k8s.io/v1",
            "EndpointSlice",
            json!({ "addressType": "IPv4", "endpoints": [] }),
        ),
        (
            format!("/apis/{gateway_api}/v1/gatewayclasses"),
            "gateway.networking.k8s.io/v1",
            "GatewayClass",
            json!({ "spec": { "controllerName": "example.com/other" } }),
        ),
        (
            of(gateway_api, "v1", "gateways"),
            "gateway.networking.k8s.io/v1",
            "Gateway",
            json!({ "spec": { "gatewayClassName": "odd",
                "listeners": [{ "name": "one", "port": 80, "protocol": "HTTP" }] } }),
        ),
        (
            of(gateway_api, "v1", "httproutes"),
            "gateway.networking.k8s.io/v1",
            "HTTPRoute",
            json!({ "spec": { "parentRefs": [{ "name": "mcp-gateway", "namespace": "default" }] } }),
        ),
        (
            of(gateway_api, "v1beta1", "referencegrants"),
            "gateway.networking.k8s.io/v1beta1",
            "ReferenceGrant",
            json!({ "spec": { "from": [{ "group": gateway_api, "kind": "HTTPRoute", "namespace": "apps" }],
                "to": [{ "group": "", "kind": "Service" }] } }),
        ),
        (
            of(gateway_api, "v1", "backendtlspolicies"),
            "gateway.networking.k8s.io/v1",
            "BackendTLSPolicy",
            json!({ "spec": { "targetRefs": [{ "group": "", "kind": "Service", "name": "odd" }],
                "validation": { "hostname": "a.example", "wellKnownCACertificates": "System" } } }),
        ),
        (
            of("toolward.dev", "v1alpha1", "mcpbackends"),
            "toolward.dev/v1alpha1",
            "MCPBackend",
            json!({ "spec": { "targets": [target] } }),
        ),
        (
            of("toolward.dev", "v1alpha1", "mcpaccesspolicies"),
            "toolward.dev/v1alpha1",
            "MCPAccessPolicy",
            json!({ "spec": { "targetRefs": [named], "authentication": { "anonymous": {} } } }),
        ),
    ];
    let object = |(path, version, kind, content): (String, &str, &str, Value)| {
        let mut object = content;
        object["apiVersion"] = version.into();
        object["kind"] = kind.into();
        object["metadata"] = json!({ "name": "odd", "managedFields": managed_fields(version) });
        (path, object)
    };
    rows.into_iter().map(object).collect()
}

/// A policy kind of others, whose objects may be of any form.
fn foreign_policies() -> Value {
    let schema = json!({ "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": "agentgatewaypolicies.agentgateway.dev" },
        "spec": {
            "group": "agentgateway.dev",
            "scope": "Namespaced",
            "names": { "kind": "AgentgatewayPolicy", "plural": "agentgatewaypolicies", "singular": "agentgatewaypolicy" },
            "versions": [{ "name": "v1alpha1", "served": true, "storage": true, "schema": schema }],
        },
    })
}

#[test]
fn odd_objects_of_a_tenant_hold_up_nobody() {
    let mut world = World::start();
    let ops = world.issuer.of_team("ops");
    world.cluster.kubectl(&["create", "namespace", "tenant"]);
    for (path, object) in odd_ones() {
        let made = world.cluster.try_kubectl(&["create", "--raw", &path, "-f", "-"], &object.to_string());
        made.unwrap_or_else(|error| panic!("{path}: {error}"));
        let stored = world.cluster.kubectl(&["get", "--raw", &format!("{path}/odd")]);
        assert!(stored.matches("f:a").count() >= LEVELS && stored.contains("9999-12-31"), "{path}: {stored}");
    }
    let is_fine = |replica: &toolward_tests::toolward::Toolward| {
        replica.get("/ready").text == "ready\n" && replica.metric("toolward_unknown_kinds") == 0.0
    };
    // One that starts.
    let two = replica(&world.cluster, "two");
    eventually("the new replica knows all kinds", || is_fine(&two));
    // What is odd is read all the same.
    let problems = two.get("/problems").text;
    assert!(!problems.contains("Malformed"), "{problems}");
    assert!(problems.contains("tenant"), "its route may not attach, which is said: {problems}");

    // One that runs has to list everything again, and takes others' changes: a revocation.
    world.cluster.stop_server();
    eventually("it is noticed", || world.toolward.metric("toolward_unknown_kinds") > 0.0);
    world.cluster.start_server();
    eventually("all kinds are known again", || is_fine(&world.toolward) && is_fine(&two));
    assert_eq!(world.ask(&ops, "add").text, OK);
    world.cluster.apply(&policy("[echo]"));
    eventually("the revocation is in force", || world.ask(&ops, "add").code() == Some(-32602));
    world.cluster.apply(&policy("[add, echo]"));
    eventually("granted again", || world.ask(&ops, "add").text == OK);

    // One that really can't be read closes what it could protect, by name, and nothing else.
    let definition = foreign_policies().to_string();
    world.cluster.apply(&definition);
    world.cluster.kubectl(&["wait", "--for=condition=Established", "crd/agentgatewaypolicies.agentgateway.dev"]);
    let listeners = json!([{ "name": "mcp", "port": world.port, "protocol": "HTTP",
        "allowedRoutes": { "namespaces": { "from": "All" } } }]);
    let open = json!({ "spec": { "listeners": listeners } }).to_string();
    world.cluster.kubectl(&["patch", "gateway", "mcp-gateway", "--type=merge", "-p", &open]);
    let grant = "apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: { name: tenant, namespace: default }
spec:
  from: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: tenant }]
  to: [{ group: toolward.dev, kind: MCPBackend }]
";
    world.cluster.apply(grant);
    world.cluster.kubectl(&["delete", "httproute", "-n", "tenant", "odd"]);
    for name in ["closed", "other"] {
        world.cluster.apply(&route(name, "tenant").replace("value: /mcp", &format!("value: /{name}")));
        eventually(name, || world.ask_anonymously(&format!("/{name}")).status == 401);
    }
    let target = json!({ "group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "closed" });
    let bad = json!({ "apiVersion": "agentgateway.dev/v1alpha1", "kind": "AgentgatewayPolicy",
        "metadata": { "name": "bad" }, "spec": { "targetRefs": [target], "traffic": deep() } });
    let path = "/apis/agentgateway.dev/v1alpha1/namespaces/tenant/agentgatewaypolicies";
    let made = world.cluster.try_kubectl(&["create", "--raw", path, "-f", "-"], &bad.to_string());
    made.unwrap_or_else(|error| panic!("{error}"));
    eventually("what it protects is closed", || world.is_closed("/closed", "Malformed"));
    assert_eq!(world.ask_anonymously("/other").status, 401, "what it does not name goes on");
    let problems = world.toolward.get("/problems").text;
    assert!(
        problems.contains(r#""resource":"AgentgatewayPolicy tenant/bad","field":"spec.traffic","reason":"Malformed""#),
        "{problems}"
    );
    assert_eq!(world.ask(&ops, "add").text, OK);
    let three = replica(&world.cluster, "three");
    eventually("a new replica knows all kinds", || is_fine(&three));
}
