//! Names of hosts that backends are at: which are wanted, by whom, and what they resolve to. Here is no I/O; `source::names`
//! looks them up.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long after an answer a name is looked up again: the system's resolver does not tell for how long an answer holds.
const AGAIN_AFTER: Duration = Duration::from_secs(30);

/// The first of the times after which a name that could not be looked up is tried again; they double, up to [`AGAIN_AFTER`].
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Most addresses of a name that are of use.
const MOST_ADDRESSES: usize = 32;

/// The names that are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Each with the namespaces that want it.
    pub names: BTreeMap<String, BTreeSet<String>>,
    /// Those that are too many of their namespaces.
    pub left_out: BTreeSet<String>,
}

/// What is known of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// Nothing yet: it is being looked up.
    Pending,
    /// Its namespace has too many names.
    LeftOut,
    /// Nothing, or what was known is too old, for this reason.
    Failed(String),
    /// Its addresses as they were last told, whether they may be reached or not.
    At(Vec<IpAddr>),
}

/// All that is known; what is not in it is pending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(pub BTreeMap<String, Resolved>);

impl Names {
    /// What is known of a name.
    #[must_use]
    pub fn resolved(&self, name: &str) -> &Resolved {
        self.0.get(name).unwrap_or(&Resolved::Pending)
    }
}

/// One name over time.
#[derive(Clone, Debug)]
pub struct Lookups {
    next: Instant,
    failures: u32,
    error: Option<String>,
    last_good: Option<(Vec<IpAddr>, Instant)>,
}

impl Lookups {
    /// Of a name that nobody has looked up.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { next: now, failures: 0, error: None, last_good: None }
    }

    /// When it is to be looked up.
    #[must_use]
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Whether the last lookup failed.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// It was looked up. An answer without addresses is a failure like others.
    pub fn answered(&mut self, answer: Result<Vec<IpAddr>, String>, now: Instant) {
        match answer {
            Ok(addresses) if !addresses.is_empty() => {
                *self =
                    Self { next: now + AGAIN_AFTER, failures: 0, error: None, last_good: Some((some(addresses), now)) };
            }
            failed => {
                let wait = RETRY_AFTER.saturating_mul(1 << self.failures.min(8)).min(AGAIN_AFTER);
                self.next = now + wait;
                self.failures = self.failures.saturating_add(1);
                self.error = Some(failed.err().unwrap_or_else(|| "it has no address".to_owned()));
            }
        }
    }

    /// What is known of it, where an answer holds for so long when no other comes.
    #[must_use]
    pub fn resolved(&self, now: Instant, max_age: Duration) -> Resolved {
        match (&self.last_good, &self.error) {
            (Some((addresses, told)), _) if now.saturating_duration_since(*told) < max_age => {
                Resolved::At(addresses.clone())
            }
            (_, Some(error)) => Resolved::Failed(error.clone()),
            (_, None) => Resolved::Pending,
        }
    }
}

/// A bounded number of them, the same ones whatever their order.
fn some(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let sorted: BTreeSet<IpAddr> = addresses.into_iter().collect();
    sorted.into_iter().take(MOST_ADDRESSES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_answer_holds_while_no_other_comes_but_not_for_ever() {
        let (start, hour) = (Instant::now(), Duration::from_secs(3600));
        let one: Vec<IpAddr> = vec!["192.0.2.1".parse().unwrap()];
        let mut name = Lookups::new(start);
        assert_eq!(name.resolved(start, hour), Resolved::Pending);
        name.answered(Err("down".to_owned()), start);
        assert_eq!(name.resolved(start, hour), Resolved::Failed("down".to_owned()));
        assert_eq!(name.next(), start + RETRY_AFTER);
        name.answered(Ok(one.clone()), start);
        assert_eq!((name.resolved(start, hour), name.is_failing()), (Resolved::At(one.clone()), false));
        let mut now = start;
        for _ in 0..200 {
            now = name.next();
            assert!(now <= start + hour * 2, "it goes on being looked up");
            let outcome = if name.failures.is_multiple_of(2) { Err("down".to_owned()) } else { Ok(Vec::new()) };
            name.answered(outcome, now);
            if now < start + hour {
                assert_eq!(name.resolved(now, hour), Resolved::At(one.clone()));
            }
        }
        assert!(now > start + hour && matches!(name.resolved(now, hour), Resolved::Failed(_)));
    }

    #[test]
    fn an_answer_takes_the_place_of_the_one_before_it_whole() {
        let now = Instant::now();
        let mut name = Lookups::new(now);
        let many = |from: u32, to: u32| (from..to).rev().map(|number| IpAddr::V4(number.into())).collect::<Vec<_>>();
        name.answered(Ok(many(0, 1000)), now);
        let Resolved::At(first) = name.resolved(now, AGAIN_AFTER) else { panic!("not known") };
        assert_eq!(first.len(), MOST_ADDRESSES);
        name.answered(Ok(many(2000, 2001)), now);
        assert_eq!(name.resolved(now, AGAIN_AFTER), Resolved::At(many(2000, 2001)));
    }
}
