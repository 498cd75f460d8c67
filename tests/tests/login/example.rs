//! The shipped example `login`.

use serde_json::json;
use toolward_tests::authorization_server::AuthorizationServer;
use toolward_tests::client;
use toolward_tests::envoy::{Envoy, shipped};
use toolward_tests::folder::Folder;
use toolward_tests::http;
use toolward_tests::mcp_server::{McpServer, Sdk};
use toolward_tests::ports;
use toolward_tests::process::eventually;
use toolward_tests::toolward::Toolward;

#[test]
fn clients_log_in() {
    let (login, server, port) = (AuthorizationServer::start(), McpServer::start(Sdk::V2), ports::free());
    let origin = format!("http://127.0.0.1:{port}");
    let folder = Folder::new();
    for file in ["gateway.yaml", "route.yaml", "policy.yaml"] {
        let text = shipped(&format!("manifests/examples/login/{file}"));
        let text = text
            .replace("port: 3000", &format!("port: {port}"))
            .replace("port: 8000", &format!("port: {}", server.port));
        let text = text.replace("https://login.example.com", &login.issuer).replace("https://mcp.example.com", &origin);
        folder.write(file, &text);
    }
    let toolward = Toolward::serve_with(folder.path(), &["--key-set-networks", "127.0.0.0/8"]);
    toolward.wait_until_ready();
    let _envoy = Envoy::with_control_plane("default/mcp-gateway", toolward.xds);
    let url = format!("{origin}/mcp");
    eventually("the Gateway answers with a challenge", || {
        http::client().get(&url).send().is_ok_and(|answer| answer.status() == 401)
    });
    let report = client::login(Sdk::V2, &url, "register", &["add", "multiply"]);
    assert_eq!(report["tools"], json!(["add"]), "{report:#}");
    assert_eq!(report["calls"], json!({ "add": "13", "multiply": "Unknown tool: multiply" }), "{report:#}");
    assert_eq!(server.ran("multiply"), 0);
}
