//! Tokens: what is accepted, and every way to be refused.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use toolward_policy::config::Algorithm;
use toolward_policy::jwt::key::PublicKey;
use toolward_policy::jwt::verify::{Portable, SignatureVerifier as _};
use toolward_policy::jwt::{TokenFault, jwks};

mod accepting;
mod signer;

use accepting::{Accepting, NOW, claims, header, issuer, with};
use signer::Signer;

#[test]
fn every_algorithm() {
    for signer in Signer::all() {
        let name = signer.algorithm();
        let accepting = Accepting::new(&[("a", &[signer.jwk("k")])], &json!([issuer("https://a", "a")]));
        let token = signer.token(&header(&signer), &claims());
        assert_eq!(accepting.verify(&token), Ok(()), "{name}");
        let (input, signature) = token.rsplit_once('.').expect("three parts");
        let mut bytes = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
        bytes[0] ^= 1;
        let forged = format!("{input}.{}", URL_SAFE_NO_PAD.encode(&bytes));
        assert_eq!(accepting.verify(&forged), Err(TokenFault::BadSignature), "{name}");
        for length in [0, 1, bytes.len() - 1] {
            let cut = format!("{input}.{}", URL_SAFE_NO_PAD.encode(&bytes[..length]));
            let fault = if length == 0 { TokenFault::Malformed } else { TokenFault::BadSignature };
            assert_eq!(accepting.verify(&cut), Err(fault), "{name} of {length} bytes");
        }
    }
}

#[test]
fn headers() {
    let signer = Signer::Ed25519;
    let accepting = Accepting::new(&[("a", &[signer.jwk("k")])], &json!([issuer("https://a", "a")]));
    let rows: &[(&str, Value, Result<(), TokenFault>)] = &[
        ("as it should be", json!({}), Ok(())),
        ("no typ", json!({ "typ": null }), Ok(())),
        ("an access token", json!({ "typ": "at+jwt" }), Ok(())),
        ("typ with its tree", json!({ "typ": "application/AT+JWT" }), Ok(())),
        ("Ed25519 by its new name", json!({ "alg": "Ed25519" }), Ok(())),
        ("no kid", json!({ "kid": null }), Ok(())),
        ("other parameters don't matter", json!({ "jku": "https://evil", "x5c": [], "jwk": {} }), Ok(())),
        ("none", json!({ "alg": "none" }), Err(TokenFault::AlgorithmNotAllowed)),
        ("None", json!({ "alg": "None" }), Err(TokenFault::AlgorithmNotAllowed)),
        ("no alg", json!({ "alg": null }), Err(TokenFault::AlgorithmNotAllowed)),
        ("alg of another type", json!({ "alg": ["EdDSA"] }), Err(TokenFault::AlgorithmNotAllowed)),
        ("a symmetric alg", json!({ "alg": "HS256" }), Err(TokenFault::AlgorithmNotAllowed)),
        ("an alg of other keys", json!({ "alg": "ES256" }), Err(TokenFault::AlgorithmNotAllowed)),
        ("unknown kid", json!({ "kid": "x" }), Err(TokenFault::UnknownKey)),
        ("kid of another type", json!({ "kid": 1 }), Err(TokenFault::BadHeader)),
        ("a logout token", json!({ "typ": "logout+jwt" }), Err(TokenFault::TypeNotAllowed)),
        ("a DPoP proof", json!({ "typ": "dpop+jwt" }), Err(TokenFault::TypeNotAllowed)),
        ("an ID-JAG", json!({ "typ": "oauth-id-jag+jwt" }), Err(TokenFault::TypeNotAllowed)),
        ("typ of another type", json!({ "typ": 1 }), Err(TokenFault::BadHeader)),
        ("crit", json!({ "crit": ["exp"] }), Err(TokenFault::CriticalHeader)),
        ("unencoded payload", json!({ "b64": false }), Err(TokenFault::CriticalHeader)),
    ];
    for (name, changes, expected) in rows {
        let token = signer.token(&with(&header(&signer), changes), &claims());
        assert_eq!(accepting.verify(&token), *expected, "{name}");
    }
}

#[test]
fn claims_are_judged() {
    let signer = Signer::Ed25519;
    let accepting = Accepting::new(&[("a", &[signer.jwk("k")])], &json!([issuer("https://a", "a")]));
    let rows: &[(&str, Value, Result<(), TokenFault>)] = &[
        ("as they should be", json!({}), Ok(())),
        ("expired within the skew", json!({ "exp": NOW - 29 }), Ok(())),
        ("expired at the skew", json!({ "exp": NOW - 30 }), Err(TokenFault::Expired)),
        ("a fraction counts", json!({ "exp": 1_799_999_970.5 }), Ok(())),
        ("no exp", json!({ "exp": null }), Err(TokenFault::NoExpiry)),
        ("exp as a string", json!({ "exp": "1900000000" }), Err(TokenFault::BadTime)),
        ("exp below zero", json!({ "exp": -1 }), Err(TokenFault::BadTime)),
        ("exp past all numbers", json!({ "exp": 1e300 }), Err(TokenFault::BadTime)),
        ("nbf within the skew", json!({ "nbf": NOW + 30 }), Ok(())),
        ("not yet valid", json!({ "nbf": NOW + 31 }), Err(TokenFault::NotYetValid)),
        ("nbf as a string", json!({ "nbf": "0" }), Err(TokenFault::BadTime)),
        ("issued a little ahead", json!({ "iat": NOW + 330 }), Ok(())),
        ("issued in the future", json!({ "iat": NOW + 331 }), Err(TokenFault::IssuedInFuture)),
        ("several audiences", json!({ "aud": ["x", "mcp"] }), Ok(())),
        ("another audience", json!({ "aud": "mcp2" }), Err(TokenFault::WrongAudience)),
        ("an audience in other case", json!({ "aud": "MCP" }), Err(TokenFault::WrongAudience)),
        ("no audience", json!({ "aud": null }), Err(TokenFault::WrongAudience)),
        ("no audience in the list", json!({ "aud": [] }), Err(TokenFault::WrongAudience)),
        ("something else among the audiences", json!({ "aud": ["mcp", 1] }), Err(TokenFault::WrongAudience)),
        ("another issuer", json!({ "iss": "https://b" }), Err(TokenFault::UnknownIssuer)),
        ("the issuer with a slash", json!({ "iss": "https://a/" }), Err(TokenFault::UnknownIssuer)),
        ("no issuer", json!({ "iss": null }), Err(TokenFault::UnknownIssuer)),
        ("an issuer in a list", json!({ "iss": ["https://a"] }), Err(TokenFault::UnknownIssuer)),
        ("no subject", json!({ "sub": null }), Ok(())),
        ("a subject of another type", json!({ "sub": 7 }), Err(TokenFault::BadSubject)),
    ];
    for (name, changes, expected) in rows {
        let token = signer.token(&header(&signer), &with(&claims(), changes));
        assert_eq!(accepting.verify(&token), *expected, "{name}");
    }
}

#[test]
fn forms() {
    let signer = Signer::Ed25519;
    let accepting = Accepting::new(&[("a", &[signer.jwk("k")])], &json!([issuer("https://a", "a")]));
    let good = signer.token(&header(&signer), &claims());
    let parts: Vec<&str> = good.split('.').collect();
    let (head, body, signature) = (parts[0], parts[1], parts[2]);
    let raw = |header: &str, payload: &str| {
        let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signer.sign(input.as_bytes())))
    };
    let (header, claims) = (header(&signer).to_string(), claims().to_string());
    let rows = [
        ("empty", String::new(), TokenFault::Malformed),
        ("two parts", format!("{head}.{body}"), TokenFault::Malformed),
        ("four parts", format!("{good}.x"), TokenFault::Malformed),
        ("no signature", format!("{head}.{body}."), TokenFault::Malformed),
        ("padding", format!("{head}.{body}.{signature}=="), TokenFault::Malformed),
        ("a space before", format!(" {good}"), TokenFault::Malformed),
        ("a line break in it", format!("{head}.{body}\n.{signature}"), TokenFault::Malformed),
        ("the other alphabet", format!("{head}.{body}.+{}", &signature[1..]), TokenFault::Malformed),
        ("a header that is no object", raw("[]", &claims), TokenFault::BadHeader),
        ("claims that are no object", raw(&header, "1"), TokenFault::BadClaims),
        ("claims that are no JSON", raw(&header, "{"), TokenFault::BadClaims),
        ("something after the claims", raw(&header, &format!("{claims} {{}}")), TokenFault::BadClaims),
        ("doubled claims", raw(&header, &claims.replacen('{', r#"{"sub":"eve","#, 1)), TokenFault::BadClaims),
        (
            "doubled by an escape",
            raw(&header, &claims.replacen('{', r#"{"s\u0075b":"eve","#, 1)),
            TokenFault::BadClaims,
        ),
        ("a doubled header", raw(&header.replacen('{', r#"{"alg":"none","#, 1), &claims), TokenFault::BadHeader),
    ];
    assert_eq!(accepting.verify(&raw(&header, &claims)), Ok(()), "what the others vary");
    for (name, token, expected) in rows {
        assert_eq!(accepting.verify(&token), Err(expected), "{name}");
    }
}

/// No byte of a token can be changed to another one: the property behind the cache, which trusts a token's hash.
#[test]
fn one_token_has_one_spelling() {
    let signer = Signer::Ed25519;
    let accepting = Accepting::new(&[("a", &[signer.jwk("k")])], &json!([issuer("https://a", "a")]));
    let token = signer.token(&header(&signer), &claims());
    assert_eq!(accepting.verify(&token), Ok(()));
    for index in 0..token.len() {
        for other in [b'A', b'b', b'_', b'-', b'.', b'=', b'/', b' ', b'0'] {
            let mut changed = token.clone().into_bytes();
            if std::mem::replace(&mut changed[index], other) == other {
                continue;
            }
            let changed = String::from_utf8(changed).expect("ASCII");
            assert!(accepting.verify(&changed).is_err(), "byte {index} as {:?}", char::from(other));
        }
    }
}

#[test]
fn keys_never_cross_issuers() {
    let (ours, theirs) = (Signer::Es256, Signer::Ed25519);
    // The same kid under two issuers.
    let accepting = Accepting::new(
        &[("a", &[ours.jwk("k")]), ("b", &[theirs.jwk("k")])],
        &json!([issuer("https://a", "a"), issuer("https://b", "b")]),
    );
    let at = |signer: &Signer, iss: &str| signer.token(&header(signer), &with(&claims(), &json!({ "iss": iss })));
    assert_eq!(accepting.verify(&at(&ours, "https://a")), Ok(()));
    assert_eq!(accepting.verify(&at(&theirs, "https://b")), Ok(()));
    assert_eq!(accepting.verify(&at(&theirs, "https://a")), Err(TokenFault::AlgorithmNotAllowed));
    assert_eq!(accepting.verify(&at(&ours, "https://b")), Err(TokenFault::AlgorithmNotAllowed));
}

#[test]
fn the_configuration_narrows_what_keys_allow() {
    let signer = Signer::Ed25519;
    let accepting = |changes: Value| {
        Accepting::new(&[("a", &[signer.jwk("k")])], &json!([with(&issuer("https://a", "a"), &changes)]))
    };
    let token = |typ: &str| signer.token(&with(&header(&signer), &json!({ "typ": typ })), &claims());
    assert_eq!(accepting(json!({ "algorithms": ["EdDSA"] })).verify(&token("JWT")), Ok(()));
    let only_rsa = accepting(json!({ "algorithms": ["RS256"] }));
    assert_eq!(only_rsa.verify(&token("JWT")), Err(TokenFault::AlgorithmNotAllowed));
    let access_tokens = accepting(json!({ "tokenType": "AccessToken" }));
    assert_eq!(access_tokens.verify(&token("at+jwt")), Ok(()));
    assert_eq!(access_tokens.verify(&token("JWT")), Err(TokenFault::TypeNotAllowed));
    let no_skew = accepting(json!({ "clockSkewSeconds": 0 }));
    let expired = signer.token(&header(&signer), &with(&claims(), &json!({ "exp": NOW })));
    assert_eq!(no_skew.verify(&expired), Err(TokenFault::Expired));
}

#[test]
fn a_token_without_kid_needs_one_fitting_key() {
    let (one, two) = (Signer::Ed25519, Signer::Es256);
    let token = one.token(&with(&header(&one), &json!({ "kid": null })), &claims());
    let with_keys = |keys: &[Value]| Accepting::new(&[("a", keys)], &json!([issuer("https://a", "a")])).verify(&token);
    assert_eq!(with_keys(&[one.jwk("k"), two.jwk("l")]), Ok(()), "one key of its type");
    assert_eq!(with_keys(&[one.jwk("k"), one.jwk("l")]), Err(TokenFault::UnknownKey), "two of its type");
}

#[test]
fn key_sets() {
    let good = Signer::Es256.jwk("good");
    let unfit: &[(&str, Value, &str)] = &[
        ("unknown type", json!({ "kty": "AKP", "kid": "x" }), "not supported"),
        ("unknown curve", json!({ "kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA" }), "not supported"),
        ("symmetric", json!({ "kty": "oct", "k": "c2VjcmV0" }), "private or symmetric"),
        ("private", with(&good, &json!({ "d": "AA" })), "private or symmetric"),
        ("for encryption", with(&good, &json!({ "use": "enc" })), "not for signatures"),
        ("for signing only", with(&good, &json!({ "key_ops": ["sign"] })), "not for signatures"),
        ("off the curve", with(&good, &json!({ "y": good["x"] })), "not on the curve"),
        ("alg of another type", with(&good, &json!({ "alg": "RS256" })), "does not go with"),
        ("unknown alg", with(&good, &json!({ "alg": "HS256" })), "`alg`"),
        (
            "a short modulus",
            json!({ "kty": "RSA", "n": URL_SAFE_NO_PAD.encode([0xff; 128]), "e": "AQAB" }),
            "1024 bits",
        ),
        ("exponent one", with(&Signer::Rs256.jwk("x"), &json!({ "e": "AQ" })), "exponent"),
        ("padding", with(&Signer::Rs256.jwk("x"), &json!({ "e": "AQAB=" })), "base64url"),
        ("no object", json!("key"), "no object"),
        ("same kid and algorithm", good.clone(), "earlier key"),
    ];
    for (name, key, warning) in unfit {
        // One bad key does not spoil its set.
        let set = json!({ "keys": [good, key] }).to_string();
        let set = jwks::parse(set.as_bytes(), 4096).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        assert_eq!(set.keys.keys.len(), 1, "{name}");
        let told: Vec<String> = set.left_out.iter().map(ToString::to_string).collect();
        assert!(told.len() == 1 && told[0].starts_with("keys[1]") && told[0].contains(warning), "{name}: {told:?}");
        assert_eq!(set.left_out[0].kid.as_deref(), key.get("kid").and_then(Value::as_str), "{name}");
    }
    for (name, set) in [
        ("no key", json!({ "keys": [] }).to_string()),
        ("no keys", "{}".to_owned()),
        ("no object", "[]".to_owned()),
        ("doubled", r#"{"keys":[],"keys":[]}"#.to_owned()),
        ("too large", format!("{}{}", " ".repeat(256 * 1024), json!({ "keys": [good] }))),
    ] {
        assert!(jwks::parse(set.as_bytes(), 4096).is_err(), "{name}");
    }
}

/// Signatures that others made: RFC 7515 appendix A.3 and RFC 8037 appendix A.4.
#[test]
fn known_answers() {
    let rows = [
        (
            Algorithm::ES256,
            json!({
                "kty": "EC", "crv": "P-256",
                "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
            }),
            "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
        (
            Algorithm::EdDSA,
            json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }),
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        ),
    ];
    for (algorithm, jwk, input, signature) in rows {
        let set = jwks::parse(json!({ "keys": [jwk] }).to_string().as_bytes(), 4096).expect("a key set");
        let key = PublicKey::new(&set.keys.keys[0]).expect("a key");
        let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
        assert!(Portable.verify(&key, algorithm, input.as_bytes(), &signature), "{algorithm:?}");
        assert!(!Portable.verify(&key, algorithm, b"another text", &signature), "{algorithm:?}");
    }
}
