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

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};
use tracing::{info, warn};

use crate::key_sets::cached::Cached;
use crate::key_sets::{KeySets, Known, Place};
use crate::metrics::{Load, Metrics};

mod fetch;
pub mod networks;

use fetch::{FetchResult, Fetcher, Version};
use networks::Networks;

/// Keys that filters miss and that nobody has looked at yet; more are not kept.
const MAX_MISSING: usize = 64;

/// The fetched key sets.
#[derive(Clone, Debug)]
pub struct Fetching {
    wanted: Arc<watch::Sender<BTreeSet<Place>>>,
    missing: Missing,
    known: watch::Receiver<Arc<KeySets>>,
}

/// Where filters say that they miss a key.
#[derive(Clone, Debug)]
pub struct Missing(mpsc::Sender<String>);

impl Missing {
    /// A filter misses a key in the set of the place with this id.
    pub fn tell(&self, id: String) {
        // Whoever comes when it is full is not the first who asks.
        let _ = self.0.try_send(id);
    }
}

impl Fetching {
    /// Starts fetching what will be wanted, from these networks beside the public ones. A set of which no fetch was good for
    /// `max_age` is good no more.
    #[must_use]
    pub fn start(networks: Networks, max_age: Duration, metrics: Arc<Metrics>) -> Self {
        let (wanted, want) = watch::channel(BTreeSet::new());
        let (missing, missed) = mpsc::channel(MAX_MISSING);
        let (publish, known) = watch::channel(Arc::default());
        let task = Task { networks, max_age, metrics, entries: BTreeMap::new(), fetches: JoinSet::new(), publish };
        tokio::spawn(task.run(want, missed));
        Self { wanted: Arc::new(wanted), missing: Missing(missing), known }
    }

    /// From now on these are wanted, and no others.
    pub fn want(&self, places: BTreeSet<Place>) {
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
    max_age: Duration,
    metrics: Arc<Metrics>,
    entries: BTreeMap<Place, Entry>,
    fetches: JoinSet<(Place, FetchResult)>,
    publish: watch::Sender<Arc<KeySets>>,
}

struct Entry {
    cached: Cached,
    fetcher: Option<Fetcher>,
    version: Option<Version>,
    fetching: bool,
}

impl Task {
    /// Until nobody wants anything any more.
    async fn run(mut self, mut want: watch::Receiver<BTreeSet<Place>>, mut missed: mpsc::Receiver<String>) {
        loop {
            let next = self.next();
            tokio::select! {
                changed = want.changed() => match changed {
                    Ok(()) => self.reconcile(&want.borrow_and_update()),
                    Err(_) => return,
                },
                Some(id) = missed.recv() => self.missed(&id),
                Some(fetched) = self.fetches.join_next() => {
                    // A fetch that panicked can't be named; its entry would never be fetched again.
                    match fetched {
                        Ok((place, result)) => self.fetched(&place, result),
                        Err(_) => self.entries.values_mut().for_each(|entry| entry.fetching = false),
                    }
                }
                () = at(next) => {}
            }
            self.fetch_what_is_due();
            self.tell();
        }
    }

    fn next(&self) -> Option<Instant> {
        let now = Instant::now();
        let fetches = self.entries.values().filter(|entry| !entry.fetching).map(|entry| entry.cached.next_fetch());
        fetches.chain(self.entries.values().filter_map(|entry| entry.cached.next_change(now))).min()
    }

    fn reconcile(&mut self, wanted: &BTreeSet<Place>) {
        self.entries.retain(|place, _| wanted.contains(place));
        for place in wanted {
            self.entries.entry(place.clone()).or_insert_with(|| Entry {
                cached: Cached::new(self.max_age, Instant::now()),
                fetcher: None,
                version: None,
                fetching: false,
            });
        }
    }

    fn missed(&mut self, id: &str) {
        let asked_for = self.entries.iter_mut().filter(|(place, _)| place.id() == id);
        asked_for.for_each(|(_, entry)| entry.cached.missed(Instant::now()));
    }

    fn fetch_what_is_due(&mut self) {
        let now = Instant::now();
        for (place, entry) in &mut self.entries {
            if entry.fetching || entry.cached.next_fetch() > now {
                continue;
            }
            let fetcher = match &entry.fetcher {
                Some(fetcher) => Ok(fetcher.clone()),
                None => Fetcher::new(place, &self.networks),
            };
            match fetcher {
                Ok(fetcher) => {
                    entry.fetcher = Some(fetcher.clone());
                    entry.fetching = true;
                    let (place, version) = (place.clone(), entry.version.clone());
                    self.fetches.spawn(async move {
                        let result = fetcher.fetch(version).await;
                        (place, result)
                    });
                }
                Err(error) => entry.cached.failed(error.to_string(), now),
            }
        }
    }

    fn fetched(&mut self, place: &Place, result: FetchResult) {
        self.metrics.fetched_key_set(if result.is_ok() { Load::Ok } else { Load::Failed });
        // Wanted no longer.
        let Some(entry) = self.entries.get_mut(place) else { return };
        entry.fetching = false;
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
