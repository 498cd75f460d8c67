//! The input: Kubernetes resources as values, from whatever source. Parsed, not yet resolved against each other.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use gateway_api::backendtlspolicies::BackendTlsPolicy;
use gateway_api::gatewayclasses::GatewayClass;
use gateway_api::gateways::Gateway;
use gateway_api::httproutes::HttpRoute;
use gateway_api::referencegrants::ReferenceGrant;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use crate::objects::Objects;
use crate::problem::Problem;

pub mod mcp;
pub mod status;

use mcp::{MCPAccessPolicy, MCPBackend};

/// Namespace and name of an object; the namespace is empty for cluster-scoped ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Name {
    pub namespace: String,
    pub name: String,
}

impl Name {
    /// A namespaced name.
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

/// Group, kind and name of an object that a reference may point to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub struct ObjectRef {
    pub group: String,
    pub kind: String,
    pub name: Name,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// All resources that the control plane reads, by name.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the fields are named for their kinds")]
pub struct Resources {
    pub gateway_classes: Objects<Name, GatewayClass>,
    pub gateways: Objects<Name, Gateway>,
    pub http_routes: Objects<Name, HttpRoute>,
    pub reference_grants: Objects<Name, ReferenceGrant>,
    pub backend_tls_policies: Objects<Name, BackendTlsPolicy>,
    pub services: Objects<Name, Service>,
    pub endpoint_slices: Objects<Name, EndpointSlice>,
    pub config_maps: Objects<Name, ConfigMap>,
    pub namespaces: Objects<Name, Namespace>,
    pub secrets: Objects<Name, Secret>,
    /// By group, kind and name: `MCPBackend`, and the kinds that are read as one (`AgentgatewayBackend`).
    pub backends: Objects<ObjectRef, MCPBackend>,
    /// By group, kind and name: `MCPAccessPolicy`, and the kinds that are read as one.
    pub policies: Objects<ObjectRef, MCPAccessPolicy>,
    /// Objects that are there but can't be read. What they protect is closed. What is left of an HTTPRoute is among
    /// the routes, and closed; so is a Service or EndpointSlice past a quota, whose addresses stay known.
    pub malformed: Objects<ObjectRef, Malformed>,
    /// The file that each object came from, by its [`ObjectRef`], where the source is a folder.
    pub origins: Objects<ObjectRef, PathBuf>,
    /// Policies that are gone, and that asked for something. What they protected stays closed until its route is written
    /// again. Only an API server tells of deletions.
    pub deleted: Objects<ObjectRef, Deleted>,
    /// When each HTTPRoute was written last, where there are [`Self::deleted`] policies to compare with.
    pub written: Objects<Name, Turn>,
    /// While not all kinds can be read: the last world of which all was known. Ways that are not in it are closed, since
    /// what restricts them may not be known.
    pub vouched: Option<Arc<Resources>>,
}

impl Resources {
    /// Puts in the objects of another world, in place of those of its last version. What says the same in both stays what it
    /// was.
    pub fn replace(&mut self, last: &Self, next: &Self) {
        self.gateway_classes.replace(&last.gateway_classes, &next.gateway_classes);
        self.gateways.replace(&last.gateways, &next.gateways);
        self.http_routes.replace(&last.http_routes, &next.http_routes);
        self.reference_grants.replace(&last.reference_grants, &next.reference_grants);
        self.backend_tls_policies.replace(&last.backend_tls_policies, &next.backend_tls_policies);
        self.services.replace(&last.services, &next.services);
        self.endpoint_slices.replace(&last.endpoint_slices, &next.endpoint_slices);
        self.config_maps.replace(&last.config_maps, &next.config_maps);
        self.namespaces.replace(&last.namespaces, &next.namespaces);
        self.secrets.replace(&last.secrets, &next.secrets);
        self.backends.replace(&last.backends, &next.backends);
        self.policies.replace(&last.policies, &next.policies);
        self.origins.replace(&last.origins, &next.origins);
        self.malformed.replace(&last.malformed, &next.malformed);
    }

    /// Says of an object that it can't be read, beside what is said of it already. What it protects is what was said of it
    /// first.
    pub fn mark(&mut self, object: &ObjectRef, malformed: Malformed) {
        let malformed = match self.malformed.get(object) {
            Some(known) => {
                let mut known = Malformed::clone(known);
                known.others.push(malformed.problem);
                known.others.extend(malformed.others);
                known
            }
            None => malformed,
        };
        self.malformed.insert(object.clone(), malformed);
    }

    /// The objects of a kind that can't be read.
    pub fn malformed_of(&self, group: &str, kind: &str) -> impl Iterator<Item = (&ObjectRef, &Malformed)> {
        let first = ObjectRef { group: group.to_owned(), kind: kind.to_owned(), name: Name::default() };
        let from = self.malformed.starting_at(first.clone());
        let all = from.take_while(move |(object, _)| (&object.group, &object.kind) == (&first.group, &first.kind));
        all.map(|(object, malformed)| (object, &**malformed))
    }

    /// Whether all objects but EndpointSlices are the very same.
    #[must_use]
    pub fn is_same_but_for_endpoints(&self, other: &Self) -> bool {
        self.gateway_classes.is_same(&other.gateway_classes)
            && self.gateways.is_same(&other.gateways)
            && self.http_routes.is_same(&other.http_routes)
            && self.reference_grants.is_same(&other.reference_grants)
            && self.backend_tls_policies.is_same(&other.backend_tls_policies)
            && self.services.is_same(&other.services)
            && self.config_maps.is_same(&other.config_maps)
            && self.namespaces.is_same(&other.namespaces)
            && self.secrets.is_same(&other.secrets)
            && self.backends.is_same(&other.backends)
            && self.policies.is_same(&other.policies)
            && self.malformed == other.malformed
            && self.deleted.is_same(&other.deleted)
            && self.written.is_same(&other.written)
            && self.vouched.is_some() == other.vouched.is_some()
    }
}

/// A count of what was written and deleted, by which it is known what came first. One replica's own.
pub type Turn = u64;

/// A policy that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// What it protected.
    pub protected: Protects,
    /// When it was deleted.
    pub turn: Turn,
}

/// An object that is there but can't be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Malformed {
    /// `metadata.generation`, where the object has one.
    pub generation: Option<i64>,
    /// For policies: what it was meant to protect.
    pub protects: Protects,
    /// Whom it asks to serve it.
    pub asks: Asks,
    /// What an API server has of it.
    pub current: Current,
    /// What is wrong with it, of several faults the first.
    pub problem: Problem,
    /// The other faults.
    pub others: Vec<Problem>,
}

impl Malformed {
    /// All that is wrong with it.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        std::iter::once(&self.problem).chain(&self.others)
    }

    /// The same, to be changed.
    pub fn problems_mut(&mut self) -> impl Iterator<Item = &mut Problem> {
        std::iter::once(&mut self.problem).chain(&mut self.others)
    }
}

/// What there is of an object, as far as it was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Current {
    /// Its uid: another one where an object of the same name has taken its place.
    pub uid: Option<String>,
    /// Its resourceVersion: another one after each change, whoever made it.
    pub version: Option<String>,
    /// Its status.
    pub status: Option<Value>,
}

impl Current {
    /// Of an object with this metadata.
    #[must_use]
    pub fn new(metadata: &ObjectMeta, status: Option<Value>) -> Self {
        Self { uid: metadata.uid.clone(), version: metadata.resource_version.clone(), status }
    }
}

/// Whom a malformed object of Gateway API asks to serve it, as far as that can be read.
#[derive(Clone, Debug, PartialEq)]
pub enum Asks {
    /// It is of a kind that asks nobody, or does not say whom.
    Nobody,
    /// A GatewayClass: this controller.
    Controller(String),
    /// A Gateway: the controller of this GatewayClass.
    Class(String),
}

/// What a malformed object was meant to protect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protects {
    /// It is no policy.
    Nothing,
    /// Its targetRefs could be read.
    Targets(Vec<mcp::TargetRef>),
    /// Its targetRefs could not be read: in doubt all Gateways, routes and backends of its namespace.
    Namespace,
    /// It says how these Services of its namespace are spoken to; none: in doubt all of them.
    Services(Vec<String>),
}
