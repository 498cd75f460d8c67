//! What the parts of a decision cost by themselves, natively: `cargo bench --workspace --bench policy`. With a word it runs those
//! whose names hold it, which is what `valgrind --tool=callgrind` is given.

#![expect(clippy::expect_used, reason = "a measurement fails by panicking")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use toolward_policy::claims::Caller;
use toolward_policy::decide::{Verdict, decide};
use toolward_policy::jwt::cache::TokenCache;
use toolward_policy::jwt::claims::Validity;
use toolward_policy::mcp::list::{self, Filtered};
use toolward_policy::mcp::message::Message;
use toolward_policy::mcp::sse::{EventFilter, Rewrite};
use toolward_policy::policy::{Call, Gate, HttpRequest, Item, PolicyTable, RoutePolicy};

fn main() {
    let word = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let run = |name: &str, work: &mut dyn FnMut()| {
        if name.contains(&word) {
            println!("{name:<32} {:>12.0} ns", nanos(work));
        }
    };
    let small = call(&"x".repeat(10));
    run("parse a call", &mut || drop(black_box(Message::parse(black_box(small.as_bytes())))));
    let large = call(&"x".repeat(65_536));
    run("parse a call of 64 KiB", &mut || drop(black_box(Message::parse(black_box(large.as_bytes())))));
    let (mut cache, token, section) = (TokenCache::new(NonZeroUsize::MIN), "t".repeat(700), [1; 32]);
    let caller = Rc::new(caller());
    cache.remember(&token, &section, Rc::clone(&caller), Validity { from: 0.0, until: 9.0 });
    run("find a known token", &mut || assert!(cache.caller(black_box(&token), &section, 1).is_some()));
    let policy = policy();
    let (gates, http) = (gates(&policy), HttpRequest::default());
    let asked = Call { caller: &caller, http: &http, request: None };
    run("decide among 50 rules", &mut || {
        assert!(matches!(decide(gates, &asked, black_box(Item::Tool("tool-25"))), Verdict::Allowed(Some(_))));
    });
    let list = list();
    run("filter a list of 200 tools", &mut || {
        let keep = &mut |item: Item<'_>| matches!(decide(gates, &asked, item), Verdict::Allowed(_));
        assert!(matches!(list::filter(black_box(&list), keep), Filtered::Changed(_)));
    });
    let event = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{}}\n\n";
    let (mut filter, events) = (EventFilter::new(1 << 20), event.repeat(100));
    run("pass 100 events", &mut || {
        assert!(filter.push(black_box(events.as_bytes()), &mut Lists).is_ok_and(|passed| passed.len() == events.len()));
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

fn call(text: &str) -> String {
    let params = json!({ "name": "tool-25", "arguments": { "a": 1, "text": text } });
    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }).to_string()
}

fn caller() -> Caller {
    let claims = json!({ "iss": "https://login.example.com", "sub": "somebody", "groups": ["dev", "ops"] });
    Caller::new(claims.as_object().cloned().unwrap_or_default(), &BTreeMap::new())
}

/// A policy of 50 rules that grant 150 tools.
fn policy() -> Rc<RoutePolicy> {
    let rule = |rule: usize| {
        let tools: Vec<String> = (rule..150).step_by(50).map(|tool| format!("tool-{tool}")).collect();
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

fn list() -> String {
    let schema = json!({ "type": "object", "properties": { "repo": { "type": "string", "description": "a name" } } });
    let tool =
        |tool: usize| json!({ "name": format!("tool-{tool}"), "description": "x".repeat(180), "inputSchema": schema });
    let tools: Vec<Value> = (0..200).map(tool).collect();
    json!({ "jsonrpc": "2.0", "id": 1, "result": { "tools": tools } }).to_string()
}

/// Reads events that may hold lists.
struct Lists;

impl Rewrite for Lists {
    fn may_change(&self, event: &[u8]) -> bool {
        list::may_hold_list(event)
    }

    fn message(&mut self, _: &str) -> Filtered {
        Filtered::Unchanged
    }

    fn endpoint(&mut self, _: &str) -> Option<String> {
        None
    }
}
