//! What is there of ours in the whole cluster, looked at now and then: somebody may have changed or deleted it, and what
//! nobody wishes any more is to go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube::api::{DynamicObject, ListParams};
use kube::core::{GroupVersionKind, Request};
use kube::discovery::ApiResource;
use kube::{Client, Error, Resource as _};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use super::super::lenient::{self, List, Metadata, Seen};
use crate::provision::{names, ownership};
use crate::resources::Name;

/// How often it is looked at.
const LOOK: Duration = Duration::from_secs(30);

/// How often where it could not be looked at.
const RETRY: Duration = Duration::from_secs(5);

/// The longest that a look takes.
const WITHIN: Duration = Duration::from_secs(60);

/// Objects per page of a list. A page is held as a whole, and the metadata of an object may have hundreds of KiB, also where
/// somebody else has put our label on it.
const PAGE: u32 = 50;

/// Kinds of which a Gateway may have an object. In the order in which they are deleted.
const KINDS: [(&str, &str); 5] = [
    ("v1", "Service"),
    ("policy/v1", "PodDisruptionBudget"),
    ("apps/v1", "Deployment"),
    ("v1", "ConfigMap"),
    ("v1", "ServiceAccount"),
];

/// What is there of ours, by the Gateway that it was made for.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    objects: Arc<BTreeMap<Owner, Arc<Vec<FoundObject>>>>,
    /// When the look began.
    pub(super) looked: Option<Instant>,
}

/// A Gateway. By its namespace as well: whoever writes its uid elsewhere makes it no work.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Owner {
    namespace: String,
    uid: String,
}

/// An object that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FoundObject {
    pub(super) kind: &'static str,
    pub(super) name: Name,
    pub(super) uid: String,
    /// Its resourceVersion.
    pub(super) version: String,
    /// The class of its Gateway when it was made, as the label has it.
    pub(super) class: Option<String>,
}

impl Found {
    /// These objects, each with the uid of its Gateway.
    pub(super) fn new(all: impl IntoIterator<Item = (String, FoundObject)>, looked: Option<Instant>) -> Self {
        let mut objects: BTreeMap<_, Vec<FoundObject>> = BTreeMap::new();
        for (uid, found) in all {
            objects.entry(Owner { namespace: found.name.namespace.clone(), uid }).or_default().push(found);
        }
        let objects = objects.into_iter().map(|(gateway, objects)| (gateway, Arc::new(objects))).collect();
        Self { objects: Arc::new(objects), looked }
    }

    /// What was made for a Gateway.
    pub(super) fn of(&self, namespace: &str, uid: &str) -> Arc<Vec<FoundObject>> {
        let owner = Owner { namespace: namespace.to_owned(), uid: uid.to_owned() };
        self.objects.get(&owner).cloned().unwrap_or_default()
    }
}

impl FoundObject {
    /// `Kind namespace/name`.
    pub(super) fn id(&self) -> String {
        format!("{} {}", self.kind, self.name)
    }

    /// How the API server calls its kind.
    pub(super) fn resource(&self) -> ApiResource {
        let known = KINDS.iter().find(|(_, kind)| *kind == self.kind);
        resource(known.map_or("", |(api_version, _)| api_version), self.kind)
    }

    /// With the uid of the Gateway that it was made for. What is somebody else's is not looked at.
    fn of(kind: &'static str, metadata: Metadata) -> Option<(String, Self)> {
        let gateway = ownership::gateway_uid(&metadata.labels, &metadata.owner_references)?.to_owned();
        let found = Self {
            kind,
            name: Name::new(metadata.namespace, metadata.name),
            uid: metadata.uid?,
            version: metadata.resource_version?,
            class: metadata.labels.get(names::CLASS).cloned(),
        };
        Some((gateway, found))
    }
}

/// A kind as the API server calls it.
pub(super) fn resource(api_version: &str, kind: &str) -> ApiResource {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

/// Looks while this replica leads, for as long as somebody listens.
pub(super) fn watch(client: Client, mut leads: watch::Receiver<bool>) -> watch::Receiver<Found> {
    let (sender, receiver) = watch::channel(Found::default());
    tokio::spawn(async move {
        loop {
            let leading = *leads.borrow_and_update();
            let mut next = LOOK;
            if leading {
                match timeout(WITHIN, look(&client)).await {
                    Ok(Ok(found)) => drop(sender.send_replace(found)),
                    Ok(Err(error)) => {
                        warn!(%error, "can't list what Gateways have");
                        next = RETRY;
                    }
                    Err(_) => warn!("no answer about what Gateways have"),
                }
            } else {
                sender.send_replace(Found::default());
            }
            tokio::select! {
                changed = leads.changed() => if changed.is_err() { return },
                () = sender.closed() => return,
                () = sleep(next) => {}
            }
        }
    });
    receiver
}

async fn look(client: &Client) -> Result<Found, Error> {
    let looked = Some(Instant::now());
    let mut objects = Vec::new();
    for (api_version, kind) in KINDS {
        let url = DynamicObject::url_path(&resource(api_version, kind), None);
        let selected = format!("{}={}", names::MANAGED_BY, names::MANAGER);
        let mut page = ListParams::default().labels(&selected).limit(PAGE);
        loop {
            let list: List<Seen> = lenient::ask(client, Request::new(&url).list_metadata(&page)).await?;
            let next = list.metadata.next.clone().filter(|next| !next.is_empty());
            objects.extend(list.items().into_iter().filter_map(|seen| FoundObject::of(kind, seen.metadata)));
            match next {
                Some(next) => page.continue_token = Some(next),
                None => break,
            }
        }
    }
    Ok(Found::new(objects, looked))
}
