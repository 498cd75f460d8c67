//! Messages to a server and from it, as they are on the wire.

use std::io::{BufRead as _, BufReader};

use reqwest::blocking::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use toolward_tests::http;
use toolward_tests::servers::Era;

/// Somebody who speaks with a server.
#[derive(Debug)]
pub(crate) struct Peer {
    client: Client,
    url: String,
    token: String,
    era: Era,
    session: Option<String>,
    capabilities: Value,
}

impl Peer {
    /// Begins: in the old era with a handshake.
    pub(crate) fn begin(url: &str, token: &str, era: Era, capabilities: Value) -> Self {
        let (client, url, token) = (http::client(), url.to_owned(), token.to_owned());
        let mut peer = Self { client, url, token, era, session: None, capabilities };
        if era == Era::Legacy {
            let answer = peer.post(&peer.request("initialize", peer.hello())).send().expect("an answer");
            assert_eq!(answer.status(), 200);
            let id = answer.headers().get("mcp-session-id").expect("a session").to_str().expect("text");
            peer.session = Some(id.to_owned());
            drop(read(answer));
            assert_eq!(peer.tell("notifications/initialized", &json!({})), 202);
        }
        peer
    }

    /// Parameters of a handshake.
    pub(crate) fn hello(&self) -> Value {
        let client = json!({ "name": "test", "version": "1" });
        json!({ "protocolVersion": self.era.revision(), "capabilities": self.capabilities, "clientInfo": client })
    }

    /// Sends a request; gives the status and the messages up to the response, which is the last one.
    pub(crate) fn ask(&self, method: &str, params: Value) -> (u16, Vec<Value>) {
        let answer = self.post(&self.request(method, params)).send().expect("an answer");
        (answer.status().as_u16(), read(answer))
    }

    /// Sends a request; gives its result, or the code of its error.
    pub(crate) fn outcome(&self, method: &str, params: Value) -> Result<Value, i64> {
        let (_, messages) = self.ask(method, params);
        let response = messages.last().unwrap_or_else(|| panic!("no answer to {method}"));
        match response.get("result") {
            Some(result) => Ok(result.clone()),
            None => Err(response["error"]["code"].as_i64().unwrap_or_else(|| panic!("{method}: {response}"))),
        }
    }

    /// Sends a notification; gives the status.
    pub(crate) fn tell(&self, method: &str, params: &Value) -> u16 {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }))
    }

    /// Sends a message; gives the status.
    pub(crate) fn send(&self, message: &Value) -> u16 {
        http::send(self.post(message)).status
    }

    /// Sends an array of requests, of methods with parameters; gives the status and all messages.
    pub(crate) fn ask_at_once(&self, requests: &[(&str, Value)]) -> (u16, Vec<Value>) {
        let request = |(id, (method, params)): (usize, &(&str, Value))| json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let array: Vec<Value> = requests.iter().enumerate().map(request).collect();
        let request = self.with_session(http::post(&self.client, &self.url, json!(array).to_string()));
        let answer = request.send().expect("an answer");
        let status = answer.status().as_u16();
        let messages = if is_stream(&answer) {
            Messages::of(answer).map(|(_, message)| message).filter(|message| !message.is_null()).collect()
        } else {
            read(answer)
        };
        (status, messages)
    }

    /// Sends a request and gives the messages as they come.
    pub(crate) fn stream(&self, method: &str, params: Value) -> Messages {
        let answer = self.post(&self.request(method, params)).send().expect("an answer");
        assert_eq!(answer.status(), 200, "{method}");
        Messages::of(answer)
    }

    /// The stream for what no request asked for, after an event where one is named.
    pub(crate) fn listen(&self, after: Option<&str>) -> Messages {
        let mut request = self.with_headers(self.client.get(&self.url)).header("accept", "text/event-stream");
        if let Some(id) = after {
            request = request.header("last-event-id", id);
        }
        let answer = request.send().expect("an answer");
        assert_eq!(answer.status(), 200, "a stream");
        Messages::of(answer)
    }

    fn request(&self, method: &str, mut params: Value) -> Value {
        if self.era == Era::Modern {
            params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!(self.era.revision());
            params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = self.capabilities.clone();
        }
        json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })
    }

    fn post(&self, message: &Value) -> RequestBuilder {
        let mut request = self.with_headers(http::post(&self.client, &self.url, message.to_string()));
        if self.era == Era::Modern {
            let said = |pointer: &str| message.pointer(pointer).and_then(Value::as_str);
            request = request.header("mcp-method", said("/method").unwrap_or_default());
            let named = ["/params/name", "/params/uri", "/params/taskId"].iter().find_map(|pointer| said(pointer));
            if let Some(name) = named {
                request = request.header("mcp-name", name);
            }
        }
        request
    }

    fn with_session(&self, mut request: RequestBuilder) -> RequestBuilder {
        if !self.token.is_empty() {
            request = request.bearer_auth(&self.token);
        }
        if let Some(session) = &self.session {
            request = request.header("mcp-session-id", session);
        }
        request
    }

    fn with_headers(&self, request: RequestBuilder) -> RequestBuilder {
        let mut request = self.with_session(request);
        if self.era == Era::Modern || self.session.is_some() {
            request = request.header("mcp-protocol-version", self.era.revision());
        }
        request
    }
}

/// All messages of an answer: one of JSON, or the events up to a response.
fn read(answer: Response) -> Vec<Value> {
    if is_stream(&answer) {
        let mut messages = Vec::new();
        for (_, message) in Messages::of(answer) {
            let is_last = message.get("result").is_some() || message.get("error").is_some();
            messages.push(message);
            if is_last {
                break;
            }
        }
        return messages;
    }
    let text = answer.text().expect("a body");
    if text.is_empty() { Vec::new() } else { vec![serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"))] }
}

fn is_stream(answer: &Response) -> bool {
    answer.headers().get("content-type").is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
}

/// The messages of a stream as they come, each with the id of its event.
pub(crate) struct Messages(std::io::Lines<BufReader<Response>>);

impl Messages {
    fn of(answer: Response) -> Self {
        assert!(is_stream(&answer), "a stream: {answer:?}");
        Self(BufReader::new(answer).lines())
    }
}

impl Iterator for Messages {
    type Item = (Option<String>, Value);

    fn next(&mut self) -> Option<Self::Item> {
        let (mut id, mut data) = (None, String::new());
        loop {
            let line = self.0.next()?.ok()?;
            if let Some(value) = line.strip_prefix("id:") {
                id = Some(value.trim().to_owned());
            } else if let Some(value) = line.strip_prefix("data:") {
                data.push_str(value);
            } else if line.is_empty() {
                if let Ok(message) = serde_json::from_str(&data) {
                    return Some((id, message));
                }
                // What primes a stream has an id and no message.
                data.clear();
                if let Some(id) = id.take() {
                    return Some((Some(id), Value::Null));
                }
            }
        }
    }
}
