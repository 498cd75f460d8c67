//! Brings the objects of our Gateways to the API server, and keeps them as they are wished. Each Gateway has a worker of its
//! own: what goes wrong with one is tried again there, and said of it, and is nothing to the others.
//!
//! ```text
//! Meaning ─ tasks ─┬─> worker of a Gateway ─ write ─> API server
//!                  ├─> worker of another…     └─────> Faults ─> the Gateway's status
//! Found ───────────┘  (what is there of ours, looked at now and then)
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::Client;
use tokio::sync::watch;

use super::Meaning;
use crate::provision::ProvisionOptions;
use crate::status::ObjectFault;

mod found;
mod task;
mod turns;
mod worker;
mod write;

use found::Found;
use turns::Turns;
use worker::Worker;

/// What keeps Gateways from having their objects, by the uid of the Gateway.
pub(super) type Faults = BTreeMap<String, ObjectFault>;

/// Writes for as long as somebody tells what the world means; tells what can't be written.
pub(super) fn keep(
    client: Client,
    leads: watch::Receiver<bool>,
    meanings: watch::Receiver<Option<Meaning>>,
    options: ProvisionOptions,
) -> watch::Receiver<Faults> {
    let (sender, faults) = watch::channel(Faults::new());
    let found = found::watch(client.clone(), leads.clone());
    tokio::spawn(dispatch(client, leads, meanings, found, Arc::new(options), Arc::new(sender)));
    faults
}

async fn dispatch(
    client: Client,
    mut leads: watch::Receiver<bool>,
    mut meanings: watch::Receiver<Option<Meaning>>,
    mut found: watch::Receiver<Found>,
    options: Arc<ProvisionOptions>,
    faults: Arc<watch::Sender<Faults>>,
) {
    let mut turns = Turns::default();
    // By the uid of the Gateway.
    let mut workers: BTreeMap<String, Worker> = BTreeMap::new();
    loop {
        let meaning = meanings.borrow_and_update().clone();
        let leading = *leads.borrow_and_update();
        let there = found.borrow_and_update().clone();
        let tasks = match &meaning {
            Some(Meaning { resources, translation }) if leading => {
                task::tasks(resources, &translation.parameters, &there)
            }
            // Another replica may write meanwhile: all workers end.
            _ => BTreeMap::new(),
        };
        workers.retain(|uid, _| tasks.contains_key(uid));
        faults.send_if_modified(|faults| {
            let before = faults.len();
            faults.retain(|uid, _| tasks.contains_key(uid));
            faults.len() != before
        });
        turns.forget_idle();
        for (uid, task) in tasks {
            if let Some(worker) = workers.get(&uid) {
                worker.tell(task);
            } else {
                let turn = turns.of(&task.gateway.namespace);
                let worker = Worker::start(client.clone(), Arc::clone(&options), task, turn, Arc::clone(&faults));
                workers.insert(uid, worker);
            }
        }
        tokio::select! {
            changed = meanings.changed() => if changed.is_err() { return },
            changed = leads.changed() => if changed.is_err() { return },
            changed = found.changed() => if changed.is_err() { return },
        }
    }
}
