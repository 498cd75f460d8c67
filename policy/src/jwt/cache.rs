//! Tokens that were verified lately, so that a client's next call costs a comparison in place of a signature.

use std::fmt;
use std::hash::RandomState;
use std::num::NonZeroUsize;
use std::rc::Rc;

use lru::LruCache;

use super::Verified;

/// A bounded memory of verified tokens. A token is remembered together with the authentication section that accepted
/// it (issuers, audiences, key sets), so a change of any of these can't be outlived.
///
/// INVARIANT: section and token are compared byte for byte. The hash, whose key nobody knows, only finds the place.
pub struct TokenCache {
    entries: LruCache<Box<[u8]>, Rc<Verified>, RandomState>,
    /// Where keys are put together.
    key: Vec<u8>,
}

/// Tokens are secrets.
impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenCache of {}", self.entries.len())
    }
}

impl TokenCache {
    /// A cache of so many tokens.
    #[must_use]
    pub fn new(entries: NonZeroUsize) -> Self {
        Self { entries: LruCache::with_hasher(entries, RandomState::new()), key: Vec::new() }
    }

    /// Changes its size; what does not fit any more is forgotten, the oldest first.
    pub fn resize(&mut self, entries: NonZeroUsize) {
        if self.entries.cap() != entries {
            self.entries.resize(entries);
        }
    }

    /// What is known of this token, if it was verified for this authentication section and is still valid.
    pub fn verified(&mut self, token: &str, authentication: &[u8; 32], now: u64) -> Option<Rc<Verified>> {
        put_together(&mut self.key, token, authentication);
        let entry = self.entries.get(self.key.as_slice())?;
        if entry.validity.holds(now) {
            return Some(Rc::clone(entry));
        }
        self.entries.pop(self.key.as_slice());
        None
    }

    /// Remembers a verified token.
    pub fn remember(&mut self, token: &str, authentication: &[u8; 32], verified: Rc<Verified>) {
        put_together(&mut self.key, token, authentication);
        self.entries.put(self.key.as_slice().into(), verified);
    }
}

/// The section has one length, so that no two pairs make one key.
fn put_together(key: &mut Vec<u8>, token: &str, authentication: &[u8; 32]) {
    key.clear();
    key.extend_from_slice(authentication);
    key.extend_from_slice(token.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwt::claims::Validity;

    const A: [u8; 32] = [1; 32];
    const B: [u8; 32] = [2; 32];

    fn cache(entries: usize) -> TokenCache {
        TokenCache::new(NonZeroUsize::new(entries).expect("not zero"))
    }

    fn valid(from: f64, until: f64) -> Rc<Verified> {
        Rc::new(Verified::anonymous(Validity { from, until }))
    }

    #[test]
    fn remembers_a_token_for_its_section_and_time_only() {
        let mut cache = cache(4);
        cache.remember("t", &A, valid(10.0, 20.0));
        assert!(cache.verified("t", &A, 10).is_some());
        assert!(cache.verified("u", &A, 10).is_none(), "another token");
        assert!(cache.verified("t", &B, 10).is_none(), "another section");
        assert!(cache.verified("t", &A, 9).is_none(), "before its time");
        cache.remember("t", &A, valid(10.0, 20.0));
        assert!(cache.verified("t", &A, 20).is_none(), "after its time");
        assert!(cache.verified("t", &A, 19).is_none(), "and then it is forgotten");
    }

    #[test]
    fn forgets_the_oldest() {
        let mut cache = cache(2);
        for token in ["a", "b", "c"] {
            cache.remember(token, &A, valid(0.0, 9.0));
        }
        assert!(cache.verified("a", &A, 1).is_none());
        assert!(cache.verified("b", &A, 1).is_some());
        assert!(cache.verified("c", &A, 1).is_some());
    }
}
