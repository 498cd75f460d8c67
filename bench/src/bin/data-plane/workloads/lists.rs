//! A list of tools of which some are hidden.

use serde_json::{Value, json};
use toolward_bench::report::Row;

use super::{Bench, again, message, row};
use crate::rounds::measure;
use crate::stub::Answer;
use crate::world::{TOOLS, tool};

pub(super) fn run(bench: &Bench) -> Vec<Row> {
    bench.run(measured(bench))
}

async fn measured(bench: &Bench) -> Vec<Row> {
    let list = list();
    let stub = bench.stub(Answer::json(&list));
    let request = again(&bench.token(), &message(1, "tools/list", &json!({})));
    let mut rows = Vec::new();
    for kind in ["JSON", "SSE"] {
        println!("list of {TOOLS} tools, {kind}, {} bytes", list.len());
        if kind == "SSE" {
            stub.answer_with(Answer::events([format!("event: message\ndata: {list}\n\n")].into_iter()));
        }
        let chains = [(&bench.plain, &request), (&bench.toolward, &request)];
        let costs = measure(bench.rounds(1_000), &chains).await;
        let ratio = costs[1].ratio(&costs[0]);
        rows.push(row("lists", &format!("list, {kind}: of plain"), "ratio", ratio, Some(1.35)));
    }
    rows
}

/// An answer of 66 KB.
fn list() -> String {
    let tools: Vec<Value> = (0..TOOLS).map(described).collect();
    json!({ "jsonrpc": "2.0", "id": 1, "result": { "tools": tools } }).to_string()
}

fn described(number: usize) -> Value {
    let name = tool(number);
    json!({
        "name": name,
        "description": format!("Does what {name} does, to a repository and a path in it."),
        "inputSchema": {
            "type": "object",
            "properties": {
                "repo": { "type": "string", "description": "owner/name of the repository" },
                "path": { "type": "string", "description": "path of a file" },
                "limit": { "type": "integer", "minimum": 1 },
            },
            "required": ["repo"],
        },
    })
}
