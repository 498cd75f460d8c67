//! What is told of an Envoy that refuses again and again, each time in other words: a Gateway's refusals change now and then,
//! however often Envoys speak.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::Refusals;
use crate::model::GatewayName;
use crate::status::Refusal;

/// How often a Gateway's refusals change at most.
const CHANGES_EVERY: Duration = Duration::from_secs(5);

/// How often, where the same is refused in other words.
const WORDS_EVERY: Duration = Duration::from_secs(60);

/// Most refusals of one Gateway that are told.
const MOST: usize = 8;

/// What was told of each Gateway.
#[derive(Debug, Default)]
pub(crate) struct Steady(BTreeMap<GatewayName, Told>);

#[derive(Debug)]
struct Told {
    refusals: BTreeMap<Subject, Refusal>,
    /// Since when.
    since: Instant,
}

/// What is refused, whatever is said of it.
type Subject = (Option<u16>, String);

fn subject(refusal: &Refusal) -> Subject {
    let what = refusal.message.split_once(": ").map_or(&*refusal.message, |(what, _)| what);
    (refusal.port, what.to_owned())
}

impl Steady {
    /// Takes what is refused now; gives what is to be told.
    pub(crate) fn take(&mut self, refused: Refusals, now: Instant) -> Refusals {
        let mut latest: BTreeMap<GatewayName, BTreeMap<Subject, Refusal>> =
            self.0.keys().map(|gateway| (gateway.clone(), BTreeMap::new())).collect();
        for refusal in refused {
            let refusals = latest.entry(refusal.gateway.clone()).or_default();
            if refusals.len() < MOST {
                refusals.entry(subject(&refusal)).or_insert(refusal);
            }
        }
        for (gateway, refusals) in latest {
            if self.0.get(&gateway).is_none_or(|told| told.gives_way(&refusals, now)) {
                self.0.insert(gateway, Told { refusals, since: now });
            }
        }
        self.0.retain(|_, told| !told.refusals.is_empty() || now.duration_since(told.since) < CHANGES_EVERY);
        self.0.values().flat_map(|told| told.refusals.values().cloned()).collect()
    }
}

impl Told {
    fn gives_way(&self, refusals: &BTreeMap<Subject, Refusal>, now: Instant) -> bool {
        let wait = if self.refusals.keys().eq(refusals.keys()) { WORDS_EVERY } else { CHANGES_EVERY };
        self.refusals != *refusals && now.duration_since(self.since) >= wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(gateway: &str, what: &str, said: &str) -> Refusal {
        Refusal { gateway: GatewayName(gateway.to_owned()), port: Some(80), message: format!("{what}: {said}") }
    }

    #[test]
    fn other_words_are_no_news() {
        let (mut steady, start) = (Steady::default(), Instant::now());
        let mut changes = 0;
        let mut last = Refusals::new();
        for second in 0..120 {
            let said = format!("attempt {second}: no");
            let now =
                steady.take(Refusals::from([refusal("a/a", "Listener a", &said)]), start + Duration::from_secs(second));
            changes += usize::from(now != last);
            last = now;
        }
        assert_eq!(changes, 2, "told at once, and once a minute");
    }

    #[test]
    fn what_comes_and_goes_is_told_now_and_then() {
        let (mut steady, start) = (Steady::default(), Instant::now());
        let other = refusal("b/b", "Listener b", "no");
        let mut changes = 0;
        let mut last = Refusals::new();
        for second in 0..60 {
            let flapping = (second % 2 == 0).then(|| refusal("a/a", &format!("Listener {second}"), "no"));
            let refused = flapping.into_iter().chain([other.clone()]).collect();
            let now = steady.take(refused, start + Duration::from_secs(second));
            changes += usize::from(now != last);
            assert!(now.contains(&other));
            last = now;
        }
        assert!((2..=12).contains(&changes), "{changes}");
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(steady.take(Refusals::new(), after(70)), Refusals::new());
        steady.take(Refusals::new(), after(76));
        assert!(steady.0.is_empty(), "forgotten");
    }

    #[test]
    fn a_gateway_has_so_many_and_no_more() {
        let mut steady = Steady::default();
        let many = (0..100).map(|index| refusal("a/a", &format!("Route {index}"), "no"));
        let told = steady.take(many.chain([refusal("b/b", "Listener b", "no")]).collect(), Instant::now());
        assert_eq!(told.len(), MOST + 1);
    }
}
