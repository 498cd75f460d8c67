//! What a Gateway gets is its own: nothing of anybody else is taken for it, and what goes wrong with one Gateway is nothing
//! to the others.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};
use toolward_tests::cluster::{Cluster, NAMESPACE};
use toolward_tests::process::eventually;
use toolward_tests::toolward::Toolward;

use crate::world::condition_of;

const KINDS: [&str; 5] = ["serviceaccount", "configmap", "deployment", "service", "poddisruptionbudget"];

#[test]
fn what_is_somebody_elses_is_left_alone() {
    let cluster = Cluster::start();
    cluster.kubectl(&["create", "namespace", "apps"]);
    let ours = json!({ "app.kubernetes.io/managed-by": "toolward" });
    let theirs = json!([
        { "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "account-toolward", "namespace": "apps" } },
        { "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "map-toolward", "namespace": "apps" },
          "data": { "mine": "kept" } },
        { "apiVersion": "v1", "kind": "Service", "metadata": { "name": "service-toolward", "namespace": "apps", "labels": ours },
          "spec": { "selector": { "app": "mine" }, "ports": [{ "port": 5432 }] } },
        { "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": { "name": "budget-toolward",
          "namespace": "apps", "labels": ours, "ownerReferences": [{ "apiVersion": "gateway.networking.k8s.io/v1",
          "kind": "Gateway", "name": "budget", "uid": "of-another-one", "controller": true }] },
          "spec": { "maxUnavailable": 0, "selector": { "matchLabels": { "app": "mine" } } } },
    ]);
    for object in theirs.as_array().expect("a list") {
        cluster.apply(&object.to_string());
    }
    let rows = [
        ("account", "serviceaccount"),
        ("map", "configmap"),
        ("service", "service"),
        ("budget", "poddisruptionbudget"),
    ];
    let object = |name: &str, kind: &str| cluster.get(kind, "apps", &format!("{name}-toolward"));
    let before = rows.map(|(name, kind)| object(name, kind));
    for (name, _) in rows {
        cluster.apply(&gateway("apps", name, 8080));
    }
    cluster.apply(&gateway("apps", "honest", 8080));
    let toolward = provisioner(&cluster, "one");
    eventually("a Gateway beside them has its objects", || has_all(&cluster, "apps", "honest-toolward"));
    for (name, kind) in rows {
        let programmed = || programmed(&cluster, "apps", name);
        eventually(name, || programmed().reason == "Conflict");
        let message = programmed().message.to_lowercase();
        assert!(message.contains(&format!("{kind} apps/{name}-toolward")), "{message}");
    }
    // It is said of none of them that the Service of somebody else is the Gateway's.
    assert_eq!(cluster.get("gateway", "apps", "service")["status"]["addresses"], Value::Null);
    // What would have used them is not made either.
    let exists = |name: &str, kind: &str| has(&cluster, kind, "apps", &format!("{name}-toolward"));
    assert!(!exists("account", "deployment") && !exists("map", "deployment"));
    // Long enough for another look at what is there.
    std::thread::sleep(Duration::from_secs(35));
    assert_eq!(rows.map(|(name, kind)| object(name, kind)), before);

    // Going to another class takes nothing along that is not ours.
    cluster.apply(crate::world::OTHER_CLASS);
    let patch = json!({ "spec": { "gatewayClassName": "other" } }).to_string();
    cluster.kubectl(&["patch", "gateway", "-n", "apps", "service", "--type=merge", "-p", &patch]);
    eventually("ours are gone", || !exists("service", "deployment") && !exists("service", "configmap"));
    assert_eq!(object("service", "service"), before[2]);

    // Once the name is free, it is taken.
    cluster.kubectl(&["delete", "serviceaccount", "-n", "apps", "account-toolward"]);
    eventually("provisioned", || has_all(&cluster, "apps", "account-toolward"));
    eventually("told", || programmed(&cluster, "apps", "account").reason == "AddressNotAssigned");
    drop(toolward);
}

/// What the control plane relies on: a write that names what it was decided for changes nothing else.
#[test]
fn the_api_server_holds_to_what_a_write_names() {
    let cluster = Cluster::start();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let apply = |name: &str, metadata: Value| {
        let mut object =
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": { "by": "us" } });
        object["metadata"]["name"] = name.into();
        let url =
            cluster.url(&format!("/api/v1/namespaces/default/configmaps/{name}?fieldManager=toolward&force=true"));
        let request = cluster.client().patch(url).header("content-type", "application/apply-patch+yaml");
        runtime.block_on(request.body(object.to_string()).send()).expect("an answer").status()
    };
    let uid = |name: &str| cluster.get("configmap", "default", name)["metadata"]["uid"].clone();
    assert_eq!(apply("new", json!({ "resourceVersion": "1" })), StatusCode::CREATED, "there is none");
    assert_eq!(apply("new", json!({ "resourceVersion": "1" })), StatusCode::CONFLICT, "there is one");
    assert_eq!(apply("new", json!({ "uid": uid("new") })), StatusCode::OK, "it is the one that was seen");
    assert_eq!(apply("gone", json!({ "uid": uid("new") })), StatusCode::CONFLICT, "it is gone");
    cluster.kubectl(&["create", "configmap", "theirs"]);
    let another = apply("theirs", json!({ "uid": uid("new") }));
    assert!(another.is_client_error(), "another one has its name: {another}");
    assert_eq!(apply("theirs", json!({ "resourceVersion": "1" })), StatusCode::CONFLICT);
    assert_eq!(cluster.get("configmap", "default", "theirs")["data"], Value::Null);
}

#[test]
fn a_gateway_whose_objects_can_not_be_written() {
    let cluster = Cluster::start();
    for namespace in ["poor", "honest"] {
        cluster.kubectl(&["create", "namespace", namespace]);
    }
    // There is no controller that would say what is used.
    let hard = json!({ "count/deployments.apps": "0" });
    let quota = json!({ "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "few", "namespace": "poor" },
        "spec": { "hard": hard } });
    cluster.apply(&quota.to_string());
    let used = json!({ "status": { "hard": hard, "used": hard } }).to_string();
    let status = ["patch", "resourcequota", "-n", "poor", "few", "--subresource=status", "--type=merge", "-p", &used];
    cluster.kubectl(&status);
    // An account with our label, whose fields are nested deeper than what is read of JSON.
    let nested = format!("{}{{}}{}", "{\"f:a\":".repeat(150), "}".repeat(150));
    let odd = format!(
        "{{\"apiVersion\":\"v1\",\"kind\":\"ServiceAccount\",\"metadata\":{{\"name\":\"odd\",\"namespace\":\"poor\",\
         \"labels\":{{\"app.kubernetes.io/managed-by\":\"toolward\"}},\"managedFields\":[{{\"manager\":\"odd\",\
         \"operation\":\"Update\",\"apiVersion\":\"v1\",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{nested}}}]}}}}"
    );
    cluster.try_kubectl(&["create", "-f", "-"], &odd).expect("an odd object");
    let resources = "requests: { memory: 1Gi }\nlimits: { memory: 128Mi }\n";
    cluster.apply(&parameters("poor", "bad", json!({ "resources": resources })));
    cluster.apply(&parameters("honest", "honest", json!({ "replicas": "2" })));
    cluster.apply(&gateway("poor", "quota", 8080));
    cluster.apply(&with_parameters("poor", "bad"));
    cluster.apply(&with_parameters("honest", "honest"));
    cluster.apply(&gateway("honest", "my.gateway", 8080));
    cluster.apply(&gateway("honest", "1st", 8080));
    let _toolward = provisioner(&cluster, "one");

    let programmed = |name: &str| programmed(&cluster, "poor", name);
    eventually("honest has its objects", || has_all(&cluster, "honest", "honest-toolward"));
    eventually("refused for its quota", || programmed("quota").reason == "NoResources");
    let message = programmed("quota").message;
    assert!(message.contains("Deployment poor/quota-toolward") && message.contains("exceeded quota"), "{message}");
    // Quota is asked first, and only then whether there is anything to count.
    cluster.kubectl(&["delete", "resourcequota", "-n", "poor", "few"]);
    eventually("refused for what it asks", || programmed("bad").reason == "Invalid");
    let message = programmed("bad").message;
    assert!(message.contains("Deployment poor/bad-toolward") && message.contains("memory limit"), "{message}");
    eventually("has room now", || has_all(&cluster, "poor", "quota-toolward"));
    // Names that no Service can have.
    for gateway in ["my.gateway", "1st"] {
        let selected = format!("gateway.networking.k8s.io/gateway-name={gateway}");
        for kind in KINDS {
            let list = ["get", kind, "-n", "honest", "-l", &selected, "-o", "name"];
            eventually(gateway, || cluster.kubectl(&list).lines().count() == 1);
        }
    }

    // The others are left as they are, and tidied, while one fails.
    let writes = |name: &str| {
        let is_write = |event: &&Value| matches!(event["verb"].as_str(), Some("patch" | "create" | "delete"));
        let named = |event: &&Value| event["objectRef"]["name"] == name;
        cluster.audit_log().iter().filter(is_write).filter(named).count()
    };
    let before = ["honest-toolward", "bad-toolward"].map(writes);
    std::thread::sleep(Duration::from_secs(10));
    let after = ["honest-toolward", "bad-toolward"].map(writes);
    assert_eq!(after[0], before[0], "nothing of it was written again");
    // Three attempts in ten seconds, each of a Deployment.
    assert!(after[1] - before[1] <= 4, "{} writes of what can't be written", after[1] - before[1]);
    cluster.apply(&parameters("honest", "honest", json!({ "replicas": "1" })));
    let started = Instant::now();
    while has(&cluster, "poddisruptionbudget", "honest", "honest-toolward") {
        assert!(started.elapsed() < Duration::from_secs(40), "the budget is deleted at the next look at the latest");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(programmed("bad").reason, "Invalid");
    // Mended, it is tried at once.
    cluster.apply(&parameters("poor", "bad", json!({ "replicas": "2" })));
    eventually("mended", || has_all(&cluster, "poor", "bad-toolward"));
}

#[test]
fn a_gateway_that_is_being_deleted() {
    let cluster = Cluster::start();
    let ends = gateway("default", "ends", 8080)
        .replace("\"name\":\"ends\"", "\"name\":\"ends\",\"finalizers\":[\"example.com/wait\"]");
    cluster.apply(&ends);
    let mut first = provisioner(&cluster, "one");
    eventually("provisioned", || has_all(&cluster, "default", "ends-toolward"));
    cluster.kubectl(&["delete", "gateway", "ends", "--wait=false"]);
    cluster.kubectl(&["delete", "deployment", "ends-toolward"]);
    // Another one, which knows nothing of what was written before, and is told of a new Gateway later.
    first.process.kill();
    let _second = provisioner(&cluster, "two");
    cluster.apply(&gateway("default", "begins", 8080));
    eventually("the other one is provisioned", || has_all(&cluster, "default", "begins-toolward"));
    assert!(!has(&cluster, "deployment", "default", "ends-toolward"), "it was made again");
    assert!(has(&cluster, "service", "default", "ends-toolward"), "what it has goes with it, not before");
}

/// `toolward` as it makes the objects of Gateways.
pub(crate) fn provisioner(cluster: &Cluster, name: &str) -> Toolward {
    let account = cluster.service_account(NAMESPACE, "toolward");
    let arguments = ["--provision", "true", "--namespace", NAMESPACE, "--identity", name];
    let toolward = Toolward::in_cluster(&account, &arguments);
    toolward.wait_until_ready();
    toolward
}

pub(crate) fn gateway(namespace: &str, name: &str, port: u16) -> String {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": { "name": name, "namespace": namespace },
        "spec": {
            "gatewayClassName": "toolward",
            "listeners": [{ "name": "mcp", "port": port, "protocol": "HTTP" }],
        },
    })
    .to_string()
}

/// The same with the ConfigMap of its name.
pub(crate) fn with_parameters(namespace: &str, name: &str) -> String {
    let mut gateway: Value = serde_json::from_str(&gateway(namespace, name, 8080)).expect("JSON");
    gateway["spec"]["infrastructure"] = json!({ "parametersRef": { "group": "", "kind": "ConfigMap", "name": name } });
    gateway.to_string()
}

pub(crate) fn parameters(namespace: &str, name: &str, data: Value) -> String {
    let metadata = json!({ "name": name, "namespace": namespace });
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data }).to_string()
}

fn has(cluster: &Cluster, kind: &str, namespace: &str, name: &str) -> bool {
    cluster.try_kubectl(&["get", kind, "-n", namespace, name], "").is_ok()
}

pub(crate) fn has_all(cluster: &Cluster, namespace: &str, name: &str) -> bool {
    KINDS.iter().all(|kind| has(cluster, kind, namespace, name))
}

/// What the status of a Gateway says of being programmed.
struct Programmed {
    reason: String,
    message: String,
}

fn programmed(cluster: &Cluster, namespace: &str, name: &str) -> Programmed {
    let gateway = cluster.get("gateway", namespace, name);
    let conditions = gateway["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.into_iter().find(|found| found["type"] == "Programmed").unwrap_or_default();
    let message = found["message"].as_str().unwrap_or_default().to_owned();
    Programmed { reason: condition_of(&gateway, "Programmed").1, message }
}
