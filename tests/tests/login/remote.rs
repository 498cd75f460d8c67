//! A remote server with an authorization server of its own: strict clients that know nothing but the gateway's URL log in to
//! it, and their tokens reach it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use toolward_tests::client;
use toolward_tests::envoy::Envoy;
use toolward_tests::folder::Folder;
use toolward_tests::http::{self, call, request};
use toolward_tests::mcp_server::Sdk;
use toolward_tests::ports;
use toolward_tests::process::eventually;
use toolward_tests::remote::{HOST, Remote};
use toolward_tests::stack::gateway;
use toolward_tests::toolward::Toolward;

/// A gateway before the remote server.
struct Front {
    remote: Remote,
    folder: Folder,
    toolward: Toolward,
    _envoy: Envoy,
    origin: String,
}

impl Front {
    fn start(policy: &str) -> Self {
        let (remote, folder, port) = (Remote::start(), Folder::new(), ports::free());
        folder.write("gateway.yaml", &gateway(port));
        folder.write(
            "remote.yaml",
            &format!(
                "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: remote }}
spec:
  parentRefs: [{{ name: mcp-gateway }}]
  rules:
  - matches: [{{ path: {{ type: PathPrefix, value: /mcp-gitlab }} }}]
    backendRefs: [{{ group: toolward.dev, kind: MCPBackend, name: remote }}]
---
apiVersion: toolward.dev/v1alpha1
kind: MCPBackend
metadata: {{ name: remote }}
spec:
  targets:
  - name: remote
    static: {{ host: {HOST}, port: 443 }}
    path: /api/v4/mcp
    tls: {{}}
    requestTimeout: 2s
"
            ),
        );
        folder.write("policy.yaml", policy);
        let authorities = remote.authority_file();
        let toolward =
            Toolward::serve_with(folder.path(), &["--system-ca-file", &authorities, "--unprotected-routes", "allow"]);
        toolward.wait_until_ready();
        let envoy = Envoy::with_names("default/mcp-gateway", toolward.xds, remote.names.port);
        let origin = format!("http://127.0.0.1:{port}");
        let front = Self { remote, folder, toolward, _envoy: envoy, origin };
        let client = http::client();
        eventually("the Gateway answers", || client.get(front.url()).send().is_ok_and(|answer| answer.status() == 401));
        front
    }

    fn url(&self) -> String {
        format!("{}/mcp-gitlab", self.origin)
    }
}

const PASSTHROUGH: &str = "apiVersion: toolward.dev/v1alpha1
kind: MCPAccessPolicy
metadata: { name: remote }
spec:
  targetRefs: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: remote }]
  authentication: { passthrough: {} }
  authorization:
    rules: [{ name: reading, tools: [get_issue] }]
";

#[test]
fn clients_log_in_to_the_server_through_the_gateway() {
    for policy in ["", PASSTHROUGH] {
        let front = Front::start(policy);
        for sdk in ["1.x of Python", "2.x of Python", "TypeScript"] {
            let tools = ["get_issue", "delete_project"];
            let show = |command: &mut std::process::Command| front.remote.show_to(command);
            let report = match sdk {
                "1.x of Python" => client::login_as(Sdk::V1, &front.url(), "register", &tools, show),
                "2.x of Python" => client::login_as(Sdk::V2, &front.url(), "register", &tools, show),
                _ => client::login_ts(&front.url(), "register", &tools, show),
            };
            let row = format!("{sdk}, {policy:?}: {report:#}\n{}", front.remote.process.log());
            let (listed, denied) = match policy {
                "" => (json!(["get_issue", "delete_project"]), "delete_project done"),
                _ => (json!(["get_issue"]), "Unknown tool: delete_project"),
            };
            assert_eq!(report["tools"], listed, "{row}");
            assert_eq!(report["calls"]["get_issue"], "get_issue done", "{row}");
            assert!(report["calls"]["delete_project"].as_str().is_some_and(|said| said.contains(denied)), "{row}");
        }
        assert!(front.remote.requests().iter().any(|line| line == "POST good"), "{:?}", front.remote.requests());
        assert!(front.remote.requests().iter().all(|line| !line.ends_with("bad")), "{:?}", front.remote.requests());
    }
}

#[test]
fn challenges_and_metadata_are_the_gateways() {
    let front = Front::start(PASSTHROUGH);
    let client = http::client();
    let (url, origin) = (front.url(), &front.origin);
    let metadata_url = format!("{origin}/.well-known/oauth-protected-resource/mcp-gitlab");
    let none = http::send(http::post(&client, &url, request("tools/list")));
    let expected = format!("Bearer realm=\"GitLab, remote\", scope=\"mcp\", resource_metadata=\"{metadata_url}\"");
    assert_eq!((none.status, none.challenge), (401, Some(expected)));
    let bad = http::send(http::post(&client, &url, request("tools/list")).bearer_auth("x"));
    let challenge = bad.challenge.expect("a challenge");
    assert!(challenge.contains("error=\"invalid_token\"") && !challenge.contains('\\'), "{challenge}");
    assert!(challenge.ends_with(&format!("resource_metadata=\"{metadata_url}\"")), "{challenge}");

    let get = |url: &str| http::send(client.get(url));
    let expected = json!({
        "resource": url,
        "authorization_servers": [format!("https://{HOST}")],
        "scopes_supported": ["mcp"],
    });
    for at in [metadata_url.clone(), format!("{origin}/.well-known/oauth-protected-resource")] {
        let metadata = get(&at);
        assert_eq!((metadata.status, metadata.json()), (200, expected.clone()), "{at}");
    }
    // What clients claim of other hosts changes nothing.
    for (name, value) in [("x-forwarded-host", "evil.example.com"), ("forwarded", "host=evil.example.com")] {
        let answer = http::send(client.get(&metadata_url).header(name, value));
        assert_eq!(answer.json()["resource"], url, "{name}");
    }
    // What is denied reaches no server, with whatever token.
    let before = front.remote.requests().len();
    let denied = http::send(http::post(&client, &url, call("delete_project")).bearer_auth("x"));
    assert_eq!((denied.status, denied.code()), (200, Some(-32602)));
    assert_eq!(front.remote.requests().len(), before);

    // Where the server has no metadata it is its own authorization server.
    let backend = std::fs::read_to_string(front.folder.path().join("remote.yaml")).expect("a file");
    front.folder.write("remote.yaml", &backend.replace("path: /api/v4/mcp", "path: /other"));
    let stand_in = json!({
        "resource": url,
        "authorization_servers": [format!("https://{HOST}")],
        "bearer_methods_supported": ["header"],
    });
    eventually("the stand-in is told", || get(&metadata_url).json() == stand_in);
    let _ = &front.toolward;
}

#[test]
fn a_stream_outlasts_the_timeout_and_an_answer_that_does_not_come_does_not() {
    let front = Front::start("");
    let show = |command: &mut std::process::Command| front.remote.show_to(command);
    let report = client::login_as(Sdk::V2, &front.url(), "token", &[], show);
    let token = report["token"].as_str().unwrap_or_else(|| panic!("{report:#}")).to_owned();
    let client = http::client();
    let start = Instant::now();
    let hanging = http::send(http::post(&client, &front.url(), call("hang")).bearer_auth(&token));
    assert_eq!(hanging.status, 504, "{hanging:?}");
    assert!(start.elapsed() > Duration::from_secs(1), "not at once: {:?}", start.elapsed());

    let start = Instant::now();
    let mut stream =
        client.get(front.url()).header("accept", "text/event-stream").bearer_auth(&token).send().expect("a stream");
    let (mut received, mut buffer) = (String::new(), [0; 1024]);
    while start.elapsed() < Duration::from_secs(5) {
        let count = std::io::Read::read(&mut stream, &mut buffer).expect("the stream goes on");
        assert!(count > 0, "the stream ended after {:?}", start.elapsed());
        received.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    assert!(received.matches("notifications/tick").count() >= 8, "{received}");
    let _: Value = report;
}
