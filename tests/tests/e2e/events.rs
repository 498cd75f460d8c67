//! Ids of events: whoever names one gets what came after it, so it is the caller's that got it, in that session.

use std::io::{BufRead as _, BufReader};

use reqwest::blocking::Response;
use toolward_tests::http::{self, call};
use toolward_tests::mcp_server::{McpServer, Sdk};
use toolward_tests::stack::Stack;

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}"#;

/// Somebody in a session.
struct Caller<'s> {
    stack: &'s Stack,
    token: String,
    session: String,
}

impl<'s> Caller<'s> {
    fn begin(stack: &'s Stack, who: &str) -> Self {
        let token = stack.issuer.token(&["--subject", who]);
        let answer = stack.post(INITIALIZE).bearer_auth(&token).send().expect("an answer");
        let session = answer.headers()["mcp-session-id"].to_str().expect("text").to_owned();
        let caller = Self { stack, token, session };
        let ready = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        assert_eq!(caller.post(ready).status(), 202);
        caller
    }

    fn post(&self, body: &str) -> Response {
        let request = self.stack.post(body.to_owned()).bearer_auth(&self.token);
        let request = request.header("mcp-session-id", &self.session).header("mcp-protocol-version", "2025-11-25");
        request.send().expect("an answer")
    }

    fn resume(&self, event: &[u8]) -> Response {
        let request = self.stack.client.get(self.stack.url()).bearer_auth(&self.token);
        let request = request.header("mcp-session-id", &self.session).header("accept", "text/event-stream");
        request.header("last-event-id", event).send().expect("an answer")
    }
}

/// The ids of events, and the data, of as much of a stream as there is up to a word.
fn read(stream: Response, word: &str) -> (Vec<String>, String) {
    let (mut ids, mut data) = (Vec::new(), String::new());
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        if let Some(id) = line.strip_prefix("id: ") {
            ids.push(id.to_owned());
        } else if let Some(line) = line.strip_prefix("data: ") {
            data.push_str(line);
        }
        if !word.is_empty() && data.contains(word) {
            break;
        }
    }
    (ids, data)
}

#[test]
fn are_of_their_callers_sessions() {
    for sdk in [Sdk::V1, Sdk::V2] {
        let server = McpServer::start(sdk);
        let stack = Stack::start(server.port, "[{ name: all, tools: ['*'] }]");
        let alice = Caller::begin(&stack, "alice");
        let again = Caller::begin(&stack, "alice");
        let bob = Caller::begin(&stack, "bob");
        let pause = call("pause").replace(r#""arguments":{"a":6,"b":7}"#, r#""arguments":{}"#);
        // Its stream ends before its result.
        let (ids, data) = read(alice.post(&pause), "");
        let first = ids.first().expect("an event that primes the stream").clone();
        assert!(!data.contains("resumed") && first.len() > 50, "{first}: {data}");

        let mut hostile = vec![
            first.clone(),
            first.to_lowercase(),
            format!("{first}="),
            format!("{first},{first}"),
            format!(" {first}x"),
            first[..first.len() - 1].to_owned(),
            alice.session.clone(),
            "-1".to_owned(),
            "00000001".to_owned(),
            "1.0".to_owned(),
            "\u{ff11}".to_owned(),
            "*".to_owned(),
        ];
        hostile.extend((0..30).map(|number| number.to_string()));
        for event in &hostile {
            let answer = bob.resume(event.as_bytes());
            let (status, text) = (answer.status(), answer.text().expect("a body"));
            assert!(status == 400 && text.contains("EventNotFound"), "{event}: {status} {text}");
        }
        for event in hostile.iter().filter(|event| **event != first) {
            assert_eq!(alice.resume(event.as_bytes()).status(), 400, "the caller itself: {event}");
        }
        assert_eq!(again.resume(first.as_bytes()).status(), 400, "another session of the same caller");
        assert_eq!(bob.resume(b"\xff\xfe").status(), 400, "no text");
        let both = stack.client.get(stack.url()).bearer_auth(&alice.token).header("mcp-session-id", &alice.session);
        let both = both.header("last-event-id", &first).header("last-event-id", "1");
        assert_eq!(http::send(both).reason().as_deref(), Some("DoubledHeader"));

        let (ids, data) = read(alice.resume(first.as_bytes()), "resumed");
        assert!(data.contains("resumed") && ids.iter().all(|id| id.len() > 50), "{ids:?} {data}");
    }
}
