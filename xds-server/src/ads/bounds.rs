//! What clients of the xDS port may cost. Each bound has a defined end and a metric that counts it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelValue;

/// What clients may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Connections at the same time.
    pub connections: usize,
    /// Connections from one address: others must find room.
    pub connections_per_address: usize,
    /// A connection must begin to speak HTTP/2 within this time.
    pub preface_within: Duration,
    /// Streams at the same time.
    pub streams: usize,
    /// Streams of one client: a service account where clients are known, else an address.
    pub streams_per_client: usize,
    /// A client must say who it is within this time.
    pub first_message_within: Duration,
    /// A client that does not read a response within this time is disconnected.
    pub read_within: Duration,
    /// Requests on a stream before it is slowed down, and how many more per second: what comes faster waits in the
    /// client.
    pub requests_at_once: u32,
    /// See [`Self::requests_at_once`].
    pub requests_per_second: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 8192,
            connections_per_address: 4096,
            preface_within: Duration::from_secs(10),
            streams: 4096,
            streams_per_client: 2048,
            first_message_within: Duration::from_secs(30),
            read_within: Duration::from_secs(30),
            requests_at_once: 5000,
            requests_per_second: 500,
        }
    }
}

/// Places of which there is a number in all, and a smaller number for each one who takes them.
#[derive(Clone, Debug)]
pub(super) struct Places {
    total: usize,
    each: usize,
    taken: Arc<Mutex<HashMap<String, usize>>>,
}

/// A place until dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    who: String,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    All(usize),
    Own(usize),
}

impl Full {
    /// For the metric.
    pub(super) fn reason(self) -> RefusedConnection {
        match self {
            Self::All(_) => RefusedConnection::TooMany,
            Self::Own(_) => RefusedConnection::TooManyOfOneAddress,
        }
    }
}

/// Why a connection is closed at once, as the metric shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(missing_docs, reason = "the names say it")]
pub enum RefusedConnection {
    TooMany,
    TooManyOfOneAddress,
}

impl Places {
    pub(super) fn new(total: usize, each: usize) -> Self {
        Self { total, each, taken: Arc::default() }
    }

    /// Takes a place.
    pub(super) fn take(&self, who: &str) -> Result<Place, Full> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.values().sum::<usize>() >= self.total {
            return Err(Full::All(self.total));
        }
        let own = taken.entry(who.to_owned()).or_default();
        if *own >= self.each {
            return Err(Full::Own(self.each));
        }
        *own += 1;
        Ok(Place { places: self.clone(), who: who.to_owned() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.who) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.who);
            }
        }
    }
}

/// How fast requests may come.
#[derive(Debug)]
pub(super) struct Pace {
    per_second: f64,
    at_once: f64,
    left: f64,
    since: Instant,
}

impl Pace {
    pub(super) fn new(bounds: &Bounds, now: Instant) -> Self {
        let at_once = f64::from(bounds.requests_at_once);
        Self { per_second: f64::from(bounds.requests_per_second), at_once, left: at_once, since: now }
    }

    /// Counts one request: how long to wait before the next one is read.
    pub(super) fn count(&mut self, now: Instant) -> Option<Duration> {
        let gained = now.saturating_duration_since(self.since).as_secs_f64() * self.per_second;
        self.left = (self.left + gained).min(self.at_once) - 1.0;
        self.since = now;
        (self.left < 0.0).then(|| Duration::from_secs_f64(-self.left / self.per_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_all_places() {
        let places = Places::new(3, 2);
        let first = places.take("a").expect("a place");
        let _second = places.take("a").expect("a place");
        assert_eq!(places.take("a").err(), Some(Full::Own(2)));
        let _other = places.take("b").expect("a place");
        assert_eq!(places.take("c").err(), Some(Full::All(3)));
        drop(first);
        assert!(places.take("c").is_ok());
    }

    #[test]
    fn requests_have_a_pace() {
        let bounds = Bounds { requests_at_once: 2, requests_per_second: 10, ..Bounds::default() };
        let start = Instant::now();
        let mut pace = Pace::new(&bounds, start);
        assert_eq!(pace.count(start), None);
        assert_eq!(pace.count(start), None);
        assert_eq!(pace.count(start), Some(Duration::from_millis(100)));
        assert_eq!(pace.count(start + Duration::from_secs(60)), None, "and nothing is held against it");
    }
}
