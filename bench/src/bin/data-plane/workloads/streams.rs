//! A stream of many small events.

use serde_json::json;
use toolward_bench::report::Row;

use super::{Bench, again, call, row};
use crate::rounds::{Rounds, measure};
use crate::stub::Answer;

const EVENTS: u32 = 10_000;

pub(super) fn run(bench: &Bench) -> Vec<Row> {
    bench.run(measured(bench))
}

async fn measured(bench: &Bench) -> Vec<Row> {
    println!("stream of {EVENTS} notifications");
    let _stub = bench.stub(Answer::events((0..EVENTS).map(notification)));
    let request = again(&bench.token(), &call(10));
    let rounds = Rounds { requests: 8, ..bench.rounds(8) };
    let costs = measure(rounds, &[(&bench.plain, &request), (&bench.toolward, &request)]).await;
    vec![row("streams", "stream of 10,000 events: of plain", "ratio", costs[1].ratio(&costs[0]), Some(1.15))]
}

fn notification(number: u32) -> String {
    let params = json!({ "progressToken": 1, "progress": number, "total": EVENTS });
    let message = json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params });
    format!("event: message\ndata: {message}\n\n")
}
