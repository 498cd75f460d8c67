//! Key sets that issuers publish, fetched and kept up to date.
//!
//! ```text
//! resources ─ places ─> wanted ─┐                       ┌> known ─> translate
//! filters ─ missing keys ───────┴─> one task ─ Cached ──┤
//!                                      └ fetch ─> HTTP  └> metrics
//! ```
//! All rules of when and how long are in [`Cached`]; here is the clock, and what happens at the same time.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{sleep_until, timeout};
use tracing::{info, warn};

use crate::key_sets::cached::{Cached, Holds};
use crate::key_sets::{KeySets, Known, Place};
use crate::metrics::{Load, Metrics};

mod fetch;
pub mod networks;

use fetch::{FetchResult, Fetcher, Version};
use networks::Networks;

/// The fetched key sets.
#[derive(Clone, Debug)]
pub struct Fetching {
    wanted: Arc<watch::Sender<BTreeSet<Place>>>,
    missing: Missing,
    known: watch::Receiver<Arc<KeySets>>,
}

/// What is asked of the fetching of key sets beside what is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How long what is known of a set holds.
    pub holds: Holds,
    /// RSA keys with more bits are left out.
    pub most_rsa_bits: u32,
}

/// Where filters say that they miss a key.
#[derive(Clone, Debug)]
pub struct Missing(watch::Sender<Asked>);

/// Which sets filters miss keys in. A set, so that no flood on one issuer's takes the room of another's.
#[derive(Debug, Default)]
struct Asked {
    /// The ids of the places that are wanted. INVARIANT: nothing else is asked for.
    known: BTreeMap<String, Place>,
    missing: BTreeSet<Place>,
}

impl Missing {
    /// A filter misses a key in the set of the place with this id.
    pub fn tell(&self, id: &str) {
        self.0.send_if_modified(|asked| {
            let place = asked.known.get(id).cloned();
            place.is_some_and(|place| asked.missing.insert(place))
        });
    }

    fn know(&self, places: &BTreeSet<Place>) {
        self.0.send_if_modified(|asked| {
            asked.known = places.iter().map(|place| (place.id(), place.clone())).collect();
            asked.missing.retain(|place| places.contains(place));
            false
        });
    }

    fn take(&self) -> BTreeSet<Place> {
        let mut taken = BTreeSet::new();
        self.0.send_if_modified(|asked| {
            taken = std::mem::take(&mut asked.missing);
            false
        });
        taken
    }
}

impl Fetching {
    /// Starts fetching what will be wanted, from these networks beside the public ones.
    #[must_use]
    pub fn start(networks: Networks, terms: Terms, metrics: Arc<Metrics>) -> Self {
        let (wanted, want) = watch::channel(BTreeSet::new());
        let missing = Missing(watch::Sender::default());
        let (publish, known) = watch::channel(Arc::default());
        let (entries, fetches) = (BTreeMap::new(), JoinSet::new());
        let task = Task { networks, terms, metrics, entries, fetches, missing: missing.clone(), publish };
        tokio::spawn(task.run(want));
        Self { wanted: Arc::new(wanted), missing, known }
    }

    /// From now on these are wanted, and no others.
    pub fn want(&self, places: BTreeSet<Place>) {
        self.missing.know(&places);
        self.wanted.send_if_modified(|wanted| {
            let differs = *wanted != places;
            *wanted = places;
            differs
        });
    }

    /// What is known now.
    #[must_use]
    pub fn known(&self) -> Arc<KeySets> {
        Arc::clone(&self.known.borrow())
    }

    /// Done when something else is known.
    pub async fn changed(&mut self) {
        if self.known.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Waits until something is known of each of these, or until this time is over.
    pub async fn settle(&mut self, places: &BTreeSet<Place>, within: Duration) {
        let settled = self.known.wait_for(|known| places.iter().all(|place| *known.known(place) != Known::Pending));
        // Whatever is still pending is closed until it is known.
        let _ = timeout(within, settled).await;
    }

    /// Where filters say that they miss a key.
    #[must_use]
    pub fn missing(&self) -> Missing {
        self.missing.clone()
    }
}

struct Task {
    networks: Networks,
    terms: Terms,
    metrics: Arc<Metrics>,
    entries: BTreeMap<Place, Entry>,
    fetches: JoinSet<FetchResult>,
    missing: Missing,
    publish: watch::Sender<Arc<KeySets>>,
}

struct Entry {
    cached: Cached,
    fetcher: Option<Fetcher>,
    version: Option<Version>,
    /// The fetch that is under way.
    fetching: Option<Id>,
}

impl Task {
    /// Until nobody wants anything any more.
    async fn run(mut self, mut want: watch::Receiver<BTreeSet<Place>>) {
        let mut missed = self.missing.0.subscribe();
        loop {
            let next = self.next();
            tokio::select! {
                changed = want.changed() => match changed {
                    Ok(()) => self.reconcile(&want.borrow_and_update()),
                    Err(_) => return,
                },
                // The sender is this task's own as well, so that it does not end.
                Ok(()) = missed.changed() => self.missed(),
                Some(joined) = self.fetches.join_next_with_id() => self.joined(joined),
                () = at(next) => {}
            }
            self.fetch_what_is_due();
            self.tell();
        }
    }

    fn next(&self) -> Option<Instant> {
        let now = Instant::now();
        let fetches =
            self.entries.values().filter(|entry| entry.fetching.is_none()).map(|entry| entry.cached.next_fetch());
        fetches.chain(self.entries.values().filter_map(|entry| entry.cached.next_change(now))).min()
    }

    fn reconcile(&mut self, wanted: &BTreeSet<Place>) {
        self.entries.retain(|place, _| wanted.contains(place));
        for place in wanted {
            self.entries.entry(place.clone()).or_insert_with(|| Entry {
                cached: Cached::new(self.terms.holds, Instant::now()),
                fetcher: None,
                version: None,
                fetching: None,
            });
        }
    }

    fn missed(&mut self) {
        let now = Instant::now();
        for place in self.missing.take() {
            // Each has a pace of its own, and is fetched beside the others.
            if let Some(entry) = self.entries.get_mut(&place) {
                entry.cached.missed(now);
            }
        }
    }

    fn fetch_what_is_due(&mut self) {
        let now = Instant::now();
        for (place, entry) in &mut self.entries {
            if entry.fetching.is_some() || entry.cached.next_fetch() > now {
                continue;
            }
            let fetcher = match &entry.fetcher {
                Some(fetcher) => Ok(fetcher.clone()),
                None => Fetcher::new(place, &self.networks, self.terms.most_rsa_bits),
            };
            match fetcher {
                Ok(fetcher) => {
                    entry.fetcher = Some(fetcher.clone());
                    let version = entry.version.clone();
                    let fetch = self.fetches.spawn(async move { fetcher.fetch(version).await });
                    entry.fetching = Some(fetch.id());
                }
                Err(error) => entry.cached.failed(error.to_string(), now),
            }
        }
    }

    /// A fetch is over. One that panicked has failed like any other.
    fn joined(&mut self, joined: Result<(Id, FetchResult), JoinError>) {
        match joined {
            Ok((fetch, result)) => self.fetched(fetch, result),
            Err(error) => self.fetched(error.id(), Err(error.into())),
        }
    }

    fn fetched(&mut self, fetch: Id, result: FetchResult) {
        self.metrics.fetched_key_set(if result.is_ok() { Load::Ok } else { Load::Failed });
        // Wanted no longer.
        let Some((place, entry)) = self.entries.iter_mut().find(|(_, entry)| entry.fetching == Some(fetch)) else {
            return;
        };
        entry.fetching = None;
        let was_failing = entry.cached.is_failing();
        match result {
            Ok((fetched, version)) => {
                entry.version = version;
                let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
                entry.cached.succeeded(fetched, Instant::now(), unix, jitter());
                if was_failing {
                    info!(%place, "the key set can be fetched again");
                }
            }
            Err(error) => {
                if !was_failing {
                    warn!(%place, %error, "the key set can't be fetched; the last good one, if any, stays in force");
                }
                entry.cached.failed(error.to_string(), Instant::now());
            }
        }
    }

    fn tell(&self) {
        let now = Instant::now();
        let known = self.entries.iter().map(|(place, entry)| (place.clone(), entry.cached.known(now)));
        let known = KeySets(known.collect());
        let fetched = self.entries.iter().map(|(place, entry)| (place.to_string(), entry.cached.fetched()));
        self.metrics.key_sets(fetched.collect());
        self.publish.send_if_modified(|last| {
            let differs = **last != known;
            if differs {
                *last = Arc::new(known);
            }
            differs
        });
    }
}

/// A number from 0 to 1 that nobody can foretell.
fn jitter() -> f64 {
    let random = RandomState::new().hash_one(0_u8);
    f64::from(u32::try_from(random >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;
    use crate::key_sets::Found;

    #[test]
    fn a_flood_on_one_set_leaves_room_for_the_others() {
        let place = |name: &str| Place { found: Found::At(name.to_owned()), authorities: None };
        let missing = Missing(watch::Sender::default());
        let places: BTreeSet<Place> = (0..500).map(|number| place(&format!("https://{number}"))).collect();
        missing.know(&places);
        (0..2000).for_each(|_| missing.tell(&place("https://1").id()));
        places.iter().for_each(|place| missing.tell(&place.id()));
        (0..2000).for_each(|number| missing.tell(&format!("{number:016x}")));
        assert_eq!(missing.take(), places, "each once, and nothing that nobody wants");
        missing.tell(&place("https://1").id());
        missing.know(&[place("https://2")].into());
        assert_eq!(missing.take(), BTreeSet::new(), "wanted no longer");
    }

    #[tokio::test]
    async fn a_fetch_that_panics_has_failed_and_no_other() {
        let holds = Holds { max_age: Duration::from_secs(60), removed_key_grace: Duration::ZERO };
        let (publish, _known) = watch::channel(Arc::default());
        let mut task = Task {
            networks: Networks::default(),
            terms: Terms { holds, most_rsa_bits: 4096 },
            metrics: Arc::new(Metrics::default()),
            entries: BTreeMap::new(),
            fetches: JoinSet::new(),
            missing: Missing(watch::Sender::default()),
            publish,
        };
        let place = |name: &str| Place { found: Found::At(name.to_owned()), authorities: None };
        let (broken, other) = (place("https://broken"), place("https://other"));
        task.reconcile(&[broken.clone(), other.clone()].into());
        let fetches =
            [(&broken, task.fetches.spawn(async { panic!("broken") })), (&other, task.fetches.spawn(pending()))];
        for (place, fetch) in fetches {
            task.entries.get_mut(place).unwrap().fetching = Some(fetch.id());
        }
        let joined = task.fetches.join_next_with_id().await.unwrap();
        task.joined(joined);
        let entry = &task.entries[&broken];
        assert!(matches!(entry.cached.known(Instant::now()), Known::Unfetched(_)));
        assert!(entry.fetching.is_none() && entry.cached.next_fetch() > Instant::now(), "tried again, and not at once");
        assert!(task.entries[&other].fetching.is_some(), "still under way");
    }
}
