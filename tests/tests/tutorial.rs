//! The public tutorial, with its files unchanged: the folder that TUTORIAL names.

use std::net::TcpListener;
use std::path::PathBuf;

use toolward_tests::client;
use toolward_tests::envoy::Envoy;
use toolward_tests::folder::Folder;
use toolward_tests::http::{self, request};
use toolward_tests::mcp_server::{McpServer, Sdk};
use toolward_tests::process::eventually;
use toolward_tests::toolward::Toolward;

/// The port of the tutorial's Gateway.
const PORT: u16 = 3000;

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

#[test]
fn steps_1_and_2() {
    let tutorial = PathBuf::from(std::env::var("TUTORIAL").expect("TUTORIAL names the folder of the tutorial's files"));
    let file = |name: &str| {
        let path = tutorial.join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    drop(TcpListener::bind(("127.0.0.1", PORT)).expect("port 3000, which the tutorial's Gateway asks for, is free"));

    let server = McpServer::start_script(Sdk::V1, &tutorial.join("server.py"));
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
