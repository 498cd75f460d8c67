//! What callers get: every kind of request with its answer, and what of it reached the server.

use std::io::Read;

use reqwest::blocking::{Body, RequestBuilder};
use serde_json::{Value, json};
use toolward_tests::http::{self, call, request};
use toolward_tests::process::eventually;
use toolward_tests::stack::{OPS_MAY_ADD, Stack, policy};
use toolward_tests::toolward::Issuer;
use toolward_tests::upstream::{OK, Upstream};

/// One server with one Gateway for all cases of this file that agree on the policy.
fn protected() -> (Upstream, Stack) {
    let upstream = Upstream::start();
    let stack = Stack::start(upstream.port, OPS_MAY_ADD);
    (upstream, stack)
}

#[test]
fn tokens() {
    let (upstream, stack) = protected();
    let issuer = &stack.issuer;
    let good = issuer.of_team("ops");
    let other_key = Issuer::new("ES256");
    let (header, rest) = good.split_once('.').expect("three parts");
    let (payload, signature) = rest.split_once('.').expect("three parts");
    let unsigned = {
        let none = "eyJhbGciOiJub25lIn0";
        format!("{none}.{payload}.")
    };
    let rows: Vec<(&str, String, &str)> = vec![
        ("malformed", "x".to_owned(), "compact JWS"),
        ("two parts", format!("{header}.{payload}"), "compact JWS"),
        ("forged payload", format!("{header}.{}.{signature}", other_payload(issuer)), "signature"),
        ("alg none", unsigned, "compact JWS"),
        ("alg none with a signature", format!("eyJhbGciOiJub25lIn0.{payload}.{signature}"), "algorithm"),
        ("HS256", format!("eyJhbGciOiJIUzI1NiJ9.{payload}.{signature}"), "algorithm"),
        ("expired", issuer.token(&["--expires-in", "-120"]), "expired"),
        ("not yet valid", issuer.token(&["--not-before", "120"]), "not valid yet"),
        ("wrong issuer", issuer.token(&["--issuer", "https://evil.example.com"]), "issuer"),
        ("wrong audience", issuer.token(&["--audience", "https://other.example.com"]), "audience"),
        ("unknown kid", other_key.of_team("ops"), "no key"),
        ("another type", issuer.token(&["--type", "dpop+jwt"]), "type"),
        ("too long", "a".repeat(20_000), "too long"),
    ];
    for (name, token, says) in rows {
        let answer = stack.ask(&token, call("add"));
        assert_eq!(answer.status, 401, "{name}: {answer:?}");
        let challenge = answer.challenge.clone().unwrap_or_default();
        assert!(challenge.starts_with("Bearer error=\"invalid_token\", error_description=\""), "{name}: {challenge}");
        assert!(challenge.contains(says), "{name}: {challenge}");
        assert!(!challenge.contains(&token) && !answer.text.contains(&token), "{name}: {answer:?}");
        assert_eq!(answer.json()["error"], "invalid_token", "{name}");
    }
    // RFC 6750 section 3.1: no error when no token came.
    let metadata = format!("http://127.0.0.1:{}/.well-known/oauth-protected-resource/mcp", stack.port);
    let challenge = format!("Bearer resource_metadata=\"{metadata}\"");
    let none = http::send(stack.post(call("add")));
    assert_eq!((none.status, none.challenge.as_deref()), (401, Some(challenge.as_str())), "no token");
    assert!(none.text.contains("bearer token is needed"), "{none:?}");
    let basic = http::send(stack.post(call("add")).header("authorization", "Basic eDp5"));
    assert_eq!((basic.status, basic.challenge.as_deref()), (401, Some(challenge.as_str())), "another scheme");
    let two = http::send(stack.post(call("add")).bearer_auth(&good).bearer_auth(&good));
    assert_eq!((two.status, two.reason().as_deref()), (400, Some("TwoAuthorizations")));
    assert_eq!(upstream.take_recorded(), [], "nothing of this may reach the server");

    let lower_case = http::send(stack.post(call("add")).header("authorization", format!("bearer {good}")));
    assert_eq!(lower_case.text, OK, "the scheme's case does not matter");
}

fn other_payload(issuer: &Issuer) -> String {
    issuer.of_team("sales").split('.').nth(1).expect("three parts").to_owned()
}

#[test]
fn a_granted_call_passes_byte_for_byte_and_without_the_token() {
    let (upstream, stack) = protected();
    let body = r#" {"jsonrpc":"2.0", "method":"tools/call","id":1,"params":{"arguments":{"n":1.000000000000000005,"Name":"x"},"name":"add"}} "#;
    let answer = http::send(
        stack
            .post(body)
            .bearer_auth(stack.issuer.of_team("ops"))
            .header("x-http-method-override", "DELETE")
            .header("x-toolward-subject", "root")
            .header("accept-encoding", "gzip"),
    );
    assert_eq!((answer.status, answer.text.as_str()), (200, OK));
    let recorded = upstream.take_recorded();
    assert_eq!(recorded.len(), 1);
    assert_eq!(String::from_utf8_lossy(&recorded[0].body), body);
    assert_eq!(recorded[0].path, "/mcp");
    let header = |name: &str| recorded[0].headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    assert_eq!(header("authorization"), None, "the token is for the gateway only");
    assert_eq!(header("x-http-method-override"), None);
    assert_eq!(header("x-toolward-subject"), None);
    assert_eq!(header("accept-encoding"), Some("identity"));
}

#[test]
fn a_call_that_no_rule_grants() {
    let (upstream, stack) = protected();
    let ops = stack.issuer.of_team("ops");
    let sales = stack.issuer.of_team("sales");
    for (name, token, tool) in [("another tool", &ops, "multiply"), ("another team", &sales, "add")] {
        let answer = stack.ask(token, call(tool));
        assert_eq!((answer.status, answer.code()), (200, Some(-32602)), "{name}: {answer:?}");
        assert_eq!(answer.json()["id"], 1, "{name}");
        assert_eq!(answer.json()["error"]["message"], format!("Unknown tool: {tool}"), "{name}");
    }
    let modern = json!({ "jsonrpc": "2.0", "id": "x", "method": "tools/call", "params": { "name": "multiply",
        "_meta": { "io.modelcontextprotocol/protocolVersion": "2026-07-28" } } });
    let answer = http::send(
        stack
            .post(modern.to_string())
            .bearer_auth(&ops)
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", "tools/call")
            .header("mcp-name", "multiply"),
    );
    assert_eq!((answer.status, answer.code()), (400, Some(-32602)), "{answer:?}");
    assert_eq!(answer.json()["id"], "x");
    assert_eq!(upstream.take_recorded(), []);
}

#[test]
fn arguments_and_expressions() {
    let rules = "
    - { name: small-sums, tools: [add], arguments: [{ path: a, atMost: 10 }] }
    - { name: own-team, tools: [restart], when: \"jwt.team == mcp.arguments.team && !has(mcp.arguments.force)\" }";
    let upstream = Upstream::start();
    let stack = Stack::start(upstream.port, rules);
    let ops = stack.issuer.of_team("ops");
    let rows = [
        ("add", json!({ "a": 10 }), true),
        ("add", json!({ "a": 11 }), false),
        ("add", json!({}), false),
        ("restart", json!({ "team": "ops" }), true),
        ("restart", json!({ "team": "sales" }), false),
        ("restart", json!({ "team": "ops", "force": true }), false),
        ("restart", json!({ "team": "ops", "Force": true }), false),
    ];
    for (tool, arguments, granted) in rows {
        let params = json!({ "name": tool, "arguments": arguments });
        let answer =
            stack.ask(&ops, json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }).to_string());
        assert_eq!(upstream.take_recorded().len(), usize::from(granted), "{params}: {answer:?}");
        if !granted {
            let message = format!("Invalid arguments for {tool}: these are not allowed");
            assert_eq!(answer.json()["error"], json!({ "code": -32602, "message": message }), "{params}");
        }
    }
}

#[test]
fn denial_as_forbidden() {
    let upstream = Upstream::start();
    let issuer = Issuer::new("RS256");
    let rules = format!("{OPS_MAY_ADD}\n    denial: Forbidden");
    let stack = Stack::with_policy(upstream.port, Issuer::new("RS256"), &policy(&issuer.jwks(), &rules));
    let answer = stack.ask(&issuer.of_team("ops"), call("multiply"));
    assert_eq!((answer.status, answer.json()["error"]["message"].as_str()), (403, Some("Forbidden")));
    assert_eq!(upstream.take_recorded(), []);
    assert_eq!(stack.ask(&issuer.of_team("ops"), call("add")).text, OK, "RS256 tokens are verified as well");
}

#[test]
fn dry_run_lets_pass() {
    let upstream = Upstream::start();
    let issuer = Issuer::new("ES256");
    let rules = format!("{OPS_MAY_ADD}\n    mode: DryRun");
    let stack = Stack::with_policy(upstream.port, Issuer::new("ES256"), &policy(&issuer.jwks(), &rules));
    assert_eq!(stack.ask(&issuer.of_team("sales"), call("multiply")).text, OK);
    assert_eq!(stack.envoy.stat("wasmcustom.toolward_requests.tools/call.dry_run_denied.NoRuleMatches"), 1);
}

#[test]
fn housekeeping_passes_for_every_verified_caller() {
    let (upstream, stack) = protected();
    let sales = stack.issuer.of_team("sales");
    for method in ["initialize", "ping", "server/discover", "logging/setLevel"] {
        assert_eq!(stack.ask(&sales, request(method)).text, OK, "{method}");
    }
    let notification = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }).to_string();
    assert_eq!(stack.ask(&sales, notification).text, OK);
    let response = json!({ "jsonrpc": "2.0", "id": 4, "result": {} }).to_string();
    assert_eq!(stack.ask(&sales, response).text, OK);
    assert_eq!(upstream.take_recorded().len(), 6);
    let unknown = stack.ask(&sales, request("tools/delete_all"));
    assert_eq!((unknown.status, unknown.code()), (200, Some(-32601)), "a method that no rule grants");
    assert_eq!(upstream.take_recorded(), []);
}

#[test]
fn bodies_that_are_not_one_message() {
    let (upstream, stack) = protected();
    let ops = stack.issuer.of_team("ops");
    let with_id =
        |id: Value| json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": "add" } });
    let rows: Vec<(&str, String, u16, i64, &str)> = vec![
        ("garbage", "hello".to_owned(), 400, -32700, "NotJson"),
        ("trailing data", format!("{} {{}}", call("add")), 400, -32700, "NotJson"),
        ("byte order mark", format!("\u{feff}{}", call("add")), 400, -32700, "NotJson"),
        ("array", format!("[{}]", call("add")), 400, -32600, "Batch"),
        ("empty array", "[]".to_owned(), 400, -32600, "Batch"),
        ("too deep", format!("{}1{}", "[".repeat(200), "]".repeat(200)), 400, -32700, "TooDeep"),
        (
            "duplicate key",
            call("add").replace("\"name\"", "\"name\":\"multiply\",\"name\""),
            400,
            -32600,
            "DuplicateMember",
        ),
        (
            "duplicate by escape",
            call("add").replace("\"name\"", "\"n\\u0061me\":\"multiply\",\"name\""),
            400,
            -32600,
            "DuplicateMember",
        ),
        (
            "look-alike key",
            call("add").replace("\"name\"", "\"Name\":\"multiply\",\"name\""),
            400,
            -32600,
            "LookAlikeMember",
        ),
        ("long s", call("add").replace("\"name\"", "\"arguments\u{17f}\":1,\"name\""), 400, -32600, "LookAlikeMember"),
        ("no id", request("tools/list").replace("\"id\":1,", ""), 400, -32600, "BadId"),
        ("id null", with_id(Value::Null).to_string(), 400, -32600, "BadId"),
        ("id float", with_id(json!(1.5)).to_string(), 400, -32600, "BadId"),
        ("id object", with_id(json!({})).to_string(), 400, -32600, "BadId"),
        ("jsonrpc 1.0", call("add").replace("2.0", "1.0"), 400, -32600, "NotJsonRpc"),
        ("too large", format!("\"{}\"", "x".repeat(4 * 1024 * 1024)), 413, -32600, "BodyTooLarge"),
    ];
    for (name, body, status, code, reason) in rows {
        let answer = stack.ask(&ops, body);
        assert_eq!((answer.status, answer.code()), (status, Some(code)), "{name}: {answer:?}");
        assert_eq!(answer.reason().as_deref(), Some(reason), "{name}");
        assert_eq!(answer.content_type, "application/json", "{name}");
    }
    let with = |name: &str, value: &str| http::send(stack.post(call("add")).bearer_auth(&ops).header(name, value));
    let rows = [
        ("content-encoding", "gzip", 415, "ContentEncoding"),
        ("mcp-name", "multiply", 400, "HeaderMismatch"),
        ("mcp-method", "ping", 400, "HeaderMismatch"),
        ("mcp-protocol-version", "2026-07-28", 400, "NoVersion"),
    ];
    for (name, value, status, reason) in rows {
        let answer = with(name, value);
        assert_eq!((answer.status, answer.reason().as_deref()), (status, Some(reason)), "{name}: {answer:?}");
    }
    for content_type in ["text/plain", "application/json; charset=utf-16", "application/json-seq"] {
        let answer = http::send(
            stack.client.post(stack.url()).bearer_auth(&ops).header("content-type", content_type).body(call("add")),
        );
        assert_eq!((answer.status, answer.reason().as_deref()), (415, Some("ContentType")), "{content_type}");
    }
    let bare = |body: &'static str| stack.client.post(stack.url()).bearer_auth(&ops).body(body);
    let json = |request: RequestBuilder| request.header("content-type", "application/json");
    let chunks = |size: usize| stack.client.post(stack.url()).bearer_auth(&ops).body(Body::new(Chunks(size)));
    let rows = [
        ("no content type", bare("{}"), 415, -32600, "ContentType"),
        ("two content types, which Envoy joins", json(json(bare("{}"))), 415, -32600, "ContentType"),
        ("an empty body", json(bare("")), 400, -32700, "NoBody"),
        ("an empty body in chunks", json(chunks(0)), 400, -32700, "NotJson"),
        ("too large in chunks", json(chunks(5 * 1024 * 1024)), 413, -32600, "BodyTooLarge"),
    ];
    for (name, request, status, code, reason) in rows {
        let answer = http::send(request);
        let is = (answer.status, answer.code(), answer.reason());
        assert_eq!(is, (status, Some(code), Some(reason.to_owned())), "{name}: {answer:?}");
    }
    let put = http::send(stack.client.put(stack.url()).bearer_auth(&ops).body(call("add")));
    assert_eq!(put.status, 405);
    assert_eq!(upstream.take_recorded(), [], "nothing of this may reach the server");
    let spelled = http::send(
        stack
            .client
            .post(stack.url())
            .bearer_auth(&ops)
            .header("content-type", "Application/JSON; charset=UTF-8")
            .body(call("add")),
    );
    assert_eq!(spelled.text, OK, "a lawful spelling of the content type");
    assert_eq!(with("content-encoding", "identity").text, OK, "no encoding");
}

/// So many blanks without a length beforehand.
struct Chunks(usize);

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let size = self.0.min(buffer.len());
        buffer[..size].fill(b' ');
        self.0 -= size;
        Ok(size)
    }
}

#[test]
fn what_is_broken_is_closed() {
    let (upstream, stack) = protected();
    let (ops, good) = (stack.issuer.of_team("ops"), policy(&stack.issuer.jwks(), OPS_MAY_ADD));
    let inline = format!("inline: '{}'", stack.issuer.jwks());
    let rows = [
        ("no key", policy(r#"{"keys":[]}"#, OPS_MAY_ADD), "InvalidKeySet"),
        ("no key set", good.replace(&inline, "configMapRef: { name: missing, key: jwks }"), "KeySetNotFound"),
        ("an unknown field", good.replace("tools:", "tool:"), "Invalid"),
        ("a wrong type", good.replace("tools: [add, echo]", "tools: add"), "Invalid"),
        ("a glob that is none", good.replace("[add, echo]", "['']"), "Invalid"),
    ];
    for (name, broken, reason) in rows {
        assert_ne!(broken, good, "{name}");
        stack.folder.write("policy.yaml", &broken);
        // For a moment requests still come by the table before: with a token they are closed at their body, without one
        // they are told to bring one.
        eventually(name, || http::send(stack.post(call("add"))).status == 503);
        let _ = upstream.take_recorded();
        for answer in [stack.ask(&ops, call("add")), http::send(stack.post(call("add")))] {
            assert_eq!((answer.status, answer.reason().as_deref()), (503, Some(reason)), "{name}: {answer:?}");
        }
        assert_eq!(upstream.take_recorded(), [], "{name}");
        stack.folder.write("policy.yaml", &good);
        eventually("open again", || stack.ask(&ops, call("add")).text == OK);
    }
}

#[test]
fn a_server_that_is_down_is_no_denial() {
    let upstream = Upstream::start();
    let stack = Stack::start(toolward_tests::ports::free(), OPS_MAY_ADD);
    drop(upstream);
    let answer = stack.ask(&stack.issuer.of_team("ops"), call("add"));
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(stack.envoy.stat("wasmcustom.toolward_requests.tools/call.allowed.RuleMatches"), 1);
    let counters = stack.envoy.admin("/stats?filter=toolward_requests");
    assert!(!["denied", "closed"].iter().any(|word| counters.contains(word)), "{counters}");
    let is_logged = |entry: &Value| entry["status"] == 503 && entry["decision"] == "allowed" && entry["flags"] != "-";
    eventually("the log says whose fault it is", || stack.envoy.access_log().iter().any(is_logged));
}

#[test]
fn limits_are_settings() {
    let upstream = Upstream::start();
    let issuer = Issuer::new("ES256");
    let jwks = issuer.jwks();
    let limits = ["--max-request-body", "1000", "--max-token", "600", "--max-list", "50"];
    let stack = Stack::with_arguments(upstream.port, issuer, &policy(&jwks, OPS_MAY_ADD), &limits);
    let ops = stack.issuer.of_team("ops");
    let padded = |size: usize| format!("{}{}", call("add"), " ".repeat(size - call("add").len()));
    assert_eq!(stack.ask(&ops, padded(1000)).text, OK);
    let too_large = stack.ask(&ops, padded(1001));
    assert_eq!((too_large.status, too_large.reason().as_deref()), (413, Some("BodyTooLarge")));
    let long = stack.issuer.token(&["--claim", "team=ops", "--claim", &format!("x={}", "y".repeat(600))]);
    assert!(stack.ask(&long, call("add")).challenge.is_some_and(|challenge| challenge.contains("too long")));
    let list = stack.ask(&ops, request("tools/list"));
    assert_eq!((list.status, list.reason().as_deref()), (200, Some("ListTooLarge")), "{list:?}");
    assert_eq!(upstream.take_recorded().len(), 2);
}
