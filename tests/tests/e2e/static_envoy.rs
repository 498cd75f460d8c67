//! Envoy with no control plane.

use toolward_tests::envoy::{Envoy, shipped};
use toolward_tests::http::{self, Answer, call, request};
use toolward_tests::ports;
use toolward_tests::process::eventually;
use toolward_tests::tools::tools;
use toolward_tests::toolward::Issuer;
use toolward_tests::upstream::{OK, TOOLS_WITHOUT_MULTIPLY, Upstream};

/// The route's metadata in the shipped example.
const KEY: &str = "metadata: { filter_metadata: { toolward: { policy: math } } }";

/// The shipped example before a server of the tests.
struct Static {
    upstream: Upstream,
    envoy: Envoy,
    issuer: Issuer,
    port: u16,
}

impl Static {
    /// With another text in place of one that stands in the example.
    fn start(from: &str, to: &str) -> Self {
        Self::with(&[(from, to)])
    }

    /// With other texts in place of those that stand in the example.
    fn with(changes: &[(&str, &str)]) -> Self {
        let upstream = Upstream::start();
        let issuer = Issuer::new("ES256");
        let jwks: serde_json::Value = serde_json::from_str(&issuer.jwks()).expect("a key set");
        let key = &jwks["keys"][0];
        let port = ports::free();
        let text = |name: &str| key[name].as_str().expect("text").to_owned();
        let example = changes.iter().fold(shipped("envoy/static.yaml"), |example, (from, to)| {
            assert!(example.contains(from), "{from}");
            example.replace(from, to)
        });
        let config = example
            .replace("target/wasm/toolward.wasm", tools().wasm.to_str().expect("UTF-8"))
            .replace("port_value: 10000", &format!("port_value: {port}"))
            .replace("port_value: 8000", &format!("port_value: {}", upstream.port))
            .replace("example-1", &text("kid"))
            .replace("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", &text("x"))
            .replace("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0", &text("y"));
        let envoy = Envoy::with_config(&config);
        Self { upstream, envoy, issuer, port }
    }

    fn post(&self, path: &str, body: String) -> reqwest::blocking::RequestBuilder {
        http::post(&http::client(), &format!("http://127.0.0.1:{}{path}", self.port), body)
    }

    fn ask(&self, body: String) -> Answer {
        http::send(self.post("/mcp", body).bearer_auth(self.issuer.of_team("ops")))
    }
}

#[test]
fn the_shipped_example() {
    let whole = Static::start("\"math_*\"", "\"echo\"");
    assert_eq!(http::send(whole.post("/mcp", call("add"))).status, 401);
    assert_eq!(whole.ask(call("add")).text, OK);
    assert_eq!(whole.ask(request("tools/list")).text, TOOLS_WITHOUT_MULTIPLY);
    assert_eq!(whole.ask(call("multiply")).code(), Some(-32602));
    assert_eq!(whole.upstream.take_recorded().len(), 2);
    let elsewhere = http::send(whole.post("/other", call("add")));
    assert_eq!(elsewhere.status, 404, "where there is no route, Envoy says so");
}

#[test]
fn a_route_whose_policy_is_not_known_is_closed() {
    let rows = [
        ("another key", KEY.replace("math", "maths")),
        ("an empty key", KEY.replace("math", "''")),
        ("a key that is no text", KEY.replace("math", "7")),
        ("a key that is a list", KEY.replace("math", "[math]")),
        ("another field", KEY.replace("policy:", "Policy:")),
        ("another namespace", KEY.replace("toolward:", "other:")),
        ("an empty namespace", KEY.replace("policy: math", "")),
        ("empty metadata", "metadata: {}".to_owned()),
        ("no metadata", String::new()),
    ];
    for (name, metadata) in rows {
        let whole = Static::start(KEY, &metadata);
        let anonymous = http::send(whole.post("/mcp", call("add")));
        for (who, answer) in [("anonymous", anonymous), ("a caller with a good token", whole.ask(call("add")))] {
            assert_eq!(
                (answer.status, answer.reason().as_deref()),
                (503, Some("UnknownPolicy")),
                "{name}, {who}: {answer:?}"
            );
        }
        let stream = http::client().get(format!("http://127.0.0.1:{}/mcp", whole.port));
        assert_eq!(http::send(stream).status, 503, "{name}: a stream");
        assert_eq!(whole.upstream.take_recorded(), [], "{name}: nothing may reach the server");
        assert_eq!(
            whole.envoy.stat("wasmcustom.toolward_requests.none.closed.UnknownPolicy"),
            3,
            "{name}: {}",
            whole.envoy.admin("/stats?filter=toolward")
        );
    }
}

#[test]
fn a_route_that_fits_only_with_the_token_has_no_answer_of_another() {
    let cluster = "route: { cluster: mcp-server, timeout: 0s }";
    let with_token = "- match: { path: /mcp, headers: [{ name: authorization, present_match: true }] }";
    let rows = [
        ("the same policy", "/mcp", KEY.to_owned(), None, 1),
        ("another policy", "/mcp", KEY.replace("math", "other"), Some("RouteChanged"), 1),
        ("no policy", "/mcp", "metadata: {}".to_owned(), Some("RouteChanged"), 1),
        ("no route", "/elsewhere", KEY.to_owned(), Some("RouteChanged"), 0),
    ];
    for (name, path, metadata, reason, reached) in rows {
        let lines = [
            with_token,
            KEY,
            cluster,
            &format!("- match: {{ path: {path} }}"),
            &metadata,
            cluster,
            "- match: { path: /third }",
        ];
        let indented = lines.map(|line| if line.starts_with('-') { line.to_owned() } else { format!("  {line}") });
        let whole = Static::start("- match: { path: /mcp }", &indented.join("\n              "));
        let answer = whole.ask(call("add"));
        assert_eq!(answer.reason().as_deref(), reason, "{name}: {answer:?}");
        assert_eq!(answer.status, if reason.is_some() { 503 } else { 200 }, "{name}: {answer:?}");
        assert_eq!(whole.upstream.take_recorded().len(), reached, "{name}");
        let closed = whole.envoy.stat("wasmcustom.toolward_requests.tools/call.closed.RouteChanged");
        assert_eq!(closed, u64::from(reason.is_some()), "{name}: {}", whole.envoy.admin("/stats?filter=toolward"));
    }
}

/// Where the heap is used up, whatever it takes.
#[test]
fn what_would_use_up_the_memory_is_turned_away() {
    let heap = ("max_heap_size_bytes: 805306368", "max_heap_size_bytes: 1048576");
    let whole = Static::with(&[heap]);
    let monitor = "overload.envoy.resource_monitors.fixed_heap.pressure";
    eventually("the heap is used up", || whole.envoy.stat(monitor) >= 100);
    for action in ["shrink_heap", "disable_http_keepalive", "stop_accepting_requests", "stop_accepting_connections"] {
        let active = format!("overload.envoy.overload_actions.{action}.active");
        eventually(action, || whole.envoy.stat(&active) == 1);
    }

    // With connections, to see what becomes of requests.
    let connections = "stop_accepting_connections\n    triggers: [{ name: envoy.resource_monitors.fixed_heap,";
    let fewer =
        "stop_accepting_connections\n    triggers: [{ name: envoy.resource_monitors.global_downstream_max_connections,";
    let whole = Static::with(&[heap, (connections, fewer)]);
    eventually("requests are turned away", || whole.ask(call("add")).status == 503);
    let _ = whole.upstream.take_recorded();
    let answer = whole.ask(call("add"));
    assert_eq!((answer.status, answer.text.as_str()), (503, "envoy overloaded"));
    assert_eq!(whole.upstream.take_recorded(), []);
    assert!(whole.envoy.stat("http.mcp.downstream_rq_overload_close") > 0);
}
