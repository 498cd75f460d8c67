//! A configuration of the filter is refused as a whole when any part of it is not understood or does not hold.

#![expect(clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]

use std::rc::Rc;

use serde_json::{Value, json};
use toolward_policy::policy::PolicyTable;

/// Something of everything.
fn whole() -> Value {
    json!({
        "version": 1,
        "limits": { "requestBodyBytes": 1000 },
        "bindingKeyIds": ["DL0l3Da0ETtuYdCuidQpzBoCUOYOBhzOkRIQeOW2JXQ"],
        "keySets": { "a": { "keys": [{
            "kid": "k", "algorithms": ["EdDSA"],
            "material": { "kty": "OKP", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" },
        }] } },
        "policies": {
            "open": { "open": {} },
            "closed": { "closed": { "reason": "Broken", "message": "x" } },
            "math": { "protected": {
                "authentication": { "jwt": { "policy": "ns/p", "issuers": [
                    { "issuer": "https://a", "audience": { "oneOf": ["mcp"] }, "keySet": "a" },
                ] } },
                "protocol": { "batches": "Refuse" },
                "gates": [{ "policy": "ns/p", "rules": [
                    { "name": "r", "tools": ["add"], "claims": [{ "path": "team", "in": ["ops"] }] },
                ] }],
            } },
        },
    })
}

/// What stands twice is refused wherever it stands, also where `serde` takes the last of a map in silence.
#[test]
fn a_name_that_stands_twice_refuses_all() {
    let mut config = whole();
    config["keySets"]["b"] = config["keySets"]["a"].clone();
    config["policies"]["math"]["protected"]["authentication"]["jwt"]["scopeImplies"] = json!({ "all": ["some"] });
    let before = table(&config);
    let (mut places, mut maps) = (0, Vec::new());
    while let Some((text, name)) = doubled(&config, places) {
        places += 1;
        let first = PolicyTable::parse(text.as_bytes()).expect_err("refused").to_string();
        let next = before.followed_by(text.as_bytes()).expect_err("refused").to_string();
        assert_eq!(first, next, "{name}");
        if first.contains("stands twice") {
            maps.push(first);
        }
    }
    assert!(places > 20, "{places}");
    let expected = [
        "$.keySets: the name \"a\" stands twice",
        "policies.math.protected.authentication.jwt.scopeImplies: the name \"all\" stands twice",
        "policies: the policy \"closed\" stands twice",
    ];
    maps.sort();
    assert_eq!(maps, expected, "the other places have members that serde itself finds twice");
}

/// JSON in which the first member of an object stands twice, once with an escape in its name: of the object with this number,
/// counted from the outside.
fn doubled(value: &Value, number: usize) -> Option<(String, String)> {
    fn write(value: &Value, left: &mut isize, name: &mut Option<String>) -> String {
        match value {
            Value::Object(members) => {
                let is_it = *left == 0 && !members.is_empty();
                *left -= isize::from(!members.is_empty());
                let mut written: Vec<String> = Vec::new();
                for (key, value) in members {
                    let value = write(value, left, name);
                    if is_it && written.is_empty() {
                        let (first, rest) = key.split_at(1);
                        let code = u32::from(first.chars().next().expect("a character"));
                        written.push(format!("\"\\u{code:04x}{rest}\":{value}"));
                        *name = Some(key.clone());
                    }
                    written.push(format!("{}:{value}", json!(key)));
                }
                format!("{{{}}}", written.join(","))
            }
            Value::Array(items) => {
                let items: Vec<String> = items.iter().map(|item| write(item, left, name)).collect();
                format!("[{}]", items.join(","))
            }
            other => other.to_string(),
        }
    }
    let (mut left, mut name) = (isize::try_from(number).expect("few"), None);
    let text = write(value, &mut left, &mut name);
    name.map(|name| (text, name))
}

#[test]
fn any_fault_refuses_all() {
    let before = table(&whole());
    // Whether there was a configuration before makes no difference.
    let parse = |config: &Value| {
        let text = config.to_string();
        let (first, next) = (PolicyTable::parse(text.as_bytes()), before.followed_by(text.as_bytes()));
        assert_eq!(first.as_ref().err().map(ToString::to_string), next.err().map(|error| error.to_string()));
        first
    };
    let issuer = "/policies/math/protected/authentication/jwt/issuers/0";
    let rule = "/policies/math/protected/gates/0/rules/0";
    let key = "/keySets/a/keys/0";
    let rows: Vec<(&str, &str, &str, Value)> = vec![
        ("an unknown member", "", "unknown", json!(1)),
        ("an unknown limit", "/limits", "unknown", json!(1)),
        ("an unknown member of a policy", "/policies/math/protected", "unknown", json!(1)),
        ("an unknown member of a rule", rule, "unknown", json!(1)),
        ("an unknown member of an issuer", issuer, "unknown", json!(1)),
        ("an unknown member of a key", key, "unknown", json!(1)),
        ("an unknown kind of policy", "/policies/open", "ajar", json!({})),
        ("another version", "", "version", json!(2)),
        ("a limit of zero", "/limits", "requestBodyBytes", json!(0)),
        ("RSA keys below 2048 bits", "/limits", "rsaBits", json!(2047)),
        ("RSA keys above 8192 bits", "/limits", "rsaBits", json!(8193)),
        ("no time for signatures", "/limits", "signatureMillis", json!(0)),
        ("more than a second of each", "/limits", "signatureMillis", json!(1001)),
        ("a negative limit", "/limits", "requestBodyBytes", json!(-1)),
        ("a key set that is not there", issuer, "keySet", json!("b")),
        ("no audience", issuer, "audience", json!({ "oneOf": [] })),
        ("another audience kind", issuer, "audience", json!({ "some": [] })),
        ("an empty issuer", issuer, "issuer", json!("")),
        ("a large clock skew", issuer, "clockSkewSeconds", json!(61)),
        ("an unknown algorithm", issuer, "algorithms", json!(["none"])),
        ("an algorithm of another type", key, "algorithms", json!(["RS256"])),
        ("a key without algorithms", key, "algorithms", json!([])),
        ("a key off the curve", "/keySets/a/keys/0/material", "x", json!("AA")),
        ("a key set without keys", "/keySets/a", "keys", json!([])),
        ("a rule without a name", rule, "name", json!("")),
        ("a claim without path", rule, "claims", json!([{ "path": "", "in": ["a"] }])),
        ("an argument without path", rule, "arguments", json!([{ "path": "", "in": ["a"] }])),
        ("an argument's path with an empty name", rule, "arguments", json!([{ "path": "a..b", "in": ["a"] }])),
        ("an argument's path with an index", rule, "arguments", json!([{ "path": "a[0]", "in": ["a"] }])),
        ("an argument's path that does not end", rule, "arguments", json!([{ "path": "a[\"b\"", "in": ["a"] }])),
        ("an unknown variable", rule, "when", json!({ "variable": "x" })),
        ("a root that is no value", rule, "when", json!({ "variable": "mcp" })),
        ("an unknown member of a root", rule, "when", json!({ "member": [{ "variable": "mcp" }, "name"] })),
        (
            "a root as a macro's variable",
            rule,
            "when",
            json!({ "exists": [{ "variable": "jwt" }, "mcp", { "literal": true }] }),
        ),
        (
            "a function as a macro's variable",
            rule,
            "when",
            json!({ "all": [{ "variable": "jwt" }, "size", { "literal": true }] }),
        ),
        ("a condition on nothing", rule, "claims", json!([{ "path": "", "in": ["x"] }])),
        ("a condition with nothing", rule, "claims", json!([{ "path": "x", "in": [] }])),
        ("a condition with two tests", rule, "claims", json!([{ "path": "x", "in": ["x"], "contains": "x" }])),
        ("an unknown mode", "/policies/math/protected/gates/0", "mode", json!("Sometimes")),
        ("an unknown batch mode", "/policies/math/protected/protocol", "batches", json!("Maybe")),
        ("no binding keys", "", "bindingKeyIds", json!([])),
        ("a short id of a binding key", "", "bindingKeyIds", json!(["AAAA"])),
        ("a binding key itself", "", "bindingKeys", json!(["AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"])),
        ("no issuers", "/policies/math/protected/authentication/jwt", "issuers", json!([])),
    ];
    for (name, place, member, value) in rows {
        let mut config = whole();
        let object = config.pointer_mut(place).and_then(Value::as_object_mut).unwrap_or_else(|| panic!("{place}"));
        object.insert(member.to_owned(), value);
        assert!(parse(&config).is_err(), "{name}");
    }
    for (name, text) in [
        ("nothing", String::new()),
        ("no object", "[]".to_owned()),
        ("not JSON", "{".to_owned()),
        ("something behind", format!("{}{{}}", whole())),
        ("a doubled member", whole().to_string().replacen('{', r#"{"version":1,"#, 1)),
        ("policies twice", whole().to_string().replacen('{', r#"{"policies":{},"#, 1)),
        ("something behind a policy", whole().to_string().replace(r#""open":{"open":{}}"#, r#""open":{"open":{}}{}"#)),
    ] {
        assert!(PolicyTable::parse(text.as_bytes()).is_err(), "{name}");
        assert!(before.followed_by(text.as_bytes()).is_err(), "{name}");
    }
    for doubled in [r#""open":{"open":{}},"#, r#""math":{"open":{}},"#, r#""m\u0061th":{"open":{}},"#] {
        let text = whole().to_string().replace(r#""closed":{"closed""#, &format!(r#"{doubled}"closed":{{"closed""#));
        for read in [PolicyTable::parse(text.as_bytes()), before.followed_by(text.as_bytes())] {
            let error = read.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.starts_with("policies: the policy "), "{error} in {text}");
        }
    }
    let mut twice = whole();
    let rules =
        twice.pointer_mut("/policies/math/protected/gates/0/rules").and_then(Value::as_array_mut).expect("rules");
    rules.push(rules[0].clone());
    assert!(parse(&twice).is_err(), "a rule's name twice");
}

fn table(config: &Value) -> PolicyTable {
    PolicyTable::parse(config.to_string().as_bytes()).expect("a configuration")
}

const KEYS: [&str; 3] = ["open", "closed", "math"];

#[test]
fn what_did_not_change_is_taken_over() {
    let before = table(&whole());
    let rule = ("/policies/math/protected/gates/0/rules/0/tools", json!(["subtract"]));
    let key = ("/keySets/a/keys/0/kid", json!("l"));
    let rows = [
        ("nothing", None, [true, true, true]),
        ("a rule", Some(rule), [true, true, false]),
        ("a key", Some(key), [true, true, false]),
        ("a limit", Some(("/limits/requestBodyBytes", json!(7))), [true, true, true]),
        ("a reason", Some(("/policies/closed/closed/reason", json!("Other"))), [true, false, true]),
    ];
    for (name, change, same) in rows {
        let mut config = whole();
        if let Some((place, value)) = change {
            *config.pointer_mut(place).expect("a place") = value;
        }
        let (first, next) =
            (table(&config), before.followed_by(config.to_string().as_bytes()).expect("a configuration"));
        assert_eq!(next.limits, first.limits, "{name}");
        for (key, same) in KEYS.into_iter().zip(same) {
            let policy = |table: &PolicyTable| table.policy(key).expect("the policy");
            assert_eq!(format!("{:?}", policy(&next)), format!("{:?}", policy(&first)), "{name}: {key}");
            assert_eq!(Rc::ptr_eq(&policy(&next), &policy(&before)), same, "{name}: {key}");
        }
    }
}

#[test]
fn however_it_is_written() {
    let text = whole().to_string();
    let escaped = text.replace(r#""policies""#, r#""policie\u0073""#).replace(r#""math""#, r#""m\u0061th""#);
    for text in [serde_json::to_string_pretty(&whole()).expect("JSON"), escaped, text] {
        let first = PolicyTable::parse(text.as_bytes()).expect("a configuration");
        for table in [first.followed_by(text.as_bytes()).expect("a configuration"), first] {
            assert!(KEYS.iter().all(|key| table.policy(key).is_some()), "{text}");
        }
    }
    let mut none = whole();
    none["policies"] = json!({});
    let table = table(&whole()).followed_by(none.to_string().as_bytes()).expect("a configuration");
    assert!(table.policy("open").is_none(), "a policy that is gone");
}
