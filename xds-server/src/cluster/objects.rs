//! Brings the objects of our Gateways to the API server, and keeps them as they are wished.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::stream::{StreamExt as _, iter};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use kube::{Client, Error};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::{MANAGER, Meaning, RETRY, WRITES};
use crate::provision::{self, ProvisionOptions};

/// How often objects are written anew, though nothing was changed here: somebody may have changed them there.
const MEND: Duration = Duration::from_secs(30);

/// Kinds of which a Gateway may have an object, and after a change of its parameters no more.
const DISPENSABLE: [(&str, &str); 2] = [("v1", "Service"), ("policy/v1", "PodDisruptionBudget")];

/// Writes for as long as somebody tells what the world means.
pub(super) async fn write(
    client: Client,
    mut leads: watch::Receiver<bool>,
    mut meanings: watch::Receiver<Option<Meaning>>,
    options: ProvisionOptions,
) {
    let mut written: BTreeMap<String, Value> = BTreeMap::new();
    loop {
        let meaning = meanings.borrow_and_update().clone();
        let leading = *leads.borrow_and_update();
        let mut next = Instant::now() + MEND;
        match meaning.filter(|_| leading) {
            Some(Meaning { resources, translation }) => {
                let wished: BTreeMap<String, Value> = provision::all(&resources, &translation, &options)
                    .into_iter()
                    .map(|object| (identity(&object), object))
                    .collect();
                if !bring(&client, &wished, &mut written).await {
                    next = Instant::now() + RETRY;
                }
            }
            // Another replica may write meanwhile.
            None => written.clear(),
        }
        tokio::select! {
            changed = meanings.changed() => if changed.is_err() { return },
            changed = leads.changed() => if changed.is_err() { return },
            () = sleep_until(next) => written.clear(),
        }
    }
}

/// Writes what is not known to be there already. `false`: something is to be tried again.
async fn bring(client: &Client, wished: &BTreeMap<String, Value>, written: &mut BTreeMap<String, Value>) -> bool {
    let new: Vec<_> = wished.iter().filter(|(name, object)| written.get(*name) != Some(*object)).collect();
    let writes: Vec<_> =
        new.into_iter().map(|(name, object)| apply(client.clone(), name.clone(), object.clone())).collect();
    let results: Vec<(String, Value, bool)> = iter(writes).buffered(WRITES).collect().await;
    let mut all = true;
    for (name, object, done) in results {
        all &= done;
        if done {
            written.insert(name, object);
        } else {
            written.remove(&name);
        }
    }
    for unwished in unwished(wished) {
        all &= remove(client.clone(), unwished).await;
    }
    written.retain(|name, _| wished.contains_key(name));
    all
}

/// Objects that a Gateway of these could have and is not to have.
fn unwished(wished: &BTreeMap<String, Value>) -> Vec<Value> {
    let owners: BTreeSet<_> =
        wished.values().map(|object| (text(object, "/metadata/namespace"), text(object, "/metadata/name"))).collect();
    let mut unwished = Vec::new();
    for (api_version, kind) in DISPENSABLE {
        for (namespace, name) in &owners {
            let object = serde_json::json!({
                "apiVersion": api_version,
                "kind": kind,
                "metadata": { "namespace": namespace, "name": name },
            });
            if !wished.contains_key(&identity(&object)) {
                unwished.push(object);
            }
        }
    }
    unwished
}

async fn apply(client: Client, name: String, object: Value) -> (String, Value, bool) {
    let parameters = PatchParams::apply(MANAGER).force();
    let written =
        api(client, &object).patch(text(&object, "/metadata/name"), &parameters, &Patch::Apply(&object)).await;
    if let Err(error) = &written {
        warn!(object = name, %error, "can't write an object of a Gateway");
    }
    let done = written.is_ok();
    (name, object, done)
}

/// Deletes an object if it is there and ours.
async fn remove(client: Client, object: Value) -> bool {
    let api = api(client, &object);
    let name = text(&object, "/metadata/name");
    let selected = ListParams::default()
        .fields(&format!("metadata.name={name}"))
        .labels(&format!("app.kubernetes.io/managed-by={MANAGER}"));
    let ours = match api.list_metadata(&selected).await {
        Ok(found) => !found.items.is_empty(),
        Err(error) => {
            warn!(object = identity(&object), %error, "can't read an object of a Gateway");
            return false;
        }
    };
    if !ours {
        return true;
    }
    match api.delete(name, &DeleteParams::default()).await {
        Ok(_) => {
            info!(object = identity(&object), "deleted: the Gateway is not to have it any more");
            true
        }
        Err(Error::Api(answer)) if answer.code == 404 => true,
        Err(error) => {
            warn!(object = identity(&object), %error, "can't delete an object of a Gateway");
            false
        }
    }
}

/// `Kind namespace/name`.
fn identity(object: &Value) -> String {
    let text = |pointer| text(object, pointer);
    format!("{} {}/{}", text("/kind"), text("/metadata/namespace"), text("/metadata/name"))
}

fn text<'v>(object: &'v Value, pointer: &str) -> &'v str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn api(client: Client, object: &Value) -> Api<DynamicObject> {
    let (group, version) = text(object, "/apiVersion").rsplit_once('/').unwrap_or(("", text(object, "/apiVersion")));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, text(object, "/kind")));
    Api::namespaced_with(client, text(object, "/metadata/namespace"), &resource)
}
