//! What the parts of a decision cost by themselves, natively: `cargo bench --workspace --bench policy`. With a word it runs those
//! whose names hold it. With `--once` each of them runs once in [`counted`], for `valgrind --tool=callgrind` to count.

#![expect(clippy::expect_used, reason = "a measurement fails by panicking")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use toolward_policy::claims::Caller;
use toolward_policy::config::Algorithm;
use toolward_policy::decide::{Verdict, decide};
use toolward_policy::jwt::budget::Cost;
use toolward_policy::jwt::cache::TokenCache;
use toolward_policy::jwt::claims::Validity;
use toolward_policy::jwt::key::PublicKey;
use toolward_policy::jwt::token::Token;
use toolward_policy::jwt::verify::SignatureVerifier;
use toolward_policy::jwt::{Verified, jwks, verify};
use toolward_policy::mcp::list::{self, Filtered};
use toolward_policy::mcp::message::Message;
use toolward_policy::mcp::sse::{EventFilter, EventId, Rewrite, StreamEnd};
use toolward_policy::policy::{
    Call, CallerAuthentication, Gate, HttpRequest, Item, JwtAuthentication, PolicyTable, Protection, RoutePolicy,
};

fn main() {
    let word = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let once = std::env::args().any(|argument| argument == "--once");
    let run = |name: &str, work: &mut dyn FnMut()| {
        if !name.contains(&word) {
        } else if once {
            work();
            counted(work);
            println!("{name}");
        } else {
            println!("{name:<40} {:>12.0} ns", nanos(work));
        }
    };
    let small = call(&"x".repeat(10));
    run("parse a call", &mut || drop(black_box(Message::parse(black_box(small.as_bytes())))));
    let large = call(&"x".repeat(65_536));
    run("parse a call of 64 KiB", &mut || drop(black_box(Message::parse(black_box(large.as_bytes())))));
    let token = token();
    run("parse a token", &mut || assert!(Token::parse(black_box(&token)).is_ok()));
    let accepting = accepting();
    run("verify a token but for its signature", &mut || {
        assert!(verify(black_box(&token), authentication(&accepting), NOW, &Unasked).is_ok());
    });
    let (mut cache, section) = (TokenCache::new(NonZeroUsize::MIN), [1; 32]);
    let caller = Rc::new(caller());
    cache.remember(&token, &section, Rc::new(Verified::anonymous(Validity { from: 0.0, until: 9.0 })));
    run("find a known token", &mut || assert!(cache.verified(black_box(&token), &section, 1).is_some()));
    let policy = policy();
    let (gates, http) = (gates(&policy), HttpRequest::default());
    let asked = Call { caller: &caller, http: &http, request: None };
    run("decide among 50 rules", &mut || {
        assert!(matches!(decide(gates, &asked, black_box(Item::Tool("tool-025"))), Verdict::Allowed(Some(_))));
    });
    let list = list();
    run("filter a list of 200 tools", &mut || {
        let keep = &mut |item: Item<'_>| matches!(decide(gates, &asked, item), Verdict::Allowed(_));
        assert!(matches!(list::filter(black_box(&list), list::MAX_TTL_MS, keep), Filtered::Changed(_)));
    });
    let event = format!("event: message\ndata: {list}\n\n");
    run("filter that list as an event", &mut || {
        let mut lists = Lists { gates, asked: &asked };
        let passed = EventFilter::new(1 << 20).push(black_box(event.as_bytes()), &mut lists).map(|passed| passed.len());
        assert!(passed.is_ok_and(|length| length < event.len()));
    });
    let event = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{}}\n\n";
    let (mut filter, events) = (EventFilter::new(1 << 20), event.repeat(100));
    run("pass 100 events", &mut || {
        assert!(
            filter
                .push(black_box(events.as_bytes()), &mut Lists { gates, asked: &asked })
                .is_ok_and(|passed| passed.len() == events.len())
        );
    });
}

/// How long one run takes, the fastest of several series.
fn nanos(work: &mut dyn FnMut()) -> f64 {
    let series = |count: u32, work: &mut dyn FnMut()| {
        let start = Instant::now();
        (0..count).for_each(|_| work());
        start.elapsed()
    };
    let mut count = 1;
    while series(count, work) < Duration::from_millis(10) {
        count *= 2;
    }
    let fastest = (0..10).map(|_| series(count, work)).min().unwrap_or_default();
    fastest.as_secs_f64() * 1e9 / f64::from(count)
}

/// What is counted: no other function may have its name.
#[inline(never)]
fn counted(work: &mut dyn FnMut()) {
    work();
    black_box(());
}

fn call(text: &str) -> String {
    let params = json!({ "name": "tool-025", "arguments": { "a": 1, "text": text } });
    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }).to_string()
}

fn caller() -> Caller {
    let claims = json!({ "iss": "https://login.example.com", "sub": "somebody", "groups": ["dev", "ops"] });
    Caller::new(claims.as_object().cloned().unwrap_or_default(), &BTreeMap::new())
}

const NOW: u64 = 1_800_000_000;

/// A token of some 700 bytes, as an issuer signs them with RS256; its signature is nobody's.
fn token() -> String {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let header = json!({ "alg": "RS256", "kid": "k", "typ": "JWT" });
    let claims = json!({
        "iss": "https://login.example.com", "aud": "mcp", "sub": "somebody", "exp": NOW + 60, "iat": NOW, "jti": "x".repeat(36),
        "scope": "openid mcp", "groups": ["dev", "ops"],
    });
    [header.to_string().as_bytes(), claims.to_string().as_bytes(), &[1; 256]].map(encode).join(".")
}

/// A policy that accepts the token.
fn accepting() -> Rc<RoutePolicy> {
    // It has no small factor.
    let modulus = URL_SAFE_NO_PAD.encode([[0xc5; 255].as_slice(), &[19]].concat());
    let set = json!({ "keys": [{ "kid": "k", "kty": "RSA", "alg": "RS256", "n": modulus, "e": "AQAB" }] }).to_string();
    let keys = jwks::parse(set.as_bytes(), 4096).expect("a key set").keys;
    let issuer = json!({ "issuer": "https://login.example.com", "audience": { "oneOf": ["mcp"] }, "keySet": "s" });
    let protected = json!({ "authentication": { "jwt": { "policy": "default/p", "issuers": [issuer] } } });
    let config = json!({
        "version": 1, "keySets": { "s": keys }, "bindingKeyIds": [URL_SAFE_NO_PAD.encode([1; 32])],
        "policies": { "p": { "protected": protected } },
    });
    PolicyTable::parse(config.to_string().as_bytes()).expect("a configuration").policy("p").expect("a policy")
}

fn authentication(policy: &RoutePolicy) -> &JwtAuthentication {
    match policy {
        RoutePolicy::Protected(Protection { authentication: CallerAuthentication::Jwt(jwt), .. }) => jwt,
        _ => unreachable!("by JWT"),
    }
}

/// Takes every signature for right: Envoy looks at them.
struct Unasked;

impl SignatureVerifier for Unasked {
    fn verify(&self, _: &PublicKey, _: Algorithm, _: &[u8], _: &[u8]) -> bool {
        true
    }

    fn cost(&self, _: &PublicKey, _: Algorithm) -> Cost {
        Cost(0)
    }
}

/// A policy of 50 rules that grant 150 tools.
fn policy() -> Rc<RoutePolicy> {
    let rule = |rule: usize| {
        let tools: Vec<String> = (rule..150).step_by(50).map(|tool| format!("tool-{tool:03}")).collect();
        json!({ "name": format!("rule-{rule}"), "tools": tools, "claims": [{ "path": "groups", "contains": "dev" }] })
    };
    let rules: Vec<Value> = (0..50).map(rule).collect();
    let gate = json!({ "policy": "default/tools", "mode": "Enforce", "denial": "UnknownTool", "rules": rules });
    let protected = json!({ "authentication": { "anonymous": {} }, "gates": [gate], "protocol": {} });
    let config = json!({ "version": 1, "policies": { "p": { "protected": protected } } });
    PolicyTable::parse(config.to_string().as_bytes()).expect("a configuration").policy("p").expect("a policy")
}

fn gates(policy: &RoutePolicy) -> &[Gate] {
    match policy {
        RoutePolicy::Protected(protection) => &protection.gates,
        _ => &[],
    }
}

/// The answer of 65 KB that `make bench-data-plane ONLY=lists` has.
fn list() -> String {
    let text = |text: &str| json!({ "type": "string", "description": text });
    let tool = |tool: usize| {
        let limit = json!({ "type": "integer", "minimum": 1 });
        let properties =
            json!({ "repo": text("owner/name of the repository"), "path": text("path of a file"), "limit": limit });
        json!({
            "name": format!("tool-{tool:03}"),
            "description": format!("Does what tool-{tool:03} does, to a repository and a path in it."),
            "inputSchema": { "type": "object", "properties": properties, "required": ["repo"] },
        })
    };
    let tools: Vec<Value> = (0..200).map(tool).collect();
    json!({ "jsonrpc": "2.0", "id": 1, "result": { "tools": tools } }).to_string()
}

/// Filters the lists in events.
struct Lists<'l> {
    gates: &'l [Gate],
    asked: &'l Call<'l, 'l>,
}

impl Rewrite for Lists<'_> {
    fn may_change(&self, event: &[u8]) -> bool {
        list::may_change(event)
    }

    fn message(&mut self, text: &str) -> Filtered {
        list::filter(text, list::MAX_TTL_MS, &mut |item| {
            matches!(decide(self.gates, self.asked, item), Verdict::Allowed(_))
        })
    }

    fn endpoint(&mut self, _: &str) -> Result<Option<String>, StreamEnd> {
        Ok(None)
    }

    fn event_id(&mut self, _: &str) -> EventId {
        EventId::Same
    }
}
