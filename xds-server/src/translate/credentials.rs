//! What the gateway shows a server, from Secrets.

use crate::model::Credential;
use crate::resources::mcp::{CredentialsSpec, SecretKeyRef};
use crate::resources::{Name, ObjectRef};

use super::problems::Fault;
use super::view::View;

/// Largest value, in bytes: servers refuse larger headers.
const MAX_BYTES: usize = 8 * 1024;

/// Headers that Envoy and the protocol need for themselves.
const RESERVED: [&str; 8] = [
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "mcp-session-id",
    "mcp-protocol-version",
    "accept",
];

/// Reads the credential of a backend.
pub(super) fn credential(written: &CredentialsSpec, backend: &ObjectRef, view: &View<'_>) -> Result<Credential, Fault> {
    let CredentialsSpec { secret_ref: SecretKeyRef { name, key }, header, prefix } = written;
    let secret_name = Name::new(&backend.name.namespace, name);
    let invalid = |message: String| Fault::new("InvalidCredentials", message);
    let header = header.as_deref().unwrap_or("authorization").to_ascii_lowercase();
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if header.is_empty() || !header.bytes().all(is_token) || RESERVED.contains(&header.as_str()) {
        return Err(invalid(format!("{header:?} can't be the header of a credential")));
    }
    let prefix = prefix.clone().unwrap_or_else(|| if header == "authorization" { "Bearer ".into() } else { "".into() });
    if !prefix.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return Err(invalid("the prefix has characters that can't stand in a header".to_owned()));
    }
    let lacks = |what: String| invalid(view.lack("Secret", &secret_name, what));
    let secret = view.secret(&secret_name);
    let secret = secret.ok_or_else(|| lacks(format!("there is no Secret {secret_name}")))?;
    let value = secret.data.as_ref().and_then(|data| data.get(key));
    let value = value.ok_or_else(|| lacks(format!("the Secret {secret_name} has no key {key:?}")))?;
    // Files often end with a line break.
    let value = value.0.trim_ascii_end();
    let fits = !value.is_empty() && value.len() <= MAX_BYTES && value.iter().all(|byte| (0x20..0x7f).contains(byte));
    let value = std::str::from_utf8(value).ok().filter(|_| fits).ok_or_else(|| {
        invalid(format!("the key {key:?} of the Secret {secret_name} has no value that can stand in a header"))
    })?;
    let name = format!("credentials/{secret_name}/{key}");
    Ok(Credential { name, header, prefix, value: value.to_owned() })
}
