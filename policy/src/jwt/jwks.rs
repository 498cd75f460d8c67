//! JWK Sets (RFC 7517) as issuers publish them: what is fit for use is taken, what is not is said.

use std::fmt;

use serde_json::{Map, Value};

use super::key::{self, KeyFault, PublicKey};
use crate::config::{Algorithm, Curve, Key, KeyMaterial, KeySet};
use crate::strict;

/// Largest JWK Set, in bytes.
pub const MAX_BYTES: usize = 256 * 1024;

/// Most keys of a set that are read: those that stand first.
pub const MAX_KEYS: usize = 64;

/// A JWK Set's usable keys, and why the others are not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwks {
    /// Those that are fit for use: at least one where [`parse`] gives them, and perhaps none where they were fetched.
    pub keys: KeySet,
    /// Every other key; of those past [`MAX_KEYS`] the first stands for all.
    pub left_out: Vec<LeftOut>,
}

/// A key that is not fit for use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeftOut {
    /// Where in the set.
    pub index: usize,
    /// `kid`, where it has one; at most [`MAX_SHOWN`] bytes of it.
    pub kid: Option<String>,
    /// Why it is not.
    pub why: String,
}

/// Most bytes of a `kid` that are shown.
pub const MAX_SHOWN: usize = 64;

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "keys[{}]", self.index)?;
        if let Some(kid) = &self.kid {
            write!(f, " (kid {kid:?})")?;
        }
        write!(f, ": {}", self.why)
    }
}

/// Why a JWK Set gives no keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwksFault {
    /// Past [`MAX_BYTES`].
    #[error("the JWK Set has {0} bytes; {MAX_BYTES} are accepted")]
    TooLarge(usize),
    /// Not an object with an array `keys` (RFC 7517 section 5).
    #[error("this is not a JWK Set: a JSON object with an array `keys` and no doubled members is needed")]
    NotAKeySet,
    /// None is fit for use.
    #[error("the JWK Set has no usable key{}", Listed(.0))]
    NoUsableKey(Vec<LeftOut>),
}

/// Keys that were left out, behind a colon; nothing where there are none.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a>(pub &'a [LeftOut]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(index, key)| {
            f.write_str(if index == 0 { ": " } else { "; " })?;
            key.fmt(f)
        })
    }
}

/// Reads a JWK Set, in which no RSA modulus may have more than `most_rsa_bits`.
///
/// # Errors
/// When it can't be read or no key in it is fit for use. A single bad key, or one of a kind that we don't know, is left
/// out, and named; so is what stands past [`MAX_KEYS`].
pub fn parse(text: &[u8], most_rsa_bits: u32) -> Result<Jwks, JwksFault> {
    if text.len() > MAX_BYTES {
        return Err(JwksFault::TooLarge(text.len()));
    }
    let set = strict::object(text).map_err(|_| JwksFault::NotAKeySet)?;
    let members = set.get("keys").and_then(Value::as_array).ok_or(JwksFault::NotAKeySet)?;
    let mut keys: Vec<Key> = Vec::new();
    let mut left_out = Vec::new();
    for (index, member) in members.iter().enumerate().take(MAX_KEYS) {
        let usable = usable(member, most_rsa_bits).and_then(|key| {
            let is_taken = key.kid.is_some() && keys.iter().any(|other| same_use(other, &key));
            if is_taken { Err(Unusable::Taken) } else { Ok(key) }
        });
        match usable {
            Ok(key) => keys.push(key),
            Err(why) => left_out.push(LeftOut { index, kid: shown_kid(member), why: why.to_string() }),
        }
    }
    // Not a fault of the set: a key that its issuer has removed would hold for as long as the set can't be read.
    if let Some(member) = members.get(MAX_KEYS) {
        let why = Unusable::TooMany(members.len()).to_string();
        left_out.push(LeftOut { index: MAX_KEYS, kid: shown_kid(member), why });
    }
    if keys.is_empty() {
        Err(JwksFault::NoUsableKey(left_out))
    } else {
        Ok(Jwks { keys: KeySet { keys, place: None }, left_out })
    }
}

fn shown_kid(member: &Value) -> Option<String> {
    let kid = member.get("kid")?.as_str()?;
    Some(kid.get(..kid.floor_char_boundary(MAX_SHOWN))?.to_owned())
}

/// Two keys that a token could not tell apart.
fn same_use(one: &Key, other: &Key) -> bool {
    one.kid == other.kid && one.algorithms.iter().any(|algorithm| other.algorithms.contains(algorithm))
}

#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("it is no object")]
    NotAnObject,
    #[error("`{0}` is missing or no string")]
    Missing(&'static str),
    #[error("it is a private or symmetric key; publish public keys only")]
    NotPublic,
    #[error("an earlier key has the same kid and algorithm")]
    Taken,
    #[error("key type or curve is not supported")]
    Unsupported,
    #[error("`alg` is not a supported signature algorithm")]
    Algorithm,
    #[error("`use` or `key_ops` says that it is not for signatures, or not for them alone")]
    NotForSignatures,
    #[error(
        "the set has {0} keys, of which the first {MAX_KEYS} are accepted; neither this one nor those behind it are"
    )]
    TooMany(usize),
    #[error(transparent)]
    Key(#[from] KeyFault),
}

fn usable(member: &Value, most_rsa_bits: u32) -> Result<Key, Unusable> {
    let jwk = member.as_object().ok_or(Unusable::NotAnObject)?;
    if ["d", "p", "q", "dp", "dq", "qi", "oth", "k"].iter().any(|private| jwk.contains_key(*private)) {
        return Err(Unusable::NotPublic);
    }
    if !for_signatures(jwk) {
        return Err(Unusable::NotForSignatures);
    }
    let material = material(jwk)?;
    let algorithms = match jwk.get("alg") {
        None => key::algorithms(&material).to_vec(),
        Some(name) => vec![algorithm(name).ok_or(Unusable::Algorithm)?],
    };
    let kid = match jwk.get("kid") {
        None => None,
        Some(Value::String(kid)) => Some(kid.clone()),
        Some(_) => return Err(Unusable::Missing("kid")),
    };
    let key = Key { kid, algorithms, material };
    PublicKey::within(&key, most_rsa_bits)?;
    Ok(key)
}

/// RFC 7517 sections 4.2 and 4.3: what has unrelated uses should not be used for any.
fn for_signatures(jwk: &Map<String, Value>) -> bool {
    let by_use = jwk.get("use").is_none_or(|purpose| purpose == "sig");
    let by_operation = match jwk.get("key_ops") {
        None => true,
        Some(Value::Array(operations)) => {
            operations.iter().any(|operation| operation == "verify")
                && operations.iter().all(|operation| operation == "verify" || operation == "sign")
        }
        Some(_) => false,
    };
    by_use && by_operation
}

fn material(jwk: &Map<String, Value>) -> Result<KeyMaterial, Unusable> {
    let text =
        |name: &'static str| jwk.get(name).and_then(Value::as_str).map(str::to_owned).ok_or(Unusable::Missing(name));
    match text("kty")?.as_str() {
        "RSA" => Ok(KeyMaterial::Rsa { n: text("n")?, e: text("e")? }),
        "EC" => {
            let crv = match text("crv")?.as_str() {
                "P-256" => Curve::P256,
                "P-384" => Curve::P384,
                _ => return Err(Unusable::Unsupported),
            };
            Ok(KeyMaterial::Ec { crv, x: text("x")?, y: text("y")? })
        }
        "OKP" if text("crv")? == "Ed25519" => Ok(KeyMaterial::Ed25519 { x: text("x")? }),
        _ => Err(Unusable::Unsupported),
    }
}

fn algorithm(name: &Value) -> Option<Algorithm> {
    if name == "Ed25519" {
        return Some(Algorithm::EdDSA);
    }
    serde_json::from_value(name.clone()).ok()
}
