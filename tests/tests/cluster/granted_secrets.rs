//! A Secret of another namespace is not asked for before it is granted, and not used or asked for any more once it is not.

use serde_json::{Value, json};
use toolward_tests::cluster::Cluster;
use toolward_tests::credentials::Authority;
use toolward_tests::process::eventually;
use toolward_tests::toolward::Toolward;

use crate::world::{condition_of, replica};

/// Another team's, and one of the borrower's own that all is compared with.
const THEIRS: &str = "vault/web";
const OWN: &str = "borrower/own";

const GATEWAY: &str = "borrower/gateway";

#[test]
fn grants_come_before_secrets() {
    let cluster = Cluster::start();
    for namespace in ["vault", "borrower"] {
        cluster.kubectl(&["create", "namespace", namespace]);
    }
    write(&cluster, THEIRS);
    write(&cluster, OWN);
    cluster.apply(&gateway());
    // Of what else names Secrets, each is in its own namespace: another one's of this name is not meant.
    cluster.apply(&backend());
    let secrets = Secrets { cluster: &cluster, toolward: replica(&cluster, "one") };

    secrets.wait_for_reason("RefNotPermitted");
    secrets.are_looked_at();
    assert_eq!((secrets.asked_for(THEIRS), secrets.is_served(THEIRS)), (0, false), "nobody granted it");

    // Grants for others are none.
    for (number, (from, to)) in [("vault", "web"), ("borrower", "other")].into_iter().enumerate() {
        cluster.apply(&grant(&format!("other-{number}"), from, to));
    }
    write(&cluster, THEIRS);
    secrets.are_looked_at();
    assert_eq!((secrets.asked_for(THEIRS), secrets.is_served(THEIRS)), (0, false), "granted to others");

    cluster.apply(&grant("web", "borrower", "web"));
    secrets.wait_for_reason("ResolvedRefs");
    eventually("served", || secrets.is_served(THEIRS));
    let granted = secrets.asked_for(THEIRS);
    assert!(granted > 0, "by the log it is seen");
    write(&cluster, THEIRS);
    eventually("as long as it is granted, changes are read", || secrets.asked_for(THEIRS) > granted);

    cluster.kubectl(&["delete", "referencegrant", "-n", "vault", "web"]);
    secrets.wait_for_reason("RefNotPermitted");
    eventually("not served any more", || !secrets.is_served(THEIRS));
    let ended = secrets.asked_for(THEIRS);
    for _ in 0..3 {
        write(&cluster, THEIRS);
        secrets.are_looked_at();
    }
    assert_eq!((secrets.asked_for(THEIRS), secrets.is_served(THEIRS)), (ended, false), "it was granted once");

    // Of all others there are names and versions alone.
    let listed: Vec<Value> = cluster.audit_log().into_iter().filter(is_list_of_secrets).collect();
    assert!(!listed.is_empty());
    for event in listed {
        assert_eq!(event["responseObject"]["kind"], "PartialObjectMetadataList", "{event:#}");
    }
}

fn is_list_of_secrets(event: &Value) -> bool {
    event["verb"] == "list" && event["objectRef"]["resource"] == "secrets"
}

/// Writes a certificate that was not there before.
fn write(cluster: &Cluster, name: &str) {
    let (namespace, name) = name.split_once('/').expect("a namespace");
    let [(_, certificate), (_, key)] = Authority::new().host("web.example.com");
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": { "name": name, "namespace": namespace },
        "stringData": { "tls.crt": certificate, "tls.key": key } });
    cluster.apply(&secret.to_string());
}

/// The Secrets, and who reads them.
struct Secrets<'c> {
    cluster: &'c Cluster,
    toolward: Toolward,
}

impl Secrets<'_> {
    /// How often it was asked for.
    fn asked_for(&self, name: &str) -> usize {
        self.cluster.secrets_asked_for().iter().filter(|asked| *asked == name).count()
    }

    /// Waits until a change that comes after all others is read.
    fn are_looked_at(&self) {
        let before = self.asked_for(OWN);
        write(self.cluster, OWN);
        eventually("its own is read", || self.asked_for(OWN) > before);
    }

    /// Whether Envoys of the Gateway are to have it.
    fn is_served(&self, name: &str) -> bool {
        let versions = self.toolward.get("/snapshot").json();
        let secrets = &versions[GATEWAY]["Secret"];
        assert!(!secrets[OWN].is_null(), "its own is: {versions:#}");
        !secrets[name].is_null()
    }

    /// Waits until it is said of the listener with the Secret of others whether that may be used.
    fn wait_for_reason(&self, reason: &str) {
        let (namespace, name) = GATEWAY.split_once('/').expect("a namespace");
        eventually(reason, || {
            let gateway = self.cluster.get("gateway", namespace, name);
            let listener = json!({ "status": gateway["status"]["listeners"][1] });
            condition_of(&listener, "ResolvedRefs").1 == reason
        });
    }
}

/// A listener with a certificate of its own, and one with another team's.
fn gateway() -> String {
    let listener = |name: &str, port: u16, secret: Value| json!({ "name": name, "port": port, "protocol": "HTTPS", "tls": { "certificateRefs": [secret] } });
    let theirs = json!({ "name": "web", "namespace": "vault" });
    let listeners = [listener("own", 8443, json!({ "name": "own" })), listener("theirs", 9443, theirs)];
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": { "name": "gateway", "namespace": "borrower" },
        "spec": { "gatewayClassName": "toolward", "listeners": listeners },
    })
    .to_string()
}

/// Names a Secret in each field that does.
fn backend() -> String {
    let host = json!({ "host": "mcp.example.com", "port": 443 });
    let target = json!({
        "name": "web", "static": host,
        "credentials": { "secretRef": { "name": "web" } },
        "tls": { "clientCertificateRef": { "name": "web" } },
    });
    json!({
        "apiVersion": "toolward.dev/v1alpha1", "kind": "MCPBackend",
        "metadata": { "name": "web", "namespace": "borrower" },
        "spec": { "targets": [target] },
    })
    .to_string()
}

/// Lets Gateways of a namespace use this Secret of the vault.
fn grant(name: &str, from: &str, secret: &str) -> String {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant",
        "metadata": { "name": name, "namespace": "vault" },
        "spec": {
            "from": [{ "group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": from }],
            "to": [{ "group": "", "kind": "Secret", "name": secret }],
        },
    })
    .to_string()
}
