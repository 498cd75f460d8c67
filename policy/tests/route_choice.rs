//! Whatever request passes where routes are told apart, a lenient server reads as Envoy did.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking, in its helpers too")]

use std::num::NonZeroUsize;

use serde_json::json;
use toolward_policy::exchange::{Exchange, Headers, RequestStep, Verification};
use toolward_policy::jwt::budget::Budget;
use toolward_policy::jwt::cache::TokenCache;
use toolward_policy::jwt::verify::Portable;
use toolward_policy::policy::PolicyTable;

const KEY: &[u8] = b"open\n\n\n\nroutes\nheader x-tenant\nsingle x-tenant\nparameter tenant";

const ROUNDS: u64 = 30_000;

/// What targets are put together of.
const PIECES: [&str; 40] = [
    "/",
    "mcp",
    "/mcp",
    "..",
    ".",
    ";",
    "?",
    "&",
    "=",
    "#",
    "\\",
    "+",
    "[",
    "]",
    "[0]",
    "%",
    "%2",
    "%25",
    "%26",
    "%3b",
    "%3D",
    "%3f",
    "%23",
    "%2f",
    "%5c",
    "%00",
    "%74",
    "%54",
    "%20",
    "%C3%A9",
    "tenant",
    "Tenant",
    "tenan",
    "t",
    "tenant=prod",
    "&tenant=prod",
    "prod",
    "dev",
    "a=1",
    "74",
];

#[test]
fn what_passes_has_one_reading() {
    let config = json!({ "version": 1, "policies": { "open": { "open": {} } } });
    let table = PolicyTable::parse(config.to_string().as_bytes()).unwrap();
    let mut random = 1_u64;
    let mut below = |limit: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % limit
    };
    let (mut passed, mut with_tenant) = (0, 0);
    for _ in 0..ROUNDS {
        let mut target = "/".to_owned();
        (0..below(4)).for_each(|_| target += PIECES[below(PIECES.len())]);
        if below(3) > 0 {
            target += "?";
            (0..below(6)).for_each(|_| target += PIECES[below(PIECES.len())]);
        }
        let headers = [(":path", target.as_str()), (":method", "POST"), (":authority", "a.test")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
        let mut cache = TokenCache::new(NonZeroUsize::MIN);
        let budget = &mut Budget::default();
        let mut verification = Verification { verifier: &Portable, cache: &mut cache, now: 0, budget, millis: 0 };
        let (_, step) = Exchange::request_headers(&table, Some(KEY), &Headers(&headers), false, &mut verification);
        if !matches!(step, RequestStep::Continue(_)) {
            continue;
        }
        passed += 1;
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let once = decoded(path);
        assert_eq!(decoded(&once), once, "{target}: decoded twice");
        assert!(!once.contains([';', '\\', '?', '#', '\0']), "{target}: cut off");
        assert_eq!(once.matches('/').count(), path.matches('/').count(), "{target}: other segments");
        let read_by_envoy = values(query, &['&']).first().cloned();
        with_tenant += usize::from(read_by_envoy.is_some());
        let mut text = query.to_owned();
        for _ in 0..4 {
            let read: Vec<String> = values(&text, &['&', ';', '?']);
            assert!(read.iter().cloned().eq(read_by_envoy.clone()), "{target}: {read:?}, {read_by_envoy:?} to Envoy");
            text = decoded(&text);
        }
    }
    assert!(passed > 1000 && with_tenant > 100, "{passed}, {with_tenant} with a tenant");
}

/// The values of the parameter, whatever its case and its index.
fn values(query: &str, separators: &[char]) -> Vec<String> {
    let parts = query.split(separators).map(|part| part.split_once('=').unwrap_or((part, "")));
    let is_tenant = |name: &str| {
        let name = name.split('[').next().unwrap_or_default();
        name.trim_matches(|character: char| character == '+' || character.is_whitespace())
            .eq_ignore_ascii_case("tenant")
    };
    parts.filter(|(name, _)| is_tenant(name)).map(|(_, value)| value.to_owned()).collect()
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut decoded, mut index) = (Vec::new(), 0);
    while index < bytes.len() {
        let digits = bytes.get(index + 1..index + 3).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        match digits.filter(|_| bytes[index] == b'%') {
            Some(digits) => {
                decoded.push(u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap());
                index += 3;
            }
            None => {
                decoded.push(bytes[index]);
                index += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
