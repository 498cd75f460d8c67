//! Sessions and tasks belong to callers.
//!
//! ```text
//! the server's id ─ bind ─> ID.MAC, which is what the client sees ─ unbind ─> the server's id, for the same caller alone
//! ```
//! The MAC is HMAC-SHA256 (RFC 2104) over the kind of the id, the token's issuer and subject, and the id. So nothing has to
//! be remembered, and an id that was overheard is of no use to others. Tokens without a subject count by issuer alone.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::claims::Caller;
use crate::config::BindingKey;

/// Length of a key, in bytes.
const KEY_BYTES: usize = 32;

/// Length of what is kept of a MAC, in bytes.
const MAC_BYTES: usize = 16;

/// What an id is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Session,
    Task,
}

/// Binds ids to callers.
#[derive(Clone)]
pub(crate) struct Binder {
    /// The first one binds, all are recognized.
    keys: Vec<Hmac<Sha256>>,
}

impl fmt::Debug for Binder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Binder")
    }
}

/// A key that is not 32 bytes in base64url.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadKey;

impl Binder {
    /// A binder with these keys.
    pub(crate) fn new(keys: &[BindingKey]) -> Result<Self, BadKey> {
        let key = |BindingKey(text): &BindingKey| {
            let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| BadKey)?;
            if bytes.len() != KEY_BYTES {
                return Err(BadKey);
            }
            Hmac::new_from_slice(&bytes).map_err(|_| BadKey)
        };
        Ok(Self { keys: keys.iter().map(key).collect::<Result<_, _>>()? })
    }

    pub(crate) fn has_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    /// The id as its caller is to see it; `None` without keys.
    pub(crate) fn bind(&self, kind: Kind, caller: &Caller, id: &str) -> Option<String> {
        let mac = URL_SAFE_NO_PAD.encode(self.mac(kind, caller, id)?);
        Some(format!("{id}.{mac}"))
    }

    /// The server's id, where it belongs to this caller.
    pub(crate) fn unbind<'i>(&self, kind: Kind, caller: &Caller, bound: &'i str) -> Option<&'i str> {
        let (id, mac) = bound.rsplit_once('.')?;
        self.is_mac(kind, caller, id, mac).then_some(id)
    }

    /// The MAC alone.
    pub(crate) fn seal(&self, kind: Kind, caller: &Caller, id: &str) -> Option<String> {
        self.mac(kind, caller, id).map(|mac| URL_SAFE_NO_PAD.encode(mac))
    }

    /// Whether this is the MAC of an id, under any of the keys.
    pub(crate) fn is_mac(&self, kind: Kind, caller: &Caller, id: &str, mac: &str) -> bool {
        let Ok(mac) = URL_SAFE_NO_PAD.decode(mac) else { return false };
        mac.len() == MAC_BYTES
            && self.keys.iter().any(|key| started(key, kind, caller, id).verify_truncated_left(&mac).is_ok())
    }

    fn mac(&self, kind: Kind, caller: &Caller, id: &str) -> Option<Vec<u8>> {
        let whole = started(self.keys.first()?, kind, caller, id).finalize().into_bytes();
        whole.get(..MAC_BYTES).map(<[u8]>::to_vec)
    }
}

fn started(key: &Hmac<Sha256>, kind: Kind, caller: &Caller, id: &str) -> Hmac<Sha256> {
    let mut mac = key.clone();
    mac.update(match kind {
        Kind::Session => b"session",
        Kind::Task => b"task",
    });
    // INVARIANT: lengths keep what belongs together apart from what follows.
    for part in [caller.issuer.as_str(), caller.subject.as_deref().unwrap_or_default(), id] {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part.as_bytes());
    }
    mac
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn caller(issuer: &str, subject: &str) -> Caller {
        match json!({ "iss": issuer, "sub": subject }) {
            serde_json::Value::Object(claims) => Caller::new(claims, &std::collections::BTreeMap::new()),
            _ => Caller::anonymous(),
        }
    }

    fn key(byte: u8) -> BindingKey {
        BindingKey(URL_SAFE_NO_PAD.encode([byte; KEY_BYTES]))
    }

    #[test]
    fn an_id_is_its_callers_alone() {
        let binder = Binder::new(&[key(1)]).expect("a key");
        let bob = caller("https://a", "bob");
        let bound = binder.bind(Kind::Session, &bob, "s.1").expect("a key");
        assert_eq!(binder.unbind(Kind::Session, &bob, &bound), Some("s.1"));
        let flipped = format!("{}A", bound.strip_suffix(|_: char| true).unwrap_or_default());
        let rows = [
            ("another subject", Kind::Session, caller("https://a", "eve"), bound.as_str()),
            ("another issuer", Kind::Session, caller("https://b", "bob"), &bound),
            ("a border moved", Kind::Session, caller("https://ab", "ob"), &bound),
            ("another kind", Kind::Task, bob.clone(), &bound),
            ("the id alone", Kind::Session, bob.clone(), "s.1"),
            ("another id", Kind::Session, bob.clone(), &bound.replace("s.1", "s.2")),
            ("no MAC", Kind::Session, bob.clone(), "s.1."),
            ("a MAC cut short", Kind::Session, bob.clone(), &bound[..bound.len() - 2]),
            ("a MAC of another spelling", Kind::Session, bob, &flipped),
        ];
        for (name, kind, caller, id) in rows {
            assert_eq!(binder.unbind(kind, &caller, id), None, "{name}");
        }
    }

    #[test]
    fn keys_are_rotated_and_nobody_is_cut_off() {
        let bob = caller("https://a", "bob");
        let old = Binder::new(&[key(1)]).expect("a key");
        let bound = old.bind(Kind::Task, &bob, "t").expect("a key");
        let both = Binder::new(&[key(2), key(1)]).expect("keys");
        assert_eq!(both.unbind(Kind::Task, &bob, &bound), Some("t"));
        assert_ne!(both.bind(Kind::Task, &bob, "t"), Some(bound.clone()));
        assert_eq!(Binder::new(&[key(2)]).expect("a key").unbind(Kind::Task, &bob, &bound), None);
    }

    #[test]
    fn keys_have_one_form() {
        for wrong in ["", "AAAA", "not base64url!"] {
            assert_eq!(Binder::new(&[BindingKey(wrong.to_owned())]).err(), Some(BadKey), "{wrong:?}");
        }
    }
}
