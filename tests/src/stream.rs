//! An open stream of events.

use std::io::{BufRead as _, BufReader};
use std::sync::{Arc, Mutex};

use reqwest::blocking::{RequestBuilder, Response};

use crate::process::eventually;

/// The data of events, line by line, for as long as the stream goes on.
pub fn data(stream: Response) -> impl Iterator<Item = String> {
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    lines.filter_map(|line| line.strip_prefix("data: ").map(str::to_owned))
}

/// An open stream, read by a thread.
#[derive(Debug)]
pub struct Stream {
    /// What it is called when something is wrong with it.
    pub kind: &'static str,
    seen: Arc<Mutex<Seen>>,
}

/// What came on it.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The data of events.
    pub events: Vec<String>,
    /// Whether nothing comes any more.
    pub ended: bool,
}

impl Stream {
    /// Opens one.
    ///
    /// # Panics
    /// When the answer is none.
    #[must_use]
    pub fn open(kind: &'static str, request: RequestBuilder) -> Self {
        let stream = request.send().expect("a stream");
        assert_eq!(stream.status(), 200, "{kind}");
        let seen = Arc::new(Mutex::new(Seen::default()));
        let writes = Arc::clone(&seen);
        std::thread::spawn(move || {
            data(stream).for_each(|data| writes.lock().expect("no panic").events.push(data));
            writes.lock().expect("no panic").ended = true;
        });
        Self { kind, seen }
    }

    /// What came so far.
    ///
    /// # Panics
    /// When its thread panicked.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.seen.lock().expect("no panic").clone()
    }

    /// Sees that it has not ended.
    ///
    /// # Panics
    /// When it has.
    pub fn is_open(&self, after: &str) {
        assert!(!self.seen().ended, "{}: ended after {after}", self.kind);
    }

    /// Waits for its end.
    pub fn ends(&self, after: &str) {
        eventually(&format!("the end of {} after {after}", self.kind), || self.seen().ended);
    }

    /// Waits for events that come from now on.
    pub fn goes_on(&self, after: &str) {
        let before = self.seen().events.len();
        eventually(&format!("events on {} after {after}", self.kind), || self.seen().events.len() > before + 3);
    }
}
