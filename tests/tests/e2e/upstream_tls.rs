//! TLS towards MCP servers.

use std::fs;

use toolward_tests::credentials::Authority;
use toolward_tests::http::call;
use toolward_tests::process::eventually;
use toolward_tests::stack::{OPS_MAY_ADD, Stack, policy};
use toolward_tests::tls_front::TlsFront;
use toolward_tests::toolward::Issuer;
use toolward_tests::upstream::{OK, Upstream};

use crate::https::{indented, secret};

fn backend(port: u16, tls: &str) -> String {
    format!(
        "apiVersion: toolward.dev/v1alpha1
kind: MCPBackend
metadata: {{ name: math }}
spec:
  targets: [{{ name: math, static: {{ host: localhost, port: {port} }}, path: /mcp, tls: {tls} }}]
"
    )
}

fn config_map(authority: &Authority) -> String {
    let pem = indented(&authority.pem);
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: ca }}\ndata:\n  ca.crt: |\n{pem}")
}

#[test]
fn a_server_outside_is_verified_and_told_who_calls() {
    let (authority, other, clients) = (Authority::new(), Authority::new(), Authority::new());
    let upstream = Upstream::start();
    let front = TlsFront::start(upstream.port, &authority.host("math.example.com"), Some(&clients));
    let issuer = Issuer::new("ES256");
    let jwks = issuer.jwks();
    let system = tempfile::NamedTempFile::new().expect("a file");
    fs::write(system.path(), &authority.pem).expect("written");
    let arguments = ["--system-ca-file", system.path().to_str().expect("UTF-8")];
    let stack = Stack::with_arguments(upstream.port, issuer, &policy(&jwks, OPS_MAY_ADD), &arguments);
    let ops = stack.issuer.of_team("ops");
    let ask = || stack.ask(&ops, call("add"));
    assert_eq!(ask().text, OK);
    let _ = upstream.take_recorded();
    let backend = |tls: &str| stack.folder.write("backend.yaml", &backend(front.port, tls));

    // Without what the server asks for, without the name that it has, with another authority: no way there.
    stack.folder.write("ca.yaml", &config_map(&other));
    stack.folder.write("client.yaml", &secret("client", &clients.client("spiffe://example.com/envoy")));
    let good = "{ sni: math.example.com, clientCertificateRef: { name: client } }";
    for tls in [
        "{ sni: math.example.com }",
        "{ clientCertificateRef: { name: client } }",
        "{ sni: other.example.com, clientCertificateRef: { name: client } }",
        "{ sni: math.example.com, caCertificateRefs: [{ name: ca }], clientCertificateRef: { name: client } }",
    ] {
        backend(tls);
        eventually("no way there", || ask().status == 503);
        backend(good);
        eventually("the way is open", || ask().text == OK);
        assert!(!upstream.take_recorded().is_empty());
    }

    // The ConfigMap with the right authority, which is rotated without a change of the cluster.
    backend("{ sni: math.example.com, caCertificateRefs: [{ name: ca }], clientCertificateRef: { name: client } }");
    eventually("the other authority", || ask().status == 503);
    let clusters = stack.envoy.stat("cluster_manager.cluster_modified");
    stack.folder.write("ca.yaml", &config_map(&authority));
    eventually("the right authority", || ask().text == OK);
    assert_eq!(stack.envoy.stat("cluster_manager.cluster_modified"), clusters);

    // What is wrong closes the way there; it never falls back to clear.
    backend("{ sni: math.example.com, caCertificateRefs: [{ name: nowhere }] }");
    eventually("closed", || ask().status == 500);
    let _ = upstream.take_recorded();
    assert_eq!(ask().status, 500);
    assert_eq!(upstream.take_recorded(), []);

    assert!(front.asked_for().iter().all(|name| name.as_deref() == Some("math.example.com")), "SNI");
    let shown = stack.toolward.get("/snapshot?gateway=default/mcp-gateway").text;
    assert!(!shown.contains("PRIVATE KEY"), "of a secret only its name is shown");
}
