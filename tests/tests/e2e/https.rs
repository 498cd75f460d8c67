//! Listeners that speak TLS.

use std::net::SocketAddr;

use reqwest::Certificate;
use reqwest::blocking::Client;
use toolward_tests::credentials::Authority;
use toolward_tests::http::{self, call};
use toolward_tests::process::eventually;
use toolward_tests::stack::{OPS_MAY_ADD, Stack, policy};
use toolward_tests::toolward::Issuer;
use toolward_tests::upstream::{OK, Upstream};

const HOSTS: [&str; 3] = ["a.example.com", "b.example.com", "elsewhere.example.com"];

/// A client that trusts this authority and finds all hosts at this port.
fn client(authority: &Authority, port: u16) -> Client {
    let root = Certificate::from_pem(authority.pem.as_bytes()).expect("a certificate");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let client = HOSTS.iter().fold(Client::builder(), |client, host| client.resolve(host, address));
    client.tls_certs_only([root]).no_proxy().timeout(None).build().expect("a client")
}

pub(crate) fn indented(pem: &str) -> String {
    pem.lines().map(|line| format!("    {line}\n")).collect()
}

pub(crate) fn secret(name: &str, files: &[(&str, String)]) -> String {
    let data: String = files.iter().map(|(name, pem)| format!("  {name}: |\n{}", indented(pem))).collect();
    format!("apiVersion: v1\nkind: Secret\nmetadata: {{ name: {name} }}\ntype: kubernetes.io/tls\nstringData:\n{data}")
}

fn gateway(port: u16) -> String {
    toolward_tests::stack::gateway(port).replace(
        &format!("listeners: [{{ name: mcp, port: {port}, protocol: HTTP }}]"),
        &format!(
            "listeners:
  - {{ name: a, port: {port}, protocol: HTTPS, hostname: a.example.com, tls: {{ certificateRefs: [{{ name: a }}] }} }}
  - {{ name: b, port: {port}, protocol: HTTPS, hostname: b.example.com, tls: {{ certificateRefs: [{{ name: b }}] }} }}"
        ),
    )
}

#[test]
fn hosts_have_certificates_of_their_own_which_are_rotated_under_open_streams() {
    let upstream = Upstream::start();
    let issuer = Issuer::new("ES256");
    let jwks = issuer.jwks();
    let stack = Stack::with_policy(upstream.port, issuer, &policy(&jwks, OPS_MAY_ADD));
    let (first, second) = (Authority::new(), Authority::new());
    stack.folder.write("a.yaml", &secret("a", &first.host("a.example.com")));
    stack.folder.write("b.yaml", &secret("b", &second.host("b.example.com")));
    stack.folder.write("gateway.yaml", &gateway(stack.port));
    let ops = stack.issuer.of_team("ops");
    let url = |host: &str| format!("https://{host}:{}/mcp", stack.port);
    let ask = |client: &Client, host: &str| {
        http::post(client, &url(host), call("add")).bearer_auth(&ops).send().map(|answer| answer.status().as_u16())
    };
    let (a, b) = (client(&first, stack.port), client(&second, stack.port));
    eventually("a speaks TLS", || ask(&a, "a.example.com").is_ok_and(|status| status == 200));
    assert_eq!(http::send(http::post(&a, &url("a.example.com"), call("add")).bearer_auth(&ops)).text, OK);
    assert_eq!(http::send(http::post(&a, &url("a.example.com"), call("add"))).status, 401);
    assert_eq!(ask(&b, "b.example.com").expect("an answer"), 200);
    assert!(ask(&a, "b.example.com").is_err(), "b has another authority");
    assert!(ask(&a, "elsewhere.example.com").is_err(), "nobody has a certificate for it");
    let to = |host: &'static str| {
        http::send(http::post(&a, &url("a.example.com"), call("add")).header("host", host).bearer_auth(&ops))
    };
    // A dot at its end makes no other host of it.
    for other in ["b.example.com", "b.example.com.", "B.example.com."] {
        assert_eq!(to(other).status, 421, "the host of another listener: {other}");
    }
    assert_eq!(to("a.example.com.").text, OK);
    assert_eq!(to("x.example.com").status, 404);

    // A new certificate: for new connections, while an open stream lives on.
    let changed = stack.envoy.stat("listener_manager.listener_modified");
    let mut stream = a.get(url("a.example.com")).bearer_auth(&ops).send().expect("a stream");
    assert_eq!(stream.status(), 200);
    stack.folder.write("a.yaml", &secret("a", &second.host("a.example.com")));
    let renewed = client(&second, stack.port);
    eventually("the new certificate", || ask(&renewed, "a.example.com").is_ok_and(|status| status == 200));
    let mut event = [0; 8];
    for _ in 0..20 {
        std::io::Read::read_exact(&mut stream, &mut event).expect("the stream goes on");
    }
    assert_eq!(stack.envoy.stat("listener_manager.listener_modified"), changed);

    // A certificate that goes wrong closes its own listener and no other.
    let [certificate, _] = second.host("a.example.com");
    let [_, key] = second.host("a.example.com");
    let mixed = [certificate, key];
    stack.folder.write("a.yaml", &secret("a", &mixed));
    eventually("a is closed", || ask(&client(&second, stack.port), "a.example.com").is_err());
    assert_eq!(ask(&b, "b.example.com").expect("an answer"), 200);
    let shown = stack.toolward.get("/snapshot?gateway=default/mcp-gateway").text;
    assert!(shown.contains("default/b") && !shown.contains("PRIVATE KEY"), "of a secret only its name is shown");
}

#[test]
fn one_listener_has_several_certificates() {
    let upstream = Upstream::start();
    let issuer = Issuer::new("ES256");
    let jwks = issuer.jwks();
    let stack = Stack::with_policy(upstream.port, issuer, &policy(&jwks, OPS_MAY_ADD));
    let (first, second) = (Authority::new(), Authority::new());
    stack.folder.write("a.yaml", &secret("a", &first.host("a.example.com")));
    stack.folder.write("b.yaml", &secret("b", &second.host("b.example.com")));
    let listener = format!("listeners: [{{ name: mcp, port: {}, protocol: HTTP }}]", stack.port);
    let certificates = "certificateRefs: [{ name: a }, { name: b }]";
    let https = format!(
        "listeners: [{{ name: mcp, port: {}, protocol: HTTPS, hostname: '*.example.com', tls: {{ {certificates} }} }}]",
        stack.port
    );
    let plain = toolward_tests::stack::gateway(stack.port);
    let gateway = plain.replace(&listener, &https);
    assert_ne!(gateway, plain);
    stack.folder.write("gateway.yaml", &gateway);
    let ops = stack.issuer.of_team("ops");
    let ask = |client: &Client, host: &str, tool: &str| {
        let request = http::post(client, &format!("https://{host}:{}/mcp", stack.port), call(tool));
        request.bearer_auth(&ops).send().ok().and_then(|answer| answer.text().ok())
    };
    let (a, b) = (client(&first, stack.port), client(&second, stack.port));
    eventually("TLS", || ask(&a, "a.example.com", "add").is_some());
    for (name, right, wrong) in [("a.example.com", &a, &b), ("b.example.com", &b, &a)] {
        assert_eq!(ask(right, name, "add").as_deref(), Some(OK), "{name} has its own certificate");
        assert!(ask(wrong, name, "add").is_none(), "{name} shows no other certificate");
        assert!(ask(right, name, "multiply").is_some_and(|text| text.contains("Unknown tool")), "{name}");
    }
    assert_eq!(upstream.take_recorded().len(), 3);
}
