//! Keys that tokens name and that their issuer's set does not have: perhaps they are new, so the control plane is told. What
//! a token says before it is verified is anybody's word, so little is told and nothing twice.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

/// Nothing is told twice within this time, in milliseconds.
const PAUSE: u64 = 2000;

/// As much is told within it.
const MOST: usize = 8;

/// A key that an issuer's set does not have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MissingKey {
    /// The id of the place where the set is fetched.
    pub place: String,
    /// `kid`.
    pub key_id: String,
}

/// What was told lately.
#[derive(Debug, Default)]
pub struct Told(VecDeque<(u64, u64)>);

impl Told {
    /// Whether to tell of this key now, by a clock in milliseconds.
    pub fn is_news(&mut self, key: &MissingKey, now: u64) -> bool {
        self.0.retain(|(told, _)| now.saturating_sub(*told) < PAUSE);
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
        if self.0.len() >= MOST || self.0.iter().any(|(_, other)| *other == hash) {
            return false;
        }
        self.0.push_back((now, hash));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: usize) -> MissingKey {
        MissingKey { place: "p".to_owned(), key_id: id.to_string() }
    }

    #[test]
    fn nothing_is_told_twice_within_a_pause() {
        let mut told = Told::default();
        assert!(told.is_news(&key(1), 1000));
        assert!(!told.is_news(&key(1), 1001));
        assert!(told.is_news(&key(2), 1002));
        assert!(!told.is_news(&key(1), 2999));
        assert!(told.is_news(&key(1), 3000));
    }

    #[test]
    fn a_flood_is_told_in_part() {
        let mut told = Told::default();
        assert_eq!((0..1000).filter(|id| told.is_news(&key(*id), 5)).count(), MOST);
        assert!(told.is_news(&key(7), 2005), "and later again");
    }
}
