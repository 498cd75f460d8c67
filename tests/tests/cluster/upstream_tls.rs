//! TLS towards servers of the cluster, and what Envoy itself refuses of it.

use std::time::Duration;

use toolward_tests::credentials::Authority;
use toolward_tests::process::eventually;
use toolward_tests::tls_front::TlsFront;
use toolward_tests::upstream::OK;

use crate::outages::restart_with;
use crate::world::{World, server, slice, this_machine};

fn policy(authorities: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {{ name: math, namespace: default }}
spec:
  targetRefs: [{{ group: '', kind: Service, name: math }}]
  validation: {{ hostname: math.example.com, {authorities} }}
"
    )
}

fn config_map(authority: &Authority) -> String {
    let pem: String = authority.pem.lines().map(|line| format!("    {line}\n")).collect();
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: ca, namespace: default }}\ndata:\n  ca.crt: |\n{pem}")
}

#[test]
fn backend_tls_policies_and_the_word_of_envoy() {
    let mut world = World::start();
    let ops = world.issuer.of_team("ops");
    let (xds, admin) = (world.toolward.xds, world.toolward.admin);
    world.toolward.process.kill();
    world.toolward = restart_with(&world, xds, admin, &["--system-ca-file", "/nowhere/ca.crt"]);
    let cluster = &world.cluster;
    let authority = Authority::new();
    let front = TlsFront::start_on(this_machine(), world.upstream.port, &authority.host("math.example.com"), None);
    assert_eq!(world.ask(&ops, "add").text, OK);

    // Envoy finds no such file: it refuses the cluster, and its word stands on the Gateway.
    cluster.apply(&slice(front.port));
    cluster.apply(&server(front.port));
    cluster.apply(&policy("wellKnownCACertificates: System"));
    eventually("refused", || world.has_condition("gateway", "mcp-gateway", "Programmed", "False", "Invalid"));
    let gateway = cluster.get("gateway", "default", "mcp-gateway")["status"].to_string();
    assert!(gateway.contains("/nowhere/ca.crt"), "{gateway}");
    assert!(world.has_condition("backendtlspolicy", "math", "Accepted", "True", "Accepted"));

    // A ConfigMap that is not there closes the way; one that is opens it.
    cluster.apply(&policy("caCertificateRefs: [{ group: '', kind: ConfigMap, name: ca }]"));
    eventually("closed", || world.ask(&ops, "add").status == 500);
    eventually("said", || {
        world.has_condition("backendtlspolicy", "math", "Accepted", "False", "NoValidCACertificate")
            && world.has_condition("backendtlspolicy", "math", "ResolvedRefs", "False", "InvalidCACertificateRef")
    });
    cluster.apply(&config_map(&authority));
    eventually("open", || world.ask(&ops, "add").text == OK);
    eventually("said", || {
        world.has_condition("backendtlspolicy", "math", "Accepted", "True", "Accepted")
            && world.has_condition("gateway", "mcp-gateway", "Programmed", "True", "Programmed")
    });

    // Another authority: the next connection is not believed. Envoy keeps one for 4 s after its last request.
    cluster.apply(&config_map(&Authority::new()));
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(world.ask(&ops, "add").status, 503);
}
