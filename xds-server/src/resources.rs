//! The input: Kubernetes resources as values, from whatever source. Parsed, not yet resolved against each other.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use gateway_api::backendtlspolicies::BackendTlsPolicy;
use gateway_api::gatewayclasses::GatewayClass;
use gateway_api::gateways::Gateway;
use gateway_api::httproutes::HttpRoute;
use gateway_api::referencegrants::ReferenceGrant;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

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
    pub gateway_classes: BTreeMap<Name, GatewayClass>,
    pub gateways: BTreeMap<Name, Gateway>,
    pub http_routes: BTreeMap<Name, HttpRoute>,
    pub reference_grants: BTreeMap<Name, ReferenceGrant>,
    pub backend_tls_policies: BTreeMap<Name, BackendTlsPolicy>,
    pub services: BTreeMap<Name, Service>,
    pub endpoint_slices: BTreeMap<Name, EndpointSlice>,
    pub config_maps: BTreeMap<Name, ConfigMap>,
    pub namespaces: BTreeMap<Name, Namespace>,
    pub secrets: BTreeMap<Name, Secret>,
    /// By group, kind and name: `MCPBackend`, and the kinds that are read as one (`AgentgatewayBackend`).
    pub backends: BTreeMap<ObjectRef, MCPBackend>,
    /// By group, kind and name: `MCPAccessPolicy`, and the kinds that are read as one.
    pub policies: BTreeMap<ObjectRef, MCPAccessPolicy>,
    /// Objects that are there but can't be read. What they protect is closed. What is left of an HTTPRoute is among
    /// the routes, and closed.
    pub malformed: Vec<Malformed>,
    /// The file that each object came from, by its [`ObjectRef`], where the source is a folder.
    pub origins: BTreeMap<ObjectRef, PathBuf>,
}

/// An object that is there but can't be read.
#[derive(Clone, Debug)]
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
}
