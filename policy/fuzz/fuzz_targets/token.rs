//! A token with anything changed in it never verifies; one that verifies says the same to every reader.
#![no_main]

use std::rc::Rc;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use toolward_policy::jwt::verify;
use toolward_policy::jwt::verify::Portable;
use toolward_policy::policy::{CallerAuthentication, PolicyTable, RoutePolicy};
use toolward_policy_fuzz::{Json, Reader};

const NOW: u64 = 1_800_000_000;

thread_local! {
    static POLICY: OnceLock<Rc<RoutePolicy>> = const { OnceLock::new() };
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else { return };
    match choice % 3 {
        0 => changed(rest),
        1 => signed(rest),
        _ => {
            let text = String::from_utf8_lossy(rest);
            assert!(accepted(&text).is_none() || text == good(), "nobody signed this");
        }
    }
});

/// A good token with bytes put in place of others, taken away or added.
fn changed(edits: &[u8]) {
    let good = good();
    let mut token = good.clone().into_bytes();
    for edit in edits.chunks_exact(4) {
        let [kind, high, low, byte] = *edit else { return };
        let place = usize::from(u16::from_be_bytes([high, low])) % token.len();
        match kind % 4 {
            0 => token[place] = byte,
            1 => drop(token.remove(place)),
            2 => token.insert(place, byte),
            _ => token[place] ^= 1 << (byte % 8),
        }
        if token.is_empty() {
            return;
        }
    }
    let token = String::from_utf8_lossy(&token);
    assert!(token == good || accepted(&token).is_none(), "{token} is not what was signed");
}

/// A header and claims of anybody's making, with a good signature.
fn signed(data: &[u8]) {
    let Some((length, rest)) = data.split_first() else { return };
    let (header, claims) = rest.split_at(usize::from(*length).min(rest.len()));
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let Some(claimed) = accepted(&sign(&input)) else { return };
    let (header, claims) = (Json::parse(header).expect("JSON"), Json::parse(claims).expect("JSON"));
    for reader in [Reader::First, Reader::Last] {
        let text = |object: &Json, name: &str| object.member(reader, name).and_then(Json::text).map(str::to_owned);
        assert!(matches!(text(&header, "alg").as_deref(), Some("EdDSA" | "Ed25519")));
        assert!(header.member(reader, "crit").is_none() && header.member(reader, "b64").is_none());
        assert_eq!(text(&claims, "iss").as_deref(), Some("https://a"));
        assert_eq!(text(&claims, "sub"), claimed, "{reader:?} reads another subject");
    }
}

fn good() -> String {
    let header = json!({ "alg": "EdDSA", "kid": "k", "typ": "JWT" });
    let claims = json!({ "iss": "https://a", "aud": "mcp", "sub": "bob", "exp": NOW + 60 });
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    sign(&format!("{}.{}", encode(&header), encode(&claims)))
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn sign(input: &str) -> String {
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(key().sign(input.as_bytes()).to_bytes()))
}

/// The subject, where the token is accepted.
fn accepted(token: &str) -> Option<Option<String>> {
    POLICY.with(|once| {
        let RoutePolicy::Protected(protection) = once.get_or_init(policy).as_ref() else { panic!("protected") };
        let CallerAuthentication::Jwt(jwt) = &protection.authentication else { panic!("by JWT") };
        verify(token, jwt, NOW, &Portable).ok().map(|verified| verified.caller.subject.clone())
    })
}

fn policy() -> Rc<RoutePolicy> {
    let x = URL_SAFE_NO_PAD.encode(key().verifying_key().as_bytes());
    let key = json!({ "kid": "k", "algorithms": ["EdDSA"], "material": { "kty": "OKP", "x": x } });
    let issuer = json!({ "issuer": "https://a", "audience": { "oneOf": ["mcp"] }, "keySet": "a" });
    let jwt = json!({ "policy": "p", "issuers": [issuer] });
    let protected = json!({ "authentication": { "jwt": jwt }, "protocol": { "sessionBinding": "None" } });
    let config =
        json!({ "version": 1, "keySets": { "a": { "keys": [key] } }, "policies": { "p": { "protected": protected } } });
    PolicyTable::parse(config.to_string().as_bytes()).expect("a configuration").policy("p").expect("the policy")
}
