//! A plain HTTP client, and JSON-RPC bodies.

use reqwest::blocking::{Client, RequestBuilder, Response};
use serde_json::{Value, json};

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `content-type`.
    pub content_type: String,
    /// `www-authenticate`.
    pub challenge: Option<String>,
    /// The body as text.
    pub text: String,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// `error.data.reason` of a JSON-RPC error.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        self.json().pointer("/error/data/reason")?.as_str().map(str::to_owned)
    }

    /// `error.code` of a JSON-RPC error.
    #[must_use]
    pub fn code(&self) -> Option<i64> {
        self.json().pointer("/error/code")?.as_i64()
    }
}

/// A client without timeouts of its own for streams, and with a new connection where the old one was closed.
///
/// # Panics
/// When the system gives none.
#[must_use]
pub fn client() -> Client {
    Client::builder().timeout(None).no_proxy().build().expect("a client")
}

/// Sends a request and reads the answer.
///
/// # Panics
/// When there is no answer.
#[must_use]
pub fn send(request: RequestBuilder) -> Answer {
    read(request.send().unwrap_or_else(|error| panic!("no answer: {error:?}")))
}

fn read(response: Response) -> Answer {
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Answer {
        status: response.status().as_u16(),
        content_type: header("content-type").unwrap_or_default(),
        challenge: header("www-authenticate"),
        text: response.text().expect("a body"),
    }
}

/// A POST with a JSON body, as MCP clients send it.
pub fn post(client: &Client, url: &str, body: impl Into<Vec<u8>>) -> RequestBuilder {
    client
        .post(url)
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .body(body.into())
}

/// A call of a tool.
#[must_use]
pub fn call(tool: &str) -> String {
    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": tool, "arguments": { "a": 6, "b": 7 } } })
        .to_string()
}

/// A request without parameters.
#[must_use]
pub fn request(method: &str) -> String {
    json!({ "jsonrpc": "2.0", "id": 1, "method": method }).to_string()
}

/// Octets without percent-encoding.
#[must_use]
pub fn decoded(text: &[u8]) -> Vec<u8> {
    let (mut decoded, mut index) = (Vec::with_capacity(text.len()), 0);
    while index < text.len() {
        let digits = text.get(index + 1..index + 3).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.filter(|_| text[index] == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        let octet = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(octet.unwrap_or(text[index]));
        index += if octet.is_some() { 3 } else { 1 };
    }
    decoded
}
