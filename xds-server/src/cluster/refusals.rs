//! What Envoys refuse, wherever they are connected. Each replica says in a Lease of its own what its Envoys refuse, as
//! long as they refuse something; the leader reads the Leases of all. One that is not renewed has no say any more.
//!
//! ```text
//! Clients ─ local ─> Steady (pure) ─> Refusals ─ Lease of each replica ─> Peers (pure) ─> the leader's Facts
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease as LeaseKind;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions};
use kube::core::Request;
use kube::{Client, Error, Resource as _};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tracing::{info, warn};

use super::MANAGER;
use super::fair::in_turn;
use super::lenient::{self, List, code};
use crate::ads::clients::{ClientView, Clients};
use crate::snapshot::ResourceType;
use crate::status::Refusal;

mod steady;

pub(super) use steady::Steady;

/// A replica that has not renewed its Lease for so long has no say any more.
const LEASE_FOR: Duration = Duration::from_secs(10);

/// How often a replica renews its Lease.
const RENEW_EVERY: Duration = Duration::from_secs(3);

/// What marks these Leases.
const LABEL: (&str, &str) = ("toolward.dev/holds", "refusals");

/// Where in a Lease the refusals stand.
const ANNOTATION: &str = "toolward.dev/refusals";

/// Most bytes that a Lease holds of refusals; the API server takes 256 KiB of annotations.
const MAX_BYTES: usize = 64 * 1024;

/// Most bytes of one refusal's words.
const MAX_MESSAGE: usize = 512;

/// What is refused.
pub(super) type Refusals = BTreeSet<Refusal>;

/// What the Envoys refuse that are connected here.
pub(super) fn local(clients: &Clients) -> Refusals {
    clients.refusing().flat_map(|client| of_client(&client)).collect()
}

fn of_client(client: &ClientView) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    for (kind, subscription) in &client.stream.types {
        let Some(last) = subscription.standing_rejection() else { continue };
        for name in subscription.rejected.keys() {
            // Only what it said last is known.
            let said = if last.resources.contains(name) { last.message.as_str() } else { "refused earlier" };
            let mut message = format!("{kind} {name}: {said}");
            message.truncate(message.floor_char_boundary(MAX_MESSAGE));
            refusals.push(Refusal { gateway: client.gateway.clone(), port: port(kind, name, client), message });
        }
    }
    refusals
}

/// The port of the listeners that a resource is for: `NAMESPACE/GATEWAY/PORT`, and more behind.
fn port(kind: &str, name: &str, client: &ClientView) -> Option<u16> {
    let of_listeners = [ResourceType::Listener, ResourceType::ExtensionConfig, ResourceType::Route];
    if !of_listeners.iter().any(|of_listeners| of_listeners.word() == kind) {
        return None;
    }
    name.strip_prefix(&client.gateway.0)?.strip_prefix('/')?.split('/').next()?.parse().ok()
}

/// The Leases of all replicas.
pub(super) struct Leases {
    client: Client,
    namespace: String,
    identity: String,
    /// What the own Lease says, and since when. Nothing is known of it at the start: an earlier life may have left one.
    said: Option<(Refusals, Instant)>,
}

impl Leases {
    pub(super) fn new(client: Client, namespace: &str, identity: &str) -> Self {
        Self { client, namespace: namespace.to_owned(), identity: identity.to_owned(), said: None }
    }

    /// Says what is refused here, where that is not known yet or has to be renewed; not more often than that.
    pub(super) async fn say(&mut self, refusals: &Refusals) {
        let now = Instant::now();
        let is_said = self.said.as_ref().is_some_and(|(said, since)| match said.is_empty() {
            true => refusals.is_empty(),
            false => now.duration_since(*since) < RENEW_EVERY,
        });
        if is_said {
            return;
        }
        let name = lease_name(&self.identity);
        let written = if refusals.is_empty() {
            let request = self.request().delete(&name, &DeleteParams::default());
            match lenient::ask::<IgnoredAny>(&self.client, request).await {
                Err(error) if code(&error) != Some(404) => Err(error),
                _ => Ok(()),
            }
        } else {
            let patch = Patch::Apply(self.lease(&name, refusals));
            let request = self.request().patch(&name, &PatchParams::apply(MANAGER).force(), &patch);
            lenient::ask::<IgnoredAny>(&self.client, request).await.map(drop)
        };
        match written {
            Ok(()) => self.said = Some((refusals.clone(), now)),
            Err(error) => warn!(lease = name, %error, "can't tell other replicas what Envoys refuse"),
        }
    }

    fn lease(&self, name: &str, refusals: &Refusals) -> serde_json::Value {
        json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": name,
                "labels": { "app.kubernetes.io/managed-by": MANAGER, (LABEL.0): LABEL.1 },
                "annotations": { ANNOTATION: written(refusals) },
            },
            "spec": {
                "holderIdentity": self.identity,
                "leaseDurationSeconds": LEASE_FOR.as_secs(),
                "renewTime": MicroTime(Timestamp::now()),
            },
        })
    }

    /// What the others say. What has no say any more is deleted.
    pub(super) async fn read(&self, peers: &mut Peers) {
        // From the API server's cache: a moment more or less does not matter.
        let selected = ListParams::default().labels(&format!("{}={}", LABEL.0, LABEL.1)).match_any();
        let list: Result<List<Lease>, Error> = lenient::ask(&self.client, self.request().list(&selected)).await;
        match list {
            Ok(list) => {
                for Expired { name, version } in peers.take(list.items(), &self.identity, Instant::now()) {
                    self.delete(&name, version).await;
                }
            }
            Err(error) => warn!(%error, "can't read what the Envoys of other replicas refuse"),
        }
    }

    async fn delete(&self, name: &str, version: Option<String>) {
        let preconditions = Preconditions { resource_version: version, uid: None };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match lenient::ask::<IgnoredAny>(&self.client, self.request().delete(name, &parameters)).await {
            Ok(_) => info!(lease = name, "deleted: its replica does not renew it any more"),
            // Gone, or renewed after all.
            Err(error) if matches!(code(&error), Some(404 | 409)) => {}
            Err(error) => warn!(lease = name, %error, "can't delete a Lease that is not renewed"),
        }
    }

    fn request(&self) -> Request {
        Request::new(LeaseKind::url_path(&(), Some(&self.namespace)))
    }
}

/// What matters of a Lease.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Lease {
    metadata: LeaseMetadata,
    spec: LeaseSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LeaseMetadata {
    name: String,
    resource_version: Option<String>,
    annotations: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LeaseSpec {
    holder_identity: Option<String>,
}

/// A name that the API server takes, whatever the replica is called.
fn lease_name(identity: &str) -> String {
    let hash: String = Sha256::digest(identity).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{MANAGER}-refusals-{hash}")
}

/// Refusals as they stand in a Lease: as many as it holds, one of each namespace in turn, so that none fills it alone.
fn written(refusals: &Refusals) -> String {
    let mut all = String::new();
    for refusal in in_turn(refusals, |refusal| refusal.gateway.0.split('/').next().unwrap_or_default()) {
        let Ok(next) = serde_json::to_string(refusal) else { continue };
        if all.len() + next.len() + 2 > MAX_BYTES {
            break;
        }
        all.push(if all.is_empty() { '[' } else { ',' });
        all.push_str(&next);
    }
    if all.is_empty() { "[]".to_owned() } else { all + "]" }
}

/// What is known of the other replicas' Leases.
#[derive(Debug, Default)]
pub(super) struct Peers(BTreeMap<String, Peer>);

#[derive(Debug)]
struct Peer {
    version: Option<String>,
    /// Since when it has been this version. Clocks of other machines are not trusted.
    since: Instant,
    refusals: Refusals,
}

/// A Lease that was not renewed.
#[derive(Debug, PartialEq, Eq)]
struct Expired {
    name: String,
    version: Option<String>,
}

impl Peers {
    /// Takes in all Leases that there are; gives those that were not renewed.
    fn take(&mut self, leases: Vec<Lease>, own: &str, now: Instant) -> Vec<Expired> {
        let mut last = std::mem::take(&mut self.0);
        let mut expired = Vec::new();
        for lease in leases {
            if lease.spec.holder_identity.as_deref() == Some(own) {
                continue;
            }
            let name = lease.metadata.name.clone();
            let version = lease.metadata.resource_version.clone();
            let peer = match last.remove(&name) {
                Some(peer) if peer.version == version => peer,
                _ => Peer { version, since: now, refusals: read(&name, &lease) },
            };
            if now.duration_since(peer.since) < LEASE_FOR {
                self.0.insert(name, peer);
            } else {
                expired.push(Expired { name: name.clone(), version: peer.version.clone() });
                // Should it not be deleted, it is not taken for a new one.
                self.0.insert(name, Peer { refusals: Refusals::new(), ..peer });
            }
        }
        expired
    }

    /// What they say.
    pub(super) fn refusals(&self) -> Refusals {
        self.0.values().flat_map(|peer| peer.refusals.iter().cloned()).collect()
    }
}

fn read(name: &str, lease: &Lease) -> Refusals {
    let text = lease.metadata.annotations.get(ANNOTATION);
    let refusals = text.map(|text| serde_json::from_str(text)).transpose();
    refusals.map(Option::unwrap_or_default).unwrap_or_else(|error| {
        warn!(lease = name, %error, "can't read what the Envoys of another replica refuse");
        Refusals::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::GatewayName;

    fn refusal(gateway: &str, message: &str) -> Refusal {
        Refusal { gateway: GatewayName(gateway.to_owned()), port: Some(80), message: message.to_owned() }
    }

    fn lease(holder: &str, version: u32, refusals: &Refusals) -> Lease {
        Lease {
            metadata: LeaseMetadata {
                name: lease_name(holder),
                resource_version: Some(version.to_string()),
                annotations: BTreeMap::from([(ANNOTATION.to_owned(), written(refusals))]),
            },
            spec: LeaseSpec { holder_identity: Some(holder.to_owned()) },
        }
    }

    #[test]
    fn a_replica_has_its_say_as_long_as_it_renews() {
        let (mut peers, start) = (Peers::default(), Instant::now());
        let said = Refusals::from([refusal("apps/gw", "no")]);
        let after = |seconds| start + Duration::from_secs(seconds);
        let own = || lease("me", 1, &Refusals::from([refusal("apps/gw", "from an earlier life")]));
        assert_eq!(peers.take(vec![lease("other", 1, &said), own()], "me", start), []);
        assert_eq!(peers.refusals(), said);
        assert_eq!(peers.take(vec![lease("other", 2, &said)], "me", after(9)), [], "renewed");
        assert_eq!(peers.take(vec![lease("other", 2, &said)], "me", after(18)), []);
        assert_eq!(peers.refusals(), said);
        let expired = || Expired { name: lease_name("other"), version: Some("2".to_owned()) };
        assert_eq!(peers.take(vec![lease("other", 2, &said)], "me", after(19)), [expired()]);
        assert_eq!(peers.refusals(), Refusals::new());
        assert_eq!(peers.take(vec![lease("other", 2, &said)], "me", after(20)), [expired()], "it could not be deleted");
        assert_eq!(peers.refusals(), Refusals::new());
        assert_eq!(peers.take(vec![lease("other", 3, &said)], "me", after(30)), [], "it is back");
        assert_eq!(peers.refusals(), said);
        assert_eq!(peers.take(vec![], "me", after(31)), []);
        assert_eq!(peers.refusals(), Refusals::new(), "it has nothing to say any more");
    }

    #[test]
    fn a_lease_holds_no_more_than_an_api_server_takes() {
        let refusals: Refusals =
            (0..1000).map(|index| refusal(&format!("apps/gw-{index}"), &"\u{1}".repeat(MAX_MESSAGE))).collect();
        let text = written(&refusals);
        assert!(text.len() <= MAX_BYTES && text.len() > MAX_BYTES / 2, "{}", text.len());
        let kept: Refusals = serde_json::from_str(&text).unwrap();
        assert!(!kept.is_empty() && kept.is_subset(&refusals));
        assert_eq!(written(&Refusals::new()), "[]");
    }

    #[test]
    fn one_namespace_never_fills_a_lease() {
        let greedy = (0..1000).map(|index| refusal(&format!("a/gw-{index}"), &"x".repeat(MAX_MESSAGE)));
        let honest = refusal("z/gw", "no");
        let kept: Refusals = serde_json::from_str(&written(&greedy.chain([honest.clone()]).collect())).unwrap();
        assert!(kept.contains(&honest));
    }

    #[test]
    fn what_can_not_be_read_says_nothing() {
        let mut broken = lease("other", 1, &Refusals::new());
        broken.metadata.annotations = BTreeMap::from([(ANNOTATION.to_owned(), "[{".to_owned())]);
        assert_eq!(read("other", &broken), Refusals::new());
        assert_eq!(read("other", &Lease::default()), Refusals::new());
    }
}
