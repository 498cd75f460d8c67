//! Issuers' key sets: where they are, and what of them the filter gets.

use sha2::{Digest, Sha256};
use toolward_policy::config::KeySet;
use toolward_policy::jwt::jwks;

use crate::resources::mcp::{ConfigMapKeyRef, JwksSpec};
use crate::resources::{Name, Resources};

use super::problems::Fault;

/// A key set under a name that says its content, so that equal sets are one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NamedKeySet {
    pub(super) name: String,
    pub(super) keys: KeySet,
}

/// Reads the key set that a policy of this namespace names.
pub(super) fn resolve(spec: &JwksSpec, namespace: &str, resources: &Resources) -> Result<NamedKeySet, Fault> {
    let (text, place) = match (&spec.inline, &spec.config_map_ref) {
        (Some(inline), None) => (inline.as_bytes(), "inline".to_owned()),
        (None, Some(reference)) => {
            let place = format!("configMapRef {}/{}, key {}", namespace, reference.name, reference.key);
            (config_map_entry(reference, namespace, resources)?, place)
        }
        _ => return Err(Fault::new("InvalidKeySet", "exactly one of inline and configMapRef must be given")),
    };
    let unusable = |fault| Fault::new("InvalidKeySet", format!("{place}: {fault}"));
    let keys = jwks::parse(text).map_err(unusable)?.keys;
    let canonical = serde_json::to_vec(&keys).map_err(|error| Fault::new("InvalidKeySet", error.to_string()))?;
    let hash: String = Sha256::digest(canonical).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Ok(NamedKeySet { name: format!("jwks-{hash}"), keys })
}

fn config_map_entry<'r>(
    reference: &ConfigMapKeyRef,
    namespace: &str,
    resources: &'r Resources,
) -> Result<&'r [u8], Fault> {
    let ConfigMapKeyRef { name, key } = reference;
    let name = Name::new(namespace, name);
    let missing = |what: String| Fault::new("KeySetNotFound", what);
    let map = resources.config_maps.get(&name).ok_or_else(|| missing(format!("there is no ConfigMap {name}")))?;
    let text = map.data.as_ref().and_then(|data| data.get(key)).map(String::as_bytes);
    let bytes = || map.binary_data.as_ref().and_then(|data| data.get(key)).map(|bytes| bytes.0.as_slice());
    text.or_else(bytes).ok_or_else(|| missing(format!("the ConfigMap {name} has no key {key:?}")))
}
