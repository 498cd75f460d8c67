//! A well-behaved client that opens sessions and calls what is granted.

use serde_json::{Value, json};

use super::case::Case;
use super::target::Target;
use super::wire::{Answer, Ending, exchange};
use crate::servers::Era;

/// A call of what is granted.
///
/// # Panics
/// Never.
#[must_use]
pub fn good_call() -> Case {
    case(&json!({ "name": "good", "params": r#""name":"$GRANTED","arguments":$ARGUMENTS$META"# }))
}

/// Opens a session, where the era has them; gives the answer of `initialize`.
pub fn open(target: &mut Target) -> Option<Answer> {
    target.session = None;
    if target.era == Era::Modern {
        return None;
    }
    let initialize = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": Era::Legacy.revision(),
        "capabilities": {},
        "clientInfo": { "name": "hostile", "version": "1" },
    } });
    let answer = post(target, &initialize);
    target.session = answer.header("mcp-session-id").map(str::to_owned);
    let _ = post(target, &json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    Some(answer)
}

fn post(target: &Target, message: &Value) -> Answer {
    let case = case(&json!({ "name": "message", "body": message.to_string() }));
    exchange(&target.host, &case.render(target), Ending::Sure)
}

fn case(fields: &Value) -> Case {
    serde_json::from_value(fields.clone()).expect("a case")
}
