//! Signatures. Whoever checks them, they must accept exactly the same ones.

use rsa::{pkcs1v15, pss};
use sha2::{Sha256, Sha384, Sha512};

use super::budget::{By, Cost};
use super::key::{Material, PublicKey};
use crate::config::Algorithm;

/// Checks a signature; the parameters are those of a JWS (RFC 7515 section 5.2).
pub trait SignatureVerifier {
    /// Whether `signature` is that of `key` on `message` by `algorithm`, which is one of the key's.
    fn verify(&self, key: &PublicKey, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool;

    /// What that costs.
    fn cost(&self, key: &PublicKey, algorithm: Algorithm) -> Cost;
}

/// Checks signatures anywhere, by itself.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

impl SignatureVerifier for Portable {
    fn verify(&self, key: &PublicKey, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        match &key.material {
            Material::Rsa(key) => verify_rsa(key, algorithm, message, signature),
            Material::P256(key) => {
                use p256::ecdsa::signature::Verifier as _;
                let signature = p256::ecdsa::Signature::from_slice(signature);
                algorithm == Algorithm::ES256
                    && signature.is_ok_and(|signature| key.verify(message, &signature).is_ok())
            }
            Material::P384(key) => {
                use p384::ecdsa::signature::Verifier as _;
                let signature = p384::ecdsa::Signature::from_slice(signature);
                algorithm == Algorithm::ES384
                    && signature.is_ok_and(|signature| key.verify(message, &signature).is_ok())
            }
            Material::Ed25519(key) => {
                let signature = ed25519_dalek::Signature::from_slice(signature);
                algorithm == Algorithm::EdDSA
                    && signature.is_ok_and(|signature| key.verify_strict(message, &signature).is_ok())
            }
        }
    }

    fn cost(&self, key: &PublicKey, algorithm: Algorithm) -> Cost {
        Cost::of(By::Filter, key, algorithm)
    }
}

fn verify_rsa(key: &rsa::PublicKey, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
    use rsa::signature::Verifier as _;
    let pkcs1 = || pkcs1v15::Signature::try_from(signature);
    let pss = || pss::Signature::try_from(signature);
    let key = key.clone();
    match algorithm {
        Algorithm::RS256 => {
            pkcs1().is_ok_and(|it| pkcs1v15::VerifyingKey::<Sha256>::new(key).verify(message, &it).is_ok())
        }
        Algorithm::RS384 => {
            pkcs1().is_ok_and(|it| pkcs1v15::VerifyingKey::<Sha384>::new(key).verify(message, &it).is_ok())
        }
        Algorithm::RS512 => {
            pkcs1().is_ok_and(|it| pkcs1v15::VerifyingKey::<Sha512>::new(key).verify(message, &it).is_ok())
        }
        Algorithm::PS256 => pss().is_ok_and(|it| pss::VerifyingKey::<Sha256>::new(key).verify(message, &it).is_ok()),
        Algorithm::PS384 => pss().is_ok_and(|it| pss::VerifyingKey::<Sha384>::new(key).verify(message, &it).is_ok()),
        Algorithm::PS512 => pss().is_ok_and(|it| pss::VerifyingKey::<Sha512>::new(key).verify(message, &it).is_ok()),
        Algorithm::ES256 | Algorithm::ES384 | Algorithm::EdDSA => false,
    }
}

/// What a verifier outside needs that knows RSASSA-PKCS1-v1_5 and ECDSA with DER signatures, as OpenSSL's
/// `EVP_DigestVerify` does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestVerification<'k> {
    /// `sha256`, `sha384` or `sha512`.
    pub hash: &'static str,
    /// SubjectPublicKeyInfo in DER.
    pub key: &'k [u8],
    /// The signature in the encoding that goes with the key.
    pub signature: Vec<u8>,
}

impl<'k> DigestVerification<'k> {
    /// The terms for a verifier outside; none where it can't do this algorithm, or where the signature's form is wrong
    /// (then the portable verifier says no as well).
    #[must_use]
    pub fn new(key: &'k PublicKey, algorithm: Algorithm, signature: &[u8]) -> Option<Self> {
        let (hash, signature) = match (algorithm, &key.material) {
            // A signature is as long as the modulus (RFC 8017 section 8.2.2); the other verifier checks that, too.
            (Algorithm::RS256, Material::Rsa(_)) => ("sha256", signature.to_vec()),
            (Algorithm::RS384, Material::Rsa(_)) => ("sha384", signature.to_vec()),
            (Algorithm::RS512, Material::Rsa(_)) => ("sha512", signature.to_vec()),
            (Algorithm::ES256, Material::P256(_)) => {
                ("sha256", p256::ecdsa::Signature::from_slice(signature).ok()?.to_der().as_bytes().to_vec())
            }
            (Algorithm::ES384, Material::P384(_)) => {
                ("sha384", p384::ecdsa::Signature::from_slice(signature).ok()?.to_der().as_bytes().to_vec())
            }
            _ => return None,
        };
        Some(Self { hash, key: &key.encoded, signature })
    }
}
