//! A budget of bytes that clients share: each of them has a share, and the last quarter of the whole is for those that
//! hold little, so that some who take all that they may keep nobody from an ordinary message.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Whoever holds no more than these gets some of the last quarter, in bytes.
const LITTLE: usize = 512 * 1024;

/// The budget.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    total: usize,
    each: usize,
    held: Arc<Mutex<HashMap<String, usize>>>,
}

/// A part of it until dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Budget,
    who: String,
    bytes: usize,
}

impl Budget {
    pub(super) fn new((total, each): (usize, usize)) -> Self {
        Self { total, each, held: Arc::default() }
    }

    /// Takes so many bytes; none: there is no room at present.
    pub(super) fn take(&self, who: &str, bytes: usize) -> Option<Share> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let all = held.values().sum::<usize>().saturating_add(bytes);
        let own = held.get(who).copied().unwrap_or_default().saturating_add(bytes);
        let open = if own <= LITTLE { self.total } else { self.total - self.total / 4 };
        if own > self.each || all > open {
            return None;
        }
        held.insert(who.to_owned(), own);
        Some(Share { budget: self.clone(), who: who.to_owned(), bytes })
    }
}

impl Share {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Has at least so many bytes from now on, and not many more; none: there is no room for them.
    pub(super) fn resized(self, bytes: usize) -> Option<Self> {
        if (self.bytes / 2..=self.bytes).contains(&bytes) {
            return Some(self);
        }
        let (budget, who) = (self.budget.clone(), self.who.clone());
        drop(self);
        budget.take(&who, bytes)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.budget.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = held.get_mut(&self.who) {
            *own = own.saturating_sub(self.bytes);
            if *own == 0 {
                held.remove(&self.who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    #[test]
    fn nobody_holds_all_and_little_finds_room() {
        let budget = Budget::new((16 * MIB, 8 * MIB));
        let first = budget.take("a", 8 * MIB).expect("room");
        assert!(budget.take("a", 1).is_none(), "its own share is used up");
        let _second = budget.take("b", 4 * MIB).expect("room");
        assert!(budget.take("b", MIB).is_none(), "the last quarter");
        let _little = budget.take("c", LITTLE).expect("room");
        assert!(budget.take("c", 1).is_none(), "is for those that hold little");
        drop(first);
        assert!(budget.take("a", 7 * MIB).is_some());
    }

    #[test]
    fn a_share_grows_and_shrinks() {
        let budget = Budget::new((16 * MIB, 8 * MIB));
        let share = budget.take("a", MIB).and_then(|share| share.resized(8 * MIB)).expect("room");
        assert!(budget.take("a", 1).is_none());
        let share = share.resized(5 * MIB).and_then(|share| share.resized(MIB)).expect("room");
        assert!(budget.take("a", 7 * MIB).is_some());
        assert!(share.resized(9 * MIB).is_none());
        assert!(budget.held.lock().unwrap().is_empty());
    }

    #[test]
    fn whoever_holds_nothing_is_forgotten() {
        let budget = Budget::new((MIB, MIB));
        drop(budget.take("a", 1));
        assert!(budget.held.lock().unwrap().is_empty());
    }
}
