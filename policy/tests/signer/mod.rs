//! Keys that sign tokens for tests.

#![allow(dead_code, reason = "each file of tests uses a part of it")]

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rsa::Generate as _;
use rsa::signature::{SignatureEncoding as _, Signer as _};
use rsa::traits::PublicKeyParts as _;
use serde_json::{Value, json};
use sha2::{Sha256, Sha384, Sha512};

/// A key with the algorithm that it signs by; each is always the same key within a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signer {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Ed25519,
}

static RSA: LazyLock<rsa::PrivateKey> = LazyLock::new(rsa::PrivateKey::generate);

fn p256() -> p256::ecdsa::SigningKey {
    p256::ecdsa::SigningKey::from_slice(&[7; 32]).expect("a scalar")
}

fn p384() -> p384::ecdsa::SigningKey {
    p384::ecdsa::SigningKey::from_slice(&[7; 48]).expect("a scalar")
}

fn ed25519() -> ed25519_dalek::SigningKey {
    ed25519_dalek::SigningKey::from_bytes(&[7; 32])
}

impl Signer {
    pub(crate) fn all() -> [Self; 9] {
        use Signer::{Ed25519, Es256, Es384, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        [Rs256, Rs384, Rs512, Ps256, Ps384, Ps512, Es256, Es384, Ed25519]
    }

    pub(crate) fn algorithm(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Ed25519 => "EdDSA",
        }
    }

    pub(crate) fn jwk(self, kid: &str) -> Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Es256 => {
                let point = p256().verifying_key().to_sec1_point(false);
                let (x, y) = (point.x().expect("x"), point.y().expect("y"));
                json!({ "kid": kid, "kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y) })
            }
            Self::Es384 => {
                let point = p384().verifying_key().to_sec1_point(false);
                let (x, y) = (point.x().expect("x"), point.y().expect("y"));
                json!({ "kid": kid, "kty": "EC", "crv": "P-384", "x": encode(x), "y": encode(y) })
            }
            Self::Ed25519 => {
                json!({ "kid": kid, "kty": "OKP", "crv": "Ed25519", "x": encode(ed25519().verifying_key().as_bytes()) })
            }
            _ => json!({ "kid": kid, "kty": "RSA", "n": encode(&RSA.n_bytes()), "e": encode(&RSA.e_bytes()) }),
        }
    }

    pub(crate) fn sign(self, message: &[u8]) -> Vec<u8> {
        let rsa = || RSA.clone();
        match self {
            Self::Rs256 => rsa::pkcs1v15::SigningKey::<Sha256>::new(rsa()).sign(message).to_vec(),
            Self::Rs384 => rsa::pkcs1v15::SigningKey::<Sha384>::new(rsa()).sign(message).to_vec(),
            Self::Rs512 => rsa::pkcs1v15::SigningKey::<Sha512>::new(rsa()).sign(message).to_vec(),
            Self::Ps256 => rsa::pss::SigningKey::<Sha256>::new(rsa()).sign(message).to_vec(),
            Self::Ps384 => rsa::pss::SigningKey::<Sha384>::new(rsa()).sign(message).to_vec(),
            Self::Ps512 => rsa::pss::SigningKey::<Sha512>::new(rsa()).sign(message).to_vec(),
            Self::Es256 => {
                let signature: p256::ecdsa::Signature = p256().sign(message);
                signature.to_bytes().to_vec()
            }
            Self::Es384 => {
                let signature: p384::ecdsa::Signature = p384().sign(message);
                signature.to_bytes().to_vec()
            }
            Self::Ed25519 => ed25519().sign(message).to_bytes().to_vec(),
        }
    }

    /// A token with this header and these claims, both as they are.
    pub(crate) fn token(self, header: &Value, claims: &Value) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let input = format!("{}.{}", encode(header), encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.sign(input.as_bytes()));
        format!("{input}.{signature}")
    }
}
