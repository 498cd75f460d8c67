//! Wycheproof's JSON Web Signatures, judged inside a real Envoy by the host and by the filter itself.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};
use toolward_policy::jwt::jwks;
use toolward_policy::jwt::token::Jws;
use toolward_tests::probe::Probe;

use super::Tally;

/// What we verify; others must be refused, also where they are valid.
const SUPPORTED: [&str; 9] = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

pub(crate) fn run(folder: &Path, tally: &mut Tally) {
    let file = folder.join("json_web_signature_test.json");
    let text = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let vectors: Value = serde_json::from_slice(&text).expect("JSON");
    let probe = Probe::start(1);
    for group in vectors["testGroups"].as_array().expect("groups") {
        let key = group.get("public").unwrap_or(&group["private"]);
        let key_set = jwks::parse(json!({ "keys": [key] }).to_string().as_bytes(), 4096);
        let key_set = key_set.ok().map(|set| serde_json::to_value(set.keys).expect("JSON"));
        let algorithm = key["alg"].as_str().unwrap_or_default();
        for test in group["tests"].as_array().expect("tests") {
            let result = judge(&probe, key_set.as_ref(), algorithm, test);
            let name = format!("{} {}", test["tcId"], test["comment"]);
            let flags: BTreeSet<&str> =
                test["flags"].as_array().expect("flags").iter().filter_map(Value::as_str).collect();
            let flags = if flags.is_empty() { BTreeSet::from(["no flag"]) } else { flags };
            let kind = test["result"].as_str().expect("a result");
            for flag in flags {
                tally.count(&format!("Wycheproof JWS {kind}, {flag}"), &name, result.clone());
            }
        }
    }
}

fn judge(probe: &Probe, key_set: Option<&Value>, algorithm: &str, test: &Value) -> Result<&'static str, String> {
    let jws = match &test["jws"] {
        Value::String(jws) => jws.clone(),
        other => other.to_string(),
    };
    // One key, one algorithm (RFC 8725 section 3.1): two figures of RFC 7520 are signed by another one than their key says.
    let by_its_own = Jws::parse(&jws).map_or(true, |jws| format!("{:?}", jws.algorithm) == algorithm);
    let must_be_accepted = test["result"] == "valid" && SUPPORTED.contains(&algorithm) && by_its_own;
    let Some(key_set) = key_set else {
        return if must_be_accepted { Err("its key is refused".to_owned()) } else { Ok("refused with the key") };
    };
    let verdicts = probe.judge(key_set, &jws);
    if verdicts.host != verdicts.portable {
        return Err(format!("the two verifiers differ: {verdicts:?}"));
    }
    match (verdicts.host == "Accepted", must_be_accepted) {
        (true, true) => Ok("accepted by both"),
        (false, false) => Ok("refused by both"),
        (true, false) => Err("accepted".to_owned()),
        (false, true) => Err(format!("refused: {}", verdicts.host)),
    }
}
