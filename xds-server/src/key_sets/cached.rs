//! One key set over time: when to fetch it again, which keys hold, and until when. Time is an argument.
//!
//! ```text
//! fetched ─> keys hold until the next fetch ─ fails ─> the last good ones hold … until they are too old ─> none
//!              └─ a key that the set has no longer holds until the time is over that the issuer gave it
//! ```

use std::time::{Duration, Instant};

use toolward_policy::config::{Key, KeySet};

use super::{Failing, Known};

/// How long a set is good for where its issuer does not say.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(5 * 60);

/// What an issuer says is taken within these bounds.
const LIFETIMES: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(60 * 60));

/// Time from a failed attempt to the next: doubled each time…
const RETRY_FIRST: Duration = Duration::from_secs(1);

/// …up to this.
const RETRY_LAST: Duration = Duration::from_secs(30);

/// A set in which a filter misses a key is fetched at most so often…
const ASKED_EVERY: Duration = Duration::from_secs(2);

/// …or so often, when fetching fails.
const ASKED_EVERY_FAILING: Duration = Duration::from_secs(4);

/// Keys that the set has no longer, at most.
const MAX_FORMER_KEYS: usize = 64;

/// A key set over time.
#[derive(Clone, Debug)]
pub struct Cached {
    /// A set in which there is no good fetch for so long is good no more.
    max_age: Duration,
    good: Option<Good>,
    failing: Option<String>,
    failures: u32,
    attempted: Option<Instant>,
    next: Instant,
}

#[derive(Clone, Debug)]
struct Good {
    keys: Vec<Key>,
    /// Keys that the set has no longer, and until when they hold.
    former: Vec<(Key, Instant)>,
    metadata: Option<String>,
    fetched: Instant,
    fetched_unix: u64,
    lifetime: Duration,
}

/// What came of a good fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The keys; none: as they were.
    pub keys: Option<KeySet>,
    /// The issuer's metadata, where they were fetched.
    pub metadata: Option<String>,
    /// How long the issuer says that they are good for.
    pub lifetime: Option<Duration>,
}

impl Cached {
    /// Nothing was fetched yet.
    #[must_use]
    pub fn new(max_age: Duration, now: Instant) -> Self {
        Self { max_age, good: None, failing: None, failures: 0, attempted: None, next: now }
    }

    /// When it is to be fetched again.
    #[must_use]
    pub fn next_fetch(&self) -> Instant {
        self.next
    }

    /// When [`Self::known`] changes by itself.
    #[must_use]
    pub fn next_change(&self, now: Instant) -> Option<Instant> {
        let good = self.good.as_ref()?;
        let former = good.former.iter().map(|(_, until)| *until);
        let too_old = self.failing.is_some().then(|| good.fetched + self.max_age);
        former.chain(too_old).filter(|change| *change > now).min()
    }

    /// An attempt succeeded. `jitter` is a number from 0 to 1.
    pub fn succeeded(&mut self, fetched: Fetched, now: Instant, unix: u64, jitter: f64) {
        let lifetime = fetched.lifetime.unwrap_or(DEFAULT_LIFETIME).clamp(LIFETIMES.0, LIFETIMES.1);
        let keys = fetched.keys.map(|set| set.keys);
        self.good = match (self.good.take(), keys) {
            (None, None) => return self.failed("the server says that nothing has changed, of nothing".to_owned(), now),
            (None, Some(keys)) => {
                let (former, metadata) = (Vec::new(), fetched.metadata);
                Some(Good { keys, former, metadata, fetched: now, fetched_unix: unix, lifetime })
            }
            (Some(last), keys) => Some(last.renewed(keys, fetched.metadata, now, unix, lifetime)),
        };
        (self.failing, self.failures, self.attempted) = (None, 0, Some(now));
        // A little earlier than it must be, so that not all sets of all replicas are fetched at once.
        self.next = now + lifetime.mul_f64(1.0 - 0.1 * jitter.clamp(0.0, 1.0));
    }

    /// An attempt failed.
    pub fn failed(&mut self, error: String, now: Instant) {
        self.failing.get_or_insert(error);
        self.attempted = Some(now);
        let doubled = RETRY_FIRST.saturating_mul(1_u32.checked_shl(self.failures.min(16)).unwrap_or(u32::MAX));
        self.next = now + doubled.min(RETRY_LAST);
        self.failures = self.failures.saturating_add(1);
    }

    /// A filter misses a key in it: it is fetched soon, but not too often.
    pub fn missed(&mut self, now: Instant) {
        let pause = if self.failing.is_some() { ASKED_EVERY_FAILING } else { ASKED_EVERY };
        let earliest = self.attempted.map_or(now, |attempted| attempted + pause);
        self.next = self.next.min(earliest.max(now));
    }

    /// Whether the last attempt failed.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.failing.is_some()
    }

    /// When it was fetched last with success.
    #[must_use]
    pub fn fetched(&self) -> Option<Instant> {
        self.good.as_ref().map(|good| good.fetched)
    }

    /// What is known of it.
    #[must_use]
    pub fn known(&self, now: Instant) -> Known {
        match (&self.good, &self.failing) {
            (None, None) => Known::Pending,
            (None, Some(error)) => Known::Unfetched(error.clone()),
            (Some(good), failing) => {
                let failing = failing.clone().map(|error| Failing { last_good: good.fetched_unix, error });
                match failing {
                    Some(failing) if now >= good.fetched + self.max_age => Known::Expired(failing),
                    failing => Known::Good { keys: good.keys(now), metadata: good.metadata.clone(), failing },
                }
            }
        }
    }
}

impl Good {
    fn renewed(
        self,
        keys: Option<Vec<Key>>,
        metadata: Option<String>,
        now: Instant,
        unix: u64,
        lifetime: Duration,
    ) -> Self {
        let until = self.fetched + self.lifetime;
        let keys = keys.unwrap_or_else(|| self.keys.clone());
        let just_gone = self.keys.into_iter().map(|key| (key, until));
        let mut former: Vec<(Key, Instant)> = self.former.into_iter().chain(just_gone).collect();
        // INVARIANT: a former key never stands beside a present one that a token could mean as well.
        former.retain(|(key, until)| *until > now && !keys.iter().any(|present| present.kid == key.kid));
        former.drain(..former.len().saturating_sub(MAX_FORMER_KEYS));
        Self { keys, former, metadata, fetched: now, fetched_unix: unix, lifetime }
    }

    fn keys(&self, now: Instant) -> KeySet {
        let former = self.former.iter().filter(|(key, until)| *until > now && key.kid.is_some());
        KeySet { keys: self.keys.iter().chain(former.map(|(key, _)| key)).cloned().collect(), place: None }
    }
}

#[cfg(test)]
mod tests {
    use toolward_policy::config::{Algorithm, KeyMaterial};

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn set(kids: &[&str]) -> Option<KeySet> {
        let key = |kid: &&str| Key {
            kid: Some((*kid).to_owned()),
            algorithms: vec![Algorithm::EdDSA],
            material: KeyMaterial::Ed25519 { x: (*kid).to_owned() },
        };
        Some(KeySet { keys: kids.iter().map(key).collect(), place: None })
    }

    fn fetched(kids: &[&str], lifetime: Option<u64>) -> Fetched {
        Fetched { keys: set(kids), metadata: None, lifetime: lifetime.map(seconds) }
    }

    fn kids(known: &Known) -> Vec<&str> {
        match known {
            Known::Good { keys, .. } => keys.keys.iter().filter_map(|key| key.kid.as_deref()).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn what_the_issuer_says_counts_within_bounds() {
        for (name, said, expected) in [
            ("nothing", None, 300),
            ("a sensible time", Some(600), 600),
            ("no time at all", Some(0), 60),
            ("a year", Some(31_536_000), 3600),
        ] {
            let start = Instant::now();
            let mut cached = Cached::new(DAY, start);
            cached.succeeded(fetched(&["a"], said), start, 0, 0.0);
            assert_eq!(cached.next_fetch() - start, seconds(expected), "{name}");
            cached.succeeded(fetched(&["a"], said), start, 0, 1.0);
            assert_eq!(cached.next_fetch() - start, seconds(expected).mul_f64(0.9), "{name}, a little earlier");
        }
    }

    #[test]
    fn a_key_that_is_gone_holds_until_its_time_is_over() {
        let start = Instant::now();
        let mut cached = Cached::new(DAY, start);
        cached.succeeded(fetched(&["old"], Some(600)), start, 0, 0.0);
        cached.succeeded(fetched(&["new"], Some(600)), start + seconds(100), 0, 0.0);
        assert_eq!(kids(&cached.known(start + seconds(599))), ["new", "old"]);
        assert_eq!(cached.next_change(start + seconds(100)), Some(start + seconds(600)));
        assert_eq!(kids(&cached.known(start + seconds(600))), ["new"]);
        cached.succeeded(fetched(&["old"], Some(600)), start + seconds(200), 0, 0.0);
        assert_eq!(kids(&cached.known(start + seconds(200))), ["old", "new"], "back again, once");
    }

    #[test]
    fn a_key_that_was_replaced_under_its_name_is_gone_at_once() {
        let start = Instant::now();
        let mut cached = Cached::new(DAY, start);
        cached.succeeded(fetched(&["a"], None), start, 0, 0.0);
        let mut other = set(&["a"]).unwrap();
        other.keys[0].material = KeyMaterial::Ed25519 { x: "other".to_owned() };
        let replaced = Fetched { keys: Some(other.clone()), metadata: None, lifetime: None };
        cached.succeeded(replaced, start + seconds(1), 0, 0.0);
        let Known::Good { keys, .. } = cached.known(start + seconds(1)) else { panic!("not good") };
        assert_eq!(keys, other);
    }

    #[test]
    fn the_last_good_set_holds_until_it_is_too_old() {
        let start = Instant::now();
        let mut cached = Cached::new(DAY, start);
        assert_eq!(cached.known(start), Known::Pending);
        cached.failed("down".to_owned(), start);
        assert_eq!(cached.known(start), Known::Unfetched("down".to_owned()));
        cached.succeeded(fetched(&["a"], None), start, 7, 0.0);
        cached.failed("down".to_owned(), start + seconds(300));
        cached.failed("still down".to_owned(), start + seconds(301));
        let failing = Failing { last_good: 7, error: "down".to_owned() };
        let Known::Good { failing: said, .. } = cached.known(start + DAY - seconds(1)) else { panic!("not good") };
        assert_eq!(said, Some(failing.clone()));
        assert_eq!(cached.next_change(start), Some(start + DAY));
        assert_eq!(cached.known(start + DAY), Known::Expired(failing));
        cached.succeeded(Fetched { keys: None, metadata: None, lifetime: None }, start + DAY, 8, 0.0);
        assert_eq!(kids(&cached.known(start + DAY)), ["a"], "not modified is good");
    }

    #[test]
    fn attempts_that_fail_become_rare() {
        let start = Instant::now();
        let mut cached = Cached::new(DAY, start);
        let pauses: Vec<u64> = (0..7)
            .map(|_| {
                cached.failed(String::new(), start);
                (cached.next_fetch() - start).as_secs()
            })
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        for second in 0..100 {
            cached.missed(start + seconds(second) / 100);
        }
        assert_eq!(cached.next_fetch() - start, seconds(4), "a storm of missing keys changes little");
    }

    #[test]
    fn a_missing_key_brings_the_next_fetch_forward() {
        let start = Instant::now();
        let mut cached = Cached::new(DAY, start);
        cached.succeeded(fetched(&["a"], None), start, 0, 0.0);
        cached.missed(start + seconds(100));
        assert_eq!(cached.next_fetch(), start + seconds(100), "at once");
        cached.succeeded(fetched(&["a"], None), start + seconds(100), 0, 0.0);
        cached.missed(start + seconds(100));
        assert_eq!(cached.next_fetch(), start + seconds(102), "but not too often");
        cached.missed(start + seconds(101));
        assert_eq!(cached.next_fetch(), start + seconds(102));
    }
}
