//! A stream is filtered the same however it is cut into chunks, and no client finds in it what is hidden.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use toolward_policy::exchange::{Exchange, Headers, ResponseStep};
use toolward_policy::policy::PolicyTable;
use toolward_policy_fuzz::{GRANTED, Json, Reader, ask, table};

/// The tools that a server offers to a model are its own.
const SAMPLING: &str = "sampling/createMessage";

thread_local! {
    static TABLE: OnceLock<PolicyTable> = const { OnceLock::new() };
}

fuzz_target!(|data: &[u8]| {
    let Some((count, rest)) = data.split_first() else { return };
    let count = usize::from(count % 8);
    if rest.len() < count {
        return;
    }
    let (cuts, stream) = rest.split_at(count);
    TABLE.with(|once| {
        let table = once.get_or_init(table);
        let whole = filtered(table, &[stream]);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| usize::from(*cut) * (stream.len() + 1) / 256).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]).collect();
        assert_eq!(filtered(table, &chunks), whole, "cut at {cuts:?}");
        let Some(whole) = whole else { return };
        for data in events(&whole) {
            let Some(json) = Json::parse(data.as_bytes()) else { continue };
            for message in json.messages() {
                for reader in [Reader::First, Reader::Last] {
                    let method = message.member(reader, "method").and_then(Json::text);
                    let params = message.member(reader, "params").filter(|_| method.is_some_and(|name| name != SAMPLING));
                    let data = message.member(reader, "error").and_then(|error| error.member(reader, "data"));
                    for holder in [message.member(reader, "result"), data, params].into_iter().flatten() {
                        let tools = holder.member(reader, "tools");
                        assert!(tools.is_none_or(|tools| matches!(tools, Json::Array(_))), "{reader:?} sees no list");
                        for tool in tools.map_or(&[][..], Json::elements) {
                            assert_eq!(tool.member(reader, "name").and_then(Json::text), Some(GRANTED), "{reader:?} sees it");
                        }
                    }
                }
            }
        }
    });
});

/// What passes; `None`: the stream ends, as where it announces an endpoint.
fn filtered(table: &PolicyTable, chunks: &[&[u8]]) -> Option<Vec<u8>> {
    let mut exchange = opened(table);
    let passed = chunks.iter().map(|chunk| exchange.response_events(chunk).map(|passed| passed.into_owned()).ok());
    Some(passed.collect::<Option<Vec<_>>>()?.concat())
}

fn opened(table: &PolicyTable) -> Exchange {
    let (mut exchange, _) = ask(table, "strict", &[(":method", "GET"), (":path", "/mcp")], true);
    let headers = [("content-type".to_owned(), b"text/event-stream".to_vec())];
    assert!(matches!(exchange.response_headers(&Headers(&headers), false), ResponseStep::Events(_)));
    exchange
}

/// The data of the events that a client dispatches (WHATWG HTML section 9.2.6).
fn events(stream: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(stream);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text).replace("\r\n", "\n").replace('\r', "\n");
    let mut events = Vec::new();
    let mut data: Vec<&str> = Vec::new();
    let Some((complete, _)) = text.rsplit_once('\n') else { return events };
    for line in complete.split('\n') {
        if line.is_empty() {
            if !data.is_empty() {
                events.push(data.join("\n"));
            }
            data.clear();
        } else {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            if field == "data" {
                data.push(value.strip_prefix(' ').unwrap_or(value));
            }
        }
    }
    events
}
