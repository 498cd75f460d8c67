//! Golden cases: `testdata/exchange/<case>.in.yaml` is a configuration and requests with the server's answers,
//! `<case>.out.yaml` is what becomes of them. With `UPDATE_GOLDEN=1` the outcomes are written instead of compared.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking, in its helpers too")]

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::{env, fs};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use toolward_policy::config::{BINDING_KEYS_HEADER, BindingKey, FilterConfig};
use toolward_policy::denial::Answer;
use toolward_policy::exchange::{Edits, Ended, Exchange, Headers, HeldAnswer, RequestStep, ResponseStep, Verification};
use toolward_policy::jwt::budget::Budget;
use toolward_policy::jwt::cache::TokenCache;
use toolward_policy::jwt::jwks;
use toolward_policy::jwt::verify::Portable;
use toolward_policy::policy::PolicyTable;

mod signer;

use signer::Signer;

const NOW: u64 = 1_800_000_000;

const BINDING_KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";

/// A configuration, to which the key set `keys` is added, and what is asked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    config: Value,
    exchanges: Vec<Asked>,
}

/// A request, a POST of JSON where nothing else is said, and the server's answer to it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    name: String,
    #[serde(default = "default_policy")]
    policy: Option<String>,
    #[serde(default = "default_method")]
    method: String,
    /// Claims beside issuer, audience and expiry; absent: no token.
    token: Option<Map<String, Value>>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    body: Option<String>,
    answer: Option<Answered>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Answered {
    #[serde(default = "default_type")]
    content_type: String,
    content_encoding: Option<String>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    /// The body, in the chunks in which it arrives.
    body: Vec<String>,
    #[serde(default)]
    changes: Vec<Change>,
}

/// What happens before a chunk of an answer arrives.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    /// The number of the chunk; none: before the answer's headers.
    before: Option<usize>,
    /// The configuration that is in force from then on; none: as before.
    config: Option<Value>,
    /// So many seconds have passed since the request.
    #[serde(default)]
    seconds: u64,
}

fn default_policy() -> Option<String> {
    Some("p".to_owned())
}

fn default_method() -> String {
    "POST".to_owned()
}

fn default_type() -> String {
    "application/json".to_owned()
}

/// What became of a request.
#[derive(Serialize)]
struct Outcome {
    name: String,
    request: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<Value>,
    record: Value,
}

#[test]
fn every_case_ends_as_its_golden_file_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/exchange");
    let mut cases: Vec<PathBuf> =
        fs::read_dir(&folder).expect("cases").map(|entry| entry.expect("a file").path()).collect();
    cases.retain(|path| path.to_string_lossy().ends_with(".in.yaml"));
    cases.sort();
    assert!(cases.len() >= 6, "the golden files are gone");
    let mut differing = Vec::new();
    for path in cases {
        let text = fs::read_to_string(&path).expect("a case");
        let case: Case = serde_yaml_ng::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let actual = serde_yaml_ng::to_string(&outcomes(case)).expect("YAML");
        let golden = path.to_string_lossy().replace(".in.yaml", ".out.yaml");
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(golden, actual).expect("writable");
        } else if fs::read_to_string(&golden).unwrap_or_default() != actual {
            differing.push(golden);
        }
    }
    assert!(differing.is_empty(), "see UPDATE_GOLDEN=1 cargo test and git diff for {differing:?}");
}

/// In whose place each reader puts something else; golden files are UTF-8.
#[test]
fn an_answer_with_bytes_that_are_not_utf_8_is_withheld() {
    let gate = json!({ "policy": "d/p", "mode": "Enforce", "denial": "UnknownTool", "rules": [] });
    let protected = json!({ "authentication": { "anonymous": {} }, "gates": [gate], "protocol": {} });
    let table = table(json!({ "policies": { "p": { "protected": protected } } }));
    let (mut cache, mut budget) = (TokenCache::new(NonZeroUsize::MIN), Budget::default());
    let mut verification =
        Verification { verifier: &Portable, cache: &mut cache, now: NOW, budget: &mut budget, millis: 0 };
    let json_type = ("content-type".to_owned(), b"application/json".to_vec());
    let headers = [(":method".to_owned(), b"POST".to_vec()), json_type.clone()];
    let (mut exchange, _) = Exchange::request_headers(&table, Some(b"p"), &Headers(&headers), false, &mut verification);
    exchange.request_body(br#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#).expect("granted");
    assert!(matches!(exchange.response_headers(&Headers(&[json_type]), false), ResponseStep::Buffer(_)));
    let rewritten = exchange.response_json(b"{\"id\":7,\"result\":{\"t\xffools\":[]}}").expect("another body");
    let body = text(rewritten.body);
    assert!(body.contains("UnreadableList") && body.contains("\"id\":7"), "{body}");
}

fn outcomes(case: Case) -> Vec<Outcome> {
    let table = table(case.config);
    let mut cache = TokenCache::new(NonZeroUsize::new(table.limits.token_cache_entries).expect("not zero"));
    case.exchanges.into_iter().map(|asked| outcome(&table, &mut cache, asked)).collect()
}

fn table(mut config: Value) -> PolicyTable {
    let set = json!({ "keys": [Signer::Ed25519.jwk("k")] }).to_string();
    config["version"] = json!(1);
    let key: BindingKey = BINDING_KEY.parse().expect("a key");
    config["bindingKeyIds"] = json!([key.id()]);
    config["keySets"]["keys"] =
        serde_json::to_value(jwks::parse(set.as_bytes(), 4096).expect("keys").keys).expect("JSON");
    let config: FilterConfig = serde_json::from_value(config).expect("a configuration");
    PolicyTable::new(&config).expect("a table")
}

fn outcome(table: &PolicyTable, cache: &mut TokenCache, asked: Asked) -> Outcome {
    let headers = request_headers(&asked);
    let mut budget = Budget::default();
    budget.set(table.limits.signature_millis, 1);
    let mut verification = Verification { verifier: &Portable, cache, now: NOW, budget: &mut budget, millis: 0 };
    let key = asked.policy.as_deref().map(str::as_bytes);
    let (mut exchange, step) =
        Exchange::request_headers(table, key, &Headers(&headers), asked.body.is_none(), &mut verification);
    let request = match step {
        RequestStep::Answer(answer) => shown_answer(&answer),
        RequestStep::Continue(edits) => json!({ "forward": shown_edits(&edits) }),
        RequestStep::AwaitBody(edits) => match exchange.request_body(asked.body.unwrap_or_default().as_bytes()) {
            Ok(None) => json!({ "forward": shown_edits(&edits) }),
            Ok(Some(rewritten)) => json!({
                "forward": shown_edits(&edits),
                "rewritten": { "body": text(rewritten.body), "set": rewritten.edits.set },
            }),
            Err(answer) => shown_answer(&answer),
        },
    };
    let answer = asked.answer.filter(|_| request.get("forward").is_some());
    let answer = answer.map(|answer| shown_response(table, &mut exchange, &answer));
    Outcome { name: asked.name, request, answer, record: shown_record(&exchange) }
}

fn request_headers(asked: &Asked) -> Vec<(String, Vec<u8>)> {
    let mut headers = vec![(":method".to_owned(), asked.method.clone().into_bytes())];
    if let Some(claims) = &asked.token {
        let mut all = json!({ "iss": "https://a", "aud": "mcp", "sub": "bob", "exp": NOW + 60 });
        all.as_object_mut().expect("an object").extend(claims.clone());
        let token = Signer::Ed25519.token(&json!({ "alg": "EdDSA", "kid": "k" }), &all);
        headers.push(("authorization".to_owned(), format!("Bearer {token}").into_bytes()));
    }
    if asked.body.is_some() && !asked.headers.iter().any(|(name, _)| name == "content-type") {
        headers.push(("content-type".to_owned(), b"application/json".to_vec()));
    }
    // Envoy overwrites what a client sends.
    if !asked.headers.iter().any(|(name, _)| name == BINDING_KEYS_HEADER) {
        headers.push((BINDING_KEYS_HEADER.to_owned(), BINDING_KEY.into()));
    }
    headers.extend(asked.headers.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes())));
    headers
}

fn shown_response(first: &PolicyTable, exchange: &mut Exchange, answer: &Answered) -> Value {
    let mut headers = vec![("content-type".to_owned(), answer.content_type.clone().into_bytes())];
    if let Some(encoding) = &answer.content_encoding {
        headers.push(("content-encoding".to_owned(), encoding.clone().into_bytes()));
    }
    headers.extend(answer.headers.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes())));
    if let Some(ended) = changed(first, exchange, answer, None) {
        return json!({ "ends": ended.reason(), "answer": shown_answer(&exchange.ended(&ended)) });
    }
    match exchange.response_headers(&Headers(&headers), answer.body.is_empty()) {
        ResponseStep::Pass(edits) if edits == Edits::default() => json!("untouched"),
        ResponseStep::Pass(edits) => json!({ "untouched but for": shown_edits(&edits) }),
        ResponseStep::Answer(answer) => shown_answer(&answer),
        ResponseStep::Buffer(edits) => {
            let ended = changed(first, exchange, answer, Some(0)).map(|ended| exchange.ended(&ended));
            let whole = answer.body.concat();
            let mut held = || match exchange.response_json_size(whole.len()) {
                HeldAnswer::Hold => exchange.response_json(whole.as_bytes()),
                HeldAnswer::Release => exchange.pass_on(whole.as_bytes()),
                HeldAnswer::Replace(rewritten) => Some(rewritten),
            };
            if let Some(answer) = ended {
                return shown_answer(&answer);
            }
            let body = held();
            let same =
                || if edits.set.is_empty() { json!("the same bytes") } else { json!({ "body": "the same bytes" }) };
            let mut shown = body.map_or_else(same, |body| json!({ "body": text(body.body) }));
            if let (Some(members), false) = (shown.as_object_mut(), edits.set.is_empty()) {
                members.insert("set".to_owned(), json!(edits.set));
            }
            shown
        }
        ResponseStep::Events(edits) => {
            let mut events = Vec::new();
            for (index, chunk) in answer.body.iter().enumerate() {
                if let Some(ended) = changed(first, exchange, answer, Some(index)) {
                    events.push(json!({ "ends": ended.reason() }));
                    break;
                }
                events.push(match exchange.response_events(chunk.as_bytes()) {
                    Ok(bytes) => json!(text(bytes.into_owned())),
                    Err(error) => json!({ "ends": format!("{error:?}") }),
                });
            }
            let mut shown = json!({ "events": events });
            if let (Some(members), false) = (shown.as_object_mut(), edits.set.is_empty()) {
                members.insert("set".to_owned(), json!(edits.set));
            }
            shown
        }
    }
}

/// What becomes of an exchange by what happens before this chunk; none: it goes on.
fn changed(first: &PolicyTable, exchange: &mut Exchange, answer: &Answered, before: Option<usize>) -> Option<Ended> {
    let changes = answer.changes.iter().filter(|change| change.before == before);
    let mut ends = changes.filter_map(|change| {
        let other = change.config.clone().map(table);
        exchange.renew(other.as_ref().unwrap_or(first), Some(b"p"), NOW + change.seconds).err()
    });
    ends.next()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("UTF-8")
}

fn shown_answer(answer: &Answer) -> Value {
    json!({ "status": answer.status, "headers": answer.headers, "body": answer.body })
}

fn shown_edits(edits: &Edits) -> Value {
    json!({ "remove": edits.remove, "set": edits.set })
}

fn shown_record(exchange: &Exchange) -> Value {
    let record = exchange.record();
    let mut shown = json!({
        "method": record.method_class,
        "outcome": record.outcome.label(),
        "reason": record.reason.0,
        "caller": record.caller.as_ref().and_then(|caller| caller.subject.clone()),
        "name": record.name,
        "policy": record.policy,
        "rule": record.rule,
        "hidden": record.hidden.names(),
        "missingKey": record.missing_key,
    });
    shown.as_object_mut().expect("an object").retain(|_, value| !value.is_null() && *value != json!(""));
    shown
}
