//! What the gateway shows a server reaches that server, for verified callers, and nobody else.

use toolward_tests::http::{self, call};
use toolward_tests::process::eventually;
use toolward_tests::stack::{OPS_MAY_ADD, Stack};
use toolward_tests::toolward;
use toolward_tests::upstream::{Recorded, Upstream};

const SECRET: &str = "glpat-Zq7-the-secret";

fn backend(port: u16, credentials: &str) -> String {
    format!(
        "apiVersion: v1
kind: Secret
metadata: {{ name: key, namespace: default }}
stringData: {{ token: \"{SECRET}\\n\" }}
---
apiVersion: toolward.dev/v1alpha1
kind: MCPBackend
metadata: {{ name: math }}
spec:
  targets:
  - name: math
    static: {{ host: 127.0.0.1, port: {port} }}
    path: /mcp
    credentials: {credentials}
"
    )
}

fn header(recorded: &Recorded, name: &str) -> Vec<String> {
    recorded.headers.iter().filter(|header| header.0 == name).map(|header| header.1.clone()).collect()
}

#[test]
fn a_servers_key_reaches_the_server_and_nobody_else() {
    let upstream = Upstream::start();
    let stack = Stack::start(upstream.port, OPS_MAY_ADD);
    let token = stack.issuer.of_team("ops");
    for (credentials, name, value) in [
        ("{ secretRef: { name: key } }", "authorization", format!("Bearer {SECRET}")),
        ("{ secretRef: { name: key, key: token }, header: X-API-Key }", "x-api-key", SECRET.to_owned()),
        ("{ secretRef: { name: key }, header: X-API-Key, prefix: 'Token ' }", "x-api-key", format!("Token {SECRET}")),
    ] {
        stack.folder.write("backend.yaml", &backend(upstream.port, credentials));
        eventually(&format!("{credentials} reach the server"), || {
            let _ = upstream.take_recorded();
            let asked = http::send(stack.post(call("add")).bearer_auth(&token).header("x-api-key", "of-the-client"));
            assert!([200, 401, 503].contains(&asked.status), "{asked:?}");
            upstream.take_recorded().last().is_some_and(|recorded| header(recorded, name) == [value.clone()])
        });
        assert_eq!(stack.ask("x", call("add")).status, 401, "callers are verified all the same");
        assert_eq!(upstream.take_recorded(), []);
    }
    let snapshot = stack.toolward.get("/snapshot?gateway=default/mcp-gateway").text;
    assert!(snapshot.contains("credentials/default/key/token"), "{snapshot}");
    let shown = [
        ("the snapshot", snapshot),
        ("Envoy's configuration", stack.envoy.admin("/config_dump?include_eds")),
        ("Envoy's log", stack.envoy.process.log()),
        ("the control plane's log", stack.toolward.process.log()),
        ("what is rendered", {
            let folder = stack.folder.path().to_str().expect("UTF-8");
            let output = toolward::run(&["render", folder]);
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
        }),
    ];
    for (place, text) in shown {
        assert!(!text.contains(SECRET), "{place} shows the key");
        assert!(!text.is_empty(), "{place}");
    }
}

#[test]
fn callers_that_nobody_verifies_are_not_lent_a_key() {
    let upstream = Upstream::start();
    let stack = Stack::start(upstream.port, OPS_MAY_ADD);
    stack.folder.write("backend.yaml", &backend(upstream.port, "{ secretRef: { name: key } }"));
    stack.folder.write("policy.yaml", "# none\n");
    eventually("closed", || http::send(stack.post(call("add"))).status == 503);
    assert!(stack.toolward.get("/problems").text.contains("CredentialsUnprotected"));
    let passthrough = "apiVersion: toolward.dev/v1alpha1
kind: MCPAccessPolicy
metadata: { name: math }
spec:
  targetRefs: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: math }]
  authentication: { passthrough: {} }
";
    stack.folder.write("policy.yaml", passthrough);
    eventually("told of the policy", || {
        stack.toolward.get("/snapshot?gateway=default/mcp-gateway").text.contains("default/math")
    });
    for _ in 0..20 {
        assert_eq!(http::send(stack.post(call("add"))).status, 503);
    }
    assert_eq!(upstream.take_recorded(), []);

    // A Secret that is not there closes as well.
    stack.folder.write("backend.yaml", &backend(upstream.port, "{ secretRef: { name: nowhere } }"));
    eventually("said", || stack.toolward.get("/problems").text.contains("there is no Secret default/nowhere"));
}
