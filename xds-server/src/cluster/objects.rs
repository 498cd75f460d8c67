//! Brings the objects of our Gateways to the API server, and keeps them as they are wished.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::stream::{StreamExt as _, iter};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams, Preconditions};
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use kube::{Client, Error};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::{MANAGER, Meaning, RETRY, WRITES};
use crate::provision::{self, ProvisionOptions, names};
use crate::resources::{Asks, Name, Resources};
use crate::translate::{CONTROLLER_NAME, Translation};

/// How often objects are written anew, though nothing was changed here: somebody may have changed them there.
const MEND: Duration = Duration::from_secs(30);

/// Kinds of which a Gateway may have an object, and after a change of its parameters or of its class no more. In the
/// order in which they are deleted.
const KINDS: [(&str, &str); 5] = [
    ("v1", "Service"),
    ("policy/v1", "PodDisruptionBudget"),
    ("apps/v1", "Deployment"),
    ("v1", "ConfigMap"),
    ("v1", "ServiceAccount"),
];

/// Writes for as long as somebody tells what the world means.
pub(super) async fn write(
    client: Client,
    mut leads: watch::Receiver<bool>,
    mut meanings: watch::Receiver<Option<Meaning>>,
    options: ProvisionOptions,
) {
    let mut written: BTreeMap<String, Value> = BTreeMap::new();
    // The Gateways and their objects when nothing was there that is not wished.
    let mut tidy = None;
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
                let mut all = bring(&client, &wished, &mut written).await;
                let claims = Claims::new(&resources, &translation, wished.keys());
                if all && tidy.as_ref() != Some(&claims) {
                    all = remove_unwished(&client, &claims).await;
                    tidy = all.then_some(claims);
                }
                if !all {
                    next = Instant::now() + RETRY;
                }
            }
            // Another replica may write meanwhile.
            None => {
                written.clear();
                tidy = None;
            }
        }
        tokio::select! {
            changed = meanings.changed() => if changed.is_err() { return },
            changed = leads.changed() => if changed.is_err() { return },
            () = sleep_until(next) => {
                written.clear();
                tidy = None;
            }
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
    written.retain(|name, _| wished.contains_key(name));
    all
}

/// Which objects there are to be, and for whom.
#[derive(Debug, Default, PartialEq, Eq)]
struct Claims {
    wished: BTreeSet<String>,
    /// The Gateways that are served.
    served: BTreeSet<Name>,
    /// Gateways of others, with the label that their objects had if they were of us.
    left: BTreeMap<Name, String>,
}

impl Claims {
    fn new<'a>(resources: &Resources, translation: &Translation, wished: impl Iterator<Item = &'a String>) -> Self {
        let served: BTreeSet<Name> = translation.parameters.keys().cloned().collect();
        let classes = resources.gateway_classes.iter();
        let readable = classes.filter(|(_, class)| class.spec.controller_name == CONTROLLER_NAME).map(|(name, _)| name);
        let malformed = resources.malformed.iter();
        let malformed = malformed.filter(|it| it.asks == Asks::Controller(CONTROLLER_NAME.to_owned()));
        let ours = readable.chain(malformed.map(|it| &it.object.name));
        let ours: BTreeSet<&str> = ours.map(|name| name.name.as_str()).collect();
        let left = resources.gateways.iter().filter(|(_, gateway)| !ours.contains(&*gateway.spec.gateway_class_name));
        let left = left.map(|(name, gateway)| (name.clone(), names::class(&gateway.spec.gateway_class_name)));
        Self { wished: wished.cloned().collect(), served, left: left.collect() }
    }

    /// Whether an object that is there is to go. Only what carries our labels and belongs to a Gateway is asked about;
    /// what can't be told for sure stays, and goes with its Gateway at the latest.
    fn are_against(&self, kind: &str, object: &ObjectMeta) -> bool {
        let (Some(name), Some(namespace), Some(owner)) = (&object.name, &object.namespace, owner(object)) else {
            return false;
        };
        let gateway = Name::new(namespace, owner);
        let labelled = object.labels.as_ref().and_then(|labels| labels.get(names::CLASS));
        // A Gateway whose class has vanished, or is not ours for a moment, is not left without Envoys for that.
        let has_left =
            || self.left.get(&gateway).is_some_and(|class| labelled.is_some_and(|labelled| labelled != class));
        let is_wished = self.wished.contains(&format!("{kind} {namespace}/{name}"));
        !is_wished && names::object(owner) == *name && (self.served.contains(&gateway) || has_left())
    }
}

/// The Gateway that an object belongs to.
fn owner(object: &ObjectMeta) -> Option<&str> {
    let owners = object.owner_references.iter().flatten();
    let mut gateways = owners.filter(|owner| {
        owner.kind == "Gateway"
            && owner.api_version.starts_with("gateway.networking.k8s.io/")
            && owner.controller == Some(true)
    });
    gateways.next().map(|owner| owner.name.as_str())
}

/// Deletes what is there of ours and is not wished. `false`: something is to be tried again.
async fn remove_unwished(client: &Client, claims: &Claims) -> bool {
    let mut all = true;
    for (api_version, kind) in KINDS {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let everywhere: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        let selected = ListParams::default().labels(&format!("{}={MANAGER}", names::MANAGED_BY));
        let there = match everywhere.list_metadata(&selected).await {
            Ok(there) => there.items,
            Err(error) => {
                warn!(kind, %error, "can't list what Gateways have");
                all = false;
                continue;
            }
        };
        for object in there.into_iter().map(|object| object.metadata) {
            if claims.are_against(kind, &object) {
                all &= remove(client.clone(), &resource, &object).await;
            }
        }
    }
    all
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

/// Deletes an object, if it is still the one that was found.
async fn remove(client: Client, resource: &ApiResource, found: &ObjectMeta) -> bool {
    let (namespace, name) = (found.namespace.as_deref().unwrap_or_default(), found.name.as_deref().unwrap_or_default());
    let object = format!("{} {namespace}/{name}", resource.kind);
    let api: Api<DynamicObject> = Api::namespaced_with(client, namespace, resource);
    let preconditions = Preconditions { uid: found.uid.clone(), resource_version: None };
    match api.delete(name, &DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() }).await {
        Ok(_) => {
            info!(object, "deleted: the Gateway is not to have it any more");
            true
        }
        Err(Error::Api(answer)) if answer.code == 404 => true,
        Err(error) => {
            warn!(object, %error, "can't delete an object of a Gateway");
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

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

    use super::*;

    fn object(gateway: &str, class: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some(names::object(gateway)),
            namespace: Some("apps".to_owned()),
            labels: Some(names::labels(gateway, class)),
            owner_references: Some(vec![OwnerReference {
                api_version: "gateway.networking.k8s.io/v1".to_owned(),
                kind: "Gateway".to_owned(),
                name: gateway.to_owned(),
                controller: Some(true),
                ..Default::default()
            }]),
            ..Default::default()
        }
    }

    #[test]
    fn what_is_not_wished_goes_and_what_is_in_doubt_stays() {
        let gateway = |name: &str| Name::new("apps", name);
        let claims = Claims {
            wished: BTreeSet::from(["Deployment apps/served-toolward".to_owned()]),
            served: BTreeSet::from([gateway("served")]),
            left: BTreeMap::from([(gateway("moved"), "other".to_owned()), (gateway("waits"), "toolward".to_owned())]),
        };
        let changed = |change: fn(&mut ObjectMeta)| {
            let mut object = object("served", "toolward");
            change(&mut object);
            object
        };
        for (name, kind, object, goes) in [
            ("wished", "Deployment", object("served", "toolward"), false),
            ("of a Gateway that is served, and not wished", "Service", object("served", "toolward"), true),
            ("of a Gateway that has gone to another class", "Deployment", object("moved", "toolward"), true),
            ("the class of the Gateway is missing", "Deployment", object("waits", "toolward"), false),
            ("of a Gateway that is not there or can't be read", "Service", object("unknown", "toolward"), false),
            ("of nobody", "Service", changed(|object| object.owner_references = None), false),
            ("of another name", "Service", changed(|object| object.name = Some("served".to_owned())), false),
            (
                "controlled by somebody else",
                "Service",
                changed(|object| {
                    object.owner_references.iter_mut().flatten().for_each(|owner| owner.controller = None)
                }),
                false,
            ),
        ] {
            assert_eq!(claims.are_against(kind, &object), goes, "{name}");
        }
    }
}
