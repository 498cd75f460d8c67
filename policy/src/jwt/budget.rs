//! Bounds the time that a worker spends on signatures that turn out to be wrong, of tokens that anybody can make.
//!
//! ```text
//! a wrong signature ─> what all key sets share, a half ─ used up ─> the set's own part of the other half ─ used up ─> busy
//! ```
//! A signature that is right costs nothing, so good logins are never held back by others of their kind, nor those of one
//! issuer by a flood of tokens that name another. Whoever can't be told from a flood, since it names the same issuer and no
//! worker knows its token yet, is asked to come again while that issuer is busy.

use std::collections::BTreeMap;

use super::key::{Material, PublicKey};
use crate::config::Algorithm;

/// As much as is paid off in this time may come at once, after which a flood is spread evenly and holds up others but for
/// moments.
const AT_ONCE_MILLIS: u64 = 500;

/// Time that a look at a signature takes, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost(pub u32);

/// Who looks at a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The host's own library.
    Host,
    /// The code of this crate, as WebAssembly.
    Filter,
}

impl Cost {
    /// Of one signature, as measured in Envoy 1.40 (V8, x86-64), rounded up. A verification with an RSA key takes the square
    /// of its size, for each bit of its exponent.
    #[must_use]
    pub fn of(by: By, key: &PublicKey, algorithm: Algorithm) -> Self {
        Self(match (by, &key.material) {
            (By::Host, Material::Rsa(_)) => rsa(40, key),
            (By::Filter, Material::Rsa(_)) => rsa(450, key),
            (By::Host, _) if algorithm == Algorithm::ES384 => 500,
            (By::Host, _) => 100,
            (By::Filter, Material::P256(_)) => 1500,
            (By::Filter, Material::P384(_)) => 5000,
            (By::Filter, Material::Ed25519(_)) => 400,
        })
    }
}

/// `base` is for 2048 bits and the exponent 65537, of 17 bits.
fn rsa(base: u32, key: &PublicKey) -> u32 {
    let bits = key.modulus_bits().unwrap_or_default();
    base * bits.div_ceil(256).pow(2) / 64 * key.exponent_bits().unwrap_or_default().max(17) / 17
}

/// What a worker may still spend.
#[derive(Debug, Default)]
pub struct Budget {
    /// Microseconds in each second, which is nanoseconds in each millisecond.
    shared_rate: u64,
    own_rate: u64,
    sets: usize,
    shared: Debt,
    /// By the content of key sets; what is not here owes nothing.
    own: BTreeMap<[u8; 32], Debt>,
}

/// Work that was done and that time has not paid off yet.
#[derive(Clone, Copy, Debug, Default)]
struct Debt {
    nanos: u64,
    at: u64,
}

impl Budget {
    /// From now on a worker spends so much of each second at most, and there are so many key sets.
    pub fn set(&mut self, millis_per_second: u32, sets: usize) {
        let sets = sets.max(1);
        let half = u64::from(millis_per_second) * 1000 / 2;
        let own_rate = (half / u64::try_from(sets).unwrap_or(u64::MAX)).max(1);
        (self.shared_rate, self.own_rate, self.sets) = (half.max(1), own_rate, sets);
    }

    /// Whether a signature of this key set may be looked at, by a clock in milliseconds.
    #[must_use]
    pub fn admits(&self, set: &[u8; 32], now: u64) -> bool {
        let own = self.own.get(set).copied().unwrap_or_default();
        self.shared.leaves_room(self.shared_rate, now) || own.leaves_room(self.own_rate, now)
    }

    /// A signature was looked at, and is wrong.
    pub fn spend(&mut self, set: &[u8; 32], Cost(micros): Cost, now: u64) {
        let nanos = u64::from(micros) * 1000;
        if self.shared.leaves_room(self.shared_rate, now) {
            self.shared.grow(nanos, self.shared_rate, now);
            return;
        }
        // INVARIANT: no more than twice as many as there are sets, also where their content changes.
        if self.own.len() >= self.sets.saturating_mul(2) {
            let rate = self.own_rate;
            self.own.retain(|_, debt| debt.left(rate, now) > 0);
        }
        self.own.entry(*set).or_default().grow(nanos, self.own_rate, now);
    }
}

impl Debt {
    fn left(self, rate: u64, now: u64) -> u64 {
        self.nanos.saturating_sub(now.saturating_sub(self.at).saturating_mul(rate))
    }

    /// One signature more than fits is looked at: otherwise none would be where each takes longer than may come at once.
    fn leaves_room(self, rate: u64, now: u64) -> bool {
        self.left(rate, now) < rate.saturating_mul(AT_ONCE_MILLIS)
    }

    fn grow(&mut self, nanos: u64, rate: u64, now: u64) {
        *self = Self { nanos: self.left(rate, now).saturating_add(nanos), at: now };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: [u8; 32] = [1; 32];
    const B: [u8; 32] = [2; 32];

    fn budget(millis: u32, sets: usize) -> Budget {
        let mut budget = Budget::default();
        budget.set(millis, sets);
        budget
    }

    /// Wrong signatures of these sets, so many a millisecond; gives the work that was done in microseconds.
    fn flood(budget: &mut Budget, sets: &[[u8; 32]], cost: u32, per_milli: u32, millis: std::ops::Range<u64>) -> u64 {
        let mut done = 0;
        for now in millis {
            for index in 0..per_milli {
                let set = &sets[index as usize % sets.len()];
                if budget.admits(set, now) {
                    budget.spend(set, Cost(cost), now);
                    done += u64::from(cost);
                }
            }
        }
        done
    }

    #[test]
    fn a_flood_gets_its_part_and_no_more() {
        for (name, cost, per_milli) in [("cheap", 40, 40), ("dear", 1800, 2), ("dearer than a turn", 30_000, 2)] {
            let mut budget = budget(200, 1);
            let done = flood(&mut budget, &[A], cost, per_milli, 0..10_000);
            // What may come at once, and one signature more from each half.
            let most = 10 * 200_000 + 100_000 + 2 * u64::from(cost);
            assert!((1_900_000..=most).contains(&done), "{name}: {done}");
        }
    }

    #[test]
    fn a_flood_on_one_issuer_does_not_hold_up_another() {
        for sets in [2, 1000] {
            let mut budget = budget(200, sets);
            flood(&mut budget, &[A], 1800, 2, 0..5000);
            assert!(!budget.admits(&A, 5000), "it is busy");
            // As often as they like: what is right costs nothing.
            assert!(budget.admits(&B, 5000), "{sets} sets");
            budget.spend(&B, Cost(100), 5000);
            assert!(budget.admits(&B, 5000) == (sets == 2), "of {sets} each has its part");
            assert!(budget.admits(&B, 6000), "and soon again");
        }
    }

    #[test]
    fn a_flood_on_all_issuers_gets_no_more_than_one_on_one() {
        let sets: Vec<[u8; 32]> = (0..100).map(|set| [set; 32]).collect();
        let mut budget = budget(200, sets.len());
        let done = flood(&mut budget, &sets, 1800, 4, 0..10_000);
        assert!(done <= 10 * 200_000 + 100_000 + 101 * 1800, "{done}");
        assert!(budget.own.len() <= 200);
    }

    #[test]
    fn sets_that_come_and_go_are_forgotten() {
        let mut budget = budget(200, 2);
        for now in 0..100_u64 {
            let mut set = A;
            set[..8].copy_from_slice(&now.to_be_bytes());
            flood(&mut budget, &[set], 10_000, 3, now * 1000..now * 1000 + 20);
        }
        assert!(budget.own.len() <= 4, "{}", budget.own.len());
    }

    #[test]
    fn a_clock_that_is_put_back_does_not_forgive() {
        let mut budget = budget(200, 1);
        flood(&mut budget, &[A], 1800, 2, 5000..6000);
        assert!(!budget.admits(&A, 1000));
        assert!(budget.admits(&A, 7000));
    }
}
