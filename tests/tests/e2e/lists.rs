//! `tools/list` shows what the caller may use, and leaves the rest of the answer byte for byte.

use toolward_tests::http::{self, request};
use toolward_tests::stack::{OPS_MAY_ADD, Stack};
use toolward_tests::upstream::{TOOLS, TOOLS_WITHOUT_MULTIPLY, Upstream};

#[test]
fn in_json_and_in_events() {
    let upstream = Upstream::start();
    let stack = Stack::start(upstream.port, OPS_MAY_ADD);
    let ops = stack.issuer.of_team("ops");
    assert_eq!(stack.ask(&ops, request("tools/list")).text, TOOLS_WITHOUT_MULTIPLY);
    let events = http::send(stack.post(request("tools/list")).bearer_auth(&ops).header("x-answer", "sse"));
    assert_eq!(events.content_type, "text/event-stream");
    assert_eq!(events.text, format!("event: message\ndata: {TOOLS_WITHOUT_MULTIPLY}\n\r\n"));

    // The server was asked for an answer that can be read, and gave another one.
    let compressed = http::send(stack.post(request("tools/list")).bearer_auth(&ops).header("x-answer", "gzip"));
    assert_eq!((compressed.status, compressed.reason().as_deref()), (502, Some("EncodedAnswer")), "{compressed:?}");
    assert!(!compressed.text.contains("multiply"), "{compressed:?}");

    let sales = stack.issuer.of_team("sales");
    let nothing = stack.ask(&sales, request("tools/list"));
    assert_eq!(nothing.json()["result"]["tools"], serde_json::json!([]), "{nothing:?}");

    stack.set_rules("[{ name: all, tools: ['*'] }]");
    toolward_tests::process::eventually("all visible", || stack.ask(&sales, request("tools/list")).text == TOOLS);
}

#[test]
fn whatever_the_server_answers() {
    let upstream = Upstream::start();
    let stack = Stack::start(upstream.port, OPS_MAY_ADD);
    let ops = stack.issuer.of_team("ops");
    let get = |accept: &str| {
        let url = format!("http://127.0.0.1:{}/mcp", stack.port);
        http::send(stack.client.get(url).bearer_auth(&ops).header("accept", accept).header("x-answer-json", TOOLS))
    };
    assert_eq!(get("text/event-stream").text, TOOLS_WITHOUT_MULTIPLY, "a list that answers a GET");
    let refused = get("application/json");
    assert_eq!((refused.status, refused.reason().as_deref()), (406, Some("NotAcceptable")));
    let nested = |open: &str, close: &str, times| format!("{}\"tools\"{}", open.repeat(times), close.repeat(times));
    for (name, answer) in [("arrays", nested("[", "]", 8000)), ("results", nested("{\"result\":", "}", 4000))] {
        let answer = http::send(stack.post(request("tools/list")).bearer_auth(&ops).header("x-answer-json", answer));
        assert_eq!(answer.reason().as_deref(), Some("UnreadableList"), "{name} without end: {answer:?}");
    }
    assert_eq!(stack.ask(&ops, request("tools/list")).text, TOOLS_WITHOUT_MULTIPLY, "the filter works on");
}
