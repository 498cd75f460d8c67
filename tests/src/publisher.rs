//! A server that publishes what it is told to, as an issuer does its keys and metadata.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{ETAG, IF_NONE_MATCH};
use axum::response::Response;
use tokio::runtime::Runtime;

use crate::toolward::Issuer;

/// What is at a path.
#[derive(Clone, Debug)]
pub enum Published {
    /// A JSON document, with an entity tag that says its content.
    Json(String),
    /// A redirect.
    Redirect(String),
    /// So many bytes.
    Bytes(usize),
    /// An answer that begins and never ends.
    Endless,
}

#[derive(Clone, Debug, Default)]
struct Shared {
    pages: Arc<Mutex<BTreeMap<String, Published>>>,
    asked: Arc<Mutex<Vec<(String, u16)>>>,
}

/// A running server.
#[derive(Debug)]
pub struct Publisher {
    /// Where it listens.
    pub port: u16,
    shared: Shared,
    _runtime: Runtime,
}

impl Publisher {
    /// One that publishes nothing yet.
    #[must_use]
    pub fn start() -> Self {
        Self::start_on(crate::ports::free())
    }

    /// The same on this port.
    ///
    /// # Panics
    /// When it can't listen.
    #[must_use]
    pub fn start_on(port: u16) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let shared = Shared::default();
        let app = Router::new().fallback(answer).with_state(shared.clone());
        let listener = runtime.block_on(tokio::net::TcpListener::bind(("127.0.0.1", port))).expect("a free port");
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { port, shared, _runtime: runtime }
    }

    /// The URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Publishes something at a path, in place of what was there.
    ///
    /// # Panics
    /// When the server panicked.
    pub fn publish(&self, path: &str, what: Published) {
        self.shared.pages.lock().expect("no panic").insert(path.to_owned(), what);
    }

    /// Publishes the key set of these at a path.
    pub fn publish_keys(&self, path: &str, issuers: &[&Issuer]) {
        self.publish(path, Published::Json(Issuer::joined(issuers)));
    }

    /// Paths that were asked for since the last time, with the statuses of the answers.
    ///
    /// # Panics
    /// When the server panicked.
    #[must_use]
    pub fn take_asked(&self) -> Vec<(String, u16)> {
        std::mem::take(&mut self.shared.asked.lock().expect("no panic"))
    }
}

async fn answer(State(Shared { pages, asked }): State<Shared>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let page = pages.lock().expect("no panic").get(&path).cloned();
    let known = request.headers().get(IF_NONE_MATCH).and_then(|tag| tag.to_str().ok());
    let answer = Response::builder();
    let answer = match page {
        None => answer.status(404).body(Body::empty()),
        Some(Published::Redirect(to)) => answer.status(302).header("location", to).body(Body::empty()),
        Some(Published::Bytes(count)) => answer.body(Body::from(vec![b' '; count])),
        Some(Published::Endless) => answer.body(Body::from_stream(tokio_stream::StreamExt::map(
            tokio_stream::wrappers::IntervalStream::new(tokio::time::interval(Duration::from_millis(200))),
            |_| Ok::<_, std::convert::Infallible>(" "),
        ))),
        Some(Published::Json(text)) => {
            use std::hash::{DefaultHasher, Hash as _, Hasher as _};
            let mut hasher = DefaultHasher::new();
            text.hash(&mut hasher);
            let tag = format!("\"{:x}\"", hasher.finish());
            if known == Some(tag.as_str()) {
                answer.status(304).header(ETAG, tag).body(Body::empty())
            } else {
                answer.header("content-type", "application/json").header(ETAG, tag).body(Body::from(text))
            }
        }
    };
    let answer = answer.expect("an answer");
    asked.lock().expect("no panic").push((path, answer.status().as_u16()));
    answer
}
