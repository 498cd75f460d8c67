//! Bad input to the control plane: said clearly, never served, never open.

use toolward_tests::folder::Folder;
use toolward_tests::http::call;
use toolward_tests::process::eventually;
use toolward_tests::stack::{OPS_MAY_ADD, Stack, backend, gateway, policy, route};
use toolward_tests::toolward;
use toolward_tests::upstream::{OK, Upstream};

#[test]
fn check_names_file_resource_and_field() {
    let jwks = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;
    let good = [
        ("gateway.yaml", gateway(3000)),
        ("route.yaml", route("/mcp")),
        ("backend.yaml", backend(8000)),
        ("policy.yaml", policy(jwks, OPS_MAY_ADD)),
    ];
    let check = |name: &str, file: &str, content: &str| {
        let folder = Folder::new();
        for (name, content) in &good {
            folder.write(name, content);
        }
        if !file.is_empty() {
            folder.write(file, content);
        }
        let output = toolward::run(&["check", folder.path().to_str().expect("UTF-8")]);
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert_eq!(output.status.code(), Some(i32::from(!name.starts_with("good"))), "{name}: {text}");
        text
    };
    assert!(check("good", "", "").starts_with("ok: 5 resources, 1 gateway"));
    let bad_policy = |from: &str, to: &str| policy(jwks, OPS_MAY_ADD).replace(from, to);
    let rows: Vec<(&str, &str, String, &[&str])> = vec![
        ("not YAML", "x.yaml", "a: [".to_owned(), &["x.yaml", "NotYAML"]),
        (
            "unknown field",
            "policy.yaml",
            bad_policy("tools:", "tool:"),
            &["policy.yaml", "MCPAccessPolicy default/math", "spec.authorization.rules[0].tool"],
        ),
        (
            "wrong type",
            "gateway.yaml",
            gateway(3000).replace("3000", "three"),
            &["gateway.yaml", "Gateway default/mcp-gateway", "spec.listeners[0].port"],
        ),
        (
            "dangling backend",
            "route.yaml",
            route("/mcp").replace("MCPBackend, name: math", "MCPBackend, name: nope"),
            &["route.yaml", "HTTPRoute default/math", "BackendNotFound"],
        ),
        (
            "dangling target",
            "policy.yaml",
            bad_policy("HTTPRoute, name: math", "HTTPRoute, name: nope"),
            &["policy.yaml", "MCPAccessPolicy default/math", "TargetNotFound"],
        ),
        ("two of one name", "x.yaml", route("/x"), &["x.yaml", "HTTPRoute default/math", "Duplicate"]),
        (
            "no usable key",
            "policy.yaml",
            policy(r#"{"keys":[]}"#, OPS_MAY_ADD),
            &["policy.yaml", "MCPAccessPolicy default/math", "jwks"],
        ),
        (
            "not supported",
            "gateway.yaml",
            gateway(3000).replace("HTTP }", "TCP }"),
            &["gateway.yaml", "Gateway default/mcp-gateway", "spec.listeners[0].protocol"],
        ),
        (
            "a path of arguments that can't be read",
            "policy.yaml",
            with_rule(&policy(jwks, OPS_MAY_ADD), "arguments: [{ path: a..b, in: [1] }]"),
            &["policy.yaml", "MCPAccessPolicy default/math", "spec.authorization.rules[0].arguments[0].path"],
        ),
        (
            "a variable named like a root",
            "policy.yaml",
            with_rule(&policy(jwks, OPS_MAY_ADD), SHADOWING),
            &["policy.yaml", "MCPAccessPolicy default/math", "spec.authorization.rules[0].when", "named `mcp`"],
        ),
        (
            "good, and a path is told",
            "policy.yaml",
            with_rule(&policy(jwks, OPS_MAY_ADD), "arguments: [{ path: 'a[\"b.c\"].d', in: [1] }]"),
            &["PathRead", r#"["a"]["b.c"]["d"]"#],
        ),
    ];
    for (name, file, content, says) in rows {
        let text = check(name, file, &content);
        for part in says {
            assert!(text.contains(part), "{name}: {part:?} is missing in {text}");
        }
    }
    let empty = Folder::new();
    let output = toolward::run(&["check", empty.path().to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("no resource"));
}

/// To a reader who knows scopes `mcp` is a grant here, to another one the call.
const SHADOWING: &str = "when: jwt.grants.exists(mcp, mcp.tool == 'admin')";

/// A policy whose first rule has one more line.
fn with_rule(policy: &str, line: &str) -> String {
    policy.replace("      tools: [add, echo]", &format!("      tools: [add, echo]\n      {line}"))
}

#[test]
fn the_last_good_world_stays_and_what_is_broken_is_closed() {
    let upstream = Upstream::start();
    let stack = Stack::start(upstream.port, OPS_MAY_ADD);
    let ops = stack.issuer.of_team("ops");
    let works = |what: &str| {
        let answer = stack.ask(&ops, call("add"));
        assert_eq!(answer.text, OK, "{what}: {answer:?}");
    };
    let says = |what: &str, text: &str| {
        eventually(&format!("{what} is said"), || stack.toolward.get("/problems").text.contains(text));
    };
    works("at first");
    for (what, file, content, text) in [
        ("a file that is not YAML", "x.yaml", "a: [".to_owned(), "NotYAML"),
        ("two of one name", "y.yaml", route("/y"), "Duplicate"),
    ] {
        stack.folder.write(file, &content);
        says(what, text);
        works(what);
        assert_eq!(stack.toolward.get("/ready").status, 200, "{what}");
        stack.folder.remove(file);
        eventually("mended", || !stack.toolward.get("/problems").text.contains(text));
    }
    // The whole folder goes and comes back.
    let aside = stack.folder.path().with_extension("aside");
    std::fs::rename(stack.folder.path(), &aside).expect("movable");
    says("a folder that vanished", "Unreadable");
    works("a folder that vanished");
    std::fs::rename(&aside, stack.folder.path()).expect("movable");
    eventually("mended", || !stack.toolward.get("/problems").text.contains("Unreadable"));

    // A second route with a policy of its own that breaks: it is closed, the first one works on.
    let second = route("/second").replace("metadata: { name: math }", "metadata: { name: second }");
    stack.folder.write("second.yaml", &second);
    let its_policy = policy(&stack.issuer.jwks(), OPS_MAY_ADD)
        .replace("metadata: { name: math }", "metadata: { name: second }")
        .replace("kind: HTTPRoute, name: math", "kind: HTTPRoute, name: second");
    stack.folder.write("second-policy.yaml", &its_policy);
    let url = format!("http://127.0.0.1:{}/second", stack.port);
    let ask =
        || toolward_tests::http::send(toolward_tests::http::post(&stack.client, &url, call("add")).bearer_auth(&ops));
    eventually("the second route works", || ask().text == OK);
    for (what, broken) in [
        ("an unknown field", its_policy.replace("tools:", "tool:")),
        ("a path that can't be read", with_rule(&its_policy, "arguments: [{ path: \"labels[0]\", in: [bug] }]")),
        ("a variable named like a root", with_rule(&its_policy, SHADOWING)),
    ] {
        stack.folder.write("second-policy.yaml", &broken);
        eventually(&format!("{what} closes the second route"), || ask().status == 503);
        assert!(ask().reason().is_some(), "{what}");
        works(what);
        stack.folder.write("second-policy.yaml", &its_policy);
        eventually("the second route works again", || ask().text == OK);
    }
}
