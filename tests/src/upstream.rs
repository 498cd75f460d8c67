//! A server that records every byte that reaches it and answers with known ones.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use tokio::runtime::Runtime;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::IntervalStream;

/// What reached the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// HTTP method.
    pub method: String,
    /// Path with query.
    pub path: String,
    /// Headers in their order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// The answer to `tools/list`, with spaces and numbers that a parser would not write back as they are.
pub const TOOLS: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"add", "x" : 1.50},{"name":"multiply"},{"name":"echo","y":1e2 }],"nextCursor":"c"}}"#;

/// The same, as a caller that may use `add` and `echo` is to get it.
pub const TOOLS_WITHOUT_MULTIPLY: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"add", "x" : 1.50},{"name":"echo","y":1e2 }],"nextCursor":"c"}}"#;

/// The answer to everything else.
pub const OK: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"ok" : true}}"#;

/// That the resources `note://a` and `note://b` were updated.
pub const UPDATES: [&str; 2] = [
    r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"note://a"}}"#,
    r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"note://b"}}"#,
];

/// A recording server. It answers `tools/list` with [`TOOLS`] (as an event when the request carries the header
/// `x-answer: sse`, and as what pretends to be compressed with `x-answer: gzip`), GET with an event every 20 ms for ever,
/// whatever carries the header `x-answer-json` with its value (and `x-answer-cache` as `cache-control`), whatever carries the header
/// `x-stream` with a stream without end (of nothing, or of `lists`, or of lists behind the announcement of an `endpoint`, or of [`UPDATES`]), and
/// everything else with [`OK`]; with the header `x-wait` after so many milliseconds.
#[derive(Debug)]
pub struct Upstream {
    /// Where it listens.
    pub port: u16,
    recorded: Arc<Mutex<Vec<Recorded>>>,
    _runtime: Runtime,
}

impl Upstream {
    /// Starts the server.
    ///
    /// # Panics
    /// When it can't listen.
    #[must_use]
    pub fn start() -> Self {
        Self::start_on(IpAddr::from([127, 0, 0, 1]))
    }

    /// Starts the server on an address of this machine.
    ///
    /// # Panics
    /// When it can't listen.
    #[must_use]
    pub fn start_on(address: IpAddr) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let recorded = Arc::new(Mutex::new(Vec::new()));
        let app = Router::new().fallback(answer).with_state(Arc::clone(&recorded));
        let address = SocketAddr::from((address, crate::ports::free()));
        let listener = runtime.block_on(tokio::net::TcpListener::bind(address)).expect("a free port");
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { port: address.port(), recorded, _runtime: runtime }
    }

    /// Whether nothing has reached the server since the last time.
    ///
    /// # Panics
    /// When the server panicked.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.recorded.lock().expect("no panic in the server").is_empty()
    }

    /// What has reached the server since the last time, oldest first.
    ///
    /// # Panics
    /// When the server panicked.
    #[must_use]
    pub fn take_recorded(&self) -> Vec<Recorded> {
        std::mem::take(&mut self.recorded.lock().expect("no panic in the server"))
    }
}

async fn answer(State(recorded): State<Arc<Mutex<Vec<Recorded>>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let header = |(name, value): (&axum::http::HeaderName, &axum::http::HeaderValue)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    recorded.lock().expect("no panic in the server").push(Recorded {
        method: parts.method.to_string(),
        path: parts.uri.to_string(),
        headers: parts.headers.iter().map(header).collect(),
        body: body.to_vec(),
    });
    if let Some(wait) = parts.headers.get("x-wait") {
        let wait = wait.to_str().ok().and_then(|wait| wait.parse().ok()).expect("milliseconds");
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }
    if let Some(json) = parts.headers.get("x-answer-json") {
        let mut answer = with_type("application/json", String::from_utf8_lossy(json.as_bytes()).into_owned());
        if let Some(cache) = parts.headers.get("x-answer-cache") {
            answer.headers_mut().insert("cache-control", cache.clone());
        }
        return answer;
    }
    if let Some(repeats) = parts.headers.get("x-answer-large") {
        let repeats: usize = repeats.to_str().ok().and_then(|repeats| repeats.parse().ok()).expect("a number");
        let text = "x".repeat(1024).repeat(repeats);
        let list = if parts.headers.contains_key("x-answer-list") { r#","tools":[{"name":"multiply"}]"# } else { "" };
        let large = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":"{text}"{list}}}}}"#);
        return with_type("application/json", large);
    }
    match parts.headers.get("x-stream").map(|value| value.as_bytes()) {
        Some(b"lists") => return stream(": begins\n\n", &[LIST]),
        Some(b"updates") => return stream(": begins\n\n", &UPDATES),
        Some(b"endpoint") => return stream("event: endpoint\ndata: /messages?sessionId=1\n\n", &[LIST]),
        Some(_) => return stream(": begins\n\n", &[]),
        None => {}
    }
    let is_list = body.windows(12).any(|window| window == b"\"tools/list\"");
    let wanted = parts.headers.get("x-answer").map_or(&b""[..], |value| value.as_bytes());
    match (parts.method.as_str(), is_list, wanted) {
        ("GET", ..) => events(),
        (_, false, _) => with_type("application/json", OK.to_owned()),
        (_, true, b"sse") => with_type("text/event-stream", format!("event: message\r\ndata: {TOOLS}\r\n\r\n")),
        (_, true, b"gzip") => {
            let mut answer = with_type("application/json", TOOLS.to_owned());
            answer.headers_mut().insert("content-encoding", axum::http::HeaderValue::from_static("gzip"));
            answer
        }
        (_, true, _) => with_type("application/json", TOOLS.to_owned()),
    }
}

fn with_type(content_type: &str, body: String) -> Response {
    Response::builder().header("content-type", content_type).body(Body::from(body)).expect("an answer")
}

fn events() -> Response {
    stream("", &[r#"{"tick":1}"#])
}

/// The list of a stream.
const LIST: &str =
    r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"add"},{"name":"multiply"},{"name":"echo"}]}}"#;

/// A stream that begins with one thing, and goes on with events of these for ever.
fn stream(first: &'static str, next: &[&str]) -> Response {
    let next: Bytes = next.iter().map(|data| format!("data: {data}\n\n")).collect::<String>().into();
    let ticks = IntervalStream::new(tokio::time::interval(Duration::from_millis(20))).skip(1);
    let next = ticks.filter_map(move |_| (!next.is_empty()).then(|| next.clone()));
    let events = tokio_stream::once(Bytes::from_static(first.as_bytes())).chain(next);
    let body = Body::from_stream(events.map(Ok::<_, std::convert::Infallible>));
    Response::builder().header("content-type", "text/event-stream").body(body).expect("an answer")
}
