//! What clients of the xDS port may cost. Each bound has a defined end and a metric that counts it.

use std::time::{Duration, Instant};

/// Streams of one service account that is of no Gateway, and of all such of one namespace.
const STRANGERS: (usize, usize) = (8, 16);

/// The largest request counts as so many: what it costs to read grows with its bytes.
const LARGEST_COUNTS: usize = 2048;

/// What clients may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Connections on which no stream is served, those whose handshake goes on included. Past it the oldest of the address
    /// that has most of them is closed.
    pub idle_connections: usize,
    /// A connection on which no stream is served for this long is closed.
    pub idle_for: Duration,
    /// Streams at the same time.
    pub streams: usize,
    /// Streams of one Gateway, by its service account.
    pub streams_per_gateway: usize,
    /// A client must say who it is within this time.
    pub first_message_within: Duration,
    /// A message must arrive whole within this time.
    pub message_within: Duration,
    /// Largest message, in bytes. After a reconnect a client lists all versions that it has: some 100 bytes per resource.
    pub message_bytes: usize,
    /// Largest message of a service account that is of no Gateway, in bytes.
    pub stranger_message_bytes: usize,
    /// A client that does not read a response within this time is disconnected.
    pub read_within: Duration,
    /// Requests on a stream before it is slowed down, and how many more per second: what comes faster waits in the
    /// client. A large one counts as several.
    pub requests_at_once: u32,
    /// See [`Self::requests_at_once`].
    pub requests_per_second: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            idle_connections: 512,
            idle_for: Duration::from_secs(10),
            streams: 4096,
            streams_per_gateway: 512,
            first_message_within: Duration::from_secs(10),
            message_within: Duration::from_secs(30),
            message_bytes: 8 * 1024 * 1024,
            stranger_message_bytes: 256 * 1024,
            read_within: Duration::from_secs(30),
            requests_at_once: 5000,
            requests_per_second: 500,
        }
    }
}

impl Bounds {
    /// Streams of the Gateways of one namespace.
    #[must_use]
    pub fn streams_per_namespace(&self) -> usize {
        self.streams / 4
    }

    /// Streams of all that only namespaces get which have few.
    #[must_use]
    pub fn streams_reserved(&self) -> usize {
        self.streams / 4
    }

    /// Streams of one address, where nobody is asked who it is.
    #[must_use]
    pub fn streams_per_address(&self) -> usize {
        self.streams / 2
    }

    /// Streams of one service account that is of no Gateway, of all such of its namespace, and of all such. They come on top
    /// of the others.
    #[must_use]
    pub fn streams_of_strangers(&self) -> (usize, usize, usize) {
        let (each, namespace) = STRANGERS;
        (each, namespace, self.streams / 16)
    }

    /// Bytes of messages that are on their way: of all clients, and of one namespace (or address, where nobody is asked).
    #[must_use]
    pub fn bytes_in_receipt(&self) -> (usize, usize) {
        (self.message_bytes.saturating_mul(8), self.message_bytes.saturating_mul(2))
    }

    /// Bytes of the names that are remembered for streams: of all clients, and of one namespace (or address, where nobody is
    /// asked).
    #[must_use]
    pub fn bytes_of_names(&self) -> (usize, usize) {
        (self.message_bytes.saturating_mul(24), self.message_bytes.saturating_mul(8))
    }
}

/// How fast requests may come.
#[derive(Debug)]
pub(super) struct Pace {
    per_second: f64,
    at_once: f64,
    /// A request of more bytes counts as several.
    bytes_of_one: usize,
    left: f64,
    since: Instant,
}

impl Pace {
    pub(super) fn new(bounds: &Bounds, now: Instant) -> Self {
        let (at_once, per_second) = (f64::from(bounds.requests_at_once), f64::from(bounds.requests_per_second));
        let bytes_of_one = (bounds.message_bytes / LARGEST_COUNTS).max(1);
        Self { per_second, at_once, bytes_of_one, left: at_once, since: now }
    }

    /// Counts one request of so many bytes: how long to wait before the next one is read.
    pub(super) fn count(&mut self, bytes: usize, now: Instant) -> Option<Duration> {
        let counts = bytes.div_ceil(self.bytes_of_one).max(1);
        let gained = now.saturating_duration_since(self.since).as_secs_f64() * self.per_second;
        self.left = (self.left + gained).min(self.at_once) - f64::from(u32::try_from(counts).unwrap_or(u32::MAX));
        self.since = now;
        (self.left < 0.0).then(|| Duration::from_secs_f64(-self.left / self.per_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_a_pace() {
        let bounds = Bounds { requests_at_once: 2, requests_per_second: 10, ..Bounds::default() };
        let start = Instant::now();
        let mut pace = Pace::new(&bounds, start);
        assert_eq!(pace.count(100, start), None);
        assert_eq!(pace.count(100, start), None);
        assert_eq!(pace.count(100, start), Some(Duration::from_millis(100)));
        assert_eq!(pace.count(100, start + Duration::from_secs(60)), None, "and nothing is held against it");
    }

    #[test]
    fn large_requests_count_as_several() {
        let bounds = Bounds { requests_at_once: 4, requests_per_second: 10, ..Bounds::default() };
        let start = Instant::now();
        let mut pace = Pace::new(&bounds, start);
        assert_eq!(pace.count(4 * 4096, start), None);
        assert_eq!(pace.count(4097, start), Some(Duration::from_millis(200)));
        let mut pace = Pace::new(&Bounds::default(), start);
        assert_eq!(pace.count(bounds.message_bytes, start), None, "all that a client has, after a reconnect");
    }
}
