//! Snapshots for people: Envoy's configuration as the JSON that Envoy itself writes, with all that is packed unpacked.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::{Value, json};

use crate::snapshot::{GatewaySnapshot, Resource, ResourceType};

/// The descriptors of all messages that are rendered. Written by `make generate`.
static DESCRIPTORS: LazyLock<Result<DescriptorPool, String>> =
    LazyLock::new(|| DescriptorPool::decode(&include_bytes!("envoy.bin")[..]).map_err(|error| error.to_string()));

/// Why a message can't be shown. None of these happens with what `render` makes.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// The descriptors in the program are damaged.
    #[error("the descriptors of Envoy's messages are damaged: {0}; run `make generate` and build again")]
    Descriptors(String),
    /// There is no descriptor for this message.
    #[error("there is no descriptor for {0}; name it in examples/descriptors.rs and run `make generate`")]
    UnknownMessage(String),
    /// The bytes are not this message.
    #[error("these bytes are no {message}: {cause}")]
    #[expect(missing_docs, reason = "the names say it")]
    Bytes { message: String, cause: prost::DecodeError },
    /// JSON has no form for it.
    #[error("{message} can't be written as JSON: {cause}")]
    #[expect(missing_docs, reason = "the names say it")]
    Json { message: String, cause: serde_json::Error },
}

/// All resources of a Gateway, by the word for their type and their name.
///
/// # Errors
/// When a resource is none that `render` makes.
pub fn gateway(snapshot: &GatewaySnapshot) -> Result<BTreeMap<&'static str, BTreeMap<&str, Value>>, ViewError> {
    let mut view: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for (kind, resources) in &snapshot.resources {
        for (name, shown) in resources {
            view.entry(kind.word()).or_default().insert(name.as_str(), resource(*kind, name, shown)?);
        }
    }
    Ok(view)
}

/// One resource. Of a secret only the name is shown.
///
/// # Errors
/// When the resource is none that `render` makes.
pub fn resource(kind: ResourceType, name: &str, resource: &Resource) -> Result<Value, ViewError> {
    if kind == ResourceType::Secret {
        return Ok(json!({ "name": name }));
    }
    let full_name = kind.type_url().rsplit('/').next().unwrap_or_default();
    let mut value = decode(full_name, &resource.bytes)?;
    unpack_bytes(&mut value);
    Ok(value)
}

/// One message, in the JSON that Envoy reads.
pub(super) fn message<M: Message + Name>(message: &M) -> Result<Value, ViewError> {
    decode(&M::full_name(), &message.encode_to_vec())
}

fn decode(name: &str, bytes: &[u8]) -> Result<Value, ViewError> {
    let pool = DESCRIPTORS.as_ref().map_err(|error| ViewError::Descriptors(error.clone()))?;
    let descriptor = pool.get_message_by_name(name).ok_or_else(|| ViewError::UnknownMessage(name.to_owned()))?;
    let message = DynamicMessage::decode(descriptor, bytes)
        .map_err(|cause| ViewError::Bytes { message: name.to_owned(), cause })?;
    message
        .serialize_with_options(serde_json::value::Serializer, &SerializeOptions::new().use_proto_field_name(true))
        .map_err(|cause| ViewError::Json { message: name.to_owned(), cause })
}

/// Shows JSON that is packed as bytes, such as the filter's configuration, as JSON.
fn unpack_bytes(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(unpack_bytes),
        Value::Object(fields) => {
            let is_bytes =
                fields.get("@type").and_then(Value::as_str) == Some("type.googleapis.com/google.protobuf.BytesValue");
            if is_bytes && let Some(packed) = fields.get_mut("value") {
                let bytes = packed.as_str().and_then(|text| STANDARD.decode(text).ok());
                if let Some(json) = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
                    *packed = json;
                }
                return;
            }
            fields.values_mut().for_each(unpack_bytes);
        }
        _ => {}
    }
}
