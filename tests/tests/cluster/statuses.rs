//! An API server takes the status of every golden case, and keeps all of it: by the schemas of Gateway API and our own.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use toolward_tests::cluster::Cluster;
use toolward_tests::tools::root;
use toolward_xds_server::source::documents::{self, File};
use toolward_xds_server::status::{Desired, Facts, desired, merged};
use toolward_xds_server::translate::{TranslateOptions, translate};

#[test]
fn every_status_of_every_case() {
    let cluster = Cluster::start();
    let (mut objects, mut statuses) = (Vec::new(), BTreeMap::new());
    for (index, wanted) in golden().into_iter().enumerate() {
        let status = merged(&wanted, None, "2026-01-01T00:00:00Z").expect("something to write");
        let name = format!("status-{index}");
        let (version, spec) = smallest(&wanted.object.kind);
        let object = |part: &str, content: &Value| {
            json!({ "apiVersion": format!("{}/{version}", wanted.object.group), "kind": wanted.object.kind,
                "metadata": { "name": name, "namespace": "default" }, part: content })
        };
        objects.push(object("spec", &spec));
        statuses.insert((wanted.object.kind.clone(), name.clone()), object("status", &status));
    }
    assert!(objects.len() > 300, "the cases are gone");
    let list = |items: Vec<Value>| json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string();
    let apply = |more: &[&str], items: Vec<Value>| {
        let arguments = [&["apply", "--server-side", "-f", "-"], more].concat();
        cluster.try_kubectl(&arguments, &list(items)).unwrap_or_else(|error| panic!("{error}"));
    };
    apply(&[], objects);
    // kubectl would miss the spec; the server still checks what is there, and drops fields that it does not know.
    apply(&["--subresource=status", "--validate=false"], statuses.values().cloned().collect());
    let wrong = statuses.values().next().expect("one").to_string().replace("\"reason\":\"", "\"reason\":\"no word ");
    let refused =
        cluster.try_kubectl(&["apply", "--server-side", "-f", "-", "--subresource=status", "--validate=false"], &wrong);
    assert!(refused.is_err_and(|error| error.contains("reason")), "the server checks");
    let kinds = "gatewayclasses,gateways,httproutes,backendtlspolicies,mcpbackends,mcpaccesspolicies";
    let stored: Value = serde_json::from_str(&cluster.kubectl(&["get", kinds, "-o", "json"])).expect("JSON");
    let mut compared = 0;
    for object in stored["items"].as_array().expect("a list") {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let key = (text(&object["kind"]), text(&object["metadata"]["name"]));
        if let Some(written) = statuses.get(&key) {
            let (kept, written) = (&object["status"], &written["status"]);
            assert!(holds(kept, written), "{key:?}\n{kept:#}\n{written:#}");
            compared += 1;
        }
    }
    assert_eq!(compared, statuses.len());
}

/// What every object of every golden case should say of itself.
fn golden() -> Vec<Desired> {
    let facts = Facts { provisioned: true, ..Default::default() };
    let mut all = Vec::new();
    for folder in ["translate", "status"] {
        let folder = root().join("xds-server/testdata").join(folder);
        let paths = fs::read_dir(folder).expect("golden cases").map(|entry| entry.expect("readable").path());
        let mut inputs: Vec<PathBuf> = paths.filter(|path| path.to_string_lossy().ends_with(".in.yaml")).collect();
        inputs.sort();
        for path in inputs {
            let file = File { content: fs::read(&path).expect("readable"), path };
            let resources = documents::read(&[file]).expect("resources");
            all.extend(desired(&resources, &translate(&resources, &TranslateOptions::default()), &facts));
        }
    }
    all
}

/// The version of a kind, and the smallest spec that an API server takes.
fn smallest(kind: &str) -> (&'static str, Value) {
    let gateway = json!({ "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gw" });
    match kind {
        "GatewayClass" => ("v1", json!({ "controllerName": "toolward.dev/gateway-controller" })),
        "Gateway" => {
            let listener = json!({ "name": "http", "port": 80, "protocol": "HTTP" });
            ("v1", json!({ "gatewayClassName": "toolward", "listeners": [listener] }))
        }
        "HTTPRoute" => ("v1", json!({})),
        "BackendTLSPolicy" => {
            let target = json!({ "group": "", "kind": "Service", "name": "math" });
            let validation = json!({ "hostname": "math.example.com", "wellKnownCACertificates": "System" });
            ("v1", json!({ "targetRefs": [target], "validation": validation }))
        }
        "MCPBackend" => {
            let target = json!({ "name": "math", "static": { "host": "math.example.com", "port": 80 } });
            ("v1alpha1", json!({ "targets": [target] }))
        }
        "MCPAccessPolicy" => ("v1alpha1", json!({ "targetRefs": [gateway], "authorization": { "rules": [] } })),
        other => panic!("no status of {other} is ours"),
    }
}

/// Whether what is kept is what was written; defaults may have come to it.
fn holds(kept: &Value, written: &Value) -> bool {
    match (kept, written) {
        (Value::Object(kept), Value::Object(written)) => {
            written.iter().all(|(name, written)| kept.get(name).is_some_and(|kept| holds(kept, written)))
        }
        (Value::Array(kept), Value::Array(written)) => {
            kept.len() == written.len() && kept.iter().zip(written).all(|(kept, written)| holds(kept, written))
        }
        (kept, written) => kept == written,
    }
}
