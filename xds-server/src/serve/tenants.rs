//! What namespaces have, and what of it is more than a tenant may have.
//!
//! ```text
//! Resources ─ Tenants ─> Resources, in which objects past a quota can't be read
//! ```
//! Before anything is made of them. The oldest count first. An object that is past a quota closes what it could protect, as one
//! that can't be read.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::Serialize;
use serde_json::Value;

use crate::objects::Objects;
use crate::problem::Problem;
use crate::resources::{Asks, Current, Malformed, Name, ObjectRef, Protects, Resources};
use crate::translate::QUOTA_EXCEEDED;

const GATEWAY_API: &str = "gateway.networking.k8s.io";
const ENDPOINTS: &str = "discovery.k8s.io";

/// What one namespace may have, of all kinds that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectQuotas {
    /// How many objects.
    pub objects: usize,
    /// In bytes of JSON, without statuses.
    pub bytes: usize,
}

impl Default for ObjectQuotas {
    fn default() -> Self {
        Self { objects: 10_000, bytes: 32 << 20 }
    }
}

/// What each namespace has.
#[derive(Debug)]
pub struct Tenants {
    quotas: ObjectQuotas,
    last: Resources,
    /// What was made of the last world.
    admitted: Resources,
    namespaces: BTreeMap<String, Namespace>,
}

#[derive(Debug, Default)]
struct Namespace {
    objects: BTreeMap<ObjectRef, Counted>,
    bytes: usize,
    /// Those of them that are past a quota.
    refused: BTreeSet<ObjectRef>,
}

#[derive(Debug)]
struct Counted {
    created: Option<Time>,
    bytes: usize,
}

impl Tenants {
    /// Of no world yet.
    #[must_use]
    pub fn new(quotas: ObjectQuotas) -> Self {
        let (last, admitted) = (Resources::default(), Resources::default());
        Self { quotas, last, admitted, namespaces: BTreeMap::new() }
    }

    /// The world without what is past a quota. Depends on this world alone; of those before it has what did not change.
    #[must_use]
    pub fn admit(&mut self, world: Arc<Resources>) -> Arc<Resources> {
        let mut changed = self.count(&world);
        self.judge(&mut changed);
        if self.namespaces.values().all(|namespace| namespace.refused.is_empty()) {
            self.admitted = Resources::clone(&world);
            return world;
        }
        let mut admitted = std::mem::take(&mut self.admitted);
        for object in &changed {
            let namespace = self.namespaces.get(&object.name.namespace);
            let is_refused = namespace.is_some_and(|namespace| namespace.refused.contains(object));
            take(object, &world, is_refused, &mut admitted);
            if is_refused {
                mark(object, &world, &self.quotas, &mut admitted);
            }
        }
        // What no namespace has, or what is none of an object's.
        self.admitted = Resources {
            gateway_classes: world.gateway_classes.clone(),
            namespaces: world.namespaces.clone(),
            origins: world.origins.clone(),
            deleted: world.deleted.clone(),
            written: world.written.clone(),
            vouched: world.vouched.clone(),
            ..admitted
        };
        Arc::new(self.admitted.clone())
    }

    /// Counts what differs of a world, and gives the names of that.
    fn count(&mut self, world: &Resources) -> BTreeSet<ObjectRef> {
        let last = std::mem::replace(&mut self.last, world.clone());
        let of = |group: &'static str, kind: &'static str| move |name: &Name| object(group, kind, name);
        let mut changed: BTreeSet<ObjectRef> =
            world.malformed.differing(&last.malformed).into_iter().cloned().collect();
        let all = &mut (&mut self.namespaces, &mut changed);
        let (next, last) = (world, &last);
        count(all, &next.gateways, &last.gateways, of(GATEWAY_API, "Gateway"), |it| (&it.metadata, bytes(&it.spec)));
        count(all, &next.http_routes, &last.http_routes, of(GATEWAY_API, "HTTPRoute"), |it| {
            (&it.metadata, bytes(&it.spec))
        });
        count(all, &next.reference_grants, &last.reference_grants, of(GATEWAY_API, "ReferenceGrant"), |it| {
            (&it.metadata, bytes(&it.spec))
        });
        count(all, &next.backend_tls_policies, &last.backend_tls_policies, of(GATEWAY_API, "BackendTLSPolicy"), |it| {
            (&it.metadata, bytes(&it.spec))
        });
        count(all, &next.services, &last.services, of("", "Service"), |it| (&it.metadata, bytes(&it.spec)));
        count(all, &next.endpoint_slices, &last.endpoint_slices, of(ENDPOINTS, "EndpointSlice"), |it| {
            (&it.metadata, bytes(&it.endpoints) + bytes(&it.ports))
        });
        count(all, &next.config_maps, &last.config_maps, of("", "ConfigMap"), |it| (&it.metadata, bytes(&it.data)));
        count(all, &next.secrets, &last.secrets, of("", "Secret"), |it| (&it.metadata, bytes(&it.data)));
        count(all, &next.backends, &last.backends, ObjectRef::clone, |it| (&it.metadata, bytes(&it.spec)));
        count(all, &next.policies, &last.policies, ObjectRef::clone, |it| (&it.metadata, bytes(&it.spec)));
        changed
    }

    /// Finds out what is past a quota where something differs. What is new there, or no longer, differs as well.
    fn judge(&mut self, changed: &mut BTreeSet<ObjectRef>) {
        let names: BTreeSet<String> = changed.iter().map(|object| object.name.namespace.clone()).collect();
        for name in names {
            let Some(namespace) = self.namespaces.get_mut(&name) else { continue };
            let refused = namespace.past(&self.quotas);
            let last = std::mem::replace(&mut namespace.refused, refused);
            changed.extend(last.symmetric_difference(&namespace.refused).cloned());
        }
        self.namespaces.retain(|_, namespace| !namespace.objects.is_empty());
    }
}

impl Namespace {
    /// What is past a quota.
    fn past(&self, quotas: &ObjectQuotas) -> BTreeSet<ObjectRef> {
        if self.objects.len() <= quotas.objects && self.bytes <= quotas.bytes {
            return BTreeSet::new();
        }
        // What has no timestamp is younger than all that has one.
        let mut objects: Vec<_> = self.objects.iter().collect();
        objects.sort_by_key(|(object, counted)| (counted.created.is_none(), counted.created.as_ref(), *object));
        let (mut count, mut bytes) = (0, 0);
        let mut past = BTreeSet::new();
        for (object, counted) in objects {
            if count < quotas.objects && bytes + counted.bytes <= quotas.bytes {
                (count, bytes) = (count + 1, bytes + counted.bytes);
            } else {
                past.insert(object.clone());
            }
        }
        past
    }
}

/// Takes over what differs of a kind, and names it.
fn count<K: Ord + Clone, T>(
    (namespaces, changed): &mut (&mut BTreeMap<String, Namespace>, &mut BTreeSet<ObjectRef>),
    next: &Objects<K, T>,
    last: &Objects<K, T>,
    object: impl Fn(&K) -> ObjectRef,
    content: impl Fn(&T) -> (&ObjectMeta, usize),
) {
    for name in next.differing(last) {
        let object = object(name);
        changed.insert(object.clone());
        let namespace = namespaces.entry(object.name.namespace.clone()).or_default();
        if let Some(counted) = namespace.objects.remove(&object) {
            namespace.bytes = namespace.bytes.saturating_sub(counted.bytes);
        }
        if let Some(value) = next.get(name) {
            let (metadata, content) = content(value);
            let bytes = content + bytes(metadata);
            namespace.bytes += bytes;
            namespace.objects.insert(object, Counted { created: metadata.creation_timestamp.clone(), bytes });
        }
    }
}

fn object(group: &str, kind: &str, name: &Name) -> ObjectRef {
    ObjectRef { group: group.to_owned(), kind: kind.to_owned(), name: name.clone() }
}

/// As JSON.
fn bytes(value: &impl Serialize) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // What can't be written was never read.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

/// Takes an object over as it is in the world: without what is made of it, where it is past a quota. Of a route there is what it
/// matches, so that no looser one takes its requests, and of a Service and its endpoints whose their addresses are.
fn take(object: &ObjectRef, world: &Resources, is_refused: bool, admitted: &mut Resources) {
    let (name, is_read) = (&object.name, !is_refused);
    put(object, &world.malformed, true, &mut admitted.malformed);
    match (object.group.as_str(), object.kind.as_str()) {
        (GATEWAY_API, "Gateway") => put(name, &world.gateways, is_read, &mut admitted.gateways),
        (GATEWAY_API, "HTTPRoute") => put(name, &world.http_routes, true, &mut admitted.http_routes),
        (GATEWAY_API, "ReferenceGrant") => put(name, &world.reference_grants, is_read, &mut admitted.reference_grants),
        (GATEWAY_API, "BackendTLSPolicy") => {
            put(name, &world.backend_tls_policies, is_read, &mut admitted.backend_tls_policies);
        }
        ("", "Service") => put(name, &world.services, true, &mut admitted.services),
        ("", "ConfigMap") => put(name, &world.config_maps, is_read, &mut admitted.config_maps),
        ("", "Secret") => put(name, &world.secrets, is_read, &mut admitted.secrets),
        (ENDPOINTS, "EndpointSlice") => put(name, &world.endpoint_slices, true, &mut admitted.endpoint_slices),
        _ => {
            put(object, &world.backends, is_read, &mut admitted.backends);
            put(object, &world.policies, is_read, &mut admitted.policies);
        }
    }
}

fn put<K: Ord + Clone, T>(name: &K, from: &Objects<K, T>, is_read: bool, to: &mut Objects<K, T>) {
    match from.get(name).filter(|_| is_read) {
        Some(object) => to.share(name.clone(), Arc::clone(object)),
        None => to.remove(name),
    };
}

/// Says of an object that is past a quota that it can't be read. That is the same as long as the object is the same: what a
/// tenant has too much costs nothing when it changes something else.
fn mark(object: &ObjectRef, world: &Resources, quotas: &ObjectQuotas, admitted: &mut Resources) {
    let name = &object.name;
    let (mut protects, mut asks) = (Protects::Nothing, Asks::Nobody);
    let known = match (object.group.as_str(), object.kind.as_str()) {
        (GATEWAY_API, "Gateway") => world.gateways.get(name).map(|gateway| {
            asks = Asks::Class(gateway.spec.gateway_class_name.clone());
            known(&gateway.metadata, &gateway.status)
        }),
        (GATEWAY_API, "HTTPRoute") => world.http_routes.get(name).map(|route| known(&route.metadata, &route.status)),
        (GATEWAY_API, "ReferenceGrant") => {
            world.reference_grants.get(name).map(|grant| known(&grant.metadata, &None::<Value>))
        }
        (GATEWAY_API, "BackendTLSPolicy") => world.backend_tls_policies.get(name).map(|policy| {
            // Without it they would be spoken to in clear.
            let services = policy.spec.target_refs.iter().map(|target| target.name.clone());
            protects = Protects::Services(services.collect());
            known(&policy.metadata, &policy.status)
        }),
        ("", "Service") => world.services.get(name).map(|service| known(&service.metadata, &None::<Value>)),
        ("", "ConfigMap") => world.config_maps.get(name).map(|map| known(&map.metadata, &None::<Value>)),
        ("", "Secret") => world.secrets.get(name).map(|secret| known(&secret.metadata, &None::<Value>)),
        (ENDPOINTS, "EndpointSlice") => {
            world.endpoint_slices.get(name).map(|slice| known(&slice.metadata, &None::<Value>))
        }
        _ => {
            let backend = world.backends.get(object).map(|backend| known(&backend.metadata, &backend.status));
            let policy = world.policies.get(object).map(|policy| {
                protects = Protects::Targets(policy.spec.target_refs.clone());
                known(&policy.metadata, &policy.status)
            });
            policy.or(backend)
        }
    };
    let (generation, current) = known.unwrap_or_default();
    let problem = Problem {
        file: None,
        resource: Some(object.clone()),
        field: String::new(),
        reason: QUOTA_EXCEEDED.to_owned(),
        message: format!(
            "namespace {} may have {} objects (--max-namespace-objects) with {} bytes (--max-namespace-bytes), and has \
             more: this is one of the youngest, is not read, and what it protects is closed",
            name.namespace, quotas.objects, quotas.bytes
        ),
    };
    let malformed = Malformed { generation, protects, asks, current, problem, others: Vec::new() };
    admitted.mark(object, malformed);
}

fn known(metadata: &ObjectMeta, status: &impl Serialize) -> (Option<i64>, Current) {
    let status = serde_json::to_value(status).ok().filter(|status| !status.is_null());
    (metadata.generation, Current::new(metadata, status))
}

#[cfg(test)]
mod tests;
