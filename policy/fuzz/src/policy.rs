//! A policy that grants one tool, one prompt and some resources, and exchanges before it.

use std::num::NonZeroUsize;

use serde_json::json;
use toolward_policy::exchange::{Exchange, Headers, RequestStep, Verification};
use toolward_policy::jwt::budget::Budget;
use toolward_policy::jwt::cache::TokenCache;
use toolward_policy::jwt::verify::Portable;
use toolward_policy::policy::PolicyTable;

use crate::{Json, Reader};

/// The one tool that is granted.
pub const GRANTED: &str = "add";

/// The policies `strict` and `batches`, which differ in whether arrays are taken.
pub fn table() -> PolicyTable {
    let policy = |batches: &str| {
        let rule = json!({ "name": "r", "tools": [GRANTED], "prompts": ["greet"], "resources": ["note://*"] });
        json!({ "protected": {
            "authentication": { "anonymous": {} },
            "protocol": { "batches": batches },
            "gates": [{ "policy": "p", "rules": [rule] }],
        } })
    };
    let config = json!({ "version": 1, "policies": { "strict": policy("Refuse"), "batches": policy("Allow") } });
    PolicyTable::parse(config.to_string().as_bytes()).expect("a good configuration")
}

/// Begins an exchange.
pub fn ask(table: &PolicyTable, policy: &str, headers: &[(&str, &str)], end: bool) -> (Exchange, RequestStep) {
    let headers: Vec<(String, Vec<u8>)> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    let (mut cache, mut budget) = (TokenCache::new(NonZeroUsize::MIN), Budget::default());
    let mut verification =
        Verification { verifier: &Portable, cache: &mut cache, now: 0, budget: &mut budget, millis: 0 };
    Exchange::request_headers(table, Some(policy.as_bytes()), &Headers(&headers), end, &mut verification)
}

/// Whether the policy grants what this reader takes the message for; and what it runs by which name.
pub fn is_granted(message: &Json, reader: Reader) -> (bool, Option<&str>) {
    let method = message.member(reader, "method").and_then(Json::text);
    let params = message.member(reader, "params");
    let is_note = |uri: &str| uri.starts_with("note://");
    match method {
        Some("tools/call") => named(text(params, reader, "name"), |name| name == GRANTED),
        Some("prompts/get") => named(text(params, reader, "name"), |name| name == "greet"),
        Some("resources/read" | "resources/subscribe" | "resources/unsubscribe") => {
            named(text(params, reader, "uri"), is_note)
        }
        Some("completion/complete") => {
            let reference = params.and_then(|params| params.member(reader, "ref"));
            match text(reference, reader, "type") {
                Some("ref/prompt") => named(text(reference, reader, "name"), |name| name == "greet"),
                Some("ref/resource") => named(text(reference, reader, "uri"), is_note),
                _ => (false, None),
            }
        }
        Some("subscriptions/listen") => {
            let wanted = params.and_then(|params| params.member(reader, "notifications"));
            let uris = wanted.and_then(|wanted| wanted.member(reader, "resourceSubscriptions"));
            (uris.map_or(&[][..], Json::elements).iter().all(|uri| uri.text().is_some_and(is_note)), None)
        }
        _ => (true, None),
    }
}

fn text<'j>(object: Option<&'j Json>, reader: Reader, name: &str) -> Option<&'j str> {
    object?.member(reader, name)?.text()
}

fn named(name: Option<&str>, granted: impl Fn(&str) -> bool) -> (bool, Option<&str>) {
    (name.is_some_and(granted), name)
}
