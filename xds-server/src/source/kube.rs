//! Resources from a Kubernetes API server.
//!
//! ```text
//! one watch per kind ─ events ─> Store (pure) ─ all known, settled? ─> Change
//!                                   └─ wanted: referenced ConfigMaps and Secrets ─ get ─┘
//! ```
//! Nothing is told before all kinds are known, so a start never serves half a world; while the API server is away the
//! last world stays in force. While a kind can't be read, what is told of the others says so, with the world of which all was
//! known: what is new since then is not served (see [`Resources::vouched`](crate::resources::Resources::vouched)).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ::kube::api::Api;
use ::kube::runtime::watcher::{self, Config, Error as WatchError, watcher};
use ::kube::{Client, Error as ClientError};
use futures::stream::{BoxStream, SelectAll, StreamExt as _, iter, unfold};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;

use crate::metrics::Metrics;
use crate::problem::Problem;
use crate::resources::Name;
use crate::source::Change;

pub mod item;
pub mod kinds;
pub mod store;

use item::{Item, Listed};
use kinds::{Content, KINDS, Kind, Presence};
use store::{Event, Store};

/// Changes that come within this time of each other are told together…
const SETTLE: Duration = Duration::from_millis(10);

/// …but none waits longer than this.
const SETTLE_WITHIN: Duration = Duration::from_millis(100);

/// Time after the first failure of a watch until the next attempt…
const RETRY_FIRST: Duration = Duration::from_millis(200);

/// …and after many.
const RETRY_LAST: Duration = Duration::from_secs(5);

/// A watch that has not failed for so long is tried again at once when it does.
const WORKS_AFTER: Duration = Duration::from_secs(12);

/// Objects per page of a list. A page is held as a whole, and an object may have 1.5 MiB.
const PAGE: u32 = 50;

/// Objects that are fetched at the same time.
const FETCHES: usize = 16;

/// One that has not come by then is fetched again: a connection that is lost without a word holds up nobody for longer.
const FETCH_WITHIN: Duration = Duration::from_secs(10);

/// An interruption of less than this is not worth telling once the world is known.
const GRACE: Duration = Duration::from_secs(5);

/// Reads the world now and tells whenever it has changed. Ends when nobody listens any more. Of the ConfigMaps and Secrets
/// that are referred to, so many bytes are kept for each namespace.
pub fn watch(client: Client, metrics: Arc<Metrics>, room: usize) -> impl Stream<Item = Change> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(
        Watch {
            client,
            metrics,
            sender,
            store: Store::new(room),
            seen: BTreeSet::new(),
            failing: BTreeMap::new(),
            told: Vec::new(),
        }
        .run(),
    );
    ReceiverStream::new(receiver)
}

struct Watch {
    client: Client,
    metrics: Arc<Metrics>,
    sender: mpsc::Sender<Change>,
    store: Store,
    /// Kinds that could be read once.
    seen: BTreeSet<&'static str>,
    /// Kinds that can't be read, since when and why.
    failing: BTreeMap<&'static str, Failure>,
    /// The problems that were told last.
    told: Vec<Problem>,
}

/// Why something can't be read.
struct Failure {
    since: Instant,
    problem: Problem,
}

/// What [`Watch::failing`] calls the ConfigMaps and Secrets that are referred to.
const REFERENCES: &str = "references";

type Events = SelectAll<BoxStream<'static, (&'static Kind, Result<Event, WatchError>)>>;

impl Watch {
    async fn run(mut self) {
        let mut events: Events = KINDS.iter().map(|kind| events(&self.client, kind)).collect();
        loop {
            // Woken at times to tell what has been failing for long.
            match timeout_at(Instant::now() + GRACE, events.next()).await {
                Ok(Some((kind, event))) => self.take(kind, event),
                Ok(None) => return,
                Err(_) => {}
            }
            self.settle(&mut events).await;
            if self.store.is_complete() {
                self.fetch().await;
            }
            if !self.tell().await {
                return;
            }
        }
    }

    async fn settle(&mut self, events: &mut Events) {
        let end = Instant::now() + SETTLE_WITHIN;
        while let Ok(Some((kind, event))) = timeout_at(end.min(Instant::now() + SETTLE), events.next()).await {
            self.take(kind, event);
        }
    }

    fn take(&mut self, kind: &'static Kind, event: Result<Event, WatchError>) {
        match event {
            Ok(event) => {
                // After a failure everything is told again: only then it is known what happened meanwhile.
                if matches!(event, Event::Complete) {
                    self.recovered(kind.kind);
                    self.seen.insert(kind.kind);
                }
                self.store.apply(kind, event);
            }
            // One that was never there has no objects. One that vanished may have had some that restrict.
            Err(error)
                if kind.presence == Presence::Optional && is_missing(&error) && !self.seen.contains(kind.kind) =>
            {
                self.recovered(kind.kind);
                self.store.apply(kind, Event::Restarted);
                self.store.apply(kind, Event::Complete);
            }
            Err(error) => self.failed(kind.kind, problem(kind, &error)),
        }
    }

    fn failed(&mut self, what: &'static str, problem: Problem) {
        let since = self.failing.get(what).map_or_else(Instant::now, |failure| failure.since);
        self.failing.insert(what, Failure { since, problem });
    }

    fn recovered(&mut self, what: &'static str) {
        self.failing.remove(what);
    }

    /// Fetches what is referred to.
    async fn fetch(&mut self) {
        let wanted = self.store.wanted();
        let fetches: Vec<_> = wanted.into_iter().map(|(kind, name)| fetch(self.client.clone(), kind, name)).collect();
        // Each is cut to what is kept of it before the next is read.
        let mut results = iter(fetches).buffer_unordered(FETCHES);
        let mut failure = None;
        while let Some((kind, name, result)) = results.next().await {
            match result {
                Ok(Some(item)) => self.store.fetched(kind, name, item.document, item.unreadable),
                // Deleted meanwhile, which the watch tells.
                Ok(None) => {}
                Err(error) => failure = Some(unreadable(format!("the {} {name}", kind.kind), &error)),
            }
        }
        drop(results);
        match failure {
            Some(problem) => {
                self.failed(REFERENCES, problem);
                sleep(RETRY_FIRST).await;
            }
            None => self.recovered(REFERENCES),
        }
    }

    /// Tells what there is to tell. `false`: nobody listens any more.
    async fn tell(&mut self) -> bool {
        let now = Instant::now();
        let since = self.failing.values().map(|failure| failure.since).min();
        self.metrics.source_failing_since(since.map(Instant::into_std));
        let unknown = self.failing.keys().copied().filter(|what| *what != REFERENCES);
        self.metrics.unknown_kinds(unknown.clone());
        match unknown.count() {
            0 => self.store.know_all(),
            _ => self.store.lose_sight(),
        }

        let complete = self.store.is_complete();
        let is_long = |failure: &Failure| now.duration_since(failure.since) >= GRACE;
        let worth_telling = |failure: &&Failure| !complete || is_long(failure);
        let problems: Vec<Problem> =
            self.failing.values().filter(worth_telling).map(|failure| failure.problem.clone()).collect();
        if problems != self.told {
            self.told = problems.clone();
            if problems.is_empty() {
                self.store.repeat();
            } else if self.sender.send(Change::Broken(problems)).await.is_err() {
                return false;
            }
        }
        // What could not be fetched is not taken for missing. But what one object needs holds up the others for a while only.
        let waits = self.failing.get(REFERENCES).is_some_and(|failure| !self.store.has_told() || !is_long(failure));
        if waits {
            return !self.sender.is_closed();
        }
        while let Some(change) = self.store.take_change() {
            let is_told_anew = matches!(&change, Change::World(world) if world.vouched.is_none());
            if self.sender.send(change).await.is_err() {
                return false;
            }
            // A world of which nothing is said to be missing takes back what was told before.
            if is_told_anew
                && !self.told.is_empty()
                && self.sender.send(Change::Broken(self.told.clone())).await.is_err()
            {
                return false;
            }
        }
        !self.sender.is_closed()
    }
}

/// Fetches one object.
async fn fetch(client: Client, kind: &'static Kind, name: Name) -> (&'static Kind, Name, Result<Option<Item>, String>) {
    let api: Api<Item> = Api::namespaced_with(client, &name.namespace, &kind.resource());
    let item = match timeout(FETCH_WITHIN, api.get_opt(&name.name)).await {
        Ok(item) => item.map_err(|error| error.to_string()),
        Err(_) => Err("it does not answer".to_owned()),
    };
    (kind, name, item)
}

/// What happens to the objects of a kind, for ever.
fn events(client: &Client, kind: &'static Kind) -> BoxStream<'static, (&'static Kind, Result<Event, WatchError>)> {
    let client = client.clone();
    let start = move || started(client.clone(), kind);
    let (events, retry) = (start(), Retry::default());
    unfold((events, retry, start, Duration::ZERO), move |(mut events, mut retry, start, pause)| async move {
        sleep(pause).await;
        let event = events.next().await?;
        let mut pause = Duration::ZERO;
        if event.is_err() {
            pause = retry.next();
            // All is listed again, which says what was missed, and when nothing is missing any more.
            events = start();
        }
        Some(((kind, event), (events, retry, start, pause)))
    })
    .boxed()
}

fn started(client: Client, kind: &Kind) -> BoxStream<'static, Result<Event, WatchError>> {
    let (resource, config) = (kind.resource(), Config::default().page_size(PAGE));
    match kind.content {
        Content::Whole => {
            let api: Api<Item> = Api::all_with(client, &resource);
            watcher(api, config).map(|event| event.map(|event| translated(event, |item| item))).boxed()
        }
        Content::WhenReferenced => {
            let api: Api<Listed> = Api::all_with(client, &resource);
            watcher(api, config).map(|event| event.map(|event| translated(event, |Listed(item)| item))).boxed()
        }
    }
}

/// The time until the next attempt: doubled with each failure, short again after a while without any. A success says
/// little: a watch begins each attempt with one.
#[derive(Debug, Default)]
struct Retry {
    last: Option<(Instant, Duration)>,
}

impl Retry {
    fn next(&mut self) -> Duration {
        let now = Instant::now();
        let next = match self.last {
            Some((failed, pause)) if now.duration_since(failed) < WORKS_AFTER => (pause * 2).min(RETRY_LAST),
            _ => RETRY_FIRST,
        };
        self.last = Some((now, next));
        next
    }
}

fn translated<K>(event: watcher::Event<K>, item: impl Fn(K) -> Item) -> Event {
    match event {
        watcher::Event::Init => Event::Restarted,
        watcher::Event::InitApply(object) | watcher::Event::Apply(object) => {
            let Item { document, unreadable, .. } = item(object);
            match unreadable {
                None => Event::Applied(document),
                Some(unreadable) => Event::Malformed(document, unreadable),
            }
        }
        watcher::Event::Delete(object) => Event::Deleted(item(object).document),
        watcher::Event::InitDone => Event::Complete,
    }
}

fn is_missing(error: &WatchError) -> bool {
    matches!(error, WatchError::InitialListFailed(ClientError::Api(status)) if status.code == 404)
}

fn problem(kind: &Kind, error: &WatchError) -> Problem {
    let what = kind.plural_name();
    match error {
        _ if is_missing(error) => Problem {
            reason: "KindNotInstalled".to_owned(),
            message: match kind.presence {
                Presence::Required => format!("the API server has no {what}: install their CustomResourceDefinition"),
                Presence::Optional => format!(
                    "the API server has no {what} any more: install their CustomResourceDefinition again or, if they are \
                     gone for good, restart toolward"
                ),
            },
            ..unreadable(what, "")
        },
        WatchError::InitialListFailed(ClientError::Api(status))
        | WatchError::WatchStartFailed(ClientError::Api(status))
            if status.code == 403 =>
        {
            Problem {
                reason: "Forbidden".to_owned(),
                message: format!("not allowed to list and watch {what}: grant it to the service account of toolward"),
                ..unreadable(what, "")
            }
        }
        other => unreadable(what, &other.to_string()),
    }
}

fn unreadable(what: String, error: &str) -> Problem {
    Problem {
        file: None,
        message: format!("can't read {what} from the API server: {error}"),
        resource: None,
        field: String::new(),
        reason: "Unreachable".to_owned(),
    }
}
