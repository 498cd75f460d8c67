//! The Lease as it stands in the API server. Of what somebody else may have written into it nothing keeps it from being read.

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{GetParams, PostParams};
use kube::core::Request;
use kube::{Client, Error, Resource as _};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::LEASE;
use crate::cluster::lenient::{self, Metadata, code};

/// A Lease that is there.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Its resourceVersion.
    pub(super) version: Option<String>,
    pub(super) spec: Spec,
}

/// What it says. Times are compared, not reckoned with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) holder_identity: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lease_duration_seconds: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) acquire_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) renew_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lease_transitions: Option<i32>,
}

#[derive(Deserialize)]
struct Read {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

/// Where the Lease is.
pub(super) struct Leases {
    client: Client,
    namespace: String,
}

impl Leases {
    pub(super) fn new(client: Client, namespace: &str) -> Self {
        Self { client, namespace: namespace.to_owned() }
    }

    pub(super) async fn read(&self) -> Result<Option<Found>, Error> {
        let read: Result<Read, Error> =
            lenient::ask(&self.client, self.request().get(LEASE, &GetParams::default())).await;
        match read {
            Ok(Read { metadata, spec }) => Ok(Some(Found { version: metadata.resource_version, spec })),
            Err(error) if code(&error) == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes it in place of this version, or makes it where there was none. Gives what it says then.
    pub(super) async fn write(&self, version: Option<String>, spec: &Spec) -> Result<Spec, Error> {
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": { "name": LEASE, "namespace": self.namespace, "resourceVersion": version },
            "spec": spec,
        });
        let (lease, parameters) = (lease.to_string().into_bytes(), PostParams::default());
        let request = match version {
            Some(_) => self.request().replace(LEASE, &parameters, lease),
            None => self.request().create(&parameters, lease),
        };
        let written: Read = lenient::ask(&self.client, request).await?;
        Ok(written.spec)
    }

    fn request(&self) -> Request {
        Request::new(Lease::url_path(&(), Some(&self.namespace)))
    }
}
