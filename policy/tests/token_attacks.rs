//! Attacks on tokens, one test for each kind: algorithms, key ids, keys and parameters in the header, other forms,
//! spellings, JSON, times, audiences and issuers, other kinds of tokens, scopes and claims, signatures, sizes. What is
//! refused is refused for its own reason, so that no test passes by chance.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use toolward_policy::claims::Caller;
use toolward_policy::denial::Answer;
use toolward_policy::exchange::{Exchange, Headers, RequestStep, Verification};
use toolward_policy::jwt::budget::Budget;
use toolward_policy::jwt::cache::TokenCache;
use toolward_policy::jwt::verify::Portable;
use toolward_policy::jwt::{TokenFault, jwks};
use toolward_policy::policy::PolicyTable;

mod accepting;
mod signer;

use TokenFault::{
    AlgorithmNotAllowed, BadClaims, BadHeader, BadSignature, BadTime, CriticalHeader, Expired, IdToken, Malformed,
    NoAccessToken, NoExpiry, NotYetValid, SenderConstrained, TypeNotAllowed, UnknownIssuer, UnknownKey, WrongAudience,
};
use accepting::{Accepting, NOW, claims, header, issuer, with};
use signer::Signer;

type Row = (&'static str, String, Result<(), TokenFault>);

fn accepting(keys: &[Value]) -> Accepting {
    Accepting::new(&[("a", keys)], &json!([issuer("https://a", "a")]))
}

fn check(accepting: &Accepting, rows: Vec<Row>) {
    for (name, token, expected) in rows {
        assert_eq!(accepting.verify(&token), expected, "{name}");
    }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Header and claims as they are written, well signed.
fn signed(signer: Signer, header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
    let input = format!("{}.{}", encode(header), encode(claims));
    format!("{input}.{}", encode(signer.sign(input.as_bytes())))
}

fn hmac(secret: &[u8], input: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("any length");
    mac.update(input.as_bytes());
    format!("{input}.{}", encode(mac.finalize().into_bytes()))
}

#[test]
fn algorithms() {
    let rsa = Signer::Rs256;
    let jwk = with(&rsa.jwk("k"), &json!({ "alg": "RS256" }));
    let with_alg = |alg: Value| rsa.token(&with(&header(&rsa), &json!({ "alg": alg })), &claims());
    let symmetric = |secret: &[u8]| {
        let header = json!({ "alg": "HS256", "kid": "k" }).to_string();
        hmac(secret, &format!("{}.{}", encode(header), encode(claims().to_string())))
    };
    let spki = {
        let set = jwks::parse(json!({ "keys": [jwk] }).to_string().as_bytes(), 4096).expect("a key set");
        toolward_policy::jwt::key::PublicKey::new(&set.keys.keys[0]).expect("a key").encoded
    };
    let no_alg = rsa.token(&json!({ "kid": "k" }), &claims());
    let as_ps256 = Signer::Ps256.token(&header(&Signer::Ps256), &claims());
    let as_rs512 = Signer::Rs512.token(&header(&Signer::Rs512), &claims());
    check(
        &accepting(std::slice::from_ref(&jwk)),
        vec![
            ("the key's own", rsa.token(&header(&rsa), &claims()), Ok(())),
            ("none", with_alg(json!("none")), Err(AlgorithmNotAllowed)),
            ("None", with_alg(json!("None")), Err(AlgorithmNotAllowed)),
            ("nOnE", with_alg(json!("nOnE")), Err(AlgorithmNotAllowed)),
            ("empty", with_alg(json!("")), Err(AlgorithmNotAllowed)),
            ("missing", no_alg, Err(AlgorithmNotAllowed)),
            ("null", with_alg(Value::Null), Err(AlgorithmNotAllowed)),
            ("an array", with_alg(json!(["RS256"])), Err(AlgorithmNotAllowed)),
            ("in small letters", with_alg(json!("rs256")), Err(AlgorithmNotAllowed)),
            ("ES256K", with_alg(json!("ES256K")), Err(AlgorithmNotAllowed)),
            ("unknown", with_alg(json!("XS256")), Err(AlgorithmNotAllowed)),
            ("PS256 by a key for RS256", as_ps256, Err(AlgorithmNotAllowed)),
            ("RS512 by a key for RS256", as_rs512, Err(AlgorithmNotAllowed)),
            ("a signature of RS256 that says PS256", with_alg(json!("PS256")), Err(AlgorithmNotAllowed)),
            ("symmetric, the public key as secret", symmetric(&spki), Err(AlgorithmNotAllowed)),
            ("symmetric, the JWK as secret", symmetric(jwk.to_string().as_bytes()), Err(AlgorithmNotAllowed)),
            ("symmetric, an empty secret", symmetric(b""), Err(AlgorithmNotAllowed)),
        ],
    );
    // The swap with a key that says nothing of its algorithm: what is signed by one is not taken for the other.
    let open = accepting(&[rsa.jwk("k")]);
    assert_eq!(open.verify(&with_alg(json!("PS256"))), Err(BadSignature));
    for (name, changes) in [
        ("for encryption", json!({ "use": "enc" })),
        ("for other operations", json!({ "key_ops": ["encrypt"] })),
        ("for an algorithm of another type", json!({ "alg": "ES256" })),
    ] {
        let set = json!({ "keys": [with(&rsa.jwk("k"), &changes)] }).to_string();
        assert!(jwks::parse(set.as_bytes(), 4096).is_err(), "{name}");
    }
}

#[test]
fn key_ids() {
    let ours = Signer::Es256;
    let with_kid = |kid: Value| ours.token(&with(&header(&ours), &json!({ "kid": kid })), &claims());
    let no_kid = ours.token(&json!({ "alg": "ES256" }), &claims());
    check(
        &accepting(&[ours.jwk("k"), Signer::Ed25519.jwk("other")]),
        vec![
            ("known", with_kid(json!("k")), Ok(())),
            ("missing, and one key fits", no_kid.clone(), Ok(())),
            ("unknown", with_kid(json!("x")), Err(UnknownKey)),
            ("of a key of another type", with_kid(json!("other")), Err(AlgorithmNotAllowed)),
            ("a path", with_kid(json!("../../dev/null")), Err(UnknownKey)),
            ("SQL", with_kid(json!("k' UNION SELECT 'secret")), Err(UnknownKey)),
            ("LDAP", with_kid(json!("*)(uid=*")), Err(UnknownKey)),
            ("a URL", with_kid(json!("https://evil.example/key")), Err(UnknownKey)),
            ("of 64 KiB", with_kid(json!("k".repeat(65536))), Err(UnknownKey)),
            ("in capitals", with_kid(json!("K")), Err(UnknownKey)),
            ("with NUL behind", with_kid(json!("k\0")), Err(UnknownKey)),
            ("a number", with_kid(json!(1)), Err(BadHeader)),
            ("an array", with_kid(json!(["k"])), Err(BadHeader)),
            ("an object", with_kid(json!({ "kid": "k" })), Err(BadHeader)),
        ],
    );
    assert_eq!(accepting(&[ours.jwk("k"), ours.jwk("l")]).verify(&no_kid), Err(UnknownKey), "missing, and two fit");
    // Of two keys with one kid and one algorithm the first counts, and a warning says so.
    let doubled = json!({ "keys": [ours.jwk("k"), ours.jwk("k")] }).to_string();
    assert_eq!(jwks::parse(doubled.as_bytes(), 4096).expect("a key set").left_out.len(), 1);
    // The same kid under two issuers stands for two keys.
    let both = Accepting::new(
        &[("a", &[ours.jwk("k")]), ("b", &[Signer::Es384.jwk("k")])],
        &json!([issuer("https://a", "a"), issuer("https://b", "b")]),
    );
    let of_b = Signer::Es384.token(&header(&Signer::Es384), &claims());
    assert_eq!(both.verify(&of_b), Err(AlgorithmNotAllowed), "b's key in a's name");
}

#[test]
fn keys_and_parameters_in_the_header() {
    let (ours, theirs) = (Signer::Es256, Signer::Ed25519);
    // Signed by a key that the token brings along itself.
    let brought =
        |member: &str, value: Value| theirs.token(&json!({ "alg": "EdDSA", "kid": "k", member: value }), &claims());
    let ours_with = |changes: Value| ours.token(&with(&header(&ours), &changes), &claims());
    check(
        &accepting(&[ours.jwk("k")]),
        vec![
            ("jwk of its own", brought("jwk", theirs.jwk("k")), Err(AlgorithmNotAllowed)),
            ("jku of its own", brought("jku", json!("https://evil.example/jwks")), Err(AlgorithmNotAllowed)),
            ("x5u of its own", brought("x5u", json!("https://evil.example/cert")), Err(AlgorithmNotAllowed)),
            ("x5c of its own", brought("x5c", json!(["MIIB"])), Err(AlgorithmNotAllowed)),
            ("jwk, well signed", ours_with(json!({ "jwk": theirs.jwk("k") })), Ok(())),
            (
                "jku, x5u, x5t, well signed",
                ours_with(json!({ "jku": "https://x", "x5u": "https://x", "x5t": "x" })),
                Ok(()),
            ),
            ("crit", ours_with(json!({ "crit": ["exp"] })), Err(CriticalHeader)),
            ("crit, empty", ours_with(json!({ "crit": [] })), Err(CriticalHeader)),
            ("crit, doubled", ours_with(json!({ "crit": ["b64", "b64"] })), Err(CriticalHeader)),
            ("crit, of another type", ours_with(json!({ "crit": "exp" })), Err(CriticalHeader)),
            ("b64 false", ours_with(json!({ "b64": false })), Err(CriticalHeader)),
            ("b64 false and crit", ours_with(json!({ "b64": false, "crit": ["b64"] })), Err(CriticalHeader)),
            ("b64 true", ours_with(json!({ "b64": true })), Err(CriticalHeader)),
        ],
    );
    // Another key of the same type under our kid.
    let forged = signed(Signer::Ps256, json!({ "alg": "RS256", "kid": "k" }).to_string(), claims().to_string());
    assert_eq!(accepting(&[Signer::Rs256.jwk("k")]).verify(&forged), Err(BadSignature));
}

#[test]
fn other_forms() {
    let ours = Signer::Ed25519;
    let good = ours.token(&header(&ours), &claims());
    let parts: Vec<&str> = good.split('.').collect();
    let nested = signed(ours, r#"{"alg":"EdDSA","kid":"k","cty":"JWT"}"#, &good);
    let flattened = json!({ "protected": parts[0], "payload": parts[1], "signature": parts[2] }).to_string();
    let general = json!({ "payload": parts[1], "signatures": [{ "protected": parts[0], "signature": parts[2] }] });
    let zipped = ours.token(&with(&header(&ours), &json!({ "zip": "DEF", "enc": "A128GCM" })), &claims());
    check(
        &accepting(&[ours.jwk("k")]),
        vec![
            ("JWE", format!("{good}.AAAA.AAAA"), Err(Malformed)),
            ("a token in a token", nested, Err(BadClaims)),
            ("one part", parts[0].to_owned(), Err(Malformed)),
            ("two parts", format!("{}.{}", parts[0], parts[1]), Err(Malformed)),
            ("four parts", format!("{good}.AAAA"), Err(Malformed)),
            ("a dot behind", format!("{good}."), Err(Malformed)),
            ("a dot before", format!(".{good}"), Err(Malformed)),
            ("flattened JSON", flattened, Err(Malformed)),
            ("general JSON", general.to_string(), Err(Malformed)),
            ("a blank before", format!(" {good}"), Err(Malformed)),
            ("a blank behind", format!("{good} "), Err(Malformed)),
            ("a line break behind", format!("{good}\r\n"), Err(Malformed)),
            ("the scheme once more", format!("Bearer {good}"), Err(Malformed)),
            ("compression that a JWS does not have", zipped, Ok(())),
        ],
    );
}

#[test]
fn how_it_comes() {
    let ours = Signer::Ed25519;
    let good = ours.token(&header(&ours), &claims());
    let rows: Vec<(&str, &str, Vec<String>, _)> = vec![
        ("as it should", "/mcp", vec![format!("Bearer {good}")], Ok(())),
        ("in small letters", "/mcp", vec![format!("bearer {good}")], Ok(())),
        ("not at all", "/mcp", vec![], Err(401)),
        ("twice", "/mcp", vec![format!("Bearer {good}"), format!("Bearer {good}")], Err(400)),
        ("two in one", "/mcp", vec![format!("Bearer {good}, Bearer {good}")], Err(400)),
        ("Bearer twice", "/mcp", vec![format!("Bearer Bearer {good}")], Err(401)),
        ("two blanks", "/mcp", vec![format!("Bearer  {good}")], Err(401)),
        ("a tab", "/mcp", vec![format!("Bearer\t{good}")], Err(401)),
        ("without a scheme", "/mcp", vec![good.clone()], Err(401)),
        ("as a password", "/mcp", vec![format!("Basic {good}")], Err(401)),
        ("in the URL", &format!("/mcp?access_token={good}"), vec![], Err(400)),
        ("in the URL as well", &format!("/mcp?access_token={good}"), vec![format!("Bearer {good}")], Err(400)),
    ]
    .into_iter()
    .map(|(name, path, values, expected)| (name, Box::leak(path.to_owned().into_boxed_str()) as &str, values, expected))
    .collect();
    let table = table(ours, json!({}));
    for (name, path, values, expected) in rows {
        let step = ask(&table, path, &values);
        let status = match step {
            RequestStep::AwaitBody(_) => Ok(()),
            RequestStep::Answer(Answer { status, .. }) => Err(status),
            RequestStep::Continue(_) => panic!("{name}: a body is to come"),
        };
        assert_eq!(status, expected, "{name}");
    }
}

#[test]
fn spellings() {
    let ours = Signer::Es256;
    let good = ours.token(&header(&ours), &claims());
    let (input, signature) = good.rsplit_once('.').expect("three parts");
    let (head, body) = input.split_once('.').expect("two parts");
    let last = signature.chars().last().expect("one");
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let index = alphabet.find(last).expect("in the alphabet");
    // 64 bytes leave four bits of the last character unused.
    let others = (1..16).map(|bits| alphabet.chars().nth(index ^ bits).expect("in the alphabet"));
    let accepting = accepting(&[ours.jwk("k")]);
    for other in others {
        let token = format!("{input}.{}{other}", &signature[..signature.len() - 1]);
        assert_eq!(accepting.verify(&token), Err(Malformed), "{other} in place of {last}");
    }
    check(
        &accepting,
        vec![
            ("as it is", good.clone(), Ok(())),
            ("one padding", format!("{good}="), Err(Malformed)),
            ("two paddings", format!("{good}=="), Err(Malformed)),
            ("padding within", format!("{head}=.{body}.{signature}"), Err(Malformed)),
            ("a plus", format!("{head}.{body}.+{}", &signature[1..]), Err(Malformed)),
            ("a slash", format!("{head}.{body}./{}", &signature[1..]), Err(Malformed)),
            ("a line break within", format!("{head}.{}\n{}.{signature}", &body[..4], &body[4..]), Err(Malformed)),
            ("escapes", good.replace('.', "%2E"), Err(Malformed)),
            ("beyond ASCII", format!("{head}.{body}.ａ{}", &signature[1..]), Err(Malformed)),
            ("no header", format!(".{body}.{signature}"), Err(Malformed)),
            ("no signature", format!("{head}.{body}."), Err(Malformed)),
            ("nothing", "..".to_owned(), Err(Malformed)),
        ],
    );
}

#[test]
fn json() {
    let ours = Signer::Ed25519;
    let (head, body) = (header(&ours).to_string(), claims().to_string());
    let into = |text: &str, member: &str| text.replacen('{', &format!("{{{member},"), 1);
    let deep = format!(r#""x":{}{}"#, "[".repeat(65), "]".repeat(65));
    let with_header = |header: &str| signed(ours, header, &body);
    let with_claims = |claims: &str| signed(ours, &head, claims);
    let utf16: Vec<u8> = body.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let invalid = [body.replace("bob", "b").as_bytes(), b""].concat();
    let at = invalid.windows(3).position(|window| window == b"\"b\"").expect("there") + 1;
    let mut invalid = invalid;
    invalid[at] = 0xff;
    check(
        &accepting(&[ours.jwk("k")]),
        vec![
            ("as it is", with_claims(&body), Ok(())),
            ("alg twice", with_header(&into(&head, r#""alg":"none""#)), Err(BadHeader)),
            ("kid twice by an escape", with_header(&into(&head, r#""k\u0069d":"x""#)), Err(BadHeader)),
            ("iss twice", with_claims(&into(&body, r#""iss":"https://b""#)), Err(BadClaims)),
            ("aud twice", with_claims(&into(&body, r#""aud":"x""#)), Err(BadClaims)),
            ("exp twice", with_claims(&into(&body, r#""exp":1"#)), Err(BadClaims)),
            ("sub twice by an escape", with_claims(&into(&body, r#""s\u0075b":"eve""#)), Err(BadClaims)),
            ("twice deep down", with_claims(&into(&body, r#""x":[{"a":1,"a":2}]"#)), Err(BadClaims)),
            ("a byte order mark", with_claims(&format!("\u{feff}{body}")), Err(BadClaims)),
            ("a byte order mark before the header", with_header(&format!("\u{feff}{head}")), Err(BadHeader)),
            ("UTF-16", signed(ours, &head, utf16), Err(BadClaims)),
            ("invalid UTF-8", signed(ours, &head, invalid), Err(BadClaims)),
            ("a lone surrogate", with_claims(&into(&body, r#""x":"\ud800""#)), Err(BadClaims)),
            ("something behind", with_claims(&format!("{body}{{}}")), Err(BadClaims)),
            ("NUL behind", with_claims(&format!("{body}\0")), Err(BadClaims)),
            ("too deep", with_claims(&into(&body, &deep)), Err(BadClaims)),
            ("an array", with_claims(&format!("[{body}]")), Err(BadClaims)),
            ("a string", with_claims(r#""{}""#), Err(BadClaims)),
            ("a comment", with_claims(&format!("{body}//")), Err(BadClaims)),
            ("NUL in the issuer", with_claims(&body.replace("https://a", r"https://a\u0000")), Err(UnknownIssuer)),
            ("__proto__", with_claims(&body.replace(r#""iss""#, r#""__proto__":{"iss":1},"x""#)), Err(UnknownIssuer)),
            ("Iss for iss", with_claims(&body.replace(r#""iss""#, r#""Iss""#)), Err(UnknownIssuer)),
        ],
    );
}

#[test]
fn times() {
    let ours = Signer::Ed25519;
    // Numbers stand in the text as they are, which a `Value` would not keep.
    let at = |member: &str| {
        let rest = r#""iss":"https://a","aud":"mcp","sub":"bob""#;
        signed(
            ours,
            header(&ours).to_string(),
            format!("{{{rest}{}{member}}}", if member.is_empty() { "" } else { "," }),
        )
    };
    let exp = |value: &str| at(&format!(r#""exp":{value}"#));
    let beside = |member: &str| at(&format!(r#""exp":{},{member}"#, NOW + 60));
    check(
        &accepting(&[ours.jwk("k")]),
        vec![
            ("no exp", at(""), Err(NoExpiry)),
            ("a string", exp(r#""9999999999""#), Err(BadTime)),
            ("null", exp("null"), Err(BadTime)),
            ("true", exp("true"), Err(BadTime)),
            ("an array", exp("[9999999999]"), Err(BadTime)),
            ("an object", exp("{}"), Err(BadTime)),
            ("a fraction that is over", exp("1799999969.9"), Err(Expired)),
            ("a fraction that is not", exp("1799999970.1"), Ok(())),
            ("with an exponent", exp("1.9e9"), Ok(())),
            ("1e400", exp("1e400"), Err(BadClaims)),
            ("NaN", exp("NaN"), Err(BadClaims)),
            ("Infinity", exp("Infinity"), Err(BadClaims)),
            ("-1", exp("-1"), Err(BadTime)),
            ("0", exp("0"), Err(Expired)),
            ("2^53", exp("9007199254740992"), Err(BadTime)),
            ("2^63", exp("9223372036854775808"), Err(BadTime)),
            ("2^64", exp("18446744073709551616"), Err(BadTime)),
            ("at the skew", exp(&(NOW - 30).to_string()), Err(Expired)),
            ("just within the skew", exp(&(NOW - 29).to_string()), Ok(())),
            ("exp before nbf", at(&format!(r#""exp":{},"nbf":{}"#, NOW - 10, NOW + 10)), Ok(())),
            ("nbf in the future", beside(&format!(r#""nbf":{}"#, NOW + 31)), Err(NotYetValid)),
            ("nbf a string", beside(r#""nbf":"0""#), Err(BadTime)),
            ("nbf null", beside(r#""nbf":null"#), Err(BadTime)),
            ("iat far in the future", beside(&format!(r#""iat":{}"#, NOW + 1000)), Err(TokenFault::IssuedInFuture)),
            ("iat a string", beside(r#""iat":"0""#), Err(BadTime)),
        ],
    );
}

#[test]
fn audiences_and_issuers() {
    let ours = Signer::Ed25519;
    let of = |changes: Value| ours.token(&header(&ours), &with(&claims(), &changes));
    let url = "https://mcp.example/mcp";
    let issuers = json!([{ "issuer": "https://a", "audience": { "oneOf": [url] }, "keySet": "a" }]);
    let accepting = Accepting::new(&[("a", &[ours.jwk("k")])], &issuers);
    let aud = |aud: Value| of(json!({ "aud": aud }));
    let iss = |iss: Value| of(json!({ "iss": iss, "aud": url }));
    check(
        &accepting,
        vec![
            ("ours", aud(json!(url)), Ok(())),
            ("in a list", aud(json!([url])), Ok(())),
            ("among others", aud(json!(["x", url])), Ok(())),
            ("missing", aud(Value::Null), Err(WrongAudience)),
            ("an empty list", aud(json!([])), Err(WrongAudience)),
            ("with something else", aud(json!([url, 1])), Err(WrongAudience)),
            ("a number", aud(json!(1)), Err(WrongAudience)),
            ("an object", aud(json!({ "aud": url })), Err(WrongAudience)),
            ("a list in a list", aud(json!([[url]])), Err(WrongAudience)),
            ("the beginning of ours", aud(json!("https://mcp.example/mc")), Err(WrongAudience)),
            ("ours with more", aud(json!("https://mcp.example/mcp2")), Err(WrongAudience)),
            ("with a slash", aud(json!("https://mcp.example/mcp/")), Err(WrongAudience)),
            ("with the port", aud(json!("https://mcp.example:443/mcp")), Err(WrongAudience)),
            ("in capitals", aud(json!("https://MCP.example/mcp")), Err(WrongAudience)),
            ("two in a string", aud(json!("x https://mcp.example/mcp")), Err(WrongAudience)),
            ("the issuer with a slash", iss(json!("https://a/")), Err(UnknownIssuer)),
            ("the issuer in capitals", iss(json!("https://A")), Err(UnknownIssuer)),
            ("the issuer in a list", iss(json!(["https://a"])), Err(UnknownIssuer)),
            ("another issuer", iss(json!("https://b")), Err(UnknownIssuer)),
            ("the issuer with a blank", iss(json!("https://a ")), Err(UnknownIssuer)),
            ("no issuer", iss(Value::Null), Err(UnknownIssuer)),
        ],
    );
}

#[test]
fn other_kinds_of_tokens() {
    let ours = Signer::Ed25519;
    let typed = |typ: &str| ours.token(&with(&header(&ours), &json!({ "typ": typ })), &claims());
    let claiming = |changes: Value| ours.token(&header(&ours), &with(&claims(), &changes));
    check(
        &accepting(&[ours.jwk("k")]),
        vec![
            ("an access token", typed("at+jwt"), Ok(())),
            ("an access token in capitals", typed("AT+JWT"), Ok(())),
            ("an access token with its tree", typed("application/at+jwt"), Ok(())),
            ("a JWT", typed("JWT"), Ok(())),
            ("an ID-JAG", typed("oauth-id-jag+jwt"), Err(TypeNotAllowed)),
            ("a logout token", typed("logout+jwt"), Err(TypeNotAllowed)),
            ("a DPoP proof", typed("dpop+jwt"), Err(TypeNotAllowed)),
            ("a security event", typed("secevent+jwt"), Err(TypeNotAllowed)),
            ("a client assertion", typed("client-authentication+jwt"), Err(TypeNotAllowed)),
            ("an introspection answer", typed("token-introspection+jwt"), Err(TypeNotAllowed)),
            ("JOSE", typed("JOSE"), Err(TypeNotAllowed)),
            ("empty", typed(""), Err(TypeNotAllowed)),
            ("an ID token by at_hash", claiming(json!({ "at_hash": "x" })), Err(IdToken)),
            ("an ID token by c_hash", claiming(json!({ "c_hash": "x" })), Err(IdToken)),
            ("an ID token by token_use", claiming(json!({ "token_use": "id" })), Err(IdToken)),
            ("an ID token by Keycloak's typ", claiming(json!({ "typ": "ID" })), Err(IdToken)),
            ("a refresh token by Keycloak's typ", claiming(json!({ "typ": "Refresh" })), Err(NoAccessToken)),
            ("a logout token by its events", claiming(json!({ "events": {} })), Err(NoAccessToken)),
            ("bound to a key", claiming(json!({ "cnf": { "jkt": "x" } })), Err(SenderConstrained)),
            ("an ID token for a client", claiming(json!({ "aud": "client-1" })), Err(WrongAudience)),
        ],
    );
}

#[test]
fn scopes_and_claims() {
    let caller = |claims: Value| match claims {
        Value::Object(claims) => Caller::new(claims, &BTreeMap::new()),
        _ => panic!("an object"),
    };
    let rows = [
        ("one", json!({ "scope": "tools:read" }), true),
        ("among others", json!({ "scope": "a tools:read b" }), true),
        ("two blanks", json!({ "scope": "a  tools:read" }), true),
        ("twice", json!({ "scope": "tools:read tools:read" }), true),
        ("scp as an array", json!({ "scp": ["tools:read"] }), true),
        ("scp as a string", json!({ "scp": "tools:read" }), true),
        ("a tab between", json!({ "scope": "a\ttools:read" }), false),
        ("a comma between", json!({ "scope": "a,tools:read" }), false),
        ("a longer one", json!({ "scope": "tools:readwrite" }), false),
        ("a shorter one", json!({ "scope": "tools" }), false),
        ("in capitals", json!({ "scope": "TOOLS:READ" }), false),
        ("a number", json!({ "scope": 1 }), false),
        ("true", json!({ "scope": true }), false),
        ("an object", json!({ "scope": { "tools:read": true } }), false),
        ("two in one element", json!({ "scp": ["a tools:read"] }), false),
        ("none", json!({}), false),
    ];
    for (name, claims, expected) in rows {
        assert_eq!(caller(claims).has_scope("tools:read"), expected, "{name}");
    }
    // What a rule asks of claims, by the answer to a call.
    let rows = [
        ("equal", json!({ "admin": true, "realm": { "roles": ["x", "ops"] } }), true),
        ("a string for a boolean", json!({ "admin": "true", "realm": { "roles": ["ops"] } }), false),
        ("a number for a boolean", json!({ "admin": 1, "realm": { "roles": ["ops"] } }), false),
        ("the path ends early", json!({ "admin": true, "realm": "ops" }), false),
        ("the path is missing", json!({ "admin": true }), false),
        ("an object for an array", json!({ "admin": true, "realm": { "roles": { "ops": true } } }), false),
        ("another case", json!({ "admin": true, "realm": { "roles": ["OPS"] } }), false),
        ("null", json!({ "admin": true, "realm": { "roles": null } }), false),
    ];
    let ours = Signer::Ed25519;
    let rule = json!({ "name": "r", "tools": ["add"], "claims": [
        { "path": "admin", "in": [true] }, { "path": "realm.roles", "contains": "ops" },
    ] });
    let table = table(ours, json!({ "gates": [{ "policy": "p", "rules": [rule] }] }));
    for (name, changes, expected) in rows {
        let token = ours.token(&header(&ours), &with(&claims(), &changes));
        let (mut exchange, _) = begin(&table, "/mcp", &[format!("Bearer {token}")]);
        let body = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add"}}"#;
        assert_eq!(exchange.request_body(body).is_ok(), expected, "{name}");
    }
}

#[test]
fn signatures() {
    let signature_of = |token: &str| {
        let (input, signature) = token.rsplit_once('.').expect("three parts");
        (input.to_owned(), URL_SAFE_NO_PAD.decode(signature).expect("base64url"))
    };
    let order = |hex: &str| -> Vec<u8> {
        let pairs = (0..hex.len()).step_by(2);
        pairs.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal")).collect()
    };
    let p256 = order("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
    let p384 =
        order("ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973");
    for (signer, order) in [(Signer::Es256, p256), (Signer::Es384, p384)] {
        let accepting = accepting(&[signer.jwk("k")]);
        let (input, good) = signature_of(&signer.token(&header(&signer), &claims()));
        let (r, s) = good.split_at(order.len());
        let zero = vec![0; order.len()];
        let rows: Vec<(&str, Vec<u8>)> = vec![
            ("r and s zero", [zero.clone(), zero.clone()].concat()),
            ("r zero", [&zero, s].concat()),
            ("s zero", [r, &zero].concat()),
            ("r the order", [&order, s].concat()),
            ("s the order", [r, &order].concat()),
            ("r beyond the order", [&vec![0xff; order.len()], s].concat()),
            ("in DER", [&[0x30, (good.len() + 4) as u8, 2, r.len() as u8], r, &[2, s.len() as u8], s].concat()),
            ("a byte more", [good.as_slice(), &[0]].concat()),
            ("a byte less", good[1..].to_vec()),
            ("of the other length", vec![1; if order.len() == 32 { 96 } else { 64 }]),
        ];
        for (name, signature) in rows {
            let token = format!("{input}.{}", encode(signature));
            assert_eq!(accepting.verify(&token), Err(BadSignature), "{signer:?}: {name}");
        }
        // The other s is as good: another token with the same claims, which grants nothing more.
        let other = format!("{input}.{}", encode([r, &minus(&order, s)].concat()));
        assert_eq!(accepting.verify(&other), Ok(()), "{signer:?}: high or low s");
    }

    let ed25519 = Signer::Ed25519;
    let (input, good) = signature_of(&ed25519.token(&header(&ed25519), &claims()));
    // The order of the base point, little-endian: S + L is another spelling of S.
    let order: Vec<u8> = order("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let rows = [
        ("S + L", [&good[..32], &plus(&good[32..], &order)].concat()),
        ("R of small order", [&[0; 32], &good[32..]].concat()),
        ("the neutral element and zero", [&[1], [0; 63].as_slice()].concat()),
        ("R not canonical", [&[0xff; 32], &good[32..]].concat()),
        ("all zero", vec![0; 64]),
        ("of Ed448's length", vec![1; 114]),
        ("a byte less", good[1..].to_vec()),
    ];
    let accepting_ed25519 = accepting(&[ed25519.jwk("k")]);
    for (name, signature) in rows {
        let token = format!("{input}.{}", encode(signature));
        assert_eq!(accepting_ed25519.verify(&token), Err(BadSignature), "{name}");
    }
    for name in ["EdDSA", "Ed25519"] {
        let token = ed25519.token(&with(&header(&ed25519), &json!({ "alg": name })), &claims());
        assert_eq!(accepting_ed25519.verify(&token), Ok(()), "{name}");
    }

    let rsa = Signer::Rs256;
    let accepting_rsa = accepting(&[rsa.jwk("k")]);
    let (input, good) = signature_of(&rsa.token(&header(&rsa), &claims()));
    let modulus = URL_SAFE_NO_PAD.decode(rsa.jwk("k")["n"].as_str().expect("text")).expect("base64url");
    let by_sha512 = signed(Signer::Rs512, header(&rsa).to_string(), claims().to_string());
    let rows = [
        ("zero", vec![0; good.len()]),
        ("one", [vec![0; good.len() - 1], vec![1]].concat()),
        ("the modulus", modulus),
        ("a zero before", [&[0], good.as_slice()].concat()),
        ("a byte less", good[1..].to_vec()),
    ];
    for (name, signature) in rows {
        assert_eq!(accepting_rsa.verify(&format!("{input}.{}", encode(signature))), Err(BadSignature), "{name}");
    }
    assert_eq!(accepting_rsa.verify(&by_sha512), Err(BadSignature), "another digest under the same name");
}

/// A modulus as the library of CVE-2017-15361 makes them: of two primes kM + (65537^a mod M), M the product of the first 126
/// primes. Made for this test.
const ROCA: &str = "t88Zm3XMUpBcn-DcOaqJUVYBH_XNkjzBkPyMH4t384xKPp0wMHcuw-HlSJFNQD5JQDcrSqcR7zb2Ah2ZYha3KROogiLzjmvs14zf\
    FKxZxlPWK-bshssxGtjmwNCfYgERcZv0l3nK1LxPS9oINVmLbXLmZdTRl0vWp6zf0QQNpPxCGpJ2YHlmuEleMRsiJpcwfMS0oqvY\
    oLaLi8evRkqePHMYSiC5ExF7EL6WDshWUtQTl2p8NfAukQSe6xo2xUAkBM14DRonXd-poSiiZZRLr2SQw437WT77dgtjLkvVlfhy\
    wxrukWkRKK2ScmWBqePdRJPTAMG0xW9IdK1XOAfaSw";

#[test]
fn weak_keys() {
    let rsa = Signer::Rs256.jwk("k");
    let modulus = |bytes: usize| {
        let mut modulus = vec![0xff; bytes];
        modulus[1] = 0x7f;
        json!({ "kty": "RSA", "n": encode(modulus), "e": "AQAB" })
    };
    // 2^2048 - 1 is divisible by 3, 5 and 17; the number before it is even.
    let ones = |last: u8| {
        let mut bytes = vec![0xff; 256];
        bytes[255] = last;
        json!({ "kty": "RSA", "n": encode(bytes), "e": "AQAB" })
    };
    let point = Signer::Es256.jwk("k");
    let rows = [
        ("ROCA", "fingerprint of ROCA", json!({ "kty": "RSA", "n": ROCA, "e": "AQAB" })),
        ("RSA of 4104 bits, above the limit", "4104 bits; 2048 to 4096", modulus(513)),
        ("RSA of 8192 bits, above the limit", "8192 bits; 2048 to 4096", modulus(1024)),
        ("divisible by 3", "a small factor", ones(0xff)),
        (
            "for signatures and for encryption",
            "not for signatures",
            with(&rsa, &json!({ "key_ops": ["verify", "encrypt"] })),
        ),
        (
            "whose use and operations differ",
            "not for signatures",
            with(&rsa, &json!({ "use": "sig", "key_ops": ["wrapKey"] })),
        ),
        (
            "whose operations and use differ",
            "not for signatures",
            with(&rsa, &json!({ "use": "enc", "key_ops": ["verify"] })),
        ),
        ("whose use is no text", "not for signatures", with(&rsa, &json!({ "use": ["sig"] }))),
        ("whose operations are no list", "not for signatures", with(&rsa, &json!({ "key_ops": "verify" }))),
        ("for an algorithm of encryption", "`alg` is not", with(&rsa, &json!({ "alg": "RSA-OAEP" }))),
        ("RSA of 512 bits", "512 bits; 2048 to 4096", modulus(64)),
        ("RSA of 1024 bits", "1024 bits; 2048 to 4096", modulus(128)),
        ("RSA of 2040 bits", "2040 bits; 2048 to 4096", modulus(255)),
        ("RSA of 16384 bits", "16384 bits; 2048 to 4096", modulus(2048)),
        ("an even modulus", "modulus is even", ones(0xfe)),
        ("e = 1", "exponent must be odd", with(&rsa, &json!({ "e": "AQ" }))),
        ("e = 2", "exponent must be odd", with(&rsa, &json!({ "e": "Ag" }))),
        ("e even", "exponent must be odd", with(&rsa, &json!({ "e": "AQAA" }))),
        ("e enormous", "exponent must be odd", with(&rsa, &json!({ "e": encode([0xff; 32]) }))),
        ("no e", "`e` is missing", with(&rsa, &json!({ "e": null }))),
        ("a private RSA key", "private or symmetric", with(&rsa, &json!({ "d": "AQAB" }))),
        ("off the curve", "not on the curve", with(&point, &json!({ "y": point["x"] }))),
        ("the origin", "not on the curve", with(&point, &json!({ "x": encode([0; 32]), "y": encode([0; 32]) }))),
        ("beyond the field", "not on the curve", with(&point, &json!({ "x": encode([0xff; 32]) }))),
        ("a coordinate cut short", "not on the curve", with(&point, &json!({ "x": encode([1; 31]) }))),
        ("of another curve", "not on the curve", with(&point, &json!({ "crv": "P-384" }))),
        ("P-521", "curve is not supported", with(&point, &json!({ "crv": "P-521" }))),
        ("secp256k1", "curve is not supported", with(&point, &json!({ "crv": "secp256k1" }))),
        ("Ed25519 of small order", "not on the curve", json!({ "kty": "OKP", "crv": "Ed25519", "x": encode([0; 32]) })),
        (
            "the neutral element",
            "not on the curve",
            json!({ "kty": "OKP", "crv": "Ed25519", "x": encode([&[1], [0; 31].as_slice()].concat()) }),
        ),
        ("Ed448", "curve is not supported", json!({ "kty": "OKP", "crv": "Ed448", "x": encode([1; 57]) })),
        ("X25519", "curve is not supported", json!({ "kty": "OKP", "crv": "X25519", "x": encode([9; 32]) })),
        ("symmetric", "private or symmetric", json!({ "kty": "oct", "k": "c2VjcmV0" })),
    ];
    for (name, why, key) in rows {
        let alone = json!({ "keys": [key] }).to_string();
        assert!(jwks::parse(alone.as_bytes(), 4096).is_err(), "{name}");
        let beside = json!({ "keys": [key, Signer::Ed25519.jwk("good")] }).to_string();
        let set = jwks::parse(beside.as_bytes(), 4096).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        assert_eq!((set.keys.keys.len(), set.left_out.len()), (1, 1), "{name} spoils no other, and is told");
        let left_out = &set.left_out[0];
        assert_eq!(left_out.kid.as_deref(), key["kid"].as_str(), "{name} is named");
        assert!(left_out.why.contains(why), "{name}: {}", left_out.why);
    }
}

#[test]
fn a_flood_of_forged_tokens_spends_its_issuers_time_and_no_others() {
    let key_set = |signer: Signer| jwks::parse(json!({ "keys": [signer.jwk("k")] }).to_string().as_bytes(), 4096);
    let (flooded, other) = (Signer::Ps512, Signer::Ed25519);
    let jwt = json!({ "policy": "p", "issuers": [issuer("https://a", "a"), issuer("https://b", "b")] });
    let config = json!({
        "version": 1,
        "bindingKeyIds": ["DL0l3Da0ETtuYdCuidQpzBoCUOYOBhzOkRIQeOW2JXQ"],
        "limits": { "signatureMillis": 20 },
        "keySets": { "a": key_set(flooded).expect("keys").keys, "b": key_set(other).expect("keys").keys },
        "policies": { "p": { "protected": { "authentication": { "jwt": jwt } } } },
    });
    let table = PolicyTable::parse(config.to_string().as_bytes()).expect("a table");
    let (mut cache, mut budget) = (TokenCache::new(NonZeroUsize::new(64).expect("not zero")), Budget::default());
    budget.set(table.limits.signature_millis, table.key_sets().len());
    let mut ask = |token: &str, millis: u64| {
        let mut verification =
            Verification { verifier: &Portable, cache: &mut cache, now: NOW, budget: &mut budget, millis };
        begin_with(&table, "/mcp", &[format!("Bearer {token}")], &mut verification)
    };
    let passes = |step: &RequestStep| matches!(step, RequestStep::AwaitBody(_));
    let token = |signer: Signer, name: &str, number: usize| {
        signer.token(&header(&signer), &with(&claims(), &json!({ "iss": name, "jti": number })))
    };
    let known = token(flooded, "https://a", 0);
    assert!(passes(&ask(&known, 0).1));
    let forged = {
        let (input, _) = known.rsplit_once('.').expect("three parts");
        format!("{input}.{}", encode([1; 256]))
    };
    let (mut looked_at, mut turned_away) = (0, 0);
    for number in 0..300 {
        let millis = u64::try_from(number).expect("few");
        let (exchange, step) = ask(&forged, millis);
        let RequestStep::Answer(Answer { status, headers, body }) = step else { panic!("refused") };
        match (status, exchange.record().reason.0) {
            (401, "TokenBadSignature") => looked_at += 1,
            (503, "VerificationBusy") => {
                assert!(body.contains("VerificationBusy") && headers.contains(&("retry-after", "1".to_owned())));
                turned_away += 1;
            }
            other => panic!("{other:?}"),
        }
        assert!(passes(&ask(&known, millis).1), "whose token is remembered never pays");
        let (_, step) = ask(&token(other, "https://b", number), millis);
        assert!(passes(&step), "a new token of another issuer");
    }
    assert!((1..=40).contains(&looked_at), "{looked_at} of 300, each of about half a millisecond");
    assert!(turned_away > 200, "{turned_away}");
    let new = token(flooded, "https://a", 1);
    assert!(passes(&ask(&new, 2000).1), "when the flood is over");
    // What is right costs nothing.
    assert!((2..300).all(|number| passes(&ask(&token(other, "https://b", 1000 + number), 2000).1)));
}

#[test]
fn sizes() {
    let ours = Signer::Ed25519;
    let long = ours.token(&header(&ours), &with(&claims(), &json!({ "x": "x".repeat(16 * 1024) })));
    let table = table(ours, json!({}));
    let RequestStep::Answer(answer) = ask(&table, "/mcp", &[format!("Bearer {long}")]) else { panic!("refused") };
    assert!(answer.status == 401 && answer.body.contains("too long"), "{answer:?}");
    // Not read, only measured: what is too long and no token at all has the same answer.
    let RequestStep::Answer(garbage) = ask(&table, "/mcp", &[format!("Bearer {}", "!".repeat(20_000))]) else {
        panic!("refused")
    };
    assert_eq!(garbage, answer);
    let many = |count: usize| json!({ "keys": vec![ours.jwk("k"); count] }).to_string();
    assert!(jwks::parse(many(64).as_bytes(), 4096).is_ok(), "64 keys");
    let set = jwks::parse(many(66).as_bytes(), 4096).expect("66 keys");
    let last = set.left_out.last().map(|key| key.index);
    assert_eq!(
        (set.keys.keys.len() + set.left_out.len(), last),
        (65, Some(64)),
        "one stands for all that are too many"
    );
    let padded = |bytes: usize| format!("{}{}", " ".repeat(bytes - many(1).len()), many(1));
    assert!(jwks::parse(padded(256 * 1024).as_bytes(), 4096).is_ok(), "256 KiB");
    assert!(jwks::parse(padded(256 * 1024 + 1).as_bytes(), 4096).is_err(), "a byte more");
}

/// A table with the policy `p` for this key.
fn table(signer: Signer, protection: Value) -> PolicyTable {
    let set = jwks::parse(json!({ "keys": [signer.jwk("k")] }).to_string().as_bytes(), 4096).expect("a key set");
    let jwt = json!({ "policy": "p", "issuers": [issuer("https://a", "a")] });
    let protected = with(&json!({ "authentication": { "jwt": jwt } }), &protection);
    let config = json!({
        "version": 1,
        "bindingKeyIds": ["DL0l3Da0ETtuYdCuidQpzBoCUOYOBhzOkRIQeOW2JXQ"],
        "keySets": { "a": set.keys },
        "policies": { "p": { "protected": protected } },
    });
    PolicyTable::parse(config.to_string().as_bytes()).expect("a table")
}

fn ask(table: &PolicyTable, path: &str, authorization: &[String]) -> RequestStep {
    begin(table, path, authorization).1
}

fn begin(table: &PolicyTable, path: &str, authorization: &[String]) -> (Exchange, RequestStep) {
    let (mut cache, mut budget) = (TokenCache::new(NonZeroUsize::MIN), Budget::default());
    budget.set(200, 1);
    let mut verification =
        Verification { verifier: &Portable, cache: &mut cache, now: NOW, budget: &mut budget, millis: 0 };
    begin_with(table, path, authorization, &mut verification)
}

fn begin_with(
    table: &PolicyTable,
    path: &str,
    authorization: &[String],
    verification: &mut Verification<'_>,
) -> (Exchange, RequestStep) {
    let fixed = [(":method", "POST"), (":path", path), (":authority", "gw"), ("content-type", "application/json")];
    let keys = ("x-toolward-binding-keys", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE");
    let mut headers: Vec<(String, Vec<u8>)> =
        fixed.iter().chain([&keys]).map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    headers.extend(authorization.iter().map(|value| ("authorization".to_owned(), value.as_bytes().to_vec())));
    Exchange::request_headers(table, Some(b"p"), &Headers(&headers), false, verification)
}

/// Big-endian.
fn minus(number: &[u8], other: &[u8]) -> Vec<u8> {
    let mut borrow = 0;
    let subtract = |(one, other): (&u8, &u8)| {
        let value = i16::from(*one) - i16::from(*other) - borrow;
        borrow = i16::from(value < 0);
        value.rem_euclid(256) as u8
    };
    let mut difference: Vec<u8> = number.iter().zip(other).rev().map(subtract).collect();
    difference.reverse();
    difference
}

/// Little-endian.
fn plus(number: &[u8], other: &[u8]) -> Vec<u8> {
    let mut carry = 0;
    let add = |(one, other): (&u8, &u8)| {
        let value = u16::from(*one) + u16::from(*other) + carry;
        carry = value >> 8;
        value as u8
    };
    number.iter().zip(other).map(add).collect()
}
