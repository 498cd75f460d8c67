//! Real MCP clients against real MCP servers, through Envoy.

use serde_json::json;
use toolward_tests::client;
use toolward_tests::mcp_server::{McpServer, Sdk};
use toolward_tests::stack::{OPS_MAY_ADD, Stack};

#[test]
fn python_sdks_and_inspector() {
    for sdk in [Sdk::V1, Sdk::V2] {
        let server = McpServer::start(sdk);
        let stack = Stack::start(server.port, OPS_MAY_ADD);
        let (url, token) = (stack.url(), stack.issuer.of_team("ops"));
        // A denied call between two granted ones: the session goes on.
        let tools = ["add", "multiply", "add"];
        let expected = json!({ "tools": ["add"], "calls": { "add": "13", "multiply": "Unknown tool: multiply" } });
        assert_eq!(client::sdk_v1(&url, &token, &tools), expected, "SDK 1.x, server {sdk:?}");
        assert_eq!(client::sdk_v2(&url, &token, "legacy", &tools), expected, "SDK 2.x legacy, server {sdk:?}");
        assert_eq!(client::sdk_v2(&url, &token, "auto", &tools), expected, "SDK 2.x auto, server {sdk:?}");
        assert_eq!(server.ran("add"), 6, "{sdk:?}");

        let anonymous = client::sdk_v1(&url, "", &["add"]);
        assert!(anonymous["error"].as_str().is_some_and(|error| error.contains("401")), "{anonymous}");

        let eras: &[&str] = if sdk == Sdk::V1 { &["legacy"] } else { &["legacy", "modern"] };
        for era in eras {
            let list = client::inspector(&url, &token, era, &["--method", "tools/list"]);
            let names: Vec<&str> = list["result"]["tools"]
                .as_array()
                .expect("tools")
                .iter()
                .filter_map(|tool| tool["name"].as_str())
                .collect();
            assert_eq!(names, ["add"], "Inspector {era}, server {sdk:?}");
            let call = |tool: &str| {
                let arguments =
                    ["--method", "tools/call", "--tool-name", tool, "--tool-arg", "a=6", "--tool-arg", "b=7"];
                client::inspector(&url, &token, era, &arguments)
            };
            assert_eq!(call("add")["result"]["content"][0]["text"], "13", "Inspector {era}, server {sdk:?}");
            let denied = call("multiply").to_string();
            assert!(denied.contains("multiply"), "Inspector {era}, server {sdk:?}: {denied}");
        }
        assert_eq!(server.ran("multiply"), 0, "{sdk:?}");
    }
}
