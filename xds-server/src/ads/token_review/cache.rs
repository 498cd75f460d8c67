//! Good tokens of the last minute, by their SHA-256: a restart of many Envoys asks once for each token.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::super::identity::ServiceAccount;

/// How long an answer counts. A token that was withdrawn is good for that much longer.
pub const KEPT: Duration = Duration::from_secs(60);

/// Most answers that are kept.
pub const MAX_ENTRIES: usize = 4096;

/// Good tokens, by their SHA-256.
#[derive(Debug, Default)]
pub struct Cache(BTreeMap<[u8; 32], Entry>);

#[derive(Debug)]
struct Entry {
    account: ServiceAccount,
    since: Instant,
}

impl Cache {
    /// Whose token this was found to be.
    #[must_use]
    pub fn get(&self, key: &[u8; 32], now: Instant) -> Option<ServiceAccount> {
        let entry = self.0.get(key).filter(|entry| entry.counts(now))?;
        Some(entry.account.clone())
    }

    /// Remembers one. Past the limit the oldest is forgotten.
    pub fn insert(&mut self, key: [u8; 32], account: ServiceAccount, now: Instant) {
        if self.0.len() >= MAX_ENTRIES {
            self.0.retain(|_, entry| entry.counts(now));
        }
        if self.0.len() >= MAX_ENTRIES
            && let Some(oldest) = self.0.iter().min_by_key(|(_, entry)| entry.since).map(|(key, _)| *key)
        {
            self.0.remove(&oldest);
        }
        self.0.insert(key, Entry { account, since: now });
    }
}

impl Entry {
    fn counts(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < KEPT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> [u8; 32] {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        key
    }

    #[test]
    fn answers_count_for_a_while() {
        let (start, account) = (Instant::now(), ServiceAccount::new("ns", "a").unwrap());
        let mut cache = Cache::default();
        cache.insert(key(1), account.clone(), start);
        assert_eq!(cache.get(&key(1), start + KEPT - Duration::from_millis(1)), Some(account));
        assert_eq!(cache.get(&key(1), start + KEPT), None);
        assert_eq!(cache.get(&key(2), start), None);
    }

    #[test]
    fn they_are_bounded() {
        let (start, account) = (Instant::now(), ServiceAccount::new("ns", "a").unwrap());
        let mut cache = Cache::default();
        for number in 0..MAX_ENTRIES + 2 {
            cache.insert(key(number), account.clone(), start + Duration::from_micros(number as u64));
        }
        assert_eq!(cache.0.len(), MAX_ENTRIES);
        assert_eq!(cache.get(&key(1), start), None, "the oldest are gone");
        assert_eq!(cache.get(&key(2), start), Some(account.clone()));
        cache.insert(key(0), account, start + 2 * KEPT);
        assert_eq!(cache.0.len(), 1, "what no longer counts goes first");
    }
}
