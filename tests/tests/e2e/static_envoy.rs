//! Envoy with no control plane.

use toolward_tests::envoy::{Envoy, shipped};
use toolward_tests::http::{self, Answer, call, request};
use toolward_tests::ports;
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
        let upstream = Upstream::start();
        let issuer = Issuer::new("ES256");
        let jwks: serde_json::Value = serde_json::from_str(&issuer.jwks()).expect("a key set");
        let key = &jwks["keys"][0];
        let port = ports::free();
        let text = |name: &str| key[name].as_str().expect("text").to_owned();
        let example = shipped("envoy/static.yaml");
        assert!(example.contains(from), "{from}");
        let config = example
            .replace(from, to)
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
