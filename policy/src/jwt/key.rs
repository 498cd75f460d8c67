//! A public key, decoded and checked.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::pkcs8::{Document, EncodePublicKey};
use rsa::BoxedUint;
use rsa::traits::PublicKeyParts as _;
use sha2::{Digest as _, Sha256};

use super::modulus;
use crate::config::{Algorithm, Curve, Key, KeyMaterial};

/// Sizes of RSA moduli that can be accepted, in bits; by default [`crate::config::Limits`] lowers the upper bound. It keeps a
/// verification affordable.
pub const RSA_BITS: std::ops::RangeInclusive<u32> = 2048..=8192;

/// A public key that signatures can be checked with.
#[derive(Clone, Debug)]
pub struct PublicKey {
    /// `kid`, where it has one.
    pub id: Option<String>,
    /// What it may verify; never empty.
    pub algorithms: Vec<Algorithm>,
    /// The key itself.
    pub material: Material,
    /// The key as a SubjectPublicKeyInfo in DER, for verifiers outside; of Ed25519, which they don't get, the point alone.
    pub encoded: Vec<u8>,
}

/// A key by its type.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names are those of the algorithms")]
pub enum Material {
    Rsa(Box<rsa::PublicKey>),
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
    Ed25519(ed25519_dalek::VerifyingKey),
}

/// Why a key is not fit for use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum KeyFault {
    #[error("a value is not canonical base64url")]
    Encoding,
    #[error("the RSA modulus has {bits} bits; 2048 to {most} are accepted")]
    ModulusSize { bits: u32, most: u32 },
    #[error("the RSA modulus is even")]
    EvenModulus,
    #[error("the RSA modulus has a small factor")]
    SmallFactor,
    #[error("the RSA modulus can be factored: it has the fingerprint of ROCA, CVE-2017-15361")]
    Roca,
    #[error("the RSA exponent must be odd, at least 3 and below 2^33")]
    Exponent,
    #[error("the point is not on the curve")]
    Point,
    #[error("the key can't be encoded in DER")]
    Unencodable,
    #[error("the algorithm {0:?} does not go with the key's type")]
    Algorithm(Algorithm),
    #[error("the key has no algorithm")]
    NoAlgorithm,
}

impl PublicKey {
    /// Decodes and checks a key.
    ///
    /// # Errors
    /// When it is not fit for use.
    pub fn new(key: &Key) -> Result<Self, KeyFault> {
        Self::within(key, *RSA_BITS.end())
    }

    /// The same, where no RSA modulus has more bits than `most`.
    ///
    /// # Errors
    /// When it is not fit for use.
    pub fn within(key: &Key, most: u32) -> Result<Self, KeyFault> {
        let possible = algorithms(&key.material);
        if let Some(wrong) = key.algorithms.iter().find(|algorithm| !possible.contains(algorithm)) {
            return Err(KeyFault::Algorithm(*wrong));
        }
        if key.algorithms.is_empty() {
            return Err(KeyFault::NoAlgorithm);
        }
        let (material, encoded) = decode(&key.material, most)?;
        Ok(Self { id: key.kid.clone(), algorithms: key.algorithms.clone(), material, encoded })
    }

    /// Tells this key from every other one.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(&self.encoded).into()
    }

    /// The size of its RSA modulus.
    #[must_use]
    pub fn modulus_bits(&self) -> Option<u32> {
        match &self.material {
            Material::Rsa(key) => Some(key.n().bit_width_vartime()),
            Material::P256(_) | Material::P384(_) | Material::Ed25519(_) => None,
        }
    }

    /// The size of its RSA exponent.
    #[must_use]
    pub fn exponent_bits(&self) -> Option<u32> {
        match &self.material {
            Material::Rsa(key) => Some(key.e().bit_width_vartime()),
            Material::P256(_) | Material::P384(_) | Material::Ed25519(_) => None,
        }
    }
}

/// What a key of this type can verify at all.
#[must_use]
pub fn algorithms(material: &KeyMaterial) -> &'static [Algorithm] {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    match material {
        KeyMaterial::Rsa { .. } => &[RS256, RS384, RS512, PS256, PS384, PS512],
        KeyMaterial::Ec { crv: Curve::P256, .. } => &[ES256],
        KeyMaterial::Ec { crv: Curve::P384, .. } => &[ES384],
        KeyMaterial::Ed25519 { .. } => &[EdDSA],
    }
}

fn decode(material: &KeyMaterial, most: u32) -> Result<(Material, Vec<u8>), KeyFault> {
    match material {
        KeyMaterial::Rsa { n, e } => {
            let key = rsa_key(&base64url(n)?, &base64url(e)?, most)?;
            let encoded = der(&key)?;
            Ok((Material::Rsa(Box::new(key)), encoded))
        }
        KeyMaterial::Ec { crv: Curve::P256, x, y } => {
            let point = point(&base64url(x)?, &base64url(y)?, 32)?;
            let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&point).map_err(|_| KeyFault::Point)?;
            Ok((Material::P256(key), der(&key)?))
        }
        KeyMaterial::Ec { crv: Curve::P384, x, y } => {
            let point = point(&base64url(x)?, &base64url(y)?, 48)?;
            let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(&point).map_err(|_| KeyFault::Point)?;
            Ok((Material::P384(key), der(&key)?))
        }
        KeyMaterial::Ed25519 { x } => {
            let bytes: [u8; 32] = base64url(x)?.try_into().map_err(|_| KeyFault::Point)?;
            let key = ed25519_dalek::VerifyingKey::from_bytes(&bytes).map_err(|_| KeyFault::Point)?;
            if key.is_weak() {
                return Err(KeyFault::Point);
            }
            Ok((Material::Ed25519(key), bytes.to_vec()))
        }
    }
}

fn der(key: &impl EncodePublicKey) -> Result<Vec<u8>, KeyFault> {
    key.to_public_key_der().map(Document::into_vec).map_err(|_| KeyFault::Unencodable)
}

fn rsa_key(modulus: &[u8], exponent: &[u8], most: u32) -> Result<rsa::PublicKey, KeyFault> {
    let n = BoxedUint::from_be_slice_vartime(modulus);
    let bits = n.bit_width_vartime();
    if !(*RSA_BITS.start()..=most).contains(&bits) {
        return Err(KeyFault::ModulusSize { bits, most });
    }
    if modulus.last().is_none_or(|byte| byte % 2 == 0) {
        return Err(KeyFault::EvenModulus);
    }
    if modulus::has_small_factor(modulus) {
        return Err(KeyFault::SmallFactor);
    }
    if modulus::is_roca(modulus) {
        return Err(KeyFault::Roca);
    }
    let mut e: u64 = 0;
    for byte in exponent {
        e = e.checked_mul(256).ok_or(KeyFault::Exponent)? | u64::from(*byte);
    }
    if e.is_multiple_of(2) || !(3..1 << 33).contains(&e) {
        return Err(KeyFault::Exponent);
    }
    rsa::PublicKey::new(n, BoxedUint::from(e)).map_err(|_| KeyFault::Exponent)
}

/// An uncompressed point (SEC 1 section 2.3.3). Coordinates have their full length (RFC 7518 section 6.2.1.2).
fn point(x: &[u8], y: &[u8], length: usize) -> Result<Vec<u8>, KeyFault> {
    if x.len() != length || y.len() != length {
        return Err(KeyFault::Point);
    }
    Ok([&[4], x, y].concat())
}

fn base64url(text: &str) -> Result<Vec<u8>, KeyFault> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyFault::Encoding)
}
