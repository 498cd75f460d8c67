//! How many bytes of bodies a worker holds: one budget for all its exchanges, of which no caller has all, nor all callers of
//! one issuer.
//!
//! ```text
//! Held (one for a worker) <── Holding (one for an exchange): what it holds by now; gone with it
//!    └ held by each Payer, and by all of one issuer
//! ```
//! Counted are request bodies until their server begins to answer (Envoy keeps them until it has read them), JSON answers
//! until they are judged, and events until they are complete.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::config::Limits;

/// An exchange that holds no more than this may use the last quarter of the budget and of each share of it, so that ordinary
/// calls pass where large ones have used up the rest.
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

impl Payer {
    /// With whom it shares what an issuer may hold: one issuer names as many subjects as it likes.
    fn issuer(&self) -> Self {
        match self {
            Self::Caller { issuer, key_source, .. } => {
                Self::Caller { issuer: issuer.clone(), key_source: Rc::clone(key_source), subject: None }
            }
            Self::Policy(policy) => Self::Policy(policy.clone()),
        }
    }
}

/// More is held than may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooMuch {
    /// By this caller.
    OfCaller,
    /// By all callers of its issuer; by all whom nobody verifies on routes with its policy.
    OfIssuer,
    /// By all of them.
    OfAll,
}

impl TooMuch {
    /// The word for answer, metric and log.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::OfCaller => "CallerHoldsTooMuch",
            Self::OfIssuer => "IssuerHoldsTooMuch",
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
    by_payer: Shares,
    /// By [`Payer::issuer`].
    by_issuer: Shares,
}

/// Who holds how much; what is not here holds nothing.
type Shares = BTreeMap<Rc<Payer>, usize>;

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
        let issuer = Rc::new(payer.issuer());
        Holding { budget: self.clone(), payer: Rc::new(payer), issuer, bytes: 0 }
    }
}

/// What one exchange holds.
#[derive(Debug)]
pub struct Holding {
    budget: Held,
    payer: Rc<Payer>,
    issuer: Rc<Payer>,
    bytes: usize,
}

impl Holding {
    /// Says how many bytes the exchange holds by now. Where it may not hold more, it counts with what it held before.
    ///
    /// # Errors
    /// When that is too much.
    pub fn hold(&mut self, bytes: usize) -> Result<(), TooMuch> {
        let mut account = self.budget.0.borrow_mut();
        let Account { limits: (of_all, of_caller), held, by_payer, by_issuer } = &mut *account;
        let others = |held: usize| held.saturating_sub(self.bytes);
        let share = |shares: &Shares, of| others(shares.get(of).copied().unwrap_or_default());
        let of_issuer = three_quarters(*of_all);
        let (of_same_caller, of_same_issuer) = (share(by_payer, &self.payer), share(by_issuer, &self.issuer));
        let of_others = others(*held);
        if bytes > self.bytes {
            let has_room = |limit, others| bytes <= room(limit, bytes).saturating_sub(others);
            if !has_room(*of_caller, of_same_caller) {
                return Err(TooMuch::OfCaller);
            }
            if !has_room(of_issuer, of_same_issuer) {
                return Err(TooMuch::OfIssuer);
            }
            if !has_room(*of_all, of_others) {
                return Err(TooMuch::OfAll);
            }
        }
        self.bytes = bytes;
        *held = of_others + bytes;
        set(by_payer, &self.payer, of_same_caller + bytes);
        set(by_issuer, &self.issuer, of_same_issuer + bytes);
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
    if bytes <= SMALL_BYTES { limit } else { three_quarters(limit) }
}

/// Of the whole it is what callers of one issuer may hold.
fn three_quarters(limit: usize) -> usize {
    limit - limit / 4
}

fn set(shares: &mut Shares, payer: &Rc<Payer>, bytes: usize) {
    if bytes == 0 {
        shares.remove(payer);
    } else {
        shares.insert(Rc::clone(payer), bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(of_all: usize, of_caller: usize) -> Held {
        Held::new(&Limits { held_bytes: of_all, held_bytes_per_caller: of_caller, ..Limits::default() })
    }

    fn caller(subject: &str) -> Payer {
        caller_of("https://a", subject)
    }

    fn caller_of(issuer: &str, subject: &str) -> Payer {
        Payer::Caller { issuer: issuer.to_owned(), key_source: "k".into(), subject: Some(subject.to_owned()) }
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

    /// However many subjects it names, of large exchanges or small ones.
    #[test]
    fn an_issuer_has_its_share_and_no_more() {
        let budget = budget(16 * LARGE, 4 * LARGE);
        let mut of_one: Vec<Holding> = (0..9).map(|subject| budget.holding(caller(&subject.to_string()))).collect();
        assert!(of_one.iter_mut().all(|one| one.hold(LARGE).is_ok()));
        let mut next = budget.holding(caller("next"));
        assert_eq!(next.hold(LARGE), Err(TooMuch::OfIssuer));
        assert_eq!(next.hold(SMALL_BYTES), Ok(()), "a small one has room");
        let small = (0..20).map(|subject| budget.holding(caller(&format!("small-{subject}"))));
        of_one.extend(small.map_while(|mut one| one.hold(SMALL_BYTES).is_ok().then_some(one)));
        assert_eq!(budget.holding(caller("one more")).hold(SMALL_BYTES), Err(TooMuch::OfIssuer));
        assert!((11 * LARGE..=12 * LARGE).contains(&budget.bytes()), "three quarters");
        let other_key = Payer::Caller { issuer: "https://a".to_owned(), key_source: "other".into(), subject: None };
        let mut others: Vec<Holding> = [caller_of("https://b", "0"), other_key, Payer::Policy("p".to_owned())]
            .map(|one| budget.holding(one))
            .into();
        assert!(others.iter_mut().all(|one| one.hold(SMALL_BYTES).is_ok()));
        drop(of_one);
        assert_eq!(next.hold(LARGE), Ok(()));
    }

    #[test]
    fn small_ones_have_a_quarter_for_themselves() {
        let budget = budget(4 * LARGE, 4 * LARGE);
        let mut large: Vec<Holding> = ["a", "b", "c"].map(|name| budget.holding(caller_of(name, "x"))).into();
        assert!(large.iter_mut().all(|one| one.hold(LARGE).is_ok()));
        assert_eq!(budget.holding(caller_of("d", "x")).hold(LARGE), Err(TooMuch::OfAll));
        let mut small = budget.holding(caller_of("d", "x"));
        assert_eq!(small.hold(SMALL_BYTES), Ok(()));
        assert_eq!(small.hold(LARGE), Err(TooMuch::OfAll));
        assert_eq!(budget.holding(caller_of("e", "x")).hold(SMALL_BYTES), Err(TooMuch::OfAll));
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
                0 => holdings.push(budget.holding(caller_of(["a", "b"][below(2)], &below(8).to_string()))),
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
            let account = budget.0.borrow();
            assert!(account.by_payer.values().all(|held| (1..=10 * SMALL_BYTES).contains(held)));
            assert!(account.by_issuer.values().all(|held| (1..=30 * SMALL_BYTES).contains(held)));
            assert_eq!(account.by_issuer.values().sum::<usize>(), budget.bytes());
        }
        assert!(refused > 1000 && allowed > 1000, "{refused} {allowed}");
        drop(holdings);
        assert_eq!(budget.bytes(), 0);
        assert!(budget.0.borrow().by_payer.is_empty() && budget.0.borrow().by_issuer.is_empty());
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
