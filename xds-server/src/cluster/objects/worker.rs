//! Sees to the objects of one Gateway, again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use super::super::backoff::Backoff;
use super::Faults;
use super::task::{Task, Wish};
use super::turns::Turn;
use super::write::{self, Wished};
use crate::provision::{self, ProvisionOptions};
use crate::status::ObjectFault;

/// What could not be written is tried again after this…
const RETRY: Duration = Duration::from_secs(2);

/// …and at last after this.
const RETRY_MOST: Duration = Duration::from_secs(32);

/// Between two turns of a Gateway, however often it changes.
const PAUSE: Duration = Duration::from_millis(200);

/// The longest that a turn takes.
const TURN_WITHIN: Duration = Duration::from_secs(30);

/// Works until it is dropped.
#[derive(Debug)]
pub(super) struct Worker {
    tasks: watch::Sender<Task>,
    abort: AbortHandle,
}

impl Worker {
    pub(super) fn start(
        client: Client,
        options: Arc<ProvisionOptions>,
        task: Task,
        turn: Turn,
        faults: Arc<watch::Sender<Faults>>,
    ) -> Self {
        let (sender, tasks) = watch::channel(task);
        let work = Work { client, options, turn, written: BTreeMap::new() };
        Self { tasks: sender, abort: tokio::spawn(work.run(tasks, faults)).abort_handle() }
    }

    /// Passes on what is new.
    pub(super) fn tell(&self, task: Task) {
        self.tasks.send_if_modified(|last| {
            let is_new = !task.is_same(last);
            *last = task;
            is_new
        });
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

struct Work {
    client: Client,
    options: Arc<ProvisionOptions>,
    turn: Turn,
    /// What is known to be there, by id.
    written: BTreeMap<String, Written>,
}

/// An object as it was written.
struct Written {
    object: Value,
    /// Its resourceVersion then.
    version: String,
    at: Instant,
}

impl Work {
    async fn run(mut self, mut tasks: watch::Receiver<Task>, faults: Arc<watch::Sender<Faults>>) {
        let mut backoff = Backoff::new(RETRY, RETRY_MOST);
        loop {
            let task = tasks.borrow_and_update().clone();
            let Ok(turn) = self.turn.wait().await else { return };
            let done = timeout(TURN_WITHIN, self.see_to(&task)).await.unwrap_or_else(|_| {
                let message = "the API server does not answer in time; it is tried again".to_owned();
                Err(ObjectFault { reason: "Pending", message })
            });
            drop(turn);
            let retry = match &done {
                Ok(()) => {
                    backoff.reset();
                    None
                }
                Err(fault) => {
                    warn!(gateway = %task.gateway, reason = fault.reason, "{}", fault.message);
                    Some(backoff.next(Instant::now()))
                }
            };
            tell(&faults, &task.uid, done.err());
            sleep(PAUSE).await;
            tokio::select! {
                changed = tasks.changed() => if changed.is_err() { return },
                () = sleep(retry.unwrap_or_default()), if retry.is_some() => {}
            }
        }
    }

    /// Writes in the order in which the objects need each other: behind one that can't be written nothing is. Deletes at
    /// last, so that nothing is missing meanwhile.
    async fn see_to(&mut self, task: &Task) -> Result<(), ObjectFault> {
        let objects = match &task.wish {
            Wish::Keep { gateway, parameters } => provision::objects(gateway, parameters, &self.options),
            Wish::Leave { .. } => Vec::new(),
        };
        let ids: BTreeSet<String> = objects.iter().map(|object| Wished::new(object).id()).collect();
        self.written.retain(|id, _| ids.contains(id));
        for object in objects {
            let wished = Wished::new(&object);
            let id = wished.id();
            if self.is_there(task, &id, &object) {
                continue;
            }
            self.written.remove(&id);
            let at = Instant::now();
            let version = wished.bring(&self.client, &task.uid).await?;
            self.written.insert(id, Written { object, version, at });
        }
        for found in task.unwished(&ids) {
            write::remove(&self.client, &found).await?;
        }
        Ok(())
    }

    /// Whether an object is there as it is wished: it was written so, and whoever looked later found it unchanged.
    fn is_there(&self, task: &Task, id: &str, object: &Value) -> bool {
        let Some(written) = self.written.get(id).filter(|written| written.object == *object) else { return false };
        if task.looked.is_none_or(|looked| looked <= written.at) {
            return true;
        }
        task.found.iter().any(|found| found.id() == id && found.version == written.version)
    }
}

fn tell(faults: &watch::Sender<Faults>, uid: &str, fault: Option<ObjectFault>) {
    faults.send_if_modified(|faults| {
        let last = match &fault {
            Some(fault) => faults.insert(uid.to_owned(), fault.clone()),
            None => faults.remove(uid),
        };
        last != fault
    });
}
