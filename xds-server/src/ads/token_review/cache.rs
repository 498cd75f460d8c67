//! Tokens that were reviewed of late, by their SHA-256: a restart of many Envoys asks once for each token.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Most answers that are kept.
pub const MAX_ENTRIES: usize = 4096;

/// What was found out about tokens, by their SHA-256.
#[derive(Debug)]
pub struct Cache<T> {
    kept: Duration,
    entries: BTreeMap<[u8; 32], Entry<T>>,
}

#[derive(Debug)]
struct Entry<T> {
    found: T,
    since: Instant,
}

impl<T: Clone> Cache<T> {
    /// Where an answer counts for so long.
    #[must_use]
    pub fn new(kept: Duration) -> Self {
        Self { kept, entries: BTreeMap::new() }
    }

    /// What was found out about this one.
    #[must_use]
    pub fn get(&self, key: &[u8; 32], now: Instant) -> Option<T> {
        let entry = self.entries.get(key).filter(|entry| entry.counts(self.kept, now))?;
        Some(entry.found.clone())
    }

    /// Remembers one. Past the limit the oldest is forgotten.
    pub fn insert(&mut self, key: [u8; 32], found: T, now: Instant) {
        if self.entries.len() >= MAX_ENTRIES {
            let kept = self.kept;
            self.entries.retain(|_, entry| entry.counts(kept, now));
        }
        if self.entries.len() >= MAX_ENTRIES
            && let Some(oldest) = self.entries.iter().min_by_key(|(_, entry)| entry.since).map(|(key, _)| *key)
        {
            self.entries.remove(&oldest);
        }
        self.entries.insert(key, Entry { found, since: now });
    }
}

impl<T> Entry<T> {
    fn counts(&self, kept: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: Duration = Duration::from_secs(60);

    fn key(number: usize) -> [u8; 32] {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        key
    }

    #[test]
    fn answers_count_for_a_while() {
        let (start, account) = (Instant::now(), "ns/a");
        let mut cache = Cache::new(KEPT);
        cache.insert(key(1), account, start);
        assert_eq!(cache.get(&key(1), start + KEPT - Duration::from_millis(1)), Some(account));
        assert_eq!(cache.get(&key(1), start + KEPT), None);
        assert_eq!(cache.get(&key(2), start), None);
    }

    #[test]
    fn they_are_bounded() {
        let (start, account) = (Instant::now(), "ns/a");
        let mut cache = Cache::new(KEPT);
        for number in 0..MAX_ENTRIES + 2 {
            cache.insert(key(number), account, start + Duration::from_micros(number as u64));
        }
        assert_eq!(cache.entries.len(), MAX_ENTRIES);
        assert_eq!(cache.get(&key(1), start), None, "the oldest are gone");
        assert_eq!(cache.get(&key(2), start), Some(account));
        cache.insert(key(0), account, start + 2 * KEPT);
        assert_eq!(cache.entries.len(), 1, "what no longer counts goes first");
    }
}
