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
    /// the routes, and closed.
    pub malformed: Vec<Malformed>,
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
        self.malformed.retain(|malformed| last.malformed.iter().all(|last| last.object != malformed.object));
        self.malformed.extend(next.malformed.iter().cloned());
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
    /// Which object.
    pub object: ObjectRef,
    /// `metadata.generation`, where the object has one.
    pub generation: Option<i64>,
    /// For policies: what it was meant to protect.
    pub protects: Protects,
    /// Whom it asks to serve it.
    pub asks: Asks,
    /// What an API server has of it.
    pub current: Current,
    /// What is wrong with it.
    pub problem: Problem,
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
