//! Another spelling of a path is no way around a policy: the server gets the endpoint's own path or nothing.

use toolward_tests::hostile::{Ending, exchange};
use toolward_tests::http::{self, call};
use toolward_tests::process::eventually;
use toolward_tests::stack::{OPS_MAY_ADD, Stack, route};
use toolward_tests::upstream::{OK, Upstream};

const SPELLINGS: [&str; 33] = [
    "/mcp",
    "/mcp/",
    "/mcp//",
    "//mcp",
    "///mcp",
    "/./mcp",
    "/mcp/.",
    "/mcp/..",
    "/mcp/../mcp",
    "/x/../mcp",
    "/%2e/mcp",
    "/x/%2e%2e/mcp",
    "/x%2f..%2fmcp",
    "/mcp%2f",
    "/mcp%2F..%2Fadmin",
    "/mcp%5c",
    "\\mcp",
    "/mcp\\..\\admin",
    "/%6dcp",
    "/%6D%63%70",
    "/MCP",
    "/mcp;x=1",
    "/mcp%3b",
    "/mcp%00",
    "/mcp%0a",
    "/mcp%20",
    "/mcp?x",
    "/mcp?/../admin",
    "/mcp#x",
    "/mcp/../admin",
    "/mcp/..;/admin",
    "/mcp/%2e%2e/admin",
    "/admin",
];

#[test]
fn every_spelling_is_judged() {
    let upstream = Upstream::start();
    let stack = Stack::start(upstream.port, OPS_MAY_ADD);
    // Another route to the same server, closed by a policy that can't be read.
    let admin = route("/admin").replace("metadata: { name: math }", "metadata: { name: admin }");
    stack.folder.write("admin.yaml", &admin);
    stack.folder.write(
        "admin-policy.yaml",
        "apiVersion: toolward.dev/v1alpha1
kind: MCPAccessPolicy
metadata: { name: admin }
spec: { targetRefs: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: admin }], nonsense: true }
",
    );
    let admin_url = format!("http://127.0.0.1:{}/admin", stack.port);
    eventually("the other route is closed", || http::send(stack.client.get(&admin_url)).status == 503);
    let token = stack.issuer.of_team("ops");
    let host = format!("127.0.0.1:{}", stack.port);
    let ask = |method: &str, path: &str, authorization: &str, body: &str| {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\n{authorization}content-type: application/json\r\n\
             accept: application/json, text/event-stream\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        exchange(&host, request.as_bytes(), Ending::Sure)
    };
    let bearer = format!("authorization: Bearer {token}\r\n");
    let mut reached = 0;
    for path in SPELLINGS {
        for (what, answer) in [
            ("without a token", ask("POST", path, "", &call("add"))),
            ("a forbidden tool", ask("POST", path, &bearer, &call("multiply"))),
            ("a body behind GET", ask("GET", path, &bearer, &call("multiply"))),
            ("another method", ask("PUT", path, &bearer, &call("multiply"))),
        ] {
            assert!(upstream.take_recorded().is_empty(), "{path}, {what}: {answer:?}");
        }
        let answer = ask("POST", path, &bearer, &call("add"));
        for recorded in upstream.take_recorded() {
            reached += 1;
            let (own, _) = recorded.path.split_once('?').unwrap_or((&recorded.path, ""));
            assert!(own == "/mcp" || own.starts_with("/mcp/"), "{path} reaches {}", recorded.path);
            assert!(!own.contains("..") && !own.contains('%') && !own.contains('\\'), "{path}: {own}");
            assert!(answer.body.contains(OK), "{path}: {answer:?}");
        }
    }
    assert!(reached >= 5, "the endpoint itself works: {reached}");
}
