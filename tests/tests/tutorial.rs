//! The public tutorial, with its files unchanged: the folder that TUTORIAL names.

use std::net::TcpListener;
use std::path::PathBuf;

use toolward_tests::client;
use toolward_tests::envoy::Envoy;
use toolward_tests::folder::Folder;
use toolward_tests::http::{self, request};
use toolward_tests::mcp_server::{McpServer, Sdk};
use toolward_tests::process::eventually;
use toolward_tests::remote::Remote;
use toolward_tests::toolward::Toolward;

/// The port of the tutorial's first Gateway.
const PORT: u16 = 3000;

/// The port of its second one.
const REMOTE_PORT: u16 = 8080;

/// What a cluster would have beside the tutorial's files: our GatewayClass under the name that they use, and the
/// Service of the MCP server with its endpoint.
fn cluster(server: u16) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {{ name: agentgateway }}
spec: {{ controllerName: toolward.dev/gateway-controller }}
---
apiVersion: v1
kind: Service
metadata: {{ name: mcp-math-server, namespace: default }}
spec: {{ ports: [{{ port: 80, targetPort: {server} }}] }}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: mcp-math-server-1
  namespace: default
  labels: {{ kubernetes.io/service-name: mcp-math-server }}
addressType: IPv4
ports: [{{ port: {server} }}]
endpoints: [{{ addresses: [127.0.0.1], conditions: {{ ready: true }} }}]
"
    )
}

fn tutorial() -> PathBuf {
    PathBuf::from(std::env::var("TUTORIAL").expect("TUTORIAL names the folder of the tutorial's files"))
}

fn file(name: &str) -> String {
    let path = tutorial().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn steps_1_and_2() {
    drop(TcpListener::bind(("127.0.0.1", PORT)).expect("port 3000, which the tutorial's Gateway asks for, is free"));

    let server = McpServer::start_script(Sdk::V1, &tutorial().join("server.py"));
    let folder = Folder::new();
    folder.write("cluster.yaml", &cluster(server.port));
    for name in ["gateway.yaml", "backend.yaml", "route.yaml"] {
        folder.write(name, &file(name));
    }
    let toolward = Toolward::serve(folder.path());
    toolward.wait_until_ready();
    let envoy = Envoy::with_control_plane("agentgateway-system/mcp-gateway", toolward.xds);
    let client = http::client();
    let url = format!("http://127.0.0.1:{PORT}/mcp");
    let list = |token: &str| {
        let post = http::post(&client, &url, request("tools/list"));
        http::send(if token.is_empty() { post } else { post.bearer_auth(token) })
    };
    eventually("the Gateway answers", || client.get(&url).send().is_ok());
    let tools = |answer: &http::Answer| {
        let tools = answer.json()["result"]["tools"].clone();
        tools.as_array().expect("tools").iter().map(|tool| tool["name"].clone()).collect::<Vec<_>>()
    };
    // Step 1: open.
    let open = list("");
    assert_eq!((open.status, tools(&open)), (200, vec!["add".into(), "multiply".into()]), "{open:?}");

    // Step 2: a token is needed.
    folder.write("jwt-policy.yaml", &file("jwt-policy.yaml"));
    eventually("protected", || list("").status == 401);
    let token = file("token.txt");
    let protected = list(token.trim());
    assert_eq!((protected.status, tools(&protected)), (200, tools(&open)), "{protected:?}");
    let call = http::send(http::post(&client, &url, http::call("multiply")).bearer_auth(token.trim()));
    assert_eq!(call.json()["result"]["content"][0]["text"], "42", "{call:?}");
    let report = client::sdk_v2(&url, token.trim(), "legacy", &["add"]);
    assert_eq!(report["calls"]["add"], "13", "a real client: {report}");
    let mut forged = token.trim().to_owned();
    forged.replace_range(forged.len() - 10..forged.len() - 9, "_");
    assert_eq!(list(&forged).status, 401, "a forged token");
    drop(envoy);
}

/// The name gitlab.com leads to a stand-in on loopback, for Envoy and for the clients: TLS, an authorization server of its
/// own, and no other tokens than those. The clients know the Gateway's URL and nothing else.
#[test]
fn step_3() {
    drop(
        TcpListener::bind(("127.0.0.1", REMOTE_PORT))
            .expect("port 8080, which the tutorial's Gateway asks for, is free"),
    );
    let (remote, folder) = (Remote::start(), Folder::new());
    folder.write(
        "cluster.yaml",
        "apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: enterprise-agentgateway }
spec: { controllerName: toolward.dev/gateway-controller }
",
    );
    folder.write("remote.yaml", &file("remote.yaml"));
    let toolward = Toolward::serve_with(folder.path(), &["--system-ca-file", &remote.authority_file()]);
    toolward.wait_until_ready();
    let _envoy = Envoy::with_names("agentgateway-system/agentgateway-proxy", toolward.xds, remote.names.port);
    let (client, url) = (http::client(), format!("http://127.0.0.1:{REMOTE_PORT}/mcp-gitlab"));
    eventually("the server answers", || client.get(&url).send().is_ok_and(|answer| answer.status() == 401));
    let show = |command: &mut std::process::Command| remote.show_to(command);
    let tools = ["get_issue"];
    for (name, report) in [
        ("VS Code's steps", client::vscode(&url, "register", &tools, show)),
        ("Python SDK 1.x", client::login_as(Sdk::V1, &url, "register", &tools, show)),
        ("Python SDK 2.x", client::login_as(Sdk::V2, &url, "register", &tools, show)),
        ("TypeScript SDK", client::login_ts(&url, "register", &tools, show)),
        ("MCP Inspector", client::inspector_login(&url, &["--method", "tools/call", "--tool-name", "get_issue"], show)),
    ] {
        assert!(report.to_string().contains("get_issue done"), "{name}: {report:#}\n{}", remote.process.log());
        println!("{name} has logged in to the remote server through the gateway and called a tool");
    }
    assert!(remote.requests().iter().all(|line| !line.ends_with("bad")), "{:?}", remote.requests());
}
