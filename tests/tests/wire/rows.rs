//! Every method of the protocol, as it is granted and as it is denied, on servers that have it.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use toolward_tests::client;
use toolward_tests::mcp_server::McpServer;
use toolward_tests::process::eventually;
use toolward_tests::servers::{Era, Server, everything_over_sse};
use toolward_tests::stack::{Stack, backend, policy, route};

use crate::exchange::Peer;

const RULES: &str = "
    - name: public
      tools: [add, act, count, touch, pause, slow]
      prompts: [greeting]
      resources: ['note://today', 'note://day/*', 'skill://public/*']";

/// The codes of denials.
const INVALID: i64 = -32602;
const NO_METHOD: i64 = -32601;
const NO_RESOURCE: i64 = -32002;

/// A request that is granted, or denied with a code.
struct Row {
    name: &'static str,
    eras: &'static [Era],
    method: &'static str,
    params: Value,
    denied: Option<i64>,
    /// What the server tells when it runs that.
    told: &'static str,
}

fn rows() -> Vec<Row> {
    const BOTH: &[Era] = &[Era::Legacy, Era::Modern];
    const OLD: &[Era] = &[Era::Legacy];
    const NEW: &[Era] = &[Era::Modern];
    let numbers = json!({ "a": 6, "b": 7 });
    let retry = json!({ "x": { "action": "accept", "content": {} } });
    let completion = |reference: Value| json!({ "ref": reference, "argument": { "name": "name", "value": "a" } });
    let prompt = |name: &str| completion(json!({ "type": "ref/prompt", "name": name }));
    let template = |uri: &str| json!({ "ref": { "type": "ref/resource", "uri": uri }, "argument": { "name": "day", "value": "a" } });
    let secret = "note://secret";
    let row = |name, eras, method, params, denied, told| Row { name, eras, method, params, denied, told };
    vec![
        row("tool", BOTH, "tools/call", json!({ "name": "add", "arguments": numbers }), None, "add"),
        row(
            "secret tool",
            BOTH,
            "tools/call",
            json!({ "name": "multiply", "arguments": numbers }),
            Some(INVALID),
            "multiply",
        ),
        row(
            "secret tool as a task",
            OLD,
            "tools/call",
            json!({ "name": "multiply", "arguments": numbers, "task": { "ttl": 9 } }),
            Some(INVALID),
            "multiply",
        ),
        row(
            "secret tool again",
            NEW,
            "tools/call",
            json!({ "name": "multiply", "arguments": numbers, "inputResponses": retry, "requestState": "s" }),
            Some(INVALID),
            "multiply",
        ),
        row("prompt", BOTH, "prompts/get", json!({ "name": "greeting", "arguments": { "name": "Bob" } }), None, ""),
        row("secret prompt", BOTH, "prompts/get", json!({ "name": "secret" }), Some(INVALID), "secret"),
        row("resource", BOTH, "resources/read", json!({ "uri": "note://today" }), None, ""),
        row("resource of a template", BOTH, "resources/read", json!({ "uri": "note://day/monday" }), None, ""),
        row("secret resource", OLD, "resources/read", json!({ "uri": secret }), Some(NO_RESOURCE), secret),
        row("secret resource", NEW, "resources/read", json!({ "uri": secret }), Some(INVALID), secret),
        row(
            "secret resource by dots",
            OLD,
            "resources/read",
            json!({ "uri": "note://day/../secret" }),
            Some(NO_RESOURCE),
            secret,
        ),
        row("subscription", OLD, "resources/subscribe", json!({ "uri": "note://today" }), None, ""),
        row("its end", OLD, "resources/unsubscribe", json!({ "uri": "note://today" }), None, ""),
        row("secret subscription", OLD, "resources/subscribe", json!({ "uri": secret }), Some(NO_RESOURCE), ""),
        row("its end", OLD, "resources/unsubscribe", json!({ "uri": secret }), Some(NO_RESOURCE), ""),
        row(
            "secret subscription",
            NEW,
            "subscriptions/listen",
            json!({ "notifications": { "resourceSubscriptions": ["note://today", secret] } }),
            Some(INVALID),
            "",
        ),
        row("completion of a prompt", BOTH, "completion/complete", prompt("greeting"), None, "completion"),
        row(
            "completion of a secret prompt",
            BOTH,
            "completion/complete",
            prompt("secret"),
            Some(INVALID),
            "completion",
        ),
        row("completion of a template", BOTH, "completion/complete", template("note://day/{day}"), None, ""),
        row(
            "completion of a secret template",
            OLD,
            "completion/complete",
            template("secret://day/{day}"),
            Some(NO_RESOURCE),
            "completion",
        ),
        row(
            "completion of a secret template",
            NEW,
            "completion/complete",
            template("secret://day/{day}"),
            Some(INVALID),
            "completion",
        ),
        row("ping", OLD, "ping", json!({}), None, ""),
        row("level", OLD, "logging/setLevel", json!({ "level": "info" }), None, ""),
        row("discovery", NEW, "server/discover", json!({}), None, ""),
        row("unknown method", BOTH, "x/danger", json!({}), Some(NO_METHOD), ""),
        row(
            "a method of the server",
            OLD,
            "sampling/createMessage",
            json!({ "messages": [], "maxTokens": 1 }),
            Some(NO_METHOD),
            "",
        ),
        row("all tasks", OLD, "tasks/list", json!({}), Some(NO_METHOD), ""),
    ]
}

/// What the methods for lists give, and what is hidden.
const LISTS: [(&str, &str, &str, &[&str]); 4] = [
    ("tools/list", "tools", "name", &["multiply"]),
    ("prompts/list", "prompts", "name", &["secret"]),
    ("resources/list", "resources", "uri", &["note://secret"]),
    ("resources/templates/list", "resourceTemplates", "uriTemplate", &["secret://day/{day}"]),
];

#[test]
fn of_all_servers() {
    let pair = |pair: &[Server]| {
        std::thread::scope(|scope| {
            let servers: Vec<_> = pair.iter().map(|server| scope.spawn(|| of(*server))).collect();
            servers.into_iter().flat_map(|server| server.join().expect("no panic")).collect::<Vec<_>>()
        })
    };
    let faults: Vec<String> = Server::ALIKE.chunks(2).flat_map(pair).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

fn of(server: Server) -> Vec<String> {
    let running = server.start();
    let stack = Stack::start(running.port, RULES);
    let token = stack.issuer.of_team("ops");
    let direct = format!("http://127.0.0.1:{}/mcp", running.port);
    let mut faults = Vec::new();
    for era in server.eras() {
        let through = Peer::begin(&stack.url(), &token, *era, json!({}));
        let directly = Peer::begin(&direct, "", *era, json!({}));
        for row in rows().into_iter().filter(|row| row.eras.contains(era)) {
            let before = running.ran(row.told);
            let outcome = through.outcome(row.method, row.params.clone());
            let ran = running.ran(row.told) - before;
            let is_right = match (&outcome, row.denied) {
                // What a server does not have is its own to say.
                (_, None) => outcome.is_ok() == directly.outcome(row.method, row.params.clone()).is_ok(),
                (outcome, Some(code)) => *outcome == Err(code) && ran == 0,
            };
            if !is_right {
                faults.push(format!("{server} {}: {}: {outcome:?}", era.revision(), row.name));
            }
        }
        for (method, member, name, hidden) in LISTS {
            let list = |peer: &Peer| peer.outcome(method, json!({})).expect("a list");
            let (seen, all) = (list(&through), list(&directly));
            let mut expected = all[member].as_array().expect("an array").clone();
            let count = expected.len();
            expected.retain(|element| !hidden.iter().any(|hidden| element[name] == *hidden));
            if seen[member] != json!(expected) || expected.len() + hidden.len() != count {
                faults.push(format!("{server} {}: {method}: {seen}", era.revision()));
            }
        }
        if *era == Era::Legacy {
            for name in ["initialized", "progress", "cancelled", "roots/list_changed"] {
                let params = match name {
                    "progress" => json!({ "progressToken": "t", "progress": 1 }),
                    "cancelled" => json!({ "requestId": 99 }),
                    _ => json!({}),
                };
                if through.tell(&format!("notifications/{name}"), &params) != 202 {
                    faults.push(format!("{server}: notifications/{name}"));
                }
            }
        }
    }
    faults
}

#[test]
fn subscriptions() {
    for server in [Server::PythonV2, Server::TypeScriptV2, Server::Rust] {
        let running = server.start();
        let stack = Stack::start(running.port, RULES);
        let peer = Peer::begin(&stack.url(), &stack.issuer.of_team("ops"), Era::Modern, json!({}));
        let wanted =
            json!({ "notifications": { "resourceSubscriptions": ["note://today"], "toolsListChanged": true } });
        let mut messages = peer.stream("subscriptions/listen", wanted).map(|(_, message)| message);
        let first = messages.next().expect("a message");
        assert_eq!(first["method"], "notifications/subscriptions/acknowledged", "{server}");
        // The server may begin to listen a moment after it says so.
        let is_told = AtomicBool::new(false);
        let touch = json!({ "name": "touch", "arguments": { "uri": "note://today" } });
        let touching = || {
            eventually("told", || {
                peer.outcome("tools/call", touch.clone()).expect("touched");
                is_told.load(Ordering::SeqCst)
            });
        };
        let second = std::thread::scope(|scope| {
            scope.spawn(touching);
            let second = messages.next();
            is_told.store(true, Ordering::SeqCst);
            second.expect("a message")
        });
        assert_eq!(second["params"]["uri"], "note://today", "{server}: {second}");
    }
}

#[test]
fn whoever_hangs_up_cancels() {
    // The Go SDK goes on to the end.
    for server in [Server::PythonV2, Server::TypeScriptV2, Server::Rust] {
        let running = server.start();
        let stack = Stack::start(running.port, RULES);
        let peer = Peer::begin(&stack.url(), &stack.issuer.of_team("ops"), Era::Modern, json!({}));
        let params = json!({ "name": "count", "arguments": { "to": 400 }, "_meta": { "progressToken": "t" } });
        let mut messages = peer.stream("tools/call", params);
        let (_, first) = messages.next().expect("a message");
        assert_eq!(first["method"], "notifications/progress", "{server}");
        drop(messages);
        eventually(&format!("{server} stopped"), || running.stopped("count") == 1);
    }
}

#[test]
fn tasks_of_the_old_era() {
    let server = Server::Everything.start();
    let stack = Stack::start(server.port, "[{ name: research, tools: ['simulate-*'] }]");
    let token = |who: &str| stack.issuer.token(&["--subject", who]);
    let [bob, eve] =
        ["bob", "eve"].map(|who| Peer::begin(&stack.url(), &token(who), Era::Legacy, json!({ "tasks": {} })));
    let call = json!({ "name": "simulate-research-query", "arguments": { "topic": "x" }, "task": { "ttl": 60_000 } });
    let task = |peer: &Peer| {
        let created = peer.outcome("tools/call", call.clone()).expect("a task");
        created["task"]["taskId"].as_str().unwrap_or_else(|| panic!("{created}")).to_owned()
    };
    let id = task(&bob);
    // One of the server's that the gateway knows nothing of.
    let direct = format!("http://127.0.0.1:{}/mcp", server.port);
    let own = task(&Peer::begin(&direct, "", Era::Legacy, json!({ "tasks": {} })));
    assert!(id.len() > own.len() + 40, "sealed: {id}, {own}");
    let named = |id: &str| json!({ "taskId": id });
    assert_eq!(bob.outcome("tasks/get", named(&id)).expect("a task")["taskId"], json!(id));
    for (who, id) in [(&eve, id.as_str()), (&eve, &own), (&bob, &own)] {
        for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
            assert_eq!(who.outcome(method, named(id)), Err(INVALID), "{method}");
        }
    }
    let (_, messages) = bob.ask("tasks/result", named(&id));
    let result = messages.last().expect("a response");
    assert!(result["result"]["content"].is_array(), "{result}");
    assert_eq!(result["result"]["_meta"]["io.modelcontextprotocol/related-task"]["taskId"], json!(id));
    let id = task(&bob);
    bob.outcome("tasks/cancel", named(&id)).expect("cancelled");
    assert_eq!(bob.outcome("tasks/get", named(&id)).expect("a task")["status"], "cancelled");
    let denied = json!({ "name": "get-env", "arguments": {}, "task": {} });
    assert_eq!(bob.outcome("tools/call", denied), Err(INVALID));
    assert_eq!(server.ran("get-env"), 0);
}

#[test]
fn tasks_of_the_new_era() {
    let server = Server::Rust.start();
    let stack = Stack::start(server.port, RULES);
    let token = |who: &str| stack.issuer.token(&["--subject", who]);
    let capabilities = json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } });
    let [bob, eve] =
        ["bob", "eve"].map(|who| Peer::begin(&stack.url(), &token(who), Era::Modern, capabilities.clone()));
    let call = json!({ "name": "slow", "arguments": { "a": 6, "b": 7 } });
    let created = bob.outcome("tools/call", call.clone()).expect("a task");
    assert_eq!(created["resultType"], "task", "{created}");
    let named = |id: &Value| json!({ "taskId": id, "inputResponses": {} });
    let id = &created["taskId"];
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        assert_eq!(eve.outcome(method, named(id)), Err(INVALID), "{method}");
        assert_eq!(server.ran(method), 0, "{method}");
    }
    eventually("done", || bob.outcome("tasks/get", json!({ "taskId": id })).expect("a task")["status"] == "completed");
    let done = bob.outcome("tasks/get", json!({ "taskId": id })).expect("a task");
    assert_eq!((&done["result"]["content"][0]["text"], &done["taskId"]), (&json!("13"), id));
    let created = bob.outcome("tools/call", call).expect("a task");
    for method in ["tasks/update", "tasks/cancel"] {
        bob.outcome(method, named(&created["taskId"])).unwrap_or_else(|code| panic!("{method}: {code}"));
        assert_eq!(server.ran(method), 1, "{method}");
    }
    let watch = |id: &Value| json!({ "notifications": { "taskIds": [id] } });
    assert_eq!(eve.outcome("subscriptions/listen", watch(&created["taskId"])), Err(INVALID));
}

#[test]
fn skills() {
    let server = Server::Rust.start();
    let stack = Stack::start(server.port, RULES);
    let peer = Peer::begin(&stack.url(), &stack.issuer.of_team("ops"), Era::Modern, json!({}));
    let uris = |list: Result<Value, i64>, member: &str| -> Vec<Value> {
        list.expect("a list")[member].as_array().expect("an array").iter().map(|one| one["uri"].clone()).collect()
    };
    let (public, secret) = ("skill://public/SKILL.md", "skill://secret/SKILL.md");
    assert_eq!(uris(peer.outcome("skills/list", json!({})), "skills"), [public]);
    assert_eq!(peer.outcome("skills/get", json!({ "uri": public })).expect("a skill")["skill"]["uri"], public);
    assert_eq!(peer.outcome("skills/get", json!({ "uri": secret })), Err(INVALID));
    let directory = |uri: &str| peer.outcome("resources/directory/read", json!({ "uri": uri }));
    assert_eq!(uris(directory("skill://public/files"), "resources"), [public], "its children are resources too");
    assert_eq!(directory("skill://secret/files"), Err(INVALID));
    assert_eq!((server.ran(secret), server.ran("skill://secret/files")), (0, 0));
}

#[test]
fn requests_of_the_server() {
    let server = Server::Everything.start();
    let stack = Stack::start(server.port, "[{ name: asking, tools: ['trigger-*', get-roots-list] }]");
    let capabilities = json!({ "sampling": {}, "elicitation": {}, "roots": { "listChanged": true } });
    let peer = Peer::begin(&stack.url(), &stack.issuer.of_team("ops"), Era::Legacy, capabilities);
    let sampled = json!({ "role": "assistant", "model": "m", "content": { "type": "text", "text": "sampled" } });
    let roots = json!({ "roots": [{ "uri": "file:///here", "name": "here" }] });
    let answer = |request: &Value| {
        let result = match request["method"].as_str() {
            Some("sampling/createMessage") => &sampled,
            Some("elicitation/create") => &json!({ "action": "accept", "content": { "name": "elicited" } }),
            Some("roots/list") => &roots,
            _ => return,
        };
        let response = json!({ "jsonrpc": "2.0", "id": request["id"], "result": result });
        assert_eq!(peer.send(&response), 202);
    };
    // Roots are asked for where no request is open.
    let mut stream = peer.listen(None).map(|(_, message)| message);
    assert_eq!(peer.tell("notifications/roots/list_changed", &json!({})), 202);
    answer(&stream.find(|message| message["method"] == "roots/list").expect("a request"));
    for (tool, arguments, said) in [
        ("trigger-sampling-request", json!({ "prompt": "x" }), "sampled"),
        ("trigger-elicitation-request", json!({}), "elicited"),
        ("get-roots-list", json!({}), "file:///here"),
    ] {
        let mut result = Value::Null;
        for (_, message) in peer.stream("tools/call", json!({ "name": tool, "arguments": arguments })) {
            answer(&message);
            if message.get("result").is_some() || message.get("error").is_some() {
                result = message;
                break;
            }
        }
        assert!(result.to_string().contains(said), "{tool}: {result}");
        assert_eq!(server.ran(tool), 1);
    }
}

/// Replays everything from the first event on, whoever asked for it.
fn replay(server: &McpServer, url: &str, token: &str) -> String {
    let peer = Peer::begin(url, token, Era::Legacy, json!({}));
    let (first, _) = peer.stream("ping", json!({})).next().expect("an event");
    peer.outcome("tools/list", json!({})).expect("a list");
    let found = peer.listen(first.as_deref()).find(|(_, message)| message["result"]["tools"].is_array());
    let (_, list) = found.unwrap_or_else(|| panic!("no list comes again:\n{}", server.process.log()));
    list["result"]["tools"].to_string()
}

#[test]
fn a_list_that_comes_again() {
    let server = Server::Everything.start();
    let stack = Stack::start(server.port, "[{ name: sums, tools: [get-sum] }]");
    let directly = replay(&server, &format!("http://127.0.0.1:{}/mcp", server.port), "");
    assert!(directly.contains("get-env") && directly.contains("get-sum"), "{directly}");
    let through = replay(&server, &stack.url(), &stack.issuer.of_team("ops"));
    assert!(through.contains("get-sum") && !through.contains("get-env"), "{through}");
}

#[test]
fn arrays() {
    // This SDK still runs them, whatever the revision.
    let server = Server::TypeScriptV1.start();
    let stack = Stack::start(server.port, RULES);
    let peer = Peer::begin(&stack.url(), &stack.issuer.of_team("ops"), Era::Legacy, json!({}));
    let call = |name: &str| ("tools/call", json!({ "name": name, "arguments": { "a": 6, "b": 7 } }));
    let list = || ("tools/list", json!({}));
    assert_eq!(peer.ask_at_once(&[call("add"), list()]).0, 400, "by default");
    let allowing = format!("{}  protocol: {{ batches: Allow }}\n", policy(&stack.issuer.jwks(), RULES));
    stack.folder.write("policy.yaml", &allowing);
    eventually("arrays are accepted", || peer.ask_at_once(&[list()]).0 == 200);

    let (_, denied) = peer.ask_at_once(&[call("add"), call("multiply")]);
    let errors: Vec<&Value> = denied.iter().flat_map(|array| array.as_array().expect("an array")).collect();
    assert_eq!(errors.iter().filter(|error| error["error"]["code"].is_i64()).count(), 2, "{errors:?}");
    assert_eq!((server.ran("add"), server.ran("multiply")), (0, 0), "one that is denied fails all");
    let (_, granted) = peer.ask_at_once(&[call("add"), list()]);
    let text = json!(granted).to_string();
    assert!(text.contains("13") && text.contains("\"count\"") && !text.contains("multiply"), "{text}");
    assert_eq!(server.ran("add"), 1);
}

#[test]
fn the_oldest_transport() {
    let server = everything_over_sse();
    let stack = Stack::start(server.port, "[{ name: sums, tools: [get-sum] }]");
    let rules = policy(&stack.issuer.jwks(), "[{ name: sums, tools: [get-sum] }]");
    stack.folder.write("policy.yaml", &format!("{rules}  protocol: {{ transport: HTTPSSE }}\n"));
    stack.folder.write("backend.yaml", &backend(server.port).replace(", path: /mcp", ""));
    stack.folder.write("route.yaml", &route("/"));
    let (url, token) = (format!("http://127.0.0.1:{}/sse", stack.port), stack.issuer.of_team("ops"));
    let is_there = || stack.client.get(&url).bearer_auth(&token).send().is_ok_and(|answer| answer.status() == 200);
    eventually("the route leads to the server", is_there);
    let report = client::sdk_v1(&url, &token, &["get-sum", "get-env", "get-sum"]);
    assert_eq!(report["tools"], json!(["get-sum"]), "{report}");
    assert_eq!(report["calls"]["get-sum"], "The sum of 6 and 7 is 13.", "{report}");
    assert_eq!((server.ran("get-sum"), server.ran("get-env")), (2, 0));
}
