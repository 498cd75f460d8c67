//! Tokens in large numbers, and the key sets that verify them.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use toolward_tests::toolward::{AUDIENCE, ISSUER};

/// An issuer with a key of each kind.
pub(crate) struct Issuer {
    rsa: RsaKeyPair,
    ecdsa: EcdsaKeyPair,
    random: SystemRandom,
}

/// By which algorithm a token is signed; its key has the same name.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Algorithm {
    RS256,
    ES256,
}

impl Issuer {
    pub(crate) fn new() -> Self {
        Self {
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"),
            ecdsa: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"),
            random: SystemRandom::new(),
        }
    }

    /// The key set.
    pub(crate) fn jwks(&self) -> Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let rsa = self.rsa.public_key().as_ref();
        // RSAPublicKey in DER, of a key of 2048 bits with the exponent 65537: the modulus stands before five bytes.
        let modulus = &rsa[rsa.len() - 5 - 256..rsa.len() - 5];
        let point = self.ecdsa.public_key().as_ref();
        json!({ "keys": [
            { "kty": "RSA", "kid": "RS256", "alg": "RS256", "use": "sig", "n": encode(modulus), "e": "AQAB" },
            { "kty": "EC", "kid": "ES256", "alg": "ES256", "use": "sig", "crv": "P-256",
              "x": encode(&point[1..33]), "y": encode(&point[33..65]) },
        ] })
    }

    /// A good token of this number.
    pub(crate) fn token(&self, algorithm: Algorithm, number: usize) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let encode = |part: Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let name = format!("{algorithm:?}");
        let header = encode(json!({ "alg": name, "kid": name, "typ": "JWT" }));
        let claims = encode(json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": format!("user-{number}"), "iat": now, "exp": now + 7200,
            "jti": format!("token-{number:08}"), "client_id": "bench", "groups": ["dev", "ops"], "scope": "tools",
        }));
        let signed = format!("{header}.{claims}");
        let signature = match algorithm {
            Algorithm::RS256 => {
                let mut signature = vec![0; self.rsa.public_modulus_len()];
                let signing = self.rsa.sign(&RSA_PKCS1_SHA256, &self.random, signed.as_bytes(), &mut signature);
                signing.expect("a signature");
                signature
            }
            Algorithm::ES256 => {
                self.ecdsa.sign(&self.random, signed.as_bytes()).expect("a signature").as_ref().to_vec()
            }
        };
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// So many different tokens.
    pub(crate) fn tokens(&self, algorithm: Algorithm, count: usize) -> Vec<String> {
        (0..count).map(|number| self.token(algorithm, number)).collect()
    }
}

/// The token with a signature that is not its own.
pub(crate) fn forged(token: &str, number: usize) -> String {
    let (signed, signature) = token.rsplit_once('.').expect("a token");
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    let place = 8 + number % (bytes.len() - 16);
    bytes[place] ^= 1 + u8::try_from(number / 256 % 255).expect("a byte");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(bytes))
}
