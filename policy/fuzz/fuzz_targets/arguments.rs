//! What rules grant by arguments, every reading of these grants: one that knows levels only, and those that turn values into
//! other types and names into paths.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use toolward_policy::expression::Expression;
use toolward_policy::policy::PolicyTable;
use toolward_policy_fuzz::ask;

#[path = "../../tests/reference/mod.rs"]
mod reference;

use reference::Reference;

/// Bytes that say how a server reads.
const TURNS: usize = 16;

/// What the tools `t0`, `t1` and so on are granted by.
fn expressions() -> Vec<Value> {
    let arguments = || json!({ "member": [{ "variable": "mcp" }, "arguments"] });
    let a = || json!({ "member": [arguments(), "a"] });
    let b = || json!({ "member": [a(), "b"] });
    let is = |by: &str, left: Value, right: Value| json!({ "compare": [by, left, { "literal": right }] });
    let not = |inner: Value| json!({ "not": inner });
    let (x, texts) = (|| json!({ "variable": "x" }), json!({ "list": [{ "literal": "x" }, { "literal": 1 }, { "literal": true }] }));
    vec![
        is("notEqual", a(), json!(true)),
        is("notEqual", a(), json!("x")),
        not(is("greater", a(), json!(1000))),
        not(json!({ "in": [a(), texts] })),
        not(json!({ "in": [{ "literal": "x" }, a()] })),
        not(json!({ "has": [arguments(), "a"] })),
        not(json!({ "has": [a(), "b"] })),
        is("equal", b(), json!("x")),
        is("notEqual", b(), json!(1)),
        is("lessOrEqual", json!({ "size": a() }), json!(3)),
        not(json!({ "exists": [a(), "x", is("equal", x(), json!("x"))] })),
        json!({ "all": [a(), "x", is("notEqual", x(), json!(1))] }),
        json!({ "or": [is("equal", a(), json!(1)), not(json!({ "text": ["startsWith", b(), { "literal": "x/" }] }))] }),
        json!({ "and": [not(is("equal", a(), json!("1"))), not(is("less", a(), json!("b")))] }),
        json!({ "if": [is("equal", a(), json!(false)), { "literal": true }, is("notEqual", b(), json!(false))] }),
        not(json!({ "compare": ["equal", a(), b()] })),
    ]
}

fn table() -> PolicyTable {
    let name = |at: usize| format!("t{at}");
    let rule = |(at, when): (usize, Value)| json!({ "name": name(at), "tools": [name(at)], "when": when });
    let mut rules: Vec<Value> = expressions().into_iter().enumerate().map(rule).collect();
    let condition = json!([{ "path": "a.b", "in": ["x", 1] }, { "path": "[\"a.b\"]", "matches": "x/*" }]);
    let single = |at: usize| json!({ "name": name(at), "tools": [name(at)], "arguments": [condition[at % 2]] });
    rules.extend([single(100), single(101)]);
    let gates = json!([{ "policy": "p", "rules": rules }]);
    let policy = json!({ "protected": { "authentication": { "anonymous": {} }, "gates": gates } });
    let config = json!({ "version": 1, "policies": { "p": policy } });
    PolicyTable::parse(config.to_string().as_bytes()).expect("a good configuration")
}

thread_local! {
    static TABLE: PolicyTable = table();
    static EXPRESSIONS: Vec<Expression> =
        expressions().into_iter().map(|one| serde_json::from_value(one).expect("an expression")).collect();
}

fuzz_target!(|data: &[u8]| {
    let Some((turns, rest)) = data.split_at_checked(TURNS) else { return };
    let Some((tool, arguments)) = rest.split_first() else { return };
    let tool = tool % 18;
    let tool = if tool < 16 { usize::from(tool) } else { usize::from(tool) + 84 };
    let before = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"t{tool}","arguments":"#);
    let body = [before.as_bytes(), arguments, b"}}"].concat();
    let headers = [(":method", "POST"), (":path", "/mcp"), ("content-type", "application/json")];
    let granted = TABLE.with(|table| ask(table, "p", &headers, false).0.request_body(&body).is_ok());
    if !granted {
        return;
    }
    let message: Value = serde_json::from_slice(&body).expect("what is forwarded is JSON");
    let (name, arguments) = (&message["params"]["name"], &message["params"]["arguments"]);
    // What was made of the message may be another one.
    if message["method"] != "tools/call" {
        return;
    }
    let tool: usize = name.as_str().and_then(|name| name.strip_prefix('t')?.parse().ok()).expect("a tool that is granted");
    match tool {
        100 => assert!(all(&arguments["a"]["b"], |value| *value == json!("x") || *value == json!(1)), "{arguments}"),
        101 => assert!(all(&arguments["a.b"], |value| value.as_str().is_some_and(|it| it.starts_with("x/"))), "{arguments}"),
        tool => EXPRESSIONS.with(|expressions| {
            let expression = &expressions[tool];
            let other = reference::read_otherwise(arguments, turns, reference::asks_for_size(expression));
            for reading in [arguments, &other] {
                let comes_to = Reference { arguments: reading }.bool(expression, &[]);
                assert_ne!(comes_to, Some(false), "t{tool} reads {arguments} as {reading}");
            }
        }),
    }
});

fn all(value: &Value, fits: impl Fn(&Value) -> bool) -> bool {
    match value {
        Value::Array(items) => items.iter().all(fits),
        value => fits(value),
    }
}
