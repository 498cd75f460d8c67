//! Who called what, and what was decided: in Envoy's counters and access log.

use serde_json::{Value, json};
use toolward_tests::http::{self, call, request};
use toolward_tests::process::eventually;
use toolward_tests::stack::{OPS_MAY_ADD, Stack};
use toolward_tests::toolward::ISSUER;
use toolward_tests::upstream::Upstream;

#[test]
fn every_decision_leaves_its_trace() {
    let upstream = Upstream::start();
    let stack = Stack::start(upstream.port, OPS_MAY_ADD);
    let ops = stack.issuer.of_team("ops");
    let expired = stack.issuer.token(&["--expires-in", "-120", "--subject", "late"]);
    let _ = http::send(stack.post(call("add")));
    for (token, body) in [
        (&expired, call("add")),
        (&ops, call("add")),
        (&ops, call("multiply")),
        (&ops, request("tools/list")),
        (&ops, "garbage".to_owned()),
    ] {
        let _ = stack.ask(token, body);
    }
    let counted = |name: &str| stack.envoy.stat(&format!("wasmcustom.toolward_{name}"));
    for name in [
        "requests.POST.refused.NoToken",
        "requests.POST.refused.TokenExpired",
        "requests.tools/call.allowed.RuleMatches",
        "requests.tools/call.denied.NoRuleMatches",
        "requests.tools/list.allowed.Verified",
        "requests.POST.refused.NotJson",
        "items_hidden.tools/list",
    ] {
        assert_eq!(counted(name), 1, "{name}: {}", stack.envoy.admin("/stats?filter=toolward"));
    }
    let prometheus = stack.envoy.admin("/stats/prometheus?filter=toolward_requests");
    assert!(
        prometheus.contains(r#"toolward_requests{mcp_method="tools/call",decision="denied",reason="NoRuleMatches"} 1"#),
        "{prometheus}"
    );

    let entries = || -> Vec<Value> {
        let log = stack.envoy.access_log();
        log.into_iter().filter(|entry| entry["http_method"] == "POST").collect()
    };
    eventually("six lines in the access log", || entries().len() == 6);
    let entries = entries();
    let facts = |entry: &Value| {
        let names = ["status", "decision", "reason", "method", "name", "issuer", "subject", "policy", "rule", "hidden"];
        Value::from(names.map(|name| entry[name].clone()).to_vec())
    };
    let (who, policy) = ("somebody-of-ops", "default/math");
    let expected = [
        json!([401, "refused", "NoToken", null, null, null, null, policy, null, null]),
        json!([401, "refused", "TokenExpired", null, null, null, null, policy, null, null]),
        json!([200, "allowed", "RuleMatches", "tools/call", "add", ISSUER, who, policy, "ops-may-add", null]),
        json!([200, "denied", "NoRuleMatches", "tools/call", "multiply", ISSUER, who, policy, null, null]),
        json!([200, "allowed", "Verified", "tools/list", null, ISSUER, who, policy, null, "multiply"]),
        json!([400, "refused", "NotJson", null, null, ISSUER, who, policy, null, null]),
    ];
    for (entry, expected) in entries.iter().zip(expected) {
        assert_eq!(facts(entry), expected, "{entry}");
    }
    for token in [&ops, &expired] {
        let signature = token.rsplit('.').next().expect("a signature");
        assert!(!stack.envoy.process.log().contains(signature), "no token in Envoy's log");
        assert!(!stack.toolward.process.log().contains(signature), "no token in the control plane's log");
    }
}
