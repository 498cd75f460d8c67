//! What a token says of itself before anybody has verified it. The API server is asked only about tokens that may be good:
//! whoever makes one up must at least make up a service account's, for us, which is not over.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::super::identity::ServiceAccount;
use crate::provision::TOKEN_AUDIENCE;

/// How far our clock and the API server's may be apart, in seconds.
const SKEW: u64 = 60;

#[derive(Deserialize)]
struct Header {
    alg: String,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audiences,
    exp: u64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Several(Vec<String>),
}

/// Whose service account's a token says it is, at this time in seconds since 1970.
///
/// # Errors
/// Why it can't be good, which does not repeat the token.
pub fn look(token: &str, now: u64) -> Result<ServiceAccount, String> {
    let parts: Vec<&str> = token.splitn(4, '.').collect();
    let [header, claims, signature] = parts.as_slice() else { return Err("it is no JWT of three parts".to_owned()) };
    let header: Header = read(header).ok_or("its header is no JWT's")?;
    let claims: Claims = read(claims).ok_or("its claims are not those of a service account token")?;
    if header.alg.eq_ignore_ascii_case("none")
        || !URL_SAFE_NO_PAD.decode(signature).is_ok_and(|bytes| !bytes.is_empty())
    {
        return Err("it is not signed".to_owned());
    }
    let is_for_us = match &claims.aud {
        Audiences::One(audience) => audience == TOKEN_AUDIENCE,
        Audiences::Several(audiences) => audiences.iter().any(|audience| audience == TOKEN_AUDIENCE),
    };
    if !is_for_us {
        return Err(format!("it is not for the audience {TOKEN_AUDIENCE}"));
    }
    if claims.exp.saturating_add(SKEW) <= now {
        return Err("it has expired".to_owned());
    }
    if claims.iss.is_empty() {
        return Err("it has no issuer".to_owned());
    }
    ServiceAccount::from_username(&claims.sub).ok_or_else(|| "it is not a service account's".to_owned())
}

fn read<T: DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: u64 = 1_000_000;

    fn token(header: &Value, claims: &Value, signature: &str) -> String {
        let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.{signature}", encoded(header), encoded(claims))
    }

    fn with(changes: &Value) -> String {
        let mut claims = json!({
            "iss": "https://kubernetes.default.svc", "sub": "system:serviceaccount:ns:gw-toolward",
            "aud": [TOKEN_AUDIENCE], "exp": NOW + 10, "kubernetes.io": { "namespace": "ns" }
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        token(&json!({ "alg": "RS256", "kid": "k" }), &claims, "c2ln")
    }

    #[test]
    fn only_what_may_be_good_is_asked_about() {
        let claims = "its claims are not those of a service account token";
        let rows = [
            ("good", with(&json!({})), None),
            ("one audience", with(&json!({ "aud": TOKEN_AUDIENCE })), None),
            ("a clock that is behind", with(&json!({ "exp": NOW - 59 })), None),
            ("no JWT", "abc".into(), Some("it is no JWT of three parts")),
            ("four parts", with(&json!({})) + ".x", Some("it is no JWT of three parts")),
            ("no JSON", "YQ.YQ.YQ".into(), Some("its header is no JWT's")),
            ("no algorithm", token(&json!({ "alg": "none" }), &json!({}), "c2ln"), Some(claims)),
            ("not signed", with(&json!({})).replace(".c2ln", "."), Some("it is not signed")),
            (
                "for others",
                with(&json!({ "aud": ["https://kubernetes"] })),
                Some("it is not for the audience toolward.dev/xds"),
            ),
            ("for nobody", with(&json!({ "aud": [] })), Some("it is not for the audience toolward.dev/xds")),
            ("over", with(&json!({ "exp": NOW - 60 })), Some("it has expired")),
            ("without an end", with(&json!({ "exp": null })), Some(claims)),
            ("no issuer", with(&json!({ "iss": "" })), Some("it has no issuer")),
            ("a person's", with(&json!({ "sub": "ann" })), Some("it is not a service account's")),
            ("no name", with(&json!({ "sub": "system:serviceaccount:ns:" })), Some("it is not a service account's")),
        ];
        for (row, token, expected) in rows {
            assert_eq!(look(&token, NOW).err().as_deref(), expected, "{row}");
        }
        assert_eq!(look(&with(&json!({})), NOW).unwrap(), ServiceAccount::new("ns", "gw-toolward").unwrap());
    }
}
