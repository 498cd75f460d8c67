//! An exchange whose bodies have no room is answered, and what it holds is gone with it.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::num::NonZeroUsize;

use serde_json::json;
use toolward_policy::config::Limits;
use toolward_policy::exchange::{Exchange, Headers, Held, HeldAnswer, RequestStep, ResponseStep, Verification};
use toolward_policy::jwt::budget::Budget;
use toolward_policy::jwt::cache::TokenCache;
use toolward_policy::jwt::verify::Portable;
use toolward_policy::policy::PolicyTable;

const KIB: usize = 1024;

fn budget(of_all: usize, of_caller: usize) -> Held {
    Held::new(&Limits { held_bytes: of_all, held_bytes_per_caller: of_caller, ..Limits::default() })
}

fn headers(pairs: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect()
}

/// A POST on a route that anybody may use, and that filters lists.
fn begin(held: &Held) -> Exchange {
    begin_with(held, "p")
}

/// The same by another policy.
fn begin_with(held: &Held, name: &str) -> Exchange {
    let gate = json!({ "policy": name, "rules": [{ "name": "add", "tools": ["add"] }] });
    let policy = json!({ "protected": {
        "authentication": { "anonymous": {} }, "gates": [gate], "protocol": { "sessionBinding": "None" },
    } });
    let config = json!({ "version": 1, "policies": { name: policy } });
    let table = PolicyTable::parse(config.to_string().as_bytes()).unwrap();
    let mut cache = TokenCache::new(NonZeroUsize::MIN);
    let budget = &mut Budget::default();
    let mut verification = Verification { verifier: &Portable, cache: &mut cache, now: 0, budget, millis: 0 };
    let request = headers(&[(":method", "POST"), (":path", "/mcp"), ("content-type", "application/json")]);
    let (mut exchange, step) =
        Exchange::request_headers(&table, Some(name.as_bytes()), &Headers(&request), false, &mut verification);
    assert!(matches!(step, RequestStep::AwaitBody(_)));
    exchange.charge(held, Some(name.as_bytes()));
    exchange
}

fn asked(budget: &Held) -> Exchange {
    let mut exchange = begin(budget);
    let list = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/list" }).to_string();
    exchange.request_body(list.as_bytes()).expect("granted");
    exchange
}

#[test]
fn a_body_without_room_is_answered() {
    let budget = budget(4000 * KIB, 1000 * KIB);
    let mut first = begin(&budget);
    assert_eq!(first.request_body_size(700 * KIB), Ok(()));
    let mut second = begin(&budget);
    assert_eq!(second.request_body_size(60 * KIB), Ok(()), "a small one has room");
    let answer = second.request_body_size(100 * KIB).unwrap_err();
    assert_eq!((answer.status, answer.headers.as_slice()), (429, &[("retry-after", "1".to_owned())][..]));
    assert!(answer.body.contains("CallerHoldsTooMuch"));
    assert_eq!(second.record().reason.0, "CallerHoldsTooMuch");
    drop(second);
    assert_eq!(budget.bytes(), 700 * KIB);
    first.release();
    assert_eq!(budget.bytes(), 0);
}

#[test]
fn what_all_hold_has_a_bound() {
    let budget = budget(1000 * KIB, 4000 * KIB);
    let (mut first, mut second) = (begin(&budget), begin_with(&budget, "q"));
    assert_eq!(first.request_body_size(500 * KIB), Ok(()));
    assert_eq!(second.request_body_size(200 * KIB), Ok(()));
    for (policy, reason) in [("p", "IssuerHoldsTooMuch"), ("q", "TooMuchHeld")] {
        let answer = begin_with(&budget, policy).request_body_size(100 * KIB).unwrap_err();
        assert_eq!((answer.status, answer.headers.as_slice()), (503, &[("retry-after", "1".to_owned())][..]));
        assert!(answer.body.contains(reason), "{}", answer.body);
    }
}

#[test]
fn a_list_without_room_becomes_an_error() {
    let budget = budget(4000 * KIB, 1000 * KIB);
    let mut first = begin(&budget);
    assert_eq!(first.request_body_size(700 * KIB), Ok(()));
    let mut second = asked(&budget);
    second.release();
    let answer = headers(&[("content-type", "application/json")]);
    assert!(matches!(second.response_headers(&Headers(&answer), false), ResponseStep::Buffer(_)));
    assert!(matches!(second.response_json_size(60 * KIB), HeldAnswer::Hold));
    let HeldAnswer::Replace(error) = second.response_json_size(100 * KIB) else { panic!("there is no room") };
    let error = String::from_utf8(error.body).unwrap();
    assert!(error.contains("\"id\":7") && error.contains("CallerHoldsTooMuch"), "{error}");
    drop((first, second));
    assert_eq!(budget.bytes(), 0);
}

#[test]
fn an_event_without_room_ends_the_stream() {
    let budget = budget(4000 * KIB, 1000 * KIB);
    let mut stream = asked(&budget);
    stream.release();
    let answer = headers(&[("content-type", "text/event-stream")]);
    assert!(matches!(stream.response_headers(&Headers(&answer), false), ResponseStep::Events(_)));
    let chunk = [b"data: ".as_slice(), &[b'x'; 100 * KIB]].concat();
    let remembered = budget.bytes();
    assert!(remembered > 0, "what was asked for is remembered as long as the stream lasts");
    assert!(stream.response_events(&chunk).is_ok());
    assert_eq!(budget.bytes(), remembered + chunk.len());
    assert!(stream.response_events(b"\n\n").is_ok());
    assert_eq!(budget.bytes(), remembered, "a whole event is passed on");
    let mut first = begin(&budget);
    assert_eq!(first.request_body_size(700 * KIB), Ok(()));
    assert!(stream.response_events(&chunk).is_err());
    assert_eq!(stream.record().reason.0, "CallerHoldsTooMuch");
}
