//! A world beside the one before it: what differs, and how its parts are read.

use std::collections::{BTreeMap, BTreeSet};

use crate::key_sets::KeySets;
use crate::objects::Objects;
use crate::resources::{Malformed, Name, ObjectRef, Resources};

use super::parts::Part;
use super::problems::Problems;
use super::view::{Source, Sources, View};

/// A world beside the one before it.
pub(super) struct Changing<'r> {
    pub(super) last: &'r Resources,
    pub(super) next: &'r Resources,
    pub(super) last_key_sets: &'r KeySets,
    pub(super) key_sets: &'r KeySets,
    pub(super) most_rsa_bits: u32,
    /// What can't be read of each of the worlds.
    pub(super) last_malformed: MalformedObjects<'r>,
    pub(super) malformed: MalformedObjects<'r>,
}

/// Of several faults of an object the first.
pub(super) type MalformedObjects<'r> = BTreeMap<&'r ObjectRef, &'r Malformed>;

pub(super) fn malformed(resources: &Resources) -> MalformedObjects<'_> {
    resources.malformed.iter().rev().map(|malformed| (&malformed.object, malformed)).collect()
}

impl Changing<'_> {
    /// Reads a part of the new world.
    pub(super) fn part<T>(&self, read: impl FnOnce(&View<'_>, &mut Problems<'_>) -> T) -> Part<T> {
        Part::read(
            View::new(self.next, &self.malformed, self.key_sets, self.most_rsa_bits),
            Problems::new(&self.next.origins),
            read,
        )
    }

    /// What differs of the resources and the key sets.
    pub(super) fn sources(&self) -> Sources {
        let (last, next) = (self.last, self.next);
        let mut sources = Sources::default();
        objects("Gateway", &next.gateways, &last.gateways, &mut sources);
        objects("HTTPRoute", &next.http_routes, &last.http_routes, &mut sources);
        objects("Service", &next.services, &last.services, &mut sources);
        objects("EndpointSlice", &next.endpoint_slices, &last.endpoint_slices, &mut sources);
        objects("ConfigMap", &next.config_maps, &last.config_maps, &mut sources);
        objects("Secret", &next.secrets, &last.secrets, &mut sources);
        objects("Namespace", &next.namespaces, &last.namespaces, &mut sources);
        if !next.gateway_classes.differing(&last.gateway_classes).is_empty() {
            sources.note(&Source::Classes);
        }
        if !next.backend_tls_policies.differing(&last.backend_tls_policies).is_empty() {
            sources.note(&Source::BackendTlsPolicies);
        }
        let grants = next.reference_grants.differing(&last.reference_grants);
        grants.into_iter().for_each(|name| sources.note(&Source::Grants(&name.namespace)));
        let backends = next.backends.differing(&last.backends);
        let policies = next.policies.differing(&last.policies);
        for backend in &backends {
            sources.note(&Source::Names(&backend.kind, &backend.name.namespace));
            sources.note(&Source::Kind(&backend.kind));
        }
        backends
            .into_iter()
            .chain(policies)
            .chain(self.differing_malformed())
            .for_each(|object| sources.note(&Source::Own(object)));
        let known = |key_sets: &KeySets, other: &KeySets, sources: &mut Sources| {
            let differing = key_sets.0.iter().filter(|(place, known)| other.0.get(*place) != Some(*known));
            differing.for_each(|(place, _)| sources.note(&Source::KeySet(place)));
        };
        known(self.key_sets, self.last_key_sets, &mut sources);
        known(self.last_key_sets, self.key_sets, &mut sources);
        sources
    }

    /// The objects of which other faults are known than before.
    pub(super) fn differing_malformed(&self) -> BTreeSet<&ObjectRef> {
        let (next, last) = (&self.malformed, &self.last_malformed);
        let differ = |object: &&ObjectRef| next.get(*object) != last.get(*object);
        next.keys().chain(last.keys()).copied().filter(differ).collect()
    }
}

fn objects<T>(kind: &'static str, next: &Objects<Name, T>, last: &Objects<Name, T>, sources: &mut Sources) {
    for name in next.differing(last) {
        sources.note(&Source::Object(kind, name));
        sources.note(&Source::Names(kind, &name.namespace));
        sources.note(&Source::Kind(kind));
    }
}
