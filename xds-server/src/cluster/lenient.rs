//! What the API server says of an object, as far as the leader needs it. Whatever else stands in the object is skipped
//! unread, so that nobody can write an object that can't be read: fields nested without end, times of no calendar.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Client, Error};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tonic::codegen::http;

/// An object of which only the metadata matters.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Seen {
    #[serde(default)]
    pub(crate) metadata: Metadata,
}

/// An object whose status matters as well.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct WithStatus {
    #[serde(default)]
    pub(crate) metadata: Metadata,
    pub(crate) status: Option<Value>,
}

/// The part of the metadata that matters.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Metadata {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) owner_references: Vec<OwnerReference>,
}

/// A list, or a page of one.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct List<T> {
    #[serde(default)]
    pub(crate) metadata: ListMetadata,
    /// `null` where there are none.
    items: Option<Vec<T>>,
}

impl<T> List<T> {
    /// What is on this page.
    pub(crate) fn items(self) -> Vec<T> {
        self.items.unwrap_or_default()
    }
}

/// Where the next page begins.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct ListMetadata {
    #[serde(rename = "continue", default)]
    pub(crate) next: Option<String>,
}

/// Asks, and reads what is needed of the answer.
pub(crate) async fn ask<T: DeserializeOwned>(client: &Client, request: Request) -> Result<T, Error> {
    let text = client.request_text(request.map_err(Error::BuildRequest)?).await?;
    serde_json::from_str(&text).map_err(Error::SerdeError)
}

/// A request that may not be one.
pub(crate) type Request = Result<http::Request<Vec<u8>>, kube::core::request::Error>;

/// The code of the API server's refusal.
pub(crate) fn code(error: &Error) -> Option<u16> {
    match error {
        Error::Api(answer) => Some(answer.code),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_needed_can_be_anything() {
        let nested = format!("{}1{}", "{\"f:a\":".repeat(500), "}".repeat(500));
        let text = format!(
            "{{\"metadata\":{{\"continue\":\"next\"}},\"items\":[{{\"metadata\":{{\"name\":\"a\",\"uid\":\"1\",\
             \"creationTimestamp\":\"9999-12-31T23:59:60Z\",\"managedFields\":[{{\"fieldsV1\":{nested}}}]}},\
             \"spec\":{nested}}}]}}"
        );
        let list: List<Seen> = serde_json::from_str(&text).unwrap();
        assert_eq!(list.metadata.next.as_deref(), Some("next"));
        assert_eq!(list.items()[0].metadata.name, "a");
        let none: List<Seen> = serde_json::from_str("{\"metadata\":{},\"items\":null}").unwrap();
        assert!(none.items().is_empty());
    }
}
