//! How often the API server is asked about tokens: so many times a second for each address, and in all. The last quarter of
//! the whole is for addresses that ask little, so that whoever makes up tokens keeps no Envoy elsewhere from having its own
//! reviewed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

use super::super::lobby::origin;

/// How often the API server is asked, for each second; ten times as often at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// For all.
    pub all: u32,
    /// For one address.
    pub each: u32,
}

impl Default for Rate {
    fn default() -> Self {
        Self { all: 100, each: 10 }
    }
}

/// Whoever asked no more than this of late asks little.
const LITTLE: f64 = 4.0;

/// Addresses that are remembered; all beyond count as one.
const MAX_ADDRESSES: usize = 4096;

/// Who asked how often of late.
#[derive(Debug)]
pub(super) struct Pace {
    rate: Rate,
    all: Used,
    addresses: HashMap<Option<IpAddr>, Used>,
}

/// What was used of a rate and did not come back yet.
#[derive(Clone, Copy, Debug)]
struct Used {
    number: f64,
    since: Instant,
}

impl Used {
    fn new(now: Instant) -> Self {
        Self { number: 0.0, since: now }
    }

    fn at(self, now: Instant, per_second: u32) -> Self {
        let back = now.saturating_duration_since(self.since).as_secs_f64() * f64::from(per_second);
        Self { number: (self.number - back).max(0.0), since: now }
    }

    fn one_more(self) -> Self {
        Self { number: self.number + 1.0, ..self }
    }
}

impl Pace {
    pub(super) fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, all: Used::new(now), addresses: HashMap::new() }
    }

    /// Whether one from this address may be asked about, which counts then.
    pub(super) fn ask(&mut self, from: IpAddr, now: Instant) -> bool {
        let Rate { all, each } = self.rate;
        let from = origin(from);
        if self.addresses.len() >= MAX_ADDRESSES {
            self.addresses.retain(|_, used| used.at(now, each).number > 0.0);
        }
        let is_known = self.addresses.len() < MAX_ADDRESSES || self.addresses.contains_key(&Some(from));
        let own = self.addresses.entry(is_known.then_some(from)).or_insert_with(|| Used::new(now));
        *own = own.at(now, each);
        self.all = self.all.at(now, all);
        let most = 10.0 * f64::from(all);
        let open = if own.number < LITTLE { most } else { most * 0.75 };
        let fits = own.number < 10.0 * f64::from(each) && self.all.number < open;
        if fits {
            (*own, self.all) = (own.one_more(), self.all.one_more());
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    fn asked(pace: &mut Pace, from: u32, times: usize, now: Instant) -> usize {
        (0..times).filter(|_| pace.ask(address(from), now)).count()
    }

    #[test]
    fn addresses_of_one_machine_are_one() {
        let start = Instant::now();
        let mut pace = Pace::new(Rate { all: 10, each: 1 }, start);
        let asked = (0..1000_u128).filter(|host| pace.ask(IpAddr::V6((0x2001_0db8 << 96 | host).into()), start));
        assert_eq!(asked.count(), 10);
    }

    #[test]
    fn no_address_uses_all() {
        let start = Instant::now();
        let mut pace = Pace::new(Rate { all: 10, each: 3 }, start);
        assert_eq!(asked(&mut pace, 1, 1000, start), 30, "its own at once");
        assert_eq!(asked(&mut pace, 2, 1000, start), 30);
        assert_eq!(asked(&mut pace, 3, 1000, start), 15, "three quarters of all");
        let late: Vec<_> = (4..20).map(|from| asked(&mut pace, from, 1000, start)).collect();
        assert_eq!(late.iter().sum::<usize>(), 25, "{late:?}");
        assert_eq!(late[0], 4, "the last quarter is for those that ask little");
        assert_eq!(asked(&mut pace, 1, 1000, start + Duration::from_secs(2)), 0, "and comes back");
        assert_eq!(asked(&mut pace, 50, 1, start + Duration::from_secs(2)), 1);
        assert_eq!(asked(&mut pace, 1, 1000, start + Duration::from_secs(60)), 30);
    }

    #[test]
    fn addresses_are_bounded() {
        let start = Instant::now();
        let mut pace = Pace::new(Rate { all: 1_000_000, each: 1 }, start);
        for from in 0..5000 {
            pace.ask(address(from), start);
        }
        assert_eq!(pace.addresses.len(), MAX_ADDRESSES + 1);
        assert!(!pace.ask(address(6000), start), "those beyond share one rate");
        assert!(pace.ask(address(6000), start + Duration::from_secs(1)), "who asked long ago is forgotten");
        assert_eq!(pace.addresses.len(), 2, "but for those beyond");
    }
}
