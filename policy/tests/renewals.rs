//! For a random stream and a change of policy at a random place: what is passed before it is what the old policy alone would pass, and
//! what is passed after it is what the new one alone would. A renewed exchange is as one that was opened anew, or has ended.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking, in its helpers too")]

use std::num::NonZeroUsize;

use proptest::prelude::*;
use serde_json::{Value, json};
use toolward_policy::config::FilterConfig;
use toolward_policy::exchange::{Ended, Exchange, Headers, HeldAnswer, RequestStep, ResponseStep, Verification};
use toolward_policy::jwt::TokenFault;
use toolward_policy::jwt::budget::Budget;
use toolward_policy::jwt::cache::TokenCache;
use toolward_policy::jwt::jwks;
use toolward_policy::jwt::verify::Portable;
use toolward_policy::policy::PolicyTable;

mod signer;

use signer::Signer;

const NOW: u64 = 1_800_000_000;
const SKEW: u64 = 30;

/// A world: who is let in, and what is granted.
#[derive(Clone, Debug)]
struct World {
    kind: usize,
    issuer: usize,
    audience: usize,
    keys: usize,
    tools: Vec<usize>,
    bound: bool,
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn world() -> impl Strategy<Value = World> {
    let tools = proptest::collection::vec(0..4usize, 0..4);
    // Mostly a working policy that lets the caller in.
    let rarely = || prop_oneof![6 => Just(0usize), 1 => Just(1), 1 => Just(2)];
    (rarely(), rarely(), rarely(), rarely(), tools, prop_oneof![4 => Just(true), 1 => Just(false)])
        .prop_map(|(kind, issuer, audience, keys, tools, bound)| World { kind, issuer, audience, keys, tools, bound })
}

impl World {
    fn table(&self) -> PolicyTable {
        let key = |signer: Signer, id: &str| signer.jwk(id);
        // The caller's key alone, with another one, or the other one alone.
        let keys = [
            vec![key(Signer::Ed25519, "k")],
            vec![key(Signer::Es256, "l"), key(Signer::Ed25519, "k")],
            vec![key(Signer::Es256, "k")],
        ];
        let set = jwks::parse(json!({ "keys": keys[self.keys] }).to_string().as_bytes(), 4096).expect("keys").keys;
        let audience = ["mcp", "mcp", "other"][self.audience];
        let issuer = |name: &str| {
            let audience = json!({ "oneOf": [audience] });
            json!({ "issuer": name, "audience": audience, "keySet": "keys", "clockSkewSeconds": SKEW })
        };
        let issuers =
            [vec![issuer("https://a")], vec![issuer("https://b"), issuer("https://a")], vec![issuer("https://b")]];
        let tools: Vec<&str> = self.tools.iter().map(|tool| NAMES[*tool]).collect();
        let gate = json!({ "policy": "ns/p", "rules": [{ "name": "r", "tools": tools }] });
        let (issuers, binding) = (&issuers[self.issuer], if self.bound { "Subject" } else { "None" });
        let protected = json!({
            "authentication": { "jwt": { "policy": "ns/p", "issuers": issuers } },
            "gates": [gate],
            "protocol": { "sessionBinding": binding },
        });
        let policies = match self.kind {
            0 => json!({ "p": { "protected": protected } }),
            1 => json!({ "p": { "closed": { "reason": "InvalidKeySet", "message": "m" } } }),
            _ => json!({}),
        };
        let config: FilterConfig = serde_json::from_value(json!({
            "version": 1,
            "bindingKeyIds": ["DL0l3Da0ETtuYdCuidQpzBoCUOYOBhzOkRIQeOW2JXQ"],
            "keySets": { "keys": serde_json::to_value(set).expect("JSON") },
            "policies": policies,
        }))
        .expect("a configuration");
        PolicyTable::new(&config).expect("a table")
    }
}

fn token() -> String {
    let claims = json!({ "iss": "https://a", "aud": "mcp", "sub": "bob", "exp": NOW + 60 });
    Signer::Ed25519.token(&json!({ "alg": "EdDSA", "kid": "k" }), &claims)
}

/// A request with this token, of which the headers were judged.
fn begun(table: &PolicyTable, token: &str, now: u64, method: &str) -> (Exchange, RequestStep) {
    let (cache, budget) = (&mut TokenCache::new(NonZeroUsize::MIN), &mut Budget::default());
    budget.set(table.limits.signature_millis, 1);
    let mut verification = Verification { verifier: &Portable, cache, now, budget, millis: 0 };
    let authorization = format!("Bearer {token}");
    let headers = [
        (":method", method),
        (":authority", "mcp.example.com"),
        (":path", "/mcp"),
        ("content-type", "application/json"),
        ("authorization", authorization.as_str()),
        ("x-toolward-binding-keys", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
    Exchange::request_headers(table, Some(b"p"), &Headers(&headers), method == "GET", &mut verification)
}

/// A stream as this table opens it at this time; none: it does not.
fn opened(table: &PolicyTable, token: &str, now: u64) -> Option<Exchange> {
    let (mut exchange, step) = begun(table, token, now, "GET");
    let RequestStep::Continue(_) = step else { return None };
    let headers = [("content-type".to_owned(), b"text/event-stream".to_vec())];
    assert!(matches!(exchange.response_headers(&Headers(&headers), false), ResponseStep::Events(_)));
    Some(exchange)
}

/// A call whose answer is too large to be held.
fn passing(table: &PolicyTable) -> Exchange {
    let (mut exchange, step) = begun(table, &token(), NOW, "POST");
    assert!(matches!(step, RequestStep::AwaitBody(_)), "{step:?}");
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": NAMES[0] } });
    assert_eq!(exchange.request_body(call.to_string().as_bytes()), Ok(None));
    let headers = [("content-type".to_owned(), b"application/json".to_vec())];
    assert!(matches!(exchange.response_headers(&Headers(&headers), false), ResponseStep::Buffer(_)));
    let part = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"x":"{}"#, "x".repeat(100_000));
    assert_eq!(exchange.response_json_size(part.len()), HeldAnswer::Release);
    assert!(exchange.pass_on(part.as_bytes()).is_some());
    exchange
}

/// It may as well have no end.
#[test]
fn an_answer_that_passes_as_it_comes_ends_with_its_token() {
    let table = World { kind: 0, issuer: 0, audience: 0, keys: 0, tools: vec![0], bound: true }.table();
    let mut exchange = passing(&table);
    let until = NOW + 60 + SKEW;
    assert_eq!(exchange.renew(&table, Some(b"p"), until - 1), Ok(()));
    assert_eq!(exchange.renew(&table, Some(b"p"), until + 1), Err(Ended::Token(TokenFault::Expired)));
}

#[test]
fn an_answer_whose_handles_are_nobodys_ends_where_they_become_somebodys() {
    let world = |bound| World { kind: 0, issuer: 0, audience: 0, keys: 0, tools: vec![0], bound };
    let mut exchange = passing(&world(false).table());
    assert_eq!(exchange.renew(&world(false).table(), Some(b"p"), NOW), Ok(()));
    assert_eq!(exchange.renew(&world(true).table(), Some(b"p"), NOW), Err(Ended::PolicyChanged));
}

fn passed(exchange: &mut Exchange, bytes: &[u8]) -> String {
    String::from_utf8(exchange.response_events(bytes).expect("small").into_owned()).expect("UTF-8")
}

fn event() -> impl Strategy<Value = String> {
    let list = proptest::collection::vec(0..4usize, 0..5).prop_map(|tools| {
        let tools: Vec<Value> = tools.iter().map(|tool| json!({ "name": NAMES[*tool] })).collect();
        format!("id: 1\ndata: {}\n\n", json!({ "jsonrpc": "2.0", "id": 1, "result": { "tools": tools } }))
    });
    prop_oneof![
        list,
        Just("data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n".to_owned()),
        Just("data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\",\"params\":{\"tools\":[{\"name\":\"a\"},{\"name\":\"b\"}]}}\n\n".to_owned()),
        Just(": comment\n\n".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_passes_is_what_the_policy_of_that_time_passes(
        old in world(),
        new in world(),
        events in proptest::collection::vec(event(), 1..8),
        place in 0..1000usize,
        later in 0..200u64,
    ) {
        let (token, old, new_table) = (token(), World { kind: 0, issuer: old.issuer % 2, audience: 0, keys: old.keys % 2, ..old }, new.table());
        let stream = events.concat();
        let place = place % (stream.len() + 1);
        // The event in which the change comes is judged when it is complete.
        let begun = events.iter().scan(0, |end, event| { *end += event.len(); Some(*end) }).take_while(|end| *end <= place).last().unwrap_or(0);
        let old_table = old.table();
        let mut exchange = opened(&old_table, &token, NOW).expect("the caller is let in");
        let before = passed(&mut exchange, &stream.as_bytes()[..place]);
        prop_assert_eq!(&before, &passed(&mut opened(&old_table, &token, NOW).expect("let in"), &stream.as_bytes()[..begun]));
        let renewed = exchange.renew(&new_table, Some(b"p"), NOW + later);
        let anew = opened(&new_table, &token, NOW + later);
        // Sessions that were not bound are not known to be the caller's.
        let is_unknown = new.bound && !old.bound;
        prop_assert_eq!(renewed.is_ok(), anew.is_some() && !is_unknown, "{:?}", renewed);
        if let (Ok(()), Some(mut anew)) = (renewed, anew) {
            let after = passed(&mut exchange, &stream.as_bytes()[place..]);
            prop_assert_eq!(after, passed(&mut anew, &stream.as_bytes()[begun..]));
        }
    }
}
