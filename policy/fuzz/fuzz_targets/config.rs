//! A configuration is understood as a whole or refused as a whole, and what was understood can't trap on a request.
#![no_main]

use libfuzzer_sys::fuzz_target;
use toolward_policy::config::FilterConfig;
use toolward_policy::policy::PolicyTable;
use toolward_policy_fuzz::ask;

fuzz_target!(|json: &[u8]| {
    let Ok(table) = PolicyTable::parse(json) else { return };
    // What is taken over from a table is what would be read.
    let table = table.followed_by(json).expect("it was read");
    let config: FilterConfig = serde_json::from_slice(json).expect("it was read");
    let written = serde_json::to_string(&config).expect("JSON");
    let again: FilterConfig = serde_json::from_str(&written).expect("what is written is read");
    assert_eq!(again, config);
    let more = written.replacen('{', r#"{"unknown":1,"#, 1);
    assert!(PolicyTable::parse(more.as_bytes()).is_err(), "a part that is not understood");
    let headers = [
        (":method", "POST"),
        (":path", "/mcp?x=1"),
        (":authority", "gateway.example"),
        ("content-type", "application/json"),
        ("authorization", "Bearer a.b.c"),
        ("origin", "https://app.example"),
    ];
    for key in config.policies.keys() {
        let (mut exchange, _) = ask(&table, key, &headers, false);
        let _ = exchange.request_body(
            br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","arguments":{"a":1}}}"#,
        );
    }
});
