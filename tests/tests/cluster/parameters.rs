//! Whoever may write a Gateway chooses what its class leaves to it, and has no right by it that they lack elsewhere.

use serde_json::{Value, json};
use toolward_tests::cluster::Cluster;
use toolward_tests::process::eventually;

use crate::provisioning::{gateway, has_all, parameters, provisioner, with_parameters};
use crate::world::condition_of;

#[test]
fn what_a_gateway_may_set_its_class_says() {
    let cluster = Cluster::start();
    cluster.kubectl(&["create", "namespace", "apps"]);
    let chosen = [
        ("image", "image", "registry.example.com/anything"),
        ("replicas", "replicas", "1000"),
        ("nodes", "nodeSelector", "{ node-role.kubernetes.io/control-plane: '' }"),
        ("taints", "tolerations", "[{ operator: Exists }]"),
        ("annotations", "serviceAnnotations", "{ example.com/load-balancer-scheme: public }"),
        ("memory", "resources", "limits: { memory: 64Gi }"),
        ("ports", "serviceType", "NodePort"),
        ("bounds", "gatewaysMaySet", "others: [image]"),
    ];
    for (name, key, value) in chosen {
        cluster.apply(&parameters("apps", name, json!({ (key): value })));
        cluster.apply(&with_parameters("apps", name));
    }
    let infrastructure = |name: &str, field: &str, metadata: Value| {
        let mut gateway: Value = serde_json::from_str(&gateway("apps", name, 8080)).expect("JSON");
        gateway["spec"]["infrastructure"] = json!({ (field): metadata });
        cluster.apply(&gateway.to_string());
    };
    infrastructure("role", "annotations", json!({ "eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/admin" }));
    infrastructure("identity", "labels", json!({ "azure.workload.identity/use": "true" }));
    let within = json!({ "replicas": "5", "serviceType": "ClusterIP", "resources": "limits: { cpu: 2, memory: 2Gi }" });
    cluster.apply(&parameters("apps", "within", within));
    cluster.apply(&with_parameters("apps", "within"));
    let _toolward = provisioner(&cluster, "one");

    eventually("what is within the bounds is made", || has_all(&cluster, "apps", "within-toolward"));
    let object = |kind: &str, name: &str| cluster.get(kind, "apps", &format!("{name}-toolward"));
    assert_eq!(object("deployment", "within")["spec"]["replicas"], 5);
    assert_eq!(object("service", "within")["spec"]["type"], "ClusterIP");
    let refused = ("False".to_owned(), "InvalidParameters".to_owned());
    let message = |name: &str| {
        let gateway = cluster.get("gateway", "apps", name);
        let conditions = gateway["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.into_iter().find(|found| found["type"] == "Accepted").unwrap_or_default();
        found["message"].as_str().unwrap_or_default().to_owned()
    };
    let exists = |kind: &str, name: &str| {
        cluster.try_kubectl(&["get", kind, "-n", "apps", &format!("{name}-toolward")], "").is_ok()
    };
    let rows = chosen.map(|(name, key, _)| (name, key)).into_iter();
    for (name, field) in rows.chain([("role", "annotations"), ("identity", "labels")]) {
        eventually(name, || condition_of(&cluster.get("gateway", "apps", name), "Accepted") == refused);
        let message = message(name);
        assert!(message.contains(field) && message.contains("ConfigMap"), "{name}: {message}");
        assert!(!exists("deployment", name) && !exists("serviceaccount", name), "{name}: nothing is made");
    }

    // What is running stays as it is when a Gateway asks for more, and the class may allow it.
    cluster.apply(&parameters("apps", "within", json!({ "replicas": "5", "image": "registry.example.com/anything" })));
    eventually("refused", || condition_of(&cluster.get("gateway", "apps", "within"), "Accepted") == refused);
    let image = |name: &str| object("deployment", name)["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    assert_eq!(image("within"), "envoyproxy/envoy:distroless-v1.40.0");
    assert!(has_all(&cluster, "apps", "within-toolward"));
    let allowed = json!({ "gatewaysMaySet": "{ others: [image], annotations: ['eks.amazonaws.com/*'] }" });
    cluster.apply(&parameters("toolward-system", "all-gateways", allowed));
    let reference = json!({ "group": "", "kind": "ConfigMap", "name": "all-gateways", "namespace": "toolward-system" });
    let patch = json!({ "spec": { "parametersRef": reference } }).to_string();
    cluster.kubectl(&["patch", "gatewayclass", "toolward", "--type=merge", "-p", &patch]);
    eventually("allowed", || image("within") == "registry.example.com/anything");
    eventually("the annotation as well", || has_all(&cluster, "apps", "role-toolward"));
    assert_eq!(condition_of(&cluster.get("gateway", "apps", "replicas"), "Accepted"), refused);
}
