//! A world beside the one before it: what differs, and how its parts are read.

use std::collections::BTreeMap;

use crate::objects::Objects;
use crate::resources::{Name, ObjectRef, Resources};

use super::TranslateOptions;
use super::parts::Part;
use super::problems::Problems;
use super::view::{Source, Sources, View};

/// A world beside the one before it.
pub(super) struct Changing<'r> {
    pub(super) last: &'r Resources,
    pub(super) next: &'r Resources,
    /// Beside the options of now they differ in key sets and names at most.
    pub(super) last_options: &'r TranslateOptions,
    pub(super) options: &'r TranslateOptions,
}

impl Changing<'_> {
    /// Reads a part of the new world.
    pub(super) fn part<T>(&self, read: impl FnOnce(&View<'_>, &mut Problems<'_>) -> T) -> Part<T> {
        Part::read(View::new(self.next, self.options), Problems::new(&self.next.origins), read)
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
        let malformed = next.malformed.differing(&last.malformed);
        let is_tls_policy = |object: &&ObjectRef| object.kind == "BackendTLSPolicy";
        if !next.backend_tls_policies.differing(&last.backend_tls_policies).is_empty()
            || malformed.iter().any(is_tls_policy)
        {
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
            .chain(malformed)
            .chain(next.deleted.differing(&last.deleted))
            .for_each(|object| sources.note(&Source::Own(object)));
        let written = next.written.differing(&last.written);
        written.into_iter().for_each(|route| sources.note(&Source::Written(route)));
        let (next, last) = (&self.options.key_sets.0, &self.last_options.key_sets.0);
        differing(next, last).for_each(|place| sources.note(&Source::KeySet(place)));
        let (next, last) = (&self.options.names.0, &self.last_options.names.0);
        differing(next, last).for_each(|name| sources.note(&Source::HostName(name)));
        sources
    }
}

/// The keys of which the two say something else.
fn differing<'a, K: Ord, V: PartialEq>(
    next: &'a BTreeMap<K, V>,
    last: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = &'a K> {
    let gone = last.keys().filter(|key| !next.contains_key(*key));
    next.iter().filter(|(key, value)| last.get(*key) != Some(*value)).map(|(key, _)| key).chain(gone)
}

fn objects<T>(kind: &'static str, next: &Objects<Name, T>, last: &Objects<Name, T>, sources: &mut Sources) {
    for name in next.differing(last) {
        sources.note(&Source::Object(kind, name));
        sources.note(&Source::Names(kind, &name.namespace));
        sources.note(&Source::Kind(kind));
    }
}
