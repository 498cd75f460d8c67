//! What a server gives a client to keep until its request comes again (revision 2026-07-28, `requestState`): whoever brings it
//! goes on where it was given, so it is the caller's that got it.

use reqwest::blocking::RequestBuilder;
use serde_json::{Value, json};
use toolward_tests::http::{self, Answer};
use toolward_tests::process::eventually;
use toolward_tests::stack::{Stack, backend, policy, route};
use toolward_tests::toolward::Issuer;
use toolward_tests::upstream::Upstream;

const MODERN: &str = "2026-07-28";

/// The server's own.
const STATE: &str = "{\"step\":2,\"for\":\"alice\"}";

/// The requests that a server may answer with questions, and what they name.
const METHODS: [(&str, &str, &str); 3] =
    [("tools/call", "name", "add"), ("prompts/get", "name", "greeting"), ("resources/read", "uri", "note://a")];

/// A request that brings this back, if it brings anything.
fn request((method, member, name): (&str, &str, &str), state: Option<&Value>) -> Value {
    let meta =
        json!({ "io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {} });
    let mut params = json!({ member: name, "_meta": meta });
    if let Some(state) = state {
        params["inputResponses"] = json!({ "who": { "roots": [] } });
        params["requestState"] = state.clone();
    }
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })
}

struct World {
    stack: Stack,
    upstream: Upstream,
}

impl World {
    fn start() -> Self {
        let (upstream, issuer) = (Upstream::start(), Issuer::new("ES256"));
        let rules = "[{ name: all, tools: ['*'], prompts: ['*'], resources: ['*'] }]";
        let both = policy(&issuer.jwks(), rules).replace(
            "targetRefs: [",
            "targetRefs: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: other }, ",
        );
        let stack = Stack::with_policy(upstream.port, issuer, &both);
        let named = |text: String| text.replace("name: math", "name: other");
        let other = backend(upstream.port).replace("127.0.0.1", "localhost");
        stack.folder.write("other.yaml", &format!("{}---\n{}", named(route("/other")), named(other)));
        let world = Self { stack, upstream };
        let alice = world.token("alice");
        eventually("the other route", || {
            world.ask(&alice, "/other", METHODS[0], None, |request| request).status == 200
        });
        let _ = world.upstream.take_recorded();
        world
    }

    fn token(&self, who: &str) -> String {
        self.stack.issuer.token(&["--subject", who])
    }

    fn ask(
        &self,
        token: &str,
        path: &str,
        asked: (&str, &str, &str),
        state: Option<&Value>,
        with: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Answer {
        let url = format!("http://127.0.0.1:{}{path}", self.stack.port);
        let request = http::post(&self.stack.client, &url, request(asked, state).to_string()).bearer_auth(token);
        let headers = [("mcp-protocol-version", MODERN), ("mcp-method", asked.0), ("mcp-name", asked.2)];
        http::send(with(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))))
    }
}

#[test]
fn are_of_the_callers_that_got_them() {
    let world = World::start();
    let (alice, bob) = (world.token("alice"), world.token("bob"));
    let result = json!({ "resultType": "input_required", "inputRequests": { "who": { "method": "roots/list" } },
        "requestState": STATE });
    let question = json!({ "jsonrpc": "2.0", "id": 1, "result": result }).to_string();
    for asked in METHODS {
        let method = asked.0;
        let get = |token: &str, path: &str| {
            let answer = world.ask(token, path, asked, None, |request| request.header("x-answer-json", &question));
            let state = answer.json().pointer("/result/requestState").cloned();
            let state = state.and_then(|state| state.as_str().map(str::to_owned));
            state.unwrap_or_else(|| panic!("{method}: {answer:?}"))
        };
        let (state, of_other, of_bob) = (get(&alice, "/mcp"), get(&alice, "/other"), get(&bob, "/mcp"));
        assert!(state.len() > STATE.len() && !state.contains("alice"), "{method}: {state}");
        assert_eq!(world.upstream.take_recorded().len(), 3, "{method}");

        let bring =
            |token: &str, path: &str, state: &Value| world.ask(token, path, asked, Some(state), |request| request);
        let refused = |who: &str, token: &str, path: &str, state: &Value| {
            let answer = bring(token, path, state);
            let told = (answer.code(), answer.reason());
            assert_eq!(told, (Some(-32602), Some("RequestStateNotFound".to_owned())), "{method}, {who}: {answer:?}");
            assert_eq!(world.upstream.take_recorded(), [], "{method}, {who}: nothing may reach the server");
        };
        refused("another caller", &bob, "/mcp", &json!(state));
        refused("another caller, in a list", &bob, "/mcp", &json!([state]));
        refused("the server's own, of another caller", &bob, "/mcp", &json!(STATE));
        refused("before another server", &alice, "/other", &json!(state));
        refused("what another server gave", &alice, "/mcp", &json!(of_other));
        for (what, hostile) in [
            ("the server's own", json!(STATE)),
            ("cut short", json!(state[..state.len() - 1])),
            ("without what seals it", json!(state[22..])),
            ("in capitals", json!(state.to_uppercase())),
            ("padded", json!(format!("{state}="))),
            ("with a space", json!(format!(" {state}"))),
            ("nothing", json!("")),
        ] {
            refused(what, &alice, "/mcp", &hostile);
        }
        // What is no text, which servers may take for one.
        for hostile in [json!(1), json!({ "state": state }), json!(true)] {
            assert_eq!(bring(&alice, "/mcp", &hostile).code(), Some(-32602), "{method}: {hostile}");
            assert_eq!(world.upstream.take_recorded(), [], "{method}: {hostile}");
        }

        // Its own, with another token of the same caller: as the server gave it.
        assert_eq!(bring(&world.token("alice"), "/mcp", &json!(state)).status, 200, "{method}");
        let recorded = world.upstream.take_recorded();
        let [recorded] = recorded.as_slice() else { panic!("{method}: {recorded:?}") };
        let got: Value = serde_json::from_slice(&recorded.body).expect("JSON");
        assert_eq!(got, request(asked, Some(&json!(STATE))), "{method}");
        // Bob has one of his own.
        assert_eq!(bring(&bob, "/mcp", &json!(of_bob)).status, 200, "{method}");
        let _ = world.upstream.take_recorded();
    }
}
