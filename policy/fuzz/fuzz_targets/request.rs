//! Whatever goes upstream means to every reader something that is granted, and to all of them the same.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use toolward_policy::exchange::RequestStep;
use toolward_policy_fuzz::{Json, Reader, ask, is_granted, table};

const VERSIONS: [&[(&str, &str)]; 4] = [
    &[],
    &[("mcp-protocol-version", "2025-11-25")],
    &[("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "add")],
    &[("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/list")],
];

thread_local! {
    static TABLE: OnceLock<toolward_policy::policy::PolicyTable> = const { OnceLock::new() };
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, body)) = data.split_first() else { return };
    let versions = VERSIONS[usize::from(choice & 3)];
    let policy = if choice & 4 == 0 { "strict" } else { "batches" };
    let common = [(":method", "POST"), (":path", "/mcp"), ("content-type", "application/json")];
    let headers = [common.as_slice(), versions].concat();
    TABLE.with(|once| {
        let (mut exchange, step) = ask(once.get_or_init(table), policy, &headers, false);
        assert!(matches!(step, RequestStep::AwaitBody(_)));
        let Ok(rewritten) = exchange.request_body(body) else { return };
        let forwarded = rewritten.as_ref().map_or(body, |rewritten| &rewritten.body);
        let json = Json::parse(forwarded).expect("what is forwarded is JSON");
        assert!(policy == "batches" || !matches!(json, Json::Array(_)), "arrays are refused");
        for message in json.messages() {
            let exact = is_granted(message, Reader::First);
            for reader in Reader::ALL {
                let read = is_granted(message, reader);
                assert!(read.0, "{reader:?} reads what is not granted: {read:?}");
                assert_eq!(read, exact, "{reader:?} reads something else");
            }
            if let (Json::Object(_), Some(name)) = (&json, exact.1) {
                assert_eq!(exchange.record().name.as_deref(), Some(name), "what runs is what is logged");
            }
        }
    });
});
