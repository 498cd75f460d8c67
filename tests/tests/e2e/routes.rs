//! A request takes the route whose policy judged it, and the backends of a route share its requests by weight.

use serde_json::json;
use toolward_tests::folder::Folder;
use toolward_tests::http::{self, call};
use toolward_tests::process::eventually;
use toolward_tests::stack::{OPS_MAY_ADD, Stack, backend, policy};
use toolward_tests::toolward::Issuer;
use toolward_tests::upstream::{OK, Upstream};

const EVERYTHING: &str = "[{ name: all, tools: ['*'] }]";

/// A route `default/lax` with a policy of its own beside the one of the stack, for requests with such a header.
fn write_lax(folder: &Folder, jwks: &str, header: &str, value: &str, port: u16) {
    folder.write("lax.yaml", &backend(port).replace("name: math", "name: lax"));
    let policy = policy(jwks, EVERYTHING).replace("name: math", "name: lax");
    folder.write("lax-policy.yaml", &policy);
    let headers = json!([{ "type": "RegularExpression", "name": header, "value": value }]);
    folder.write(
        "lax-route.yaml",
        &format!(
            "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: lax }}
spec:
  parentRefs: [{{ name: mcp-gateway }}]
  rules:
  - matches: [{{ path: {{ value: /mcp }}, headers: {headers} }}]
    backendRefs: [{{ group: toolward.dev, kind: MCPBackend, name: lax }}]
"
        ),
    );
}

#[test]
fn a_header_that_the_filter_changes_chooses_no_route() {
    let (guarded, lax) = (Upstream::start(), Upstream::start());
    let stack = Stack::start(guarded.port, OPS_MAY_ADD);
    let (ops, jwks) = (stack.issuer.of_team("ops"), stack.issuer.jwks());
    let rows = [
        ("Authorization", format!("Bearer {ops}")),
        ("Accept-Encoding", "gzip".to_owned()),
        ("Content-Length", call("multiply").len().to_string()),
        ("X-HTTP-Method-Override", "DELETE".to_owned()),
        ("X-HTTP-Method", "DELETE".to_owned()),
        ("X-Method-Override", "DELETE".to_owned()),
        ("X-Toolward-Subject", "root".to_owned()),
        ("Mcp-Session-Id", "1".to_owned()),
        ("Mcp-Name", "multiply".to_owned()),
    ];
    for (name, value) in rows {
        write_lax(&stack.folder, &jwks, name, ".*", lax.port);
        let said = format!("the header {} is changed", name.to_lowercase());
        eventually(&said, || stack.toolward.get("/problems").text.contains(&said));
        let ask = || {
            let request = stack.post(call("multiply"));
            let request = if name == "Authorization" { request } else { request.bearer_auth(&ops) };
            http::send(if name == "Content-Length" { request } else { request.header(name, &value) })
        };
        // What is left of the match keeps its requests; its policy knows no session of this name.
        let status = if name == "Mcp-Session-Id" { 404 } else { 500 };
        eventually(name, || ask().status == status);
        assert_eq!((guarded.take_recorded(), lax.take_recorded()), (vec![], vec![]), "{name}");
    }
    // By another header a route can be chosen, and what is judged by its policy is what its server gets.
    write_lax(&stack.folder, &jwks, "x-version", "2", lax.port);
    let ask = |version: &str| http::send(stack.post(call("multiply")).bearer_auth(&ops).header("x-version", version));
    eventually("the second route", || ask("2").text == OK);
    assert_eq!(ask("1").code(), Some(-32602));
    let _ = lax.take_recorded();
    assert_eq!((ask("2").text.as_str(), lax.take_recorded().len(), guarded.take_recorded().len()), (OK, 1, 0));
}

#[test]
fn a_route_without_a_policy_is_open_or_closed_as_the_operator_says() {
    let upstream = Upstream::start();
    let issuer = Issuer::new("ES256");
    let policy = policy(&issuer.jwks(), OPS_MAY_ADD);
    let deny = ["--unprotected-routes", "deny"];
    let mut stack = Stack::with_arguments(upstream.port, issuer, &policy, &deny);
    let ops = stack.issuer.of_team("ops");
    let open = toolward_tests::stack::route("/open").replace("metadata: { name: math }", "metadata: { name: open }");
    stack.folder.write("open.yaml", &open);
    let url = format!("http://127.0.0.1:{}/open", stack.port);
    let client = http::client();
    let anonymous = || http::send(http::post(&client, &url, call("multiply")));
    eventually("closed", || anonymous().status == 503);
    let with_token = http::send(http::post(&client, &url, call("add")).bearer_auth(&ops));
    for answer in [anonymous(), with_token] {
        assert_eq!((answer.status, answer.reason().as_deref()), (503, Some("Unprotected")));
    }
    assert_eq!(upstream.take_recorded(), [], "nothing may reach the server");
    let problems = stack.toolward.get("/problems").json();
    assert_eq!(problems["unprotected"].as_array().map(Vec::len), Some(1), "{problems}");
    assert_eq!(stack.toolward.metric("toolward_unprotected_routes"), 1.0);
    assert_eq!(stack.ask(&ops, call("add")).text, OK, "what has a policy is served");
    assert_eq!(stack.ask(&ops, call("multiply")).code(), Some(-32602));

    // Where that is allowed it is open, as Gateway API has it, and said all the same.
    let _ = upstream.take_recorded();
    stack.toolward = stack.toolward.restart(stack.folder.path(), &["--unprotected-routes", "allow"]);
    eventually("open", || anonymous().text == OK);
    let _ = upstream.take_recorded();
    let names = ["x-toolward-subject", "x-toolward-anything", "x-http-method-override", "forwarded", "x-mine"];
    let post = http::post(&client, &url, call("multiply"));
    assert_eq!(http::send(names.iter().fold(post, |post, name| post.header(*name, "x"))).text, OK);
    let recorded = upstream.take_recorded();
    let has = |name: &&&str| recorded[0].headers.iter().any(|(own, _)| own == **name);
    assert_eq!(names.iter().filter(has).collect::<Vec<_>>(), [&"x-mine"], "what only the gateway may say");
    assert_eq!(stack.toolward.metric("toolward_unprotected_routes"), 1.0);
    assert_eq!(stack.ask(&ops, call("multiply")).code(), Some(-32602));
}

#[test]
fn backends_share_requests_by_weight() {
    let (first, second) = (Upstream::start(), Upstream::start());
    let issuer = Issuer::new("ES256");
    let policy = policy(&issuer.jwks(), EVERYTHING);
    let stack = Stack::with_policy(first.port, issuer, &policy);
    let ops = stack.issuer.of_team("ops");
    let with_path = |path: &str| {
        let second = backend(second.port).replace("name: math", "name: second").replace("path: /mcp", path);
        stack.folder.write("second.yaml", &second);
    };
    let weigh = |backends: &[(&str, Option<u32>)]| {
        let backends = backends.iter().map(|(name, weight)| {
            let mut backend = json!({ "group": "toolward.dev", "kind": "MCPBackend", "name": name });
            weight.iter().for_each(|weight| backend["weight"] = json!(weight));
            backend
        });
        let backends = json!(backends.collect::<Vec<_>>()).to_string();
        let route = toolward_tests::stack::route("/mcp");
        let route = route.replace("[{ group: toolward.dev, kind: MCPBackend, name: math }]", &backends);
        stack.folder.write("route.yaml", &route);
    };
    // Of so many requests each share is within six standard deviations.
    let ask = |weights: (f64, f64), what: &str| {
        let (requests, share) = (400, weights.1 / (weights.0 + weights.1));
        let (mut served, mut failed) = (0, 0);
        for _ in 0..requests {
            let answer = stack.ask(&ops, call("add"));
            match answer.status {
                200 => served += 1,
                500 => failed += 1,
                _ => panic!("{what}: {answer:?}"),
            }
        }
        let (to_first, to_second) = (first.take_recorded().len(), second.take_recorded());
        assert_eq!(to_first + to_second.len(), served, "{what}");
        let deviation = (f64::from(requests) * share * (1.0 - share)).sqrt();
        let (expected, others) = (f64::from(requests) * share, requests as usize - to_first);
        assert!((others as f64 - expected).abs() <= 6.0 * deviation, "{what}: {others} of {requests}");
        assert!(failed == 0 || to_second.is_empty(), "{what}");
        to_second
    };
    let is_in_force = |what: &str, is_so: &dyn Fn() -> bool| {
        eventually(what, || {
            for _ in 0..20 {
                let _ = stack.ask(&ops, call("add"));
            }
            is_so()
        });
        let _ = (first.take_recorded(), second.take_recorded());
    };
    with_path("path: /mcp");
    weigh(&[("math", Some(9)), ("second", Some(1))]);
    is_in_force("the second has a share", &|| !second.take_recorded().is_empty());
    let _ = ask((9.0, 1.0), "nine to one");
    weigh(&[("math", Some(0)), ("second", None)]);
    is_in_force("the first has none", &|| first.take_recorded().is_empty() && !second.take_recorded().is_empty());
    let _ = ask((0.0, 1.0), "nothing to one");
    with_path("path: /elsewhere");
    weigh(&[("math", None), ("second", Some(3))]);
    let elsewhere = || second.take_recorded().iter().any(|recorded| recorded.path == "/elsewhere");
    is_in_force("another path", &|| elsewhere() && !first.take_recorded().is_empty());
    let recorded = ask((1.0, 3.0), "one to three, each with a path of its own");
    assert!(recorded.iter().all(|recorded| recorded.path == "/elsewhere"));
    weigh(&[("math", Some(1)), ("missing", Some(1))]);
    is_in_force("the missing one has a share", &|| stack.ask(&ops, call("add")).status == 500);
    let _ = ask((1.0, 1.0), "half of them to a backend that is missing");
}
