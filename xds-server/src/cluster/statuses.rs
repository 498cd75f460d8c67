//! Brings statuses to the API server: what differs, by server-side apply.

use std::collections::BTreeMap;

use futures::stream::{StreamExt as _, iter};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::{Client, Error};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{debug, warn};

use super::{MANAGER, Meaning, RETRY, WRITES};
use crate::resources::ObjectRef;
use crate::source::kube::kinds::KINDS;
use crate::status::{Facts, current, desired, merged};

/// Writes for as long as somebody tells what the world means.
pub(super) async fn write(
    client: Client,
    mut leads: watch::Receiver<bool>,
    mut meanings: watch::Receiver<Option<Meaning>>,
    mut facts: watch::Receiver<Facts>,
) {
    // What was written since the world was told: the world does not know it yet.
    let mut written: BTreeMap<ObjectRef, Value> = BTreeMap::new();
    loop {
        if meanings.has_changed().unwrap_or(false) {
            written.clear();
        }
        let meaning = meanings.borrow_and_update().clone();
        let known = facts.borrow_and_update().clone();
        let leading = *leads.borrow_and_update();
        let mut failed = false;
        if let Some(Meaning { resources, translation }) = meaning.filter(|_| leading) {
            let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            let writes: Vec<_> = desired(&resources, &translation, &known)
                .into_iter()
                .filter_map(|desired| {
                    let there = written.get(&desired.object).cloned().or_else(|| current(&desired.object, &resources));
                    let status = merged(&desired, there.as_ref(), &now)?;
                    Some(apply(client.clone(), desired.object, status))
                })
                .collect();
            let results: Vec<_> = iter(writes).buffer_unordered(WRITES).collect().await;
            for (object, status) in results {
                match status {
                    Some(status) => drop(written.insert(object, status)),
                    None => failed = true,
                }
            }
        }
        tokio::select! {
            changed = meanings.changed() => if changed.is_err() { return },
            changed = facts.changed() => if changed.is_err() { return },
            changed = leads.changed() => if changed.is_err() { return },
            () = sleep(RETRY), if failed => {}
        }
    }
}

/// Gives the status back if it need not be tried again.
async fn apply(client: Client, object: ObjectRef, status: Value) -> (ObjectRef, Option<Value>) {
    let Some(kind) = KINDS.iter().find(|kind| (kind.group, kind.kind) == (object.group.as_str(), object.kind.as_str()))
    else {
        return (object, Some(status));
    };
    let resource = kind.resource();
    let api: Api<DynamicObject> = if object.name.namespace.is_empty() {
        Api::all_with(client, &resource)
    } else {
        Api::namespaced_with(client, &object.name.namespace, &resource)
    };
    let patch = json!({ "apiVersion": resource.api_version, "kind": resource.kind, "status": status });
    let parameters = PatchParams::apply(MANAGER).force();
    let written = match api.patch_status(&object.name.name, &parameters, &Patch::Apply(&patch)).await {
        Ok(_) => {
            debug!(%object, "status written");
            Some(status)
        }
        // Gone meanwhile.
        Err(Error::Api(answer)) if answer.code == 404 => Some(status),
        Err(error) => {
            warn!(%object, %error, "can't write the status");
            None
        }
    };
    (object, written)
}
