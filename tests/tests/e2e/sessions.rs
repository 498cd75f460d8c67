//! Sessions belong to the caller that opened them.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use toolward_policy::config::BindingKey;
use toolward_tests::http::{self, Answer, request};
use toolward_tests::mcp_server::{McpServer, Sdk};
use toolward_tests::process::eventually;
use toolward_tests::stack::{OPS_MAY_ADD, Stack, backend, policy, route};
use toolward_tests::toolward::{Issuer, run};
use toolward_tests::upstream::Upstream;

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}"#;

/// Whoever calls, and whatever, on the route `open`.
const OPEN: &str = "apiVersion: toolward.dev/v1alpha1
kind: MCPAccessPolicy
metadata: { name: open }
spec:
  targetRefs: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: open }]
  authentication: { anonymous: {} }
";

/// Asks for a session, and gives its id.
fn initialize(stack: &Stack, token: &str) -> String {
    let answer = stack.post(INITIALIZE).bearer_auth(token).send().expect("an answer");
    assert_eq!(answer.status(), 200);
    answer.headers()["mcp-session-id"].to_str().expect("text").to_owned()
}

/// Opens a session, and gives its id.
fn open(stack: &Stack, token: &str) -> String {
    let id = initialize(stack, token);
    let ready = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    assert_eq!(http::send(stack.post(ready).bearer_auth(token).header("mcp-session-id", &id)).status, 202);
    id
}

/// The server's own ids are of 32 characters.
fn is_sealed(id: &str) -> bool {
    id.len() > 64
}

fn go_on(stack: &Stack, token: &str, session: &str) -> Answer {
    http::send(stack.post(request("tools/list")).bearer_auth(token).header("mcp-session-id", session))
}

/// What becomes of a key in the Envoys of the Gateway.
fn own_key(key: &str) -> String {
    let key: BindingKey = key.parse().expect("a key");
    key.of_gateway("default/mcp-gateway").text()
}

fn new_key() -> String {
    let output = run(&["binding-keys", "--key"]);
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn of_streamable_http() {
    let keys = tempfile::NamedTempFile::new().expect("a file");
    let (first, second) = (new_key(), new_key());
    fs::write(keys.path(), &first).expect("written");
    let server = McpServer::start(Sdk::V1);
    let issuer = Issuer::new("ES256");
    let jwks = issuer.jwks();
    let arguments = ["--binding-keys", keys.path().to_str().expect("UTF-8")];
    let stack = Stack::with_arguments(server.port, issuer, &policy(&jwks, OPS_MAY_ADD), &arguments);
    let token = |who: &str| stack.issuer.token(&["--claim", "team=ops", "--subject", who]);
    let (bob, eve) = (token("bob"), token("eve"));
    let session = open(&stack, &bob);
    // What is a session of the server's is none of the gateway's.
    let direct = http::post(&stack.client, &format!("http://127.0.0.1:{}/mcp", server.port), INITIALIZE);
    let own = direct.send().expect("an answer").headers()["mcp-session-id"].to_str().expect("text").to_owned();
    assert!(is_sealed(&session) && !is_sealed(&own), "{session} {own}");
    assert_eq!(go_on(&stack, &bob, &session).status, 200);
    assert_eq!(go_on(&stack, &token("bob"), &session).status, 200, "another token of the same caller");
    for (who, token, session) in [
        ("another caller", &eve, session.as_str()),
        ("another caller with the server's own id", &eve, &own),
        ("the caller with the server's own id", &bob, &own),
    ] {
        let answer = go_on(&stack, token, session);
        assert_eq!((answer.status, answer.reason().as_deref()), (404, Some("SessionNotFound")), "{who}");
    }
    let stream = stack.client.get(stack.url()).bearer_auth(&eve).header("mcp-session-id", &session);
    assert_eq!(http::send(stream.header("accept", "text/event-stream")).status, 404);
    let end = stack.client.delete(stack.url()).bearer_auth(&eve).header("mcp-session-id", &session);
    assert_eq!(http::send(end).status, 404);
    assert_eq!(go_on(&stack, &bob, &session).status, 200, "it lives on");

    // The second key is known before it is used, and the first one after.
    let name = format!("extension_config_discovery.http_filter.default/mcp-gateway/{}.config_reload", stack.port);
    for lines in [format!("{first}{second}"), format!("{second}{first}")] {
        let reloads = stack.envoy.stat(&name);
        fs::write(keys.path(), lines).expect("written");
        eventually("Envoy has the keys", || stack.envoy.stat(&name) > reloads);
        assert_eq!(go_on(&stack, &bob, &session).status, 200);
    }
    let next = open(&stack, &bob);
    fs::write(keys.path(), &second).expect("written");
    eventually("the first key is forgotten", || go_on(&stack, &bob, &session).status == 404);
    assert_eq!(go_on(&stack, &bob, &next).status, 200, "the second key has bound it");
    // What is shown has the ids of keys, and no key. Envoy has others: each Gateway's own, which nothing but its secrets says.
    let shown = stack.toolward.get("/snapshot?gateway=default/mcp-gateway").text;
    let dump = stack.envoy.admin("/config_dump?include_eds");
    let (stats, log) = (stack.envoy.admin("/stats"), stack.envoy.process.log());
    let own = own_key(second.trim());
    for (place, text) in [("snapshot", &shown), ("dump", &dump), ("statistics", &stats), ("log", &log)] {
        assert!(!text.contains(second.trim()) && !text.contains(&own), "keys are not shown: {place}");
    }
    assert!(shown.contains("bindingKeyIds") && dump.contains("binding-keys"), "{dump}");

    // Where the policy says so, they belong to whoever knows them.
    let unbound = format!("{}  protocol: {{ sessionBinding: None }}\n", policy(&jwks, OPS_MAY_ADD));
    stack.folder.write("policy.yaml", &unbound);
    eventually("unbound", || !is_sealed(&initialize(&stack, &bob)));
    assert_eq!(
        http::send(stack.post(request("tools/list")).bearer_auth(&eve).header("mcp-session-id", &next)).status,
        404
    );
    assert_eq!(go_on(&stack, &eve, &open(&stack, &bob)).status, 200);
}

/// Whatever a client sends in the header by which Envoy tells the filter the keys, and whatever becomes of the request.
#[test]
fn the_keys_are_between_envoy_and_the_filter() {
    const HEADER: &str = "x-toolward-binding-keys";
    let upstream = Upstream::start();
    let stack = Stack::start(upstream.port, OPS_MAY_ADD);
    stack.folder.write("open.yaml", &route("/open").replace("metadata: { name: math }", "metadata: { name: open }"));
    stack.folder.write("open-policy.yaml", OPEN);
    let ops = stack.issuer.of_team("ops");
    let chosen = new_key();
    let chosen = chosen.trim();
    let own = own_key(chosen);
    let list = || stack.post(request("tools/list")).bearer_auth(&ops);
    let open = || http::post(&stack.client, &format!("http://127.0.0.1:{}/open", stack.port), request("ping"));
    eventually("the open way", || http::send(open()).status == 200);
    let _ = upstream.take_recorded();
    for (name, header, values) in [
        ("none", HEADER, vec![]),
        ("one", HEADER, vec![chosen]),
        ("doubled", HEADER, vec![chosen, &own]),
        ("in another spelling", "X-Toolward-Binding-Keys", vec![chosen]),
        ("nothing", HEADER, vec![""]),
    ] {
        let with = |request: reqwest::blocking::RequestBuilder| {
            values.iter().fold(request, |request, value| request.header(header, *value))
        };
        // Were the client's key believed, or none there, the answer would be 503.
        assert_eq!(http::send(with(list())).status, 200, "{name}");
        assert_eq!(http::send(with(open())).status, 200, "{name}");
        assert_eq!(http::send(with(stack.post(request("tools/list")))).status, 401, "{name}");
    }
    let recorded = upstream.take_recorded();
    assert_eq!(recorded.len(), 10);
    for request in &recorded {
        assert!(request.headers.iter().all(|(name, _)| !name.as_str().starts_with("x-toolward-")), "{request:?}");
    }
    let log = stack.envoy.process.log();
    assert!(!log.contains(chosen) && !log.contains(HEADER), "{log}");
}

#[test]
fn of_an_issuer_and_not_of_its_name() {
    let server = McpServer::start(Sdk::V1);
    let (issuer, namesake) = (Issuer::new("ES256"), Issuer::new("ES256"));
    let (jwks, other) = (issuer.jwks(), namesake.jwks());
    let stack = Stack::with_policy(server.port, issuer, &policy(&jwks, OPS_MAY_ADD));
    let second = |text: String| text.replace("name: math }", "name: other }");
    stack.folder.write(
        "other-route.yaml",
        &second(route("/other")).replace("MCPBackend, name: other", "MCPBackend, name: math"),
    );
    stack.folder.write("other-policy.yaml", &second(policy(&other, OPS_MAY_ADD)));
    let ask = |path: &str, token: &str, session: &str| {
        let url = format!("http://127.0.0.1:{}{path}", stack.port);
        http::send(
            http::post(&stack.client, &url, request("tools/list")).bearer_auth(token).header("mcp-session-id", session),
        )
    };
    let arguments = ["--claim", "team=ops", "--subject", "bob"];
    let (bob, forged) = (stack.issuer.token(&arguments), namesake.token(&arguments));
    let session = open(&stack, &bob);
    eventually("the second route is there", || ask("/other", &forged, "x").text.contains("SessionNotFound"));
    assert_eq!(ask("/mcp", &bob, &session).status, 200);
    let answer = ask("/other", &forged, &session);
    assert_eq!((answer.status, answer.reason().as_deref()), (404, Some("SessionNotFound")));

    // New keys beside the old ones, and another rule: the caller is the same.
    let both = Issuer::joined(&[&stack.issuer, &namesake]);
    let rules = format!("{OPS_MAY_ADD}\n    - {{ name: more, tools: [multiply] }}");
    stack.folder.write("policy.yaml", &policy(&both, &rules));
    eventually("the new key counts", || ask("/mcp", &namesake.token(&arguments), &session).status == 200);
    assert_eq!(ask("/mcp", &bob, &session).status, 200);
}

/// One policy for two servers: what the one hands out, be it another server's id, is none of the other's.
#[test]
fn of_a_server_and_not_of_all_behind_the_gateway() {
    let (server, other) = (McpServer::start(Sdk::V1), McpServer::start(Sdk::V1));
    let issuer = Issuer::new("ES256");
    let both = policy(&issuer.jwks(), OPS_MAY_ADD)
        .replace("targetRefs: [", "targetRefs: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: other }, ");
    let stack = Stack::with_policy(server.port, issuer, &both);
    let ops = stack.issuer.of_team("ops");
    let named = |text: String| text.replace("name: math", "name: other");
    stack.folder.write("other.yaml", &format!("{}---\n{}", named(route("/other")), named(backend(other.port))));
    let at_other = |session: &str| {
        let url = format!("http://127.0.0.1:{}/other", stack.port);
        let asked = http::post(&stack.client, &url, request("tools/list")).bearer_auth(&ops);
        http::send(asked.header("mcp-session-id", session))
    };
    eventually("the other route", || at_other("none").text.contains("SessionNotFound"));
    let session = open(&stack, &ops);
    assert_eq!(go_on(&stack, &ops, &session).status, 200);
    let answer = at_other(&session);
    assert_eq!((answer.status, answer.reason().as_deref()), (404, Some("SessionNotFound")));
}

/// Two ways to one server, of which one binds sessions: what was bound on the one is no session on the other, in whole or in
/// part.
#[test]
fn of_a_caller_and_not_of_a_way_that_binds_none() {
    let server = McpServer::start(Sdk::V1);
    let stack = Stack::start(server.port, OPS_MAY_ADD);
    let open_way = |text: String| text.replace("name: math }", "name: open }");
    let route = open_way(route("/open")).replace("MCPBackend, name: open", "MCPBackend, name: math");
    let unbound =
        format!("{}  protocol: {{ sessionBinding: None }}\n", open_way(policy(&stack.issuer.jwks(), OPS_MAY_ADD)));
    stack.folder.write("open.yaml", &format!("{route}---\n{unbound}"));
    let token = |who: &str| stack.issuer.token(&["--claim", "team=ops", "--subject", who]);
    let (alice, bob) = (token("alice"), token("bob"));
    let url = format!("http://127.0.0.1:{}/open", stack.port);
    let ask = |token: &str, body: String, session: Option<&str>| {
        let asked = http::post(&stack.client, &url, body).bearer_auth(token);
        session
            .into_iter()
            .fold(asked, |asked, session| asked.header("mcp-session-id", session))
            .send()
            .expect("an answer")
    };
    let list = |token: &str, session: &str| ask(token, request("tools/list"), Some(session)).status().as_u16();
    eventually("the open way", || ask(&alice, INITIALIZE.to_owned(), None).status() == 200);

    let bound = open(&stack, &alice);
    assert_eq!(go_on(&stack, &alice, &bound).status, 200);
    let opened = ask(&alice, INITIALIZE.to_owned(), None);
    let own = opened.headers()["mcp-session-id"].to_str().expect("text").to_owned();
    assert!(is_sealed(&bound) && !is_sealed(&own), "{bound} {own}");
    let ready = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    assert_eq!(ask(&alice, ready.to_owned(), Some(&own)).status(), 202);
    assert_eq!(list(&bob, &own), 200, "there, sessions are of whoever knows them");

    // All that is left where something is cut off, be it a MAC at either end; and what it says when it is decoded.
    let bytes = URL_SAFE_NO_PAD.decode(&bound).expect("base64url");
    let mut pieces = vec![bound.clone()];
    for at in 1..bound.len() {
        pieces.extend([bound[..at].to_owned(), bound[at..].to_owned()]);
    }
    pieces.push(bytes.iter().filter(|byte| byte.is_ascii_graphic()).map(|byte| char::from(*byte)).collect());
    assert!(pieces.len() > 2 * 64, "{}", pieces.len());
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        let status = list(&bob, piece);
        assert!((400..500).contains(&status), "{piece}: {status}");
    }
    assert_eq!(go_on(&stack, &bob, &own).reason().as_deref(), Some("SessionNotFound"), "nor the other way round");
    assert_eq!(go_on(&stack, &alice, &bound).status, 200, "it lives on");

    let output = run(&["check", stack.folder.path().to_str().expect("UTF-8")]);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let parts = ["note: ", "HTTPRoute default/open", "HTTPRoute default/math", "lead to one server"];
    assert!(text.lines().any(|line| parts.iter().all(|part| line.contains(part))), "{text}");
}
