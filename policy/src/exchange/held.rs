//! How many bytes of bodies a worker holds: one budget for all its exchanges, of which no caller has all.
//!
//! ```text
//! Held (one for a worker) <── Holding (one for an exchange): what it holds by now; gone with it
//!    └ held by each Payer
//! ```
//! Counted are request bodies until their server begins to answer (Envoy keeps them until it has read them), JSON answers
//! until they are judged, and events until they are complete.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::config::Limits;

/// An exchange that holds no more than this may use the last quarter of the budget and of its caller's share, so that
/// ordinary calls pass where large ones have used up the rest.
pub const SMALL_BYTES: usize = 64 * 1024;

/// Who holds bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Payer {
    /// A verified caller.
    Caller {
        /// Who issued the token.
        issuer: String,
        /// Where the issuer's keys come from: a name alone is nobody's.
        key_source: Rc<str>,
        /// Whose token it is; none: the issuer's callers can't be told apart.
        subject: Option<String>,
    },
    /// All callers whom nobody verifies on routes with this policy.
    Policy(String),
}

/// More is held than may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooMuch {
    /// By this caller.
    OfCaller,
    /// By all of them.
    OfAll,
}

impl TooMuch {
    /// The word for answer, metric and log.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::OfCaller => "CallerHoldsTooMuch",
            Self::OfAll => "TooMuchHeld",
        }
    }
}

/// What a worker may hold, and does. Copies share one account.
#[derive(Clone, Debug, Default)]
pub struct Held(Rc<RefCell<Account>>);

#[derive(Debug, Default)]
struct Account {
    /// Of all, and of one caller.
    limits: (usize, usize),
    held: usize,
    by_payer: BTreeMap<Rc<Payer>, usize>,
}

impl Held {
    /// A budget of which nothing is used.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        let budget = Self::default();
        budget.resize(limits);
        budget
    }

    /// Other limits; what is held stays held.
    pub fn resize(&self, limits: &Limits) {
        self.0.borrow_mut().limits = (limits.held_bytes, limits.held_bytes_per_caller);
    }

    /// How much is held by now, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.borrow().held
    }

    /// An exchange of this payer, which holds nothing yet.
    #[must_use]
    pub fn holding(&self, payer: Payer) -> Holding {
        Holding { budget: self.clone(), payer: Rc::new(payer), bytes: 0 }
    }
}

/// What one exchange holds.
#[derive(Debug)]
pub struct Holding {
    budget: Held,
    payer: Rc<Payer>,
    bytes: usize,
}

impl Holding {
    /// Says how many bytes the exchange holds by now. Where it may not hold more, it counts with what it held before.
    ///
    /// # Errors
    /// When that is too much.
    pub fn hold(&mut self, bytes: usize) -> Result<(), TooMuch> {
        let mut account = self.budget.0.borrow_mut();
        let (of_all, of_caller) = account.limits;
        let others_of_caller =
            account.by_payer.get(&self.payer).copied().unwrap_or_default().saturating_sub(self.bytes);
        let others = account.held.saturating_sub(self.bytes);
        if bytes > self.bytes {
            if bytes > room(of_caller, bytes).saturating_sub(others_of_caller) {
                return Err(TooMuch::OfCaller);
            }
            if bytes > room(of_all, bytes).saturating_sub(others) {
                return Err(TooMuch::OfAll);
            }
        }
        self.bytes = bytes;
        account.held = others + bytes;
        if others_of_caller + bytes == 0 {
            account.by_payer.remove(&self.payer);
        } else {
            account.by_payer.insert(Rc::clone(&self.payer), others_of_caller + bytes);
        }
        Ok(())
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        // INVARIANT: less is always allowed.
        let _ = self.hold(0);
    }
}

/// How much of a limit an exchange of this size may use.
fn room(limit: usize, bytes: usize) -> usize {
    if bytes <= SMALL_BYTES { limit } else { limit - limit / 4 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(of_all: usize, of_caller: usize) -> Held {
        Held::new(&Limits { held_bytes: of_all, held_bytes_per_caller: of_caller, ..Limits::default() })
    }

    fn caller(subject: &str) -> Payer {
        Payer::Caller { issuer: "https://a".to_owned(), key_source: "k".into(), subject: Some(subject.to_owned()) }
    }

    const LARGE: usize = SMALL_BYTES + 1;

    #[test]
    fn a_caller_has_its_share_and_no_more() {
        let budget = budget(100 * LARGE, 4 * LARGE);
        let mut held: Vec<Holding> = (0..3).map(|_| budget.holding(caller("alice"))).collect();
        assert!(held.iter_mut().all(|one| one.hold(LARGE).is_ok()));
        let mut next = budget.holding(caller("alice"));
        assert_eq!(next.hold(LARGE), Err(TooMuch::OfCaller));
        assert_eq!(next.hold(1000), Ok(()), "a small one has room");
        assert_eq!(budget.holding(caller("bob")).hold(LARGE), Ok(()));
        assert_eq!(budget.holding(Payer::Policy("p".to_owned())).hold(LARGE), Ok(()));
        held.pop();
        assert_eq!(next.hold(LARGE), Ok(()));
    }

    #[test]
    fn small_ones_have_a_quarter_for_themselves() {
        let budget = budget(4 * LARGE, 4 * LARGE);
        let mut large: Vec<Holding> = ["a", "b", "c"].map(|name| budget.holding(caller(name))).into();
        assert!(large.iter_mut().all(|one| one.hold(LARGE).is_ok()));
        assert_eq!(budget.holding(caller("d")).hold(LARGE), Err(TooMuch::OfAll));
        let mut small = budget.holding(caller("d"));
        assert_eq!(small.hold(SMALL_BYTES), Ok(()));
        assert_eq!(small.hold(LARGE), Err(TooMuch::OfAll));
        assert_eq!(budget.holding(caller("e")).hold(SMALL_BYTES), Err(TooMuch::OfAll));
    }

    /// However exchanges grow, shrink and end, the account is the sum of what they hold, within its limits.
    #[test]
    fn nothing_is_lost() {
        let budget = budget(40 * SMALL_BYTES, 10 * SMALL_BYTES);
        let mut random = 1_u64;
        let mut below = |limit: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % limit
        };
        let mut holdings: Vec<Holding> = Vec::new();
        let (mut refused, mut allowed) = (0, 0);
        for _ in 0..20_000 {
            match below(4) {
                0 => holdings.push(budget.holding(caller(&below(8).to_string()))),
                1 if !holdings.is_empty() => drop(holdings.swap_remove(below(holdings.len()))),
                _ if holdings.is_empty() => {}
                _ => {
                    let index = below(holdings.len());
                    let bytes = below(3 * SMALL_BYTES);
                    match holdings[index].hold(bytes) {
                        Ok(()) => allowed += 1,
                        Err(_) => refused += 1,
                    }
                }
            }
            assert_eq!(budget.bytes(), holdings.iter().map(|one| one.bytes).sum::<usize>());
            assert!(budget.bytes() <= 40 * SMALL_BYTES);
            assert!(budget.0.borrow().by_payer.values().all(|held| (1..=10 * SMALL_BYTES).contains(held)));
        }
        assert!(refused > 1000 && allowed > 1000, "{refused} {allowed}");
        drop(holdings);
        assert_eq!(budget.bytes(), 0);
        assert!(budget.0.borrow().by_payer.is_empty());
    }

    #[test]
    fn a_smaller_budget_takes_nothing_away() {
        let budget = budget(100 * LARGE, 100 * LARGE);
        let mut one = budget.holding(caller("a"));
        assert_eq!(one.hold(50 * LARGE), Ok(()));
        budget.resize(&Limits { held_bytes: LARGE, held_bytes_per_caller: LARGE, ..Limits::default() });
        assert_eq!(one.hold(40 * LARGE), Ok(()), "less is always allowed");
        assert_eq!(one.hold(41 * LARGE), Err(TooMuch::OfCaller));
        drop(one);
        assert_eq!(budget.bytes(), 0);
    }
}
