//! One key set over time: when to fetch it again, which keys hold, and until when. Time is an argument.
//!
//! ```text
//! fetched ─> keys hold until the next fetch ─ fails ─> the last good ones hold … until they are too old ─> none
//!              └─ a key that the set has no longer holds for the grace, and then no more
//! ```
//! What was fetched counts, also where it is an empty set: only what could not be fetched or read leaves all as it was.

use std::time::{Duration, Instant};

use toolward_policy::config::{Key, KeySet};
use toolward_policy::jwt::jwks::{Jwks, LeftOut};

use super::{Failing, Known, Removed};

/// How long a set is good for where its issuer does not say.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(5 * 60);

/// What an issuer says is taken within these bounds. Until the next fetch nobody knows of a key that was removed.
const LIFETIMES: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(5 * 60));

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

/// How long what is known of a key set holds.
#[derive(Clone, Copy, Debug)]
pub struct Holds {
    /// A set of which there is no good fetch for so long is good no more.
    pub max_age: Duration,
    /// A key that is no longer in the set holds for so long from the fetch on that shows it. Tokens that it signed are still
    /// about, and not all servers of an issuer change at once.
    pub removed_key_grace: Duration,
}

/// A key set over time.
#[derive(Clone, Debug)]
pub struct Cached {
    holds: Holds,
    good: Option<Good>,
    failing: Option<String>,
    failures: u32,
    attempted: Option<Instant>,
    next: Instant,
}

#[derive(Clone, Debug)]
struct Good {
    keys: Vec<Key>,
    left_out: Vec<LeftOut>,
    /// Keys that the set has no longer.
    former: Vec<Former>,
    metadata: Option<String>,
    fetched: Instant,
    fetched_unix: u64,
}

#[derive(Clone, Debug)]
struct Former {
    key: Key,
    until: Instant,
    until_unix: u64,
}

/// What came of a good fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The set, of which perhaps no key is fit for use; none: as it was.
    pub keys: Option<Jwks>,
    /// The issuer's metadata, where they were fetched.
    pub metadata: Option<String>,
    /// How long the issuer says that they are good for.
    pub lifetime: Option<Duration>,
}

impl Cached {
    /// Nothing was fetched yet.
    #[must_use]
    pub fn new(holds: Holds, now: Instant) -> Self {
        Self { holds, good: None, failing: None, failures: 0, attempted: None, next: now }
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
        let former = good.former.iter().map(|former| former.until);
        let too_old = self.failing.is_some().then(|| good.fetched + self.holds.max_age);
        former.chain(too_old).filter(|change| *change > now).min()
    }

    /// An attempt succeeded. `jitter` is a number from 0 to 1.
    pub fn succeeded(&mut self, fetched: Fetched, now: Instant, unix: u64, jitter: f64) {
        let lifetime = fetched.lifetime.unwrap_or(DEFAULT_LIFETIME).clamp(LIFETIMES.0, LIFETIMES.1);
        // What it protects is closed, or will be, and nobody's token brings the next fetch forward then.
        let is_empty = fetched.keys.as_ref().is_some_and(|set| set.keys.keys.is_empty())
            || (fetched.keys.is_none() && self.good.as_ref().is_some_and(|good| good.keys.is_empty()));
        let lifetime = if is_empty { RETRY_LAST } else { lifetime };
        self.good = match (self.good.take(), fetched.keys) {
            (None, None) => return self.failed("the server says that nothing has changed, of nothing".to_owned(), now),
            (None, Some(Jwks { keys, left_out })) => {
                let (keys, former, metadata) = (keys.keys, Vec::new(), fetched.metadata);
                Some(Good { keys, left_out, former, metadata, fetched: now, fetched_unix: unix })
            }
            (Some(last), set) => {
                let grace = self.holds.removed_key_grace;
                Some(last.renewed(set, fetched.metadata, now, unix, grace))
            }
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
                    Some(failing) if now >= good.fetched + self.holds.max_age => Known::Expired(failing),
                    failing => good.known(now, failing),
                }
            }
        }
    }
}

impl Good {
    fn renewed(self, set: Option<Jwks>, metadata: Option<String>, now: Instant, unix: u64, grace: Duration) -> Self {
        let (until, until_unix) = (now + grace, unix.saturating_add(grace.as_secs()));
        let Jwks { keys: KeySet { keys, .. }, left_out } = set.unwrap_or_else(|| Jwks {
            keys: KeySet { keys: self.keys.clone(), place: None },
            left_out: self.left_out.clone(),
        });
        let just_gone = self.keys.into_iter().map(|key| Former { key, until, until_unix });
        let mut former: Vec<Former> = self.former.into_iter().chain(just_gone).collect();
        // INVARIANT: a former key never stands beside a present one that a token could mean as well. One without a name could
        // be meant by any token, and is gone at once.
        former.retain(|Former { key, until, .. }| {
            *until > now && key.kid.is_some() && !keys.iter().any(|present| present.kid == key.kid)
        });
        former.drain(..former.len().saturating_sub(MAX_FORMER_KEYS));
        Self { keys, left_out, former, metadata, fetched: now, fetched_unix: unix }
    }

    fn known(&self, now: Instant, failing: Option<Failing>) -> Known {
        let former = || self.former.iter().filter(|former| former.until > now);
        let keys = self.keys.iter().chain(former().map(|former| &former.key)).cloned().collect();
        let removed = former()
            .filter_map(|Former { key, until_unix, .. }| Some(Removed { kid: key.kid.clone()?, until: *until_unix }));
        Known::Good {
            keys: KeySet { keys, place: None },
            left_out: self.left_out.clone(),
            removed: removed.collect(),
            metadata: self.metadata.clone(),
            failing,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use toolward_policy::config::{Algorithm, KeyMaterial};
    use toolward_policy::jwt::jwks::{self, MAX_KEYS};

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    const HOLDS: Holds = Holds { max_age: DAY, removed_key_grace: Duration::from_secs(300) };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn set(kids: &[&str]) -> Option<Jwks> {
        let key = |kid: &&str| Key {
            kid: Some((*kid).to_owned()),
            algorithms: vec![Algorithm::EdDSA],
            material: KeyMaterial::Ed25519 { x: (*kid).to_owned() },
        };
        let keys = KeySet { keys: kids.iter().map(key).collect(), place: None };
        Some(Jwks { keys, left_out: Vec::new() })
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
            ("a sensible time", Some(120), 120),
            ("no time at all", Some(0), 60),
            ("a year", Some(31_536_000), 300),
        ] {
            let start = Instant::now();
            let mut cached = Cached::new(HOLDS, start);
            cached.succeeded(fetched(&["a"], said), start, 0, 0.0);
            assert_eq!(cached.next_fetch() - start, seconds(expected), "{name}");
            cached.succeeded(fetched(&["a"], said), start, 0, 1.0);
            assert_eq!(cached.next_fetch() - start, seconds(expected).mul_f64(0.9), "{name}, a little earlier");
        }
    }

    fn removed(known: &Known) -> Vec<(&str, u64)> {
        match known {
            Known::Good { removed, .. } => removed.iter().map(|key| (key.kid.as_str(), key.until)).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn a_key_that_is_gone_holds_for_the_grace() {
        let start = Instant::now();
        let mut cached = Cached::new(HOLDS, start);
        cached.succeeded(fetched(&["old"], Some(31_536_000)), start, 1000, 0.0);
        cached.succeeded(fetched(&["new"], Some(31_536_000)), start + seconds(100), 1100, 0.0);
        let known = cached.known(start + seconds(399));
        assert_eq!((kids(&known), removed(&known)), (vec!["new", "old"], vec![("old", 1400)]));
        assert_eq!(cached.next_change(start + seconds(100)), Some(start + seconds(400)));
        cached.succeeded(fetched(&["new"], None), start + seconds(200), 1200, 0.0);
        let unchanged = Fetched { keys: None, metadata: None, lifetime: None };
        cached.succeeded(unchanged, start + seconds(300), 1300, 0.0);
        assert_eq!(removed(&cached.known(start + seconds(399))), [("old", 1400)], "from when it was missed first");
        let known = cached.known(start + seconds(400));
        assert_eq!((kids(&known), removed(&known)), (vec!["new"], vec![]));
        cached.succeeded(fetched(&["old"], None), start + seconds(350), 1350, 0.0);
        let known = cached.known(start + seconds(350));
        assert_eq!((kids(&known), removed(&known)), (vec!["old", "new"], vec![("new", 1650)]), "back again, once");
    }

    #[test]
    fn what_was_fetched_counts_also_when_it_is_nothing() {
        let start = Instant::now();
        let unfit = LeftOut { index: 0, kid: Some("weak".to_owned()), why: "weak".to_owned() };
        let sets = [("emptied", Vec::new()), ("left with a key that is not fit", vec![unfit])];
        for (row, left_out) in sets {
            let mut cached = Cached::new(HOLDS, start);
            cached.succeeded(fetched(&["a", "b"], None), start, 0, 0.0);
            let nothing = Jwks { keys: KeySet { keys: Vec::new(), place: None }, left_out: left_out.clone() };
            let nothing = Fetched { keys: Some(nothing), metadata: None, lifetime: None };
            cached.succeeded(nothing, start + seconds(10), 10, 0.0);
            assert_eq!(cached.next_fetch(), start + seconds(40), "{row}: soon again");
            // The last good set does not come back with errors.
            cached.failed("down".to_owned(), start + seconds(20));
            assert_eq!(kids(&cached.known(start + seconds(309))), ["a", "b"], "{row}");
            let Known::Good { keys, left_out: told, .. } = cached.known(start + seconds(310)) else {
                panic!("{row}: not good")
            };
            assert_eq!((keys.keys, told), (Vec::new(), left_out), "{row}");
            let unchanged = Fetched { keys: None, metadata: None, lifetime: Some(seconds(300)) };
            cached.succeeded(unchanged, start + seconds(400), 400, 0.0);
            assert_eq!(cached.next_fetch(), start + seconds(430), "{row}: soon again");
        }
    }

    #[test]
    fn a_key_that_is_gone_ends_also_where_its_set_has_too_many() {
        let start = Instant::now();
        let mut cached = Cached::new(HOLDS, start);
        cached.succeeded(fetched(&["old"], None), start, 0, 0.0);
        let jwk = |number| {
            let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
            json!({ "kty": "OKP", "crv": "Ed25519", "kid": format!("new-{number}"), "x": x })
        };
        let keys: Vec<_> = (0..=MAX_KEYS).map(jwk).collect();
        let many = jwks::parse(json!({ "keys": keys }).to_string().as_bytes(), 4096).unwrap();
        cached.succeeded(Fetched { keys: Some(many), metadata: None, lifetime: None }, start + seconds(10), 10, 0.0);
        assert!(kids(&cached.known(start + seconds(309))).contains(&"old"));
        let known = cached.known(start + seconds(310));
        assert_eq!((kids(&known).len(), kids(&known).contains(&"old")), (MAX_KEYS, false));
    }

    #[test]
    fn without_a_grace_a_key_is_gone_at_once() {
        let start = Instant::now();
        let mut cached = Cached::new(Holds { removed_key_grace: Duration::ZERO, ..HOLDS }, start);
        cached.succeeded(fetched(&["a", "b"], None), start, 0, 0.0);
        cached.succeeded(fetched(&["b"], None), start + seconds(1), 0, 0.0);
        assert_eq!(kids(&cached.known(start + seconds(1))), ["b"]);
    }

    #[test]
    fn a_key_without_a_name_is_gone_at_once() {
        let start = Instant::now();
        let mut cached = Cached::new(HOLDS, start);
        let mut unnamed = set(&["a", "b"]).unwrap();
        unnamed.keys.keys[0].kid = None;
        cached.succeeded(Fetched { keys: Some(unnamed), metadata: None, lifetime: None }, start, 0, 0.0);
        cached.succeeded(fetched(&[], None), start + seconds(1), 0, 0.0);
        let Known::Good { keys, .. } = cached.known(start + seconds(1)) else { panic!("not good") };
        assert_eq!(keys.keys.len(), 1);
        assert_eq!(keys.keys[0].kid.as_deref(), Some("b"));
    }

    #[test]
    fn a_key_that_was_replaced_under_its_name_is_gone_at_once() {
        let start = Instant::now();
        let mut cached = Cached::new(HOLDS, start);
        cached.succeeded(fetched(&["a"], None), start, 0, 0.0);
        let mut other = set(&["a"]).unwrap();
        other.keys.keys[0].material = KeyMaterial::Ed25519 { x: "other".to_owned() };
        let replaced = Fetched { keys: Some(other.clone()), metadata: None, lifetime: None };
        cached.succeeded(replaced, start + seconds(1), 0, 0.0);
        let Known::Good { keys, .. } = cached.known(start + seconds(1)) else { panic!("not good") };
        assert_eq!(keys, other.keys);
    }

    #[test]
    fn the_last_good_set_holds_until_it_is_too_old() {
        let start = Instant::now();
        let mut cached = Cached::new(HOLDS, start);
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
        let mut cached = Cached::new(HOLDS, start);
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
        let mut cached = Cached::new(HOLDS, start);
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
