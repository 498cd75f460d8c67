//! Brings statuses to the API server: what differs, by server-side apply. Other controllers have entries of their own in
//! lists that can only be written whole, so each write names the version of the object that it was made for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{StreamExt as _, iter};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use kube::core::Request;
use kube::{Client, Error, Resource as _};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, warn};

use super::backoff::Backoff;
use super::fair::in_turn;
use super::lenient::{self, List, WithStatus, code};
use super::{MANAGER, Meaning, WRITES};
use crate::resources::{Current, ObjectRef, Resources};
use crate::source::kube::kinds::KINDS;
use crate::status::{Desired, Facts, current, desired, merged};

/// Between two looks at all statuses: our own writes come back as changes.
const PAUSE: Duration = Duration::from_millis(100);

/// Between two writes of one object's status, once it was written or could not be…
const SPACING: Duration = Duration::from_millis(200);

/// …and at last, where it goes on.
const SPACING_MOST: Duration = Duration::from_secs(2);

/// Most that are written before it is looked again what is to be written: of each namespace in turn.
const AT_ONCE: usize = 256;

/// An API server that has not answered by then is asked again.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// How often one status is tried at once when others write to the same object.
const ATTEMPTS: usize = 5;

/// Writes for as long as somebody tells what the world means.
pub(super) async fn write(
    client: Client,
    mut leads: watch::Receiver<bool>,
    mut meanings: watch::Receiver<Option<Meaning>>,
    mut facts: watch::Receiver<Option<Facts>>,
) {
    // What was written since the world was told: the world does not know it yet.
    let mut written: BTreeMap<ObjectRef, Current> = BTreeMap::new();
    let mut told: Option<Arc<Resources>> = None;
    let mut pace = Pace::default();
    loop {
        let meaning = meanings.borrow_and_update().clone();
        let resources = meaning.as_ref().map(|meaning| Arc::clone(&meaning.resources));
        if resources.as_ref().map(Arc::as_ptr) != told.as_ref().map(Arc::as_ptr) {
            written.clear();
        }
        told = resources;
        let known = facts.borrow_and_update().clone();
        let leading = *leads.borrow_and_update();
        let mut wake: Option<Instant> = None;
        pace.forget(Instant::now());
        if let (Some(Meaning { resources, translation }), Some(known), true) = (meaning, known, leading) {
            let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            let due = desired(&resources, &translation, &known).into_iter().filter_map(|desired| {
                let there = written.get(&desired.object).cloned();
                let there = there.or_else(|| current(&desired.object, &resources)).unwrap_or_default();
                merged(&desired, there.status.as_ref(), &now)?;
                if let Some(later) = pace.later(&desired.object) {
                    wake = Some(wake.map_or(later, |wake| wake.min(later)));
                    return None;
                }
                Some((desired, there))
            });
            let mut due = in_turn(due, |(desired, _)| &desired.object.name.namespace);
            let is_more = due.len() > AT_ONCE;
            due.truncate(AT_ONCE);
            let writes = due.into_iter().map(|(desired, there)| bring(client.clone(), desired, there, now.clone()));
            let results: Vec<_> = iter(writes).buffer_unordered(WRITES).collect().await;
            for (object, there) in results {
                let later = pace.wrote(object.clone());
                match there {
                    Some(there) => drop(written.insert(object, there)),
                    None => wake = Some(wake.map_or(later, |wake| wake.min(later))),
                }
            }
            if is_more {
                wake = Some(Instant::now());
            }
        }
        sleep(PAUSE).await;
        tokio::select! {
            changed = meanings.changed() => if changed.is_err() { return },
            changed = facts.changed() => if changed.is_err() { return },
            changed = leads.changed() => if changed.is_err() { return },
            () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
        }
    }
}

/// When each object may be written again: one that changes all the time, or can't be written, waits alone.
#[derive(Debug, Default)]
struct Pace(BTreeMap<ObjectRef, (Instant, Backoff)>);

impl Pace {
    /// When, if that is later than now.
    fn later(&self, object: &ObjectRef) -> Option<Instant> {
        self.0.get(object).map(|(next, _)| *next).filter(|next| *next > Instant::now())
    }

    /// Notes an attempt; gives when the next may be.
    fn wrote(&mut self, object: ObjectRef) -> Instant {
        let now = Instant::now();
        let (next, backoff) = self.0.entry(object).or_insert((now, Backoff::new(SPACING, SPACING_MOST)));
        *next = now + backoff.next(now);
        *next
    }

    fn forget(&mut self, now: Instant) {
        self.0.retain(|_, (next, _)| now < *next + SPACING_MOST * 2);
    }
}

/// Gives what is there afterwards; `None` where it is to be tried again.
async fn bring(client: Client, desired: Desired, there: Current, now: String) -> (ObjectRef, Option<Current>) {
    let result = timeout(ANSWER_WITHIN, attempt(client, &desired, there, &now)).await;
    let there = match result {
        Ok(Ok(there)) => there,
        Ok(Err(error)) => {
            warn!(object = %desired.object, %error, "can't write the status");
            None
        }
        Err(_) => {
            warn!(object = %desired.object, "no answer to the status; it is tried again");
            None
        }
    };
    (desired.object, there)
}

async fn attempt(client: Client, desired: &Desired, there: Current, now: &str) -> Result<Option<Current>, Error> {
    let Some(object) = Written::new(client, &desired.object) else { return Ok(Some(there)) };
    let uid = there.uid.clone();
    let mut there = there;
    for _ in 0..ATTEMPTS {
        let Some(status) = merged(desired, there.status.as_ref(), now) else { return Ok(Some(there)) };
        let next = Current { status: Some(status), ..there.clone() };
        match object.apply(&next).await {
            Ok(written) => {
                debug!(object = %desired.object, "status written");
                return Ok(Some(written));
            }
            // Somebody wrote meanwhile: what that was is kept, and ours put beside it.
            Err(error) if code(&error) == Some(409) => match object.read().await? {
                Some(fresh) if fresh.uid == uid => there = fresh,
                // Another object of the same name: the world is about to tell.
                _ => return Ok(Some(next)),
            },
            // Gone meanwhile.
            Err(error) if code(&error) == Some(404) => return Ok(Some(next)),
            Err(error) => return Err(error),
        }
    }
    debug!(object = %desired.object, "others write its status as fast; tried again later");
    Ok(None)
}

/// An object whose status is written.
struct Written {
    client: Client,
    url: String,
    name: String,
    api_version: String,
    kind: &'static str,
}

impl Written {
    fn new(client: Client, object: &ObjectRef) -> Option<Self> {
        let is_it = |group: &str, kind: &str| (group, kind) == (object.group.as_str(), object.kind.as_str());
        let kind = KINDS.iter().find(|kind| is_it(kind.group, kind.kind))?;
        let (resource, namespace) = (kind.resource(), Some(&*object.name.namespace));
        let url = DynamicObject::url_path(&resource, namespace.filter(|namespace| !namespace.is_empty()));
        Some(Self { client, url, name: object.name.name.clone(), api_version: resource.api_version, kind: kind.kind })
    }

    /// Writes a status, if the object is still the one that is known.
    async fn apply(&self, next: &Current) -> Result<Current, Error> {
        let Current { uid, version, status } = next;
        let patch = json!({
            "apiVersion": self.api_version,
            "kind": self.kind,
            "metadata": { "uid": uid, "resourceVersion": version },
            "status": status,
        });
        let (parameters, patch) = (PatchParams::apply(MANAGER).force(), Patch::Apply(&patch));
        let request = Request::new(&self.url).patch_subresource("status", &self.name, &parameters, &patch);
        lenient::ask(&self.client, request).await.map(of)
    }

    /// By a list of one, for which there is a right already.
    async fn read(&self) -> Result<Option<Current>, Error> {
        let selected = ListParams::default().fields(&format!("metadata.name={}", self.name));
        let list: List<WithStatus> = lenient::ask(&self.client, Request::new(&self.url).list(&selected)).await?;
        Ok(list.items().into_iter().next().map(of))
    }
}

fn of(object: WithStatus) -> Current {
    let WithStatus { metadata, status } = object;
    Current { uid: metadata.uid, version: metadata.resource_version, status }
}
