//! Signatures of every algorithm in a real Envoy: by its `verify_signature`, and by the filter alone.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    RsaEncoding,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use toolward_tests::envoy::{Envoy, admin};
use toolward_tests::folder::Folder;
use toolward_tests::http::{self, call};
use toolward_tests::ports;
use toolward_tests::process::eventually;
use toolward_tests::stack::{OPS_MAY_ADD, Stack, backend, gateway, policy, route};
use toolward_tests::tools::tools;
use toolward_tests::toolward::{self, AUDIENCE, ISSUER, Issuer};
use toolward_tests::upstream::{OK, Upstream};

/// Every algorithm that the filter knows, and whether it is one that Envoy verifies.
const ALGORITHMS: [(&str, Verifier); 9] = [
    ("RS256", Verifier::Host),
    ("RS384", Verifier::Host),
    ("RS512", Verifier::Host),
    ("ES256", Verifier::Host),
    ("ES384", Verifier::Host),
    ("PS256", Verifier::Filter),
    ("PS384", Verifier::Filter),
    ("PS512", Verifier::Filter),
    ("EdDSA", Verifier::Filter),
];

#[derive(Clone, Copy, PartialEq)]
enum Verifier {
    Host,
    Filter,
}

#[test]
fn by_the_host_where_it_can() {
    let (keys, upstream) = (Keys::new(), Upstream::start());
    let stack = Stack::with_policy(upstream.port, Issuer::new("ES256"), &policy(&keys.jwks(), OPS_MAY_ADD));
    let says = "configured; RSA and ECDSA signatures are verified by the host";
    assert!(stack.envoy.process.log().contains(says), "no known answer was wrong");
    every_algorithm(&keys, &upstream, &stack.envoy, &stack.url(), |expected| expected);
}

#[test]
fn by_the_filter_where_the_host_can_not() {
    let (keys, upstream, port) = (Keys::new(), Upstream::start(), ports::free());
    let folder = Folder::new();
    for (file, content) in [("gateway.yaml", gateway(port)), ("route.yaml", route("/mcp"))] {
        folder.write(file, &content);
    }
    folder.write("backend.yaml", &backend(upstream.port));
    folder.write("policy.yaml", &policy(&keys.jwks(), OPS_MAY_ADD));
    let (wasm, path) = (tools().wasm.to_str().expect("UTF-8"), folder.path().to_str().expect("UTF-8"));
    let output = toolward::run(&["render", "--static", "--listener-address", "127.0.0.1", "--wasm-file", wasm, path]);
    let mut config: Value = serde_yaml_ng::from_slice(&output.stdout).expect("YAML");
    assert_eq!(forbid_foreign_functions(&mut config), 1, "{config:#}");
    config["admin"] = admin();
    let config = serde_yaml_ng::to_string(&config).expect("YAML");
    let envoy = Envoy::with_config(&config);
    let url = format!("http://127.0.0.1:{port}/mcp");
    eventually("the Gateway answers", || http::client().get(&url).send().is_ok());
    let says = "configured; the host has no working verify_signature: the filter verifies by itself";
    assert!(envoy.process.log().contains(says), "{}", envoy.process.log());
    every_algorithm(&keys, &upstream, &envoy, &url, |_| Verifier::Filter);
}

/// Good tokens pass and forged ones do not, and it was the expected verifier that said so.
fn every_algorithm(keys: &Keys, upstream: &Upstream, envoy: &Envoy, url: &str, by: fn(Verifier) -> Verifier) {
    let client = http::client();
    let ask = |token: &str| http::send(http::post(&client, url, call("add")).bearer_auth(token));
    let verified = |by| {
        let names = ["wasmcustom.toolward_signatures.host", "wasmcustom.toolward_signatures.filter"];
        envoy.stat(if by == Verifier::Host { names[0] } else { names[1] })
    };
    let strangers = Keys::new();
    for (index, (algorithm, expected)) in ALGORITHMS.into_iter().enumerate() {
        let before = (verified(Verifier::Host), verified(Verifier::Filter));
        let token = keys.token(algorithm, algorithm);
        let answer = ask(&token);
        assert_eq!(answer.text, OK, "{algorithm}: {answer:?}");
        assert_eq!(upstream.take_recorded().len(), 1, "{algorithm}");

        let (input, signature) = token.rsplit_once('.').expect("three parts");
        let bytes = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
        let with = |bytes: &[u8]| format!("{input}.{}", URL_SAFE_NO_PAD.encode(bytes));
        let turned = |at: usize| {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            with(&bytes)
        };
        let other = ALGORITHMS[(index + 1) % ALGORITHMS.len()].0;
        let (header, _) = input.split_once('.').expect("two parts");
        let later = keys.token(algorithm, algorithm);
        let payload = part(&json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": "x", "team": "ops", "exp": now() + 9999 }));
        let forged = [
            ("a bit of the first byte turned", turned(0)),
            ("a bit of the last byte turned", turned(bytes.len() - 1)),
            ("cut", with(&bytes[1..])),
            ("zeros", with(&vec![0; bytes.len()])),
            ("another payload", format!("{header}.{payload}.{}", later.rsplit('.').next().expect("a signature"))),
            ("a stranger's key", strangers.token(algorithm, algorithm)),
            ("another algorithm's signature", keys.token(algorithm, other)),
        ];
        let count = forged.len() as u64;
        for (how, token) in forged {
            let answer = ask(&token);
            let challenge = answer.challenge.unwrap_or_default();
            assert_eq!(answer.status, 401, "{algorithm}, {how}");
            assert!(challenge.contains("the token signature is wrong"), "{algorithm}, {how}: {challenge}");
        }
        // The key of one algorithm does not serve for another one, whatever the header says.
        let answer = ask(&keys.token_as(algorithm, other, other));
        assert_eq!(answer.status, 401, "{algorithm}'s key for {other}");
        assert!(
            answer.challenge.is_some_and(|it| it.contains("algorithm is not allowed")),
            "{algorithm}'s key for {other}"
        );
        assert_eq!(upstream.take_recorded(), [], "{algorithm}: nothing forged may reach the server");

        let after = (verified(Verifier::Host), verified(Verifier::Filter));
        let (by_host, by_filter) = (after.0 - before.0, after.1 - before.1);
        let all = if by(expected) == Verifier::Host { (count + 1, 0) } else { (0, count + 1) };
        assert_eq!((by_host, by_filter), all, "{algorithm}: signatures verified by host and by filter");
    }
    assert_eq!(ask(&keys.token("EdDSA", "EdDSA")).text, OK);
}

/// Withholds the host's own functions from the filter; says in how many places.
fn forbid_foreign_functions(config: &mut Value) -> usize {
    match config {
        Value::Array(items) => items.iter_mut().map(forbid_foreign_functions).sum(),
        Value::Object(members) => {
            let allowed = members.get_mut("allowed_capabilities").and_then(Value::as_object_mut);
            let here = allowed.and_then(|allowed| allowed.remove("proxy_call_foreign_function"));
            usize::from(here.is_some()) + members.values_mut().map(forbid_foreign_functions).sum::<usize>()
        }
        _ => 0,
    }
}

/// An issuer's keys, made and used by AWS-LC.
struct Keys {
    rsa: RsaKeyPair,
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
}

impl Keys {
    fn new() -> Self {
        Self {
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"),
            p256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"),
            p384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("a key"),
            ed25519: Ed25519KeyPair::generate().expect("a key"),
        }
    }

    /// One key for each algorithm; its id is the algorithm's name.
    fn jwks(&self) -> String {
        let keys = ALGORITHMS.map(|(algorithm, _)| {
            let mut key = match algorithm {
                "ES256" => coordinates("P-256", self.p256.public_key().as_ref()),
                "ES384" => coordinates("P-384", self.p384.public_key().as_ref()),
                "EdDSA" => {
                    let x = URL_SAFE_NO_PAD.encode(self.ed25519.public_key().as_ref());
                    json!({ "kty": "OKP", "crv": "Ed25519", "x": x })
                }
                _ => {
                    // RFC 8017 appendix A.1.1: at the end stand the 256 bytes of the modulus and the exponent, 65537.
                    let der = self.rsa.public_key().as_ref();
                    let (rest, exponent) = der.split_at(der.len() - 5);
                    assert_eq!(exponent, [2, 3, 1, 0, 1]);
                    let n = URL_SAFE_NO_PAD.encode(&rest[rest.len() - 256..]);
                    json!({ "kty": "RSA", "n": n, "e": "AQAB" })
                }
            };
            key["kid"] = json!(algorithm);
            key["alg"] = json!(algorithm);
            key
        });
        json!({ "keys": keys }).to_string()
    }

    /// A token that says one algorithm and is signed by one.
    fn token(&self, says: &str, signed_by: &str) -> String {
        self.token_as(says, says, signed_by)
    }

    fn token_as(&self, kid: &str, says: &str, signed_by: &str) -> String {
        let header = part(&json!({ "alg": says, "kid": kid, "typ": "at+jwt" }));
        // Each is another one: a token that was seen before is not verified again.
        let claims = json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": "x", "team": "ops", "exp": now() + 600,
            "jti": tempfile::tempdir().expect("a name").path() });
        let input = format!("{header}.{}", part(&claims));
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(self.sign(signed_by, input.as_bytes())))
    }

    fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let rsa = |encoding: &'static dyn RsaEncoding| {
            let mut signature = vec![0; self.rsa.public_modulus_len()];
            self.rsa.sign(encoding, &random, message, &mut signature).expect("a signature");
            signature
        };
        match algorithm {
            "RS256" => rsa(&signature::RSA_PKCS1_SHA256),
            "RS384" => rsa(&signature::RSA_PKCS1_SHA384),
            "RS512" => rsa(&signature::RSA_PKCS1_SHA512),
            "PS256" => rsa(&signature::RSA_PSS_SHA256),
            "PS384" => rsa(&signature::RSA_PSS_SHA384),
            "PS512" => rsa(&signature::RSA_PSS_SHA512),
            "ES256" => self.p256.sign(&random, message).expect("a signature").as_ref().to_vec(),
            "ES384" => self.p384.sign(&random, message).expect("a signature").as_ref().to_vec(),
            "EdDSA" => self.ed25519.sign(message).as_ref().to_vec(),
            _ => panic!("no algorithm: {algorithm}"),
        }
    }
}

/// Of a point in its uncompressed form.
fn coordinates(curve: &str, point: &[u8]) -> Value {
    let (x, y) = point[1..].split_at(point.len() / 2);
    json!({ "kty": "EC", "crv": curve, "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y) })
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}
