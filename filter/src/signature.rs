//! Signatures by the host where it proves that it can, by ourselves otherwise.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use toolward_policy::config::Algorithm;
use toolward_policy::jwt::budget::{By, Cost};
use toolward_policy::jwt::key::PublicKey;
use toolward_policy::jwt::verify::{DigestVerification, Portable, SignatureVerifier};

use crate::{host, metrics};

/// Which families of algorithms the host verifies rightly.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HostVerifier {
    rsa: Proof,
    ecdsa: Proof,
}

/// What the known answers showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Proof {
    #[default]
    Failed,
    Passed,
}

impl HostVerifier {
    /// Asks the host for answers that are known: a good signature must pass, a bad one must not.
    pub(crate) fn prove() -> Self {
        Self { rsa: prove(&RSA), ecdsa: prove(&ECDSA) }
    }

    /// For the log.
    pub(crate) fn describe(self) -> &'static str {
        match (self.rsa, self.ecdsa) {
            (Proof::Passed, Proof::Passed) => "RSA and ECDSA signatures are verified by the host",
            (Proof::Passed, Proof::Failed) => "RSA signatures are verified by the host, ECDSA ones by the filter",
            (Proof::Failed, Proof::Passed) => "ECDSA signatures are verified by the host, RSA ones by the filter",
            (Proof::Failed, Proof::Failed) => "the host has no working verify_signature: the filter verifies by itself",
        }
    }

    fn proof(self, algorithm: Algorithm) -> Proof {
        match algorithm {
            Algorithm::RS256 | Algorithm::RS384 | Algorithm::RS512 => self.rsa,
            Algorithm::ES256 | Algorithm::ES384 => self.ecdsa,
            Algorithm::PS256 | Algorithm::PS384 | Algorithm::PS512 | Algorithm::EdDSA => Proof::Failed,
        }
    }
}

impl SignatureVerifier for HostVerifier {
    fn verify(&self, key: &PublicKey, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if self.proof(algorithm) == Proof::Failed {
            metrics::count_signature("filter");
            return Portable.verify(key, algorithm, message, signature);
        }
        metrics::count_signature("host");
        DigestVerification::new(key, algorithm, signature).is_some_and(|terms| {
            host::verify_signature(terms.hash, terms.key, &terms.signature, message).unwrap_or(false)
        })
    }

    fn cost(&self, key: &PublicKey, algorithm: Algorithm) -> Cost {
        let by = if self.proof(algorithm) == Proof::Failed { By::Filter } else { By::Host };
        Cost::of(by, key, algorithm)
    }
}

/// A signature with SHA-256 on [`MESSAGE`], in base64.
struct KnownAnswer {
    key: &'static str,
    signature: &'static str,
}

const MESSAGE: &[u8] = b"toolward known answer";

const RSA: KnownAnswer = KnownAnswer {
    key: "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAtHvZrxYdHAX6hBa45yuIOU+6WXItCg13Rmd6RYcWHeqprUUZTMCcuOuaTEmzYABd\
          2yt+Ipy1RjQRclOuuqC/4a/jM+TBoznRG9/RGG6l0gPYpT6JkU2dQHR8ltpX2S2DQoeOfN/XIj43fr+l1PK5Qb2/JuAu+9F7I7+8aLhl0MfX\
          cBwdZ+ye6f3AAQ3YqJWDsgRdbaoHNs8j1cpuXjRxBFjc2aKGz55Mnjf3mLvtcPI9XD8/aUnU2vpOiHAC83363DmbWjwncnhHLHEdhZ6fwEb5\
          AuS/Nw7lmn5LtRjo13TWaFGXhpdw0KWxupbUAoQ9uuefq3D+NEksc7yuzEZfTwIDAQAB",
    signature: "fp1LJ0n8R8Ri502h9rn5rlg+utS6Nw5PxV3SxlW1gckRKusY9cxI3ov1VsJhm+W+kbP5mkATQAwCtPpne82avSljfASiU7JONNARn/BB\
                bC4D+TzybJ4bIcR8cNBzhNGiEVU/BVR+fDjR4aa94P0g6BKM+qQd9xwnZnO48DWjCbf9wXihmjPzaK5NWL62EOT5zfZVxeaxUIHI7l3Cog5i\
                fqmg4G1h7LRKUfCgRfuggKSwoppwlnWt6WDr1SDlf0UNoG8ys8wSh/cNx4cu1v/wNpoC/SES2JP+rSAuctElPmI5UlyQFA8W8nXAdL7YsMeq\
                qkivMAw+afVTGir+6ovYAw==",
};

const ECDSA: KnownAnswer = KnownAnswer {
    key: "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEhN1NMJUkpEpSBt0SZNstNRH4sB18T07V3cY54Pct/uE+s7y4iesnTmzo9M3o8TKbb/N4hrkg\
          AZDd7GS2CzwboA==",
    signature: "MEQCIBTmOZEZ027jQ+etSTFUBoix9S5wMLRTf4oS+oJcYW8CAiBzp7StOI2/u4hH1yjxqgyRn5srm+sZ+jQ4XsvK/vSkaA==",
};

fn prove(known: &KnownAnswer) -> Proof {
    let (Ok(key), Ok(signature)) = (STANDARD.decode(known.key), STANDARD.decode(known.signature)) else {
        return Proof::Failed;
    };
    let good = host::verify_signature("sha256", &key, &signature, MESSAGE);
    let bad = host::verify_signature("sha256", &key, &signature, b"toolward known answers");
    if (good, bad) == (Some(true), Some(false)) { Proof::Passed } else { Proof::Failed }
}
