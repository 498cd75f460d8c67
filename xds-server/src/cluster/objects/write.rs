//! Writes one object, if it is ours. INVARIANT: every write names what it was decided for: an object that is not there is
//! made only if there is still none, another is changed or deleted only if it is still the one that was looked at. Whoever
//! is quicker than we are keeps what they have.

use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, Preconditions};
use kube::core::Request;
use kube::discovery::ApiResource;
use kube::{Client, Error, Resource as _};
use serde_json::{Value, json};
use tracing::info;

use super::super::MANAGER;
use super::super::lenient::{self, List, Metadata, Seen, code};
use super::found::{FoundObject, resource};
use crate::provision::ownership;
use crate::status::ObjectFault;

/// How often one object is tried at once when others write to it.
const ATTEMPTS: usize = 3;

/// No object has this version, so that whoever names it changes none.
const NO_VERSION: &str = "1";

/// Most bytes of what the API server says of a refusal.
const MAX_MESSAGE: usize = 512;

/// An object as it is wished.
pub(super) struct Wished<'o> {
    object: &'o Value,
    resource: ApiResource,
}

impl<'o> Wished<'o> {
    pub(super) fn new(object: &'o Value) -> Self {
        let resource = resource(text(object, "/apiVersion"), text(object, "/kind"));
        Self { object, resource }
    }

    /// `Kind namespace/name`.
    pub(super) fn id(&self) -> String {
        format!("{} {}/{}", self.resource.kind, self.namespace(), self.name())
    }

    fn namespace(&self) -> &str {
        text(self.object, "/metadata/namespace")
    }

    fn name(&self) -> &str {
        text(self.object, "/metadata/name")
    }

    /// Makes it, or brings it back to what is wished. Gives the version that it has then.
    pub(super) async fn bring(&self, client: &Client, gateway_uid: &str) -> Result<String, ObjectFault> {
        for _ in 0..ATTEMPTS {
            let there = self.look(client).await.map_err(|error| self.fault(&error))?;
            let precondition = match &there {
                None => json!({ "resourceVersion": NO_VERSION }),
                Some(there) if is_of(there, gateway_uid) => json!({ "uid": there.uid }),
                Some(_) => return Err(self.conflict()),
            };
            match self.apply(client, precondition).await {
                Ok(seen) => return Ok(seen.metadata.resource_version.unwrap_or_default()),
                // Made, deleted or replaced meanwhile.
                Err(error) if matches!(code(&error), Some(404 | 409)) => {}
                Err(error) => return Err(self.fault(&error)),
            }
        }
        let message = format!("{} changes as fast as it is written; it is tried again", self.id());
        Err(ObjectFault { reason: "Pending", message })
    }

    /// What is there of this name. By a list of one, for which there is a right already.
    async fn look(&self, client: &Client) -> Result<Option<Metadata>, Error> {
        let one = ListParams::default().fields(&format!("metadata.name={}", self.name()));
        let list: List<Seen> = lenient::ask(client, self.request().list_metadata(&one)).await?;
        Ok(list.items().into_iter().next().map(|seen| seen.metadata))
    }

    async fn apply(&self, client: &Client, precondition: Value) -> Result<Seen, Error> {
        let mut object = self.object.clone();
        if let (Some(Value::Object(metadata)), Value::Object(precondition)) = (object.get_mut("metadata"), precondition)
        {
            metadata.extend(precondition);
        }
        let parameters = PatchParams::apply(MANAGER).force();
        lenient::ask(client, self.request().patch_metadata(self.name(), &parameters, &Patch::Apply(&object))).await
    }

    fn request(&self) -> Request {
        Request::new(DynamicObject::url_path(&self.resource, Some(self.namespace())))
    }

    fn conflict(&self) -> ObjectFault {
        let message = format!(
            "{} exists and was not made for this Gateway (its label app.kubernetes.io/managed-by is not toolward, or the \
             Gateway is not the owner that controls it), so it is left alone; delete it, or choose another name for the \
             Gateway",
            self.id()
        );
        ObjectFault { reason: "Conflict", message }
    }

    fn fault(&self, error: &Error) -> ObjectFault {
        let (reason, said) = match error {
            Error::Api(answer) => (reason(answer.code, &answer.message), answer.message.clone()),
            other => ("Pending", other.to_string()),
        };
        let mut message = format!("{} can't be written: {said}", self.id());
        message.truncate(message.floor_char_boundary(MAX_MESSAGE));
        ObjectFault { reason, message }
    }
}

/// Of the condition Programmed.
fn reason(code: u16, message: &str) -> &'static str {
    match code {
        403 if message.contains("exceeded quota") => "NoResources",
        403 => "Forbidden",
        401 | 408 | 409 | 429 => "Pending",
        400..500 => "Invalid",
        _ => "Pending",
    }
}

fn is_of(there: &Metadata, gateway_uid: &str) -> bool {
    ownership::gateway_uid(&there.labels, &there.owner_references) == Some(gateway_uid)
}

/// Deletes an object, if it is still as it was found.
pub(super) async fn remove(client: &Client, found: &FoundObject) -> Result<(), ObjectFault> {
    let preconditions = Preconditions { uid: Some(found.uid.clone()), resource_version: Some(found.version.clone()) };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    let request = Request::new(DynamicObject::url_path(&found.resource(), Some(&found.name.namespace)));
    // What it was is said with the answer, and need not be readable.
    let deleted: Result<serde::de::IgnoredAny, Error> =
        lenient::ask(client, request.delete(&found.name.name, &parameters)).await;
    let object = found.id();
    match deleted {
        Ok(_) => {
            info!(object, "deleted: the Gateway is not to have it any more");
            Ok(())
        }
        Err(error) if code(&error) == Some(404) => Ok(()),
        // The next look tells what it is now.
        Err(error) if code(&error) == Some(409) => Ok(()),
        Err(error) => Err(ObjectFault { reason: "Pending", message: format!("{object} can't be deleted: {error}") }),
    }
}

fn text<'v>(object: &'v Value, pointer: &str) -> &'v str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons() {
        let quota =
            "deployments.apps \"gw-toolward\" is forbidden: exceeded quota: few, requested: count/deployments=1";
        for (code, message, expected) in [
            (403, quota, "NoResources"),
            (403, "namespaces \"apps\" is being terminated", "Forbidden"),
            (422, "spec.template.spec.nodeSelector: Invalid value", "Invalid"),
            (400, "", "Invalid"),
            (409, "", "Pending"),
            (429, "", "Pending"),
            (500, "", "Pending"),
        ] {
            assert_eq!(reason(code, message), expected, "{code} {message}");
        }
    }
}
