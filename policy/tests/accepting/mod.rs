//! A policy that accepts tokens, and tokens for it.

#![allow(dead_code, reason = "each file of tests uses a part of it")]

use serde_json::{Value, json};
use toolward_policy::config::FilterConfig;
use toolward_policy::jwt::verify::Portable;
use toolward_policy::jwt::{TokenFault, jwks, verify};
use toolward_policy::policy::{CallerAuthentication, JwtAuthentication, PolicyTable, RoutePolicy};

use crate::signer::Signer;

pub(crate) const NOW: u64 = 1_800_000_000;

/// Accepts what `issuers` say, with these JWK Sets by name.
pub(crate) struct Accepting(std::rc::Rc<RoutePolicy>);

impl Accepting {
    pub(crate) fn new(key_sets: &[(&str, &[Value])], issuers: &Value) -> Self {
        let key_sets: serde_json::Map<String, Value> = key_sets
            .iter()
            .map(|(name, keys)| {
                let set = json!({ "keys": keys }).to_string();
                let set = jwks::parse(set.as_bytes(), 4096).expect("a good key set");
                ((*name).to_owned(), serde_json::to_value(set.keys).expect("JSON"))
            })
            .collect();
        let config: FilterConfig = serde_json::from_value(json!({
            "version": 1,
            "bindingKeyIds": ["DL0l3Da0ETtuYdCuidQpzBoCUOYOBhzOkRIQeOW2JXQ"],
            "keySets": key_sets,
            "policies": { "p": { "protected": { "authentication": { "jwt": { "policy": "ns/p", "issuers": issuers } } } } },
        }))
        .expect("a configuration");
        Self(PolicyTable::new(&config).expect("a table").policy("p").expect("the policy"))
    }

    fn authentication(&self) -> &JwtAuthentication {
        let RoutePolicy::Protected(protection) = self.0.as_ref() else { panic!("protected") };
        let CallerAuthentication::Jwt(authentication) = &protection.authentication else { panic!("by JWT") };
        authentication
    }

    pub(crate) fn verify(&self, token: &str) -> Result<(), TokenFault> {
        verify(token, self.authentication(), NOW, &Portable).map(drop)
    }
}

pub(crate) fn issuer(name: &str, key_set: &str) -> Value {
    json!({ "issuer": name, "audience": { "oneOf": ["mcp"] }, "keySet": key_set })
}

pub(crate) fn header(signer: &Signer) -> Value {
    json!({ "alg": signer.algorithm(), "kid": "k", "typ": "JWT" })
}

pub(crate) fn claims() -> Value {
    json!({ "iss": "https://a", "aud": "mcp", "sub": "bob", "exp": NOW + 60 })
}

/// The object with some members changed; null takes one away.
pub(crate) fn with(object: &Value, changes: &Value) -> Value {
    let mut object = object.clone();
    for (name, value) in changes.as_object().expect("an object") {
        let members = object.as_object_mut().expect("an object");
        match value {
            Value::Null => drop(members.remove(name)),
            value => drop(members.insert(name.clone(), value.clone())),
        }
    }
    object
}
