//! The world as one part of it is read: what is looked at is noted, so that the part is read again when that changes.
//!
//! INVARIANT: a part is a function of what its view notes, and of nothing else that may change. So nothing is handed to
//! it but views, and what was read through a view of its own.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::net::IpAddr;

use gateway_api::backendtlspolicies::BackendTlsPolicy;
use gateway_api::gatewayclasses::GatewayClass;
use gateway_api::gateways::Gateway;
use gateway_api::httproutes::HttpRoute;
use gateway_api::referencegrants::ReferenceGrant;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::key_sets::{Known, Place};
use crate::names::Resolved;
use crate::networks::BackendNetworks;
use crate::objects::Objects;
use crate::resources::mcp::{MCPAccessPolicy, MCPBackend};
use crate::resources::{Deleted, Malformed, Name, ObjectRef, Resources, Turn};

use super::TranslateOptions;
use super::problems::GATEWAY_API;
use super::targets::Target;

/// What can be looked at, whether it is there or not.
#[derive(Debug, Hash)]
pub(super) enum Source<'a> {
    /// An object of a kind of Kubernetes or Gateway API.
    Object(&'static str, &'a Name),
    /// An object of a kind of ours, or one that can't be read.
    Own(&'a ObjectRef),
    /// All GatewayClasses.
    Classes,
    /// All BackendTLSPolicies.
    BackendTlsPolicies,
    /// The ReferenceGrants of a namespace.
    Grants(&'a str),
    KeySet(&'a Place),
    /// What a name of a host resolves to.
    HostName(&'a str),
    /// Whose an address is.
    Address(IpAddr),
    /// What was made of a Gateway.
    Gateway(&'a Name),
    /// What was made of the EndpointSlices of a Service.
    Endpoints(&'a Name),
    /// What was made of the BackendTLSPolicies for a Service.
    Tls(&'a Name),
    /// What was made of the description of an MCP server.
    Server(&'a ObjectRef),
    /// What was made of the policies that are attached to something.
    Policies(&'a Target),
    /// What was made of the policies that close a namespace.
    Closing(&'a str),
    /// What was made of the policies of a namespace that name something that is not there.
    Lost(&'a str),
    /// What was made of the policies that are gone and protected something, or a namespace by its name alone.
    Deleted(Option<&'a Target>, &'a str),
    /// When a route was written last.
    Written(&'a Name),
    /// The names of a kind's objects.
    Kind(&'a str),
    /// The names of a kind's objects in a namespace.
    Names(&'a str, &'a str),
}

/// Sources by their hashes. That two have the same one is unlikely, and then a part is read again for nothing.
#[derive(Debug, Default)]
pub(super) struct Sources(BTreeSet<u64>);

impl Sources {
    pub(super) fn note(&mut self, source: &Source<'_>) {
        let mut hasher = DefaultHasher::new();
        source.hash(&mut hasher);
        self.0.insert(hasher.finish());
    }

    /// Their hashes.
    pub(super) fn iter(&self) -> impl Iterator<Item = u64> {
        self.0.iter().copied()
    }

    /// Whether there is one that is among the others as well, which are sorted: mostly few of a few hundred.
    pub(super) fn meet(&self, others: &[u64]) -> bool {
        self.0.iter().any(|source| others.binary_search(source).is_ok())
    }
}

/// The world as one part of it is read.
pub(super) struct View<'r> {
    resources: &'r Resources,
    options: &'r TranslateOptions,
    noted: RefCell<Sources>,
}

impl<'r> View<'r> {
    /// Of the options it shows those that do not change from one world to the next, key sets and names.
    pub(super) fn new(resources: &'r Resources, options: &'r TranslateOptions) -> Self {
        Self { resources, options, noted: RefCell::default() }
    }

    /// RSA keys with more bits are left out of key sets.
    pub(super) fn most_rsa_bits(&self) -> u32 {
        self.options.limits.rsa_bits
    }

    /// Where backends may be.
    pub(super) fn networks(&self) -> &'r BackendNetworks {
        &self.options.backend_networks
    }

    /// What was looked at, sorted.
    pub(super) fn noted(self) -> Box<[u64]> {
        self.noted.into_inner().0.into_iter().collect()
    }

    pub(super) fn note(&self, source: &Source<'_>) {
        self.noted.borrow_mut().note(source);
    }

    pub(super) fn classes(&self) -> impl Iterator<Item = (&'r Name, &'r GatewayClass)> {
        self.note(&Source::Classes);
        self.resources.gateway_classes.iter().map(|(name, class)| (name, &**class))
    }

    pub(super) fn gateway(&self, name: &Name) -> Option<&'r Gateway> {
        self.note(&Source::Object("Gateway", name));
        self.resources.gateways.get(name).map(|gateway| &**gateway)
    }

    pub(super) fn route(&self, name: &Name) -> Option<&'r HttpRoute> {
        self.note(&Source::Object("HTTPRoute", name));
        self.resources.http_routes.get(name).map(|route| &**route)
    }

    pub(super) fn service(&self, name: &Name) -> Option<&'r Service> {
        self.note(&Source::Object("Service", name));
        self.resources.services.get(name).map(|service| &**service)
    }

    pub(super) fn endpoint_slice(&self, name: &Name) -> Option<&'r EndpointSlice> {
        self.note(&Source::Object("EndpointSlice", name));
        self.resources.endpoint_slices.get(name).map(|slice| &**slice)
    }

    pub(super) fn config_map(&self, name: &Name) -> Option<&'r ConfigMap> {
        self.note(&Source::Object("ConfigMap", name));
        self.resources.config_maps.get(name).map(|map| &**map)
    }

    pub(super) fn secret(&self, name: &Name) -> Option<&'r Secret> {
        self.note(&Source::Object("Secret", name));
        self.resources.secrets.get(name).map(|secret| &**secret)
    }

    pub(super) fn namespace(&self, name: &str) -> Option<&'r Namespace> {
        let name = Name::new("", name);
        self.note(&Source::Object("Namespace", &name));
        self.resources.namespaces.get(&name).map(|namespace| &**namespace)
    }

    pub(super) fn backend(&self, object: &ObjectRef) -> Option<&'r MCPBackend> {
        self.note(&Source::Own(object));
        self.resources.backends.get(object).map(|backend| &**backend)
    }

    pub(super) fn policy(&self, object: &ObjectRef) -> Option<&'r MCPAccessPolicy> {
        self.note(&Source::Own(object));
        self.resources.policies.get(object).map(|policy| &**policy)
    }

    pub(super) fn backend_tls_policies(&self) -> impl Iterator<Item = (&'r Name, &'r BackendTlsPolicy)> {
        self.note(&Source::BackendTlsPolicies);
        self.resources.backend_tls_policies.iter().map(|(name, policy)| (name, &**policy))
    }

    /// The BackendTLSPolicies that can't be read.
    pub(super) fn malformed_backend_tls_policies(&self) -> impl Iterator<Item = (&'r Name, &'r Malformed)> {
        self.note(&Source::BackendTlsPolicies);
        let all = self.resources.malformed_of(GATEWAY_API, "BackendTLSPolicy");
        all.map(|(object, malformed)| (&object.name, malformed))
    }

    pub(super) fn grants(&self, namespace: &str) -> impl Iterator<Item = &'r ReferenceGrant> {
        self.note(&Source::Grants(namespace));
        let from = self.resources.reference_grants.starting_at(Name::new(namespace, ""));
        from.take_while(move |(name, _)| name.namespace == namespace).map(|(_, grant)| &**grant)
    }

    /// The names of a namespace's Gateways.
    pub(super) fn gateways_of(&self, namespace: &str) -> impl Iterator<Item = &'r Name> {
        self.note(&Source::Names("Gateway", namespace));
        of_namespace(&self.resources.gateways, namespace)
    }

    /// The names of a namespace's HTTPRoutes.
    pub(super) fn routes_of(&self, namespace: &str) -> impl Iterator<Item = &'r Name> {
        self.note(&Source::Names("HTTPRoute", namespace));
        of_namespace(&self.resources.http_routes, namespace)
    }

    /// The names of the descriptions of MCP servers that are of the kind and the namespace of this one, which is before them.
    pub(super) fn backends_of(&self, first: &ObjectRef) -> impl Iterator<Item = &'r ObjectRef> {
        self.note(&Source::Names(&first.kind, &first.name.namespace));
        let first = first.clone();
        let from = self.resources.backends.starting_at(first.clone()).map(|(object, _)| object);
        from.take_while(move |object| {
            (&object.group, &object.kind, &object.name.namespace) == (&first.group, &first.kind, &first.name.namespace)
        })
    }

    /// The namespaces of a folder in which there is an object of this kind and name. Of an API server's nothing is told: who may
    /// write into one namespace has no say in another.
    pub(super) fn namespaces_with(&self, policy: &ObjectRef, group: &str, kind: &str, name: &str) -> Vec<&'r str> {
        self.note(&Source::Own(policy));
        if !self.resources.origins.contains_key(policy) {
            return Vec::new();
        }
        self.note(&Source::Kind(kind));
        let is_named = |other: &&'r Name| other.name == name;
        let names: Vec<&'r Name> = match (group, kind) {
            (GATEWAY_API, "Gateway") => self.resources.gateways.keys().filter(is_named).collect(),
            (GATEWAY_API, "HTTPRoute") => self.resources.http_routes.keys().filter(is_named).collect(),
            _ => {
                let of_kind =
                    self.resources.backends.keys().filter(|object| object.group == group && object.kind == kind);
                of_kind.map(|object| &object.name).filter(is_named).collect()
            }
        };
        names.into_iter().map(|name| name.namespace.as_str()).collect()
    }

    /// Why an object can't be read.
    pub(super) fn malformed(&self, object: &ObjectRef) -> Option<&'r Malformed> {
        self.note(&Source::Own(object));
        self.resources.malformed.get(object).map(|malformed| &**malformed)
    }

    /// What is said where a ConfigMap or Secret does not have what is looked for: why it was not read, if that is known,
    /// otherwise that it `lacks` it.
    pub(super) fn lack(&self, kind: &str, name: &Name, lacks: String) -> String {
        let object = ObjectRef { group: String::new(), kind: kind.to_owned(), name: name.clone() };
        match self.malformed(&object).map(|malformed| &malformed.problem) {
            Some(problem) if problem.field.is_empty() => format!("{object}: {}", problem.message),
            Some(problem) => format!("{object}: {}: {}", problem.field, problem.message),
            None => lacks,
        }
    }

    /// A policy that is gone.
    pub(super) fn deleted(&self, policy: &ObjectRef) -> Option<&'r Deleted> {
        self.note(&Source::Own(policy));
        self.resources.deleted.get(policy).map(|deleted| &**deleted)
    }

    /// When a route was written last, as far as that matters.
    pub(super) fn written(&self, route: &Name) -> Turn {
        self.note(&Source::Written(route));
        self.resources.written.get(route).map_or(0, |turn| **turn)
    }

    pub(super) fn key_set(&self, place: &Place) -> &'r Known {
        self.note(&Source::KeySet(place));
        self.options.key_sets.known(place)
    }

    /// What a name of a host resolves to.
    pub(super) fn resolved(&self, name: &str) -> &'r Resolved {
        self.note(&Source::HostName(name));
        self.options.names.resolved(name)
    }
}

fn of_namespace<'r, T>(objects: &'r Objects<Name, T>, namespace: &str) -> impl Iterator<Item = &'r Name> {
    let namespace = namespace.to_owned();
    let from = objects.starting_at(Name::new(namespace.as_str(), "")).map(|(name, _)| name);
    from.take_while(move |name| name.namespace == namespace)
}
