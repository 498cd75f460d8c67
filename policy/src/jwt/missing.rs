//! Keys that tokens name and that their issuer's set does not have: perhaps they are new, so the control plane is told which
//! sets they are missing from. What a token says before it is verified is anybody's word, so which key does not matter, each
//! set is told now and then, and no set keeps another one waiting.

use std::collections::{BTreeMap, VecDeque};

/// No set is told twice within this time, in milliseconds.
const EACH: u64 = 2000;

/// Two reports have this time between them.
const BETWEEN: u64 = 250;

/// Most sets of a report.
pub const MOST: usize = 64;

/// Sets from which keys are missing, by their places: what was told lately, and what is to be told.
#[derive(Debug, Default)]
pub struct Told {
    lately: BTreeMap<String, u64>,
    /// Each once, the first that waits first. INVARIANT: none of these was told lately.
    waiting: VecDeque<String>,
    last: Option<u64>,
}

impl Told {
    /// A key is missing from the set of this place, by a clock in milliseconds. Gives the sets that are to be told now. Both
    /// memories hold each set once, so that they are bounded by the sets that there are.
    pub fn missing(&mut self, place: &str, now: u64) -> Option<Vec<String>> {
        self.lately.retain(|_, told| now.saturating_sub(*told) < EACH && *told <= now);
        if !self.lately.contains_key(place) && !self.waiting.iter().any(|other| other == place) {
            self.waiting.push_back(place.to_owned());
        }
        // A clock that was put back holds up nothing.
        if self.waiting.is_empty() || self.last.is_some_and(|last| last <= now && now - last < BETWEEN) {
            return None;
        }
        let report: Vec<String> = self.waiting.drain(..self.waiting.len().min(MOST)).collect();
        self.lately.extend(report.iter().map(|place| (place.clone(), now)));
        self.last = Some(now);
        Some(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(told: &mut Told, place: &str, now: u64) -> Vec<String> {
        told.missing(place, now).unwrap_or_default()
    }

    #[test]
    fn each_set_is_told_now_and_then() {
        let mut memory = Told::default();
        assert_eq!(told(&mut memory, "a", 1000), ["a"], "at once");
        assert!((1001..3000).all(|now| told(&mut memory, "a", now).is_empty()));
        assert_eq!(told(&mut memory, "a", 3000), ["a"], "and later again");
        assert_eq!(told(&mut memory, "a", 10), ["a"], "a clock that was put back");
    }

    #[test]
    fn a_flood_on_one_set_does_not_hold_up_another() {
        let mut memory = Told::default();
        let flood = |memory: &mut Told, from: u64| (from..from + 250).flat_map(|now| told(memory, "a", now)).count();
        assert_eq!(flood(&mut memory, 1000), 1);
        assert_eq!(told(&mut memory, "b", 1250), ["b"], "at once");
        assert_eq!(flood(&mut memory, 1251), 0);
        assert!(told(&mut memory, "c", 1499).is_empty(), "with the next report");
        assert_eq!(told(&mut memory, "a", 1500), ["c"], "which whoever comes next brings about");
    }

    #[test]
    fn a_flood_on_all_sets_is_told_in_turns() {
        let mut memory = Told::default();
        let mut reports = 0;
        let mut seen = std::collections::BTreeSet::new();
        for now in 0..5000 {
            for set in 0..10 {
                let report = told(&mut memory, &format!("{}", (now * 10 + set) % 500), now);
                assert!(report.len() <= MOST);
                reports += usize::from(!report.is_empty());
                seen.extend(report);
            }
            assert!(memory.waiting.len() <= 500 && memory.lately.len() <= 500);
        }
        assert_eq!(seen.len(), 500, "none is left out");
        assert!(reports <= 20, "{reports}");
    }
}
