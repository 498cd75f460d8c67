//! Names of hosts, looked up and kept up to date.
//!
//! ```text
//! resources ─ host_names ─> wanted ─> one task ─ Lookups ─> known ─> translate
//!                                        └ a thread for each lookup ─> the system's resolver
//! ```
//! All rules of when and how long are in [`Lookups`]; here is the clock, and what happens at the same time.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};
use tracing::{info, warn};

use crate::names::{Lookups, Names, Resolved, Wanted};

/// Most lookups at a time. One takes as long as the system's resolver lets it: half a minute where no server answers.
const AT_ONCE: usize = 64;

/// Most of them for one namespace, so that names whose servers don't answer delay those of their own namespace.
const AT_ONCE_FOR_ONE: usize = 2;

/// What is known is told this often at most: answers come one by one, and each time the world is translated.
const TELL_EVERY: Duration = Duration::from_millis(250);

/// Asks for the addresses of a name.
type Ask = Arc<dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync>;

/// The names that are looked up.
#[derive(Clone, Debug)]
pub struct Resolving {
    wanted: Arc<watch::Sender<Wanted>>,
    known: watch::Receiver<Arc<Names>>,
}

impl Resolving {
    /// Starts looking up what will be wanted. An answer holds for so long when no other comes.
    #[must_use]
    pub fn start(max_age: Duration) -> Self {
        Self::asking(Arc::new(ask_system), max_age)
    }

    fn asking(ask: Ask, max_age: Duration) -> Self {
        let (wanted, want) = watch::channel(Wanted::default());
        let (publish, known) = watch::channel(Arc::default());
        let task = Task {
            ask,
            max_age,
            wanted: Wanted::default(),
            entries: BTreeMap::new(),
            lookups: JoinSet::new(),
            publish,
            tell: None,
            told: None,
        };
        tokio::spawn(task.run(want));
        Self { wanted: Arc::new(wanted), known }
    }

    /// From now on these are wanted, and no others.
    pub fn want(&self, next: Wanted) {
        self.wanted.send_if_modified(|wanted| {
            let differs = *wanted != next;
            *wanted = next;
            differs
        });
    }

    /// What is known now.
    #[must_use]
    pub fn known(&self) -> Arc<Names> {
        Arc::clone(&self.known.borrow())
    }

    /// Done when something else is known.
    pub async fn changed(&mut self) {
        if self.known.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Waits until something is known of all that is wanted, or until this time is over.
    pub async fn settle(&mut self, within: Duration) {
        let wanted = self.wanted.borrow().clone();
        let is_known = |known: &Names, name: &String| *known.resolved(name) != Resolved::Pending;
        let settled = self.known.wait_for(|known| wanted.names.keys().all(|name| is_known(known, name)));
        // Whatever is still pending is closed until it is known.
        let _ = timeout(within, settled).await;
    }
}

struct Task {
    ask: Ask,
    max_age: Duration,
    wanted: Wanted,
    entries: BTreeMap<String, Entry>,
    lookups: JoinSet<(String, Result<Vec<IpAddr>, String>)>,
    publish: watch::Sender<Arc<Names>>,
    /// When it is to be told what is known.
    tell: Option<Instant>,
    told: Option<Instant>,
}

struct Entry {
    lookups: Lookups,
    /// For which namespace it is being looked up.
    asked_for: Option<String>,
}

impl Task {
    /// Until nobody wants anything any more.
    async fn run(mut self, mut want: watch::Receiver<Wanted>) {
        loop {
            let next = self.next();
            tokio::select! {
                changed = want.changed() => match changed {
                    Ok(()) => self.reconcile(want.borrow_and_update().clone()),
                    Err(_) => return,
                },
                Some(joined) = self.lookups.join_next() => {
                    // What awaits an answer does not panic: a lookup that does gives none.
                    if let Ok((name, answer)) = joined {
                        self.answered(&name, answer);
                    }
                }
                () = at(self.tell) => self.tell(),
                () = at(next) => {}
            }
            self.ask_what_is_due();
        }
    }

    /// When there is something to ask that is not being asked. What is due and has no room is looked at again soon.
    fn next(&self) -> Option<Instant> {
        let idle = self.entries.values().filter(|entry| entry.asked_for.is_none());
        let soon = Instant::now() + Duration::from_millis(100);
        idle.map(|entry| entry.lookups.next()).min().map(|next| next.max(soon))
    }

    fn reconcile(&mut self, wanted: Wanted) {
        // A lookup under way keeps its place among those of its namespace.
        self.entries.retain(|name, entry| wanted.names.contains_key(name) || entry.asked_for.is_some());
        for name in wanted.names.keys() {
            let new = || Entry { lookups: Lookups::new(Instant::now()), asked_for: None };
            self.entries.entry(name.clone()).or_insert_with(new);
        }
        self.wanted = wanted;
        self.tell_soon();
    }

    fn ask_what_is_due(&mut self) {
        let now = Instant::now();
        let mut busy: BTreeMap<String, usize> = BTreeMap::new();
        for namespace in self.entries.values().filter_map(|entry| entry.asked_for.clone()) {
            *busy.entry(namespace).or_default() += 1;
        }
        let idle = self.entries.iter_mut().filter(|(_, entry)| entry.asked_for.is_none());
        let mut due: Vec<_> = idle.filter(|(_, entry)| entry.lookups.next() <= now).collect();
        // Who has waited longest comes first.
        due.sort_by_key(|(_, entry)| entry.lookups.next());
        for (name, entry) in due {
            if self.lookups.len() >= AT_ONCE {
                return;
            }
            let namespaces = self.wanted.names.get(name).into_iter().flatten();
            let free = |namespace: &&String| busy.get(*namespace).is_none_or(|count| *count < AT_ONCE_FOR_ONE);
            let Some(namespace) = namespaces.into_iter().find(free).cloned() else { continue };
            *busy.entry(namespace.clone()).or_default() += 1;
            entry.asked_for = Some(namespace);
            let (name, ask) = (name.clone(), Arc::clone(&self.ask));
            self.lookups.spawn(async move {
                let answer = on_a_thread(ask, name.clone()).await;
                (name, answer)
            });
        }
    }

    fn answered(&mut self, name: &str, answer: Result<Vec<IpAddr>, String>) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        entry.asked_for = None;
        let was_failing = entry.lookups.is_failing();
        if let Err(error) = &answer
            && !was_failing
        {
            warn!(name, %error, "the name can't be resolved; its last addresses, if any, stay in force");
        }
        entry.lookups.answered(answer, Instant::now());
        if was_failing && !entry.lookups.is_failing() {
            info!(name, "the name can be resolved again");
        }
        if !self.wanted.names.contains_key(name) {
            self.entries.remove(name);
        }
        self.tell_soon();
    }

    fn tell_soon(&mut self) {
        let now = Instant::now();
        let soon = || self.told.map_or(now, |told| now.max(told + TELL_EVERY));
        self.tell = self.tell.or_else(|| Some(soon()));
    }

    fn tell(&mut self) {
        let now = Instant::now();
        (self.tell, self.told) = (None, Some(now));
        let looked_up = self.entries.iter().filter(|(name, _)| self.wanted.names.contains_key(*name));
        let looked_up = looked_up.map(|(name, entry)| (name.clone(), entry.lookups.resolved(now, self.max_age)));
        let left_out = self.wanted.left_out.iter().map(|name| (name.clone(), Resolved::LeftOut));
        let known = Names(left_out.chain(looked_up).collect());
        self.publish.send_if_modified(|last| {
            let differs = **last != known;
            if differs {
                *last = Arc::new(known);
            }
            differs
        });
    }
}

/// A thread of its own: the system's resolver blocks, and whoever ends meanwhile must not wait for it.
async fn on_a_thread(ask: Ask, name: String) -> Result<Vec<IpAddr>, String> {
    let (answer, answered) = oneshot::channel();
    let lookup = thread::Builder::new().name("name".to_owned()).spawn(move || answer.send(ask(&name)));
    match lookup {
        Ok(_) => match answered.await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err("the lookup ended without an answer".to_owned()),
        },
        Err(error) => Err(error.to_string()),
    }
}

fn ask_system(name: &str) -> io::Result<Vec<IpAddr>> {
    // With a dot at its end a name is whole: the search path, by which `math.a` may be a Service, is not tried.
    let found = (format!("{name}."), 0).to_socket_addrs()?;
    Ok(found.map(|address| address.ip()).collect())
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Mutex;
    use std::sync::mpsc;

    use super::*;

    fn wanted(names: &[(&str, &str)]) -> Wanted {
        let mut wanted = Wanted::default();
        for (name, namespace) in names {
            wanted.names.entry((*name).to_owned()).or_default().insert((*namespace).to_owned());
        }
        wanted
    }

    const LONG: Duration = Duration::from_secs(600);

    #[tokio::test]
    async fn names_that_nobody_answers_delay_those_of_their_own_namespace_alone() {
        let (release, held) = mpsc::channel::<()>();
        let held = Mutex::new(held);
        let asked: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let seen = Arc::clone(&asked);
        let ask: Ask = Arc::new(move |name| {
            seen.lock().unwrap().insert(name.to_owned());
            if name.starts_with("slow") {
                let _ = held.lock().unwrap().recv();
            }
            Ok(vec![IpAddr::from([192, 0, 2, 1])])
        });
        let mut resolving = Resolving::asking(ask, LONG);
        let slow: Vec<String> = (0..200).map(|number| format!("slow{number}.example.com")).collect();
        let mut names: Vec<(&str, &str)> = slow.iter().map(|name| (name.as_str(), "hostile")).collect();
        names.push(("mcp.example.com", "honest"));
        // That a hostile namespace wants it as well changes nothing.
        names.push(("mcp.example.com", "hostile"));
        resolving.want(wanted(&names));
        let known = resolving.known.wait_for(|known| known.0.values().any(|name| *name != Resolved::Pending)).await;
        assert!(matches!(known.unwrap().resolved("mcp.example.com"), Resolved::At(_)));
        assert!(asked.lock().unwrap().len() <= AT_ONCE_FOR_ONE + 1);
        drop(release);
        resolving.settle(LONG).await;
        assert_eq!(asked.lock().unwrap().len(), 201);
    }

    #[tokio::test]
    async fn a_lookup_that_panics_has_failed_and_no_other() {
        let ask: Ask = Arc::new(|name| match name {
            "broken.example.com" => panic!("broken"),
            "lost.example.com" => Err(io::Error::other("no such name")),
            _ => Ok(vec![IpAddr::from([192, 0, 2, 1])]),
        });
        let mut resolving = Resolving::asking(ask, LONG);
        let names = [("broken.example.com", "a"), ("good.example.com", "a"), ("lost.example.com", "a")];
        resolving.want(Wanted { left_out: ["many.example.com".to_owned()].into(), ..wanted(&names) });
        resolving.settle(LONG).await;
        let known = resolving.known();
        assert!(matches!(known.resolved("broken.example.com"), Resolved::Failed(_)));
        assert_eq!(*known.resolved("lost.example.com"), Resolved::Failed("no such name".to_owned()));
        assert_eq!(*known.resolved("good.example.com"), Resolved::At(vec![IpAddr::from([192, 0, 2, 1])]));
        assert_eq!(*known.resolved("many.example.com"), Resolved::LeftOut);
        assert_eq!(*known.resolved("other.example.com"), Resolved::Pending);
    }
}
