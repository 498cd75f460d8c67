//! A client on each SDK does through the gateway what it does directly, but for what is hidden.

use serde_json::{Value, json};
use toolward_tests::client;
use toolward_tests::clients::Client;
use toolward_tests::process::eventually;
use toolward_tests::servers::{Era, Server};
use toolward_tests::stack::Stack;

/// What everybody may have; the rest is secret.
const PUBLIC: &str = "
    - name: public
      tools: [add, act, count, touch, pause]
      prompts: [greeting]
      resources: ['note://today', 'note://day/*']";

/// What a client is to see through the gateway, made of what it sees directly.
fn without_secrets(direct: &Value, era: Era) -> Value {
    let mut expected = direct.clone();
    for (list, secret) in [
        ("tools", "multiply"),
        ("tools", "slow"),
        ("prompts", "secret"),
        ("resources", "note://secret"),
        ("templates", "secret://day/{day}"),
    ] {
        expected[list].as_array_mut().expect("a list").retain(|name| name != secret);
    }
    let no_resource = if era == Era::Legacy { -32002 } else { -32602 };
    let denied =
        [("multiply", -32602), ("secret", -32602), ("complete secret", -32602), ("note://secret", no_resource)];
    for (action, code) in denied {
        expected[action] = json!({ "code": code });
    }
    expected
}

fn through_and_directly(server: Server) {
    let running = server.start();
    let stack = Stack::start(running.port, PUBLIC);
    let (url, token) = (stack.url(), stack.issuer.of_team("ops"));
    let direct_url = format!("http://127.0.0.1:{}/mcp", running.port);
    let told = ["multiply", "secret", "note://secret", "completion", "count"];
    let place = Server::ALIKE.iter().position(|each| *each == server).expect("one of them");
    // Its own SDK's client, and another one.
    let clients = [Client::ALL[place], Client::ALL[(place + 1) % Client::ALL.len()]];
    for client in clients {
        for era in [Era::Legacy, Era::Modern] {
            if !client.eras().contains(&era) || !server.eras().contains(&era) {
                continue;
            }
            let stopped = running.stopped("count");
            let row = format!("client {client}, server {server}, {}", era.revision());
            let counts = || told.map(|tool| running.ran(tool));
            let before = counts();
            let direct = client.run(&direct_url, "", era);
            let between = counts();
            let through = client.run(&url, &token, era);
            let after = counts();
            assert_eq!(direct["multiply"], "42", "{row}");
            assert_eq!(direct["cancel"], "cancelled", "{row}");
            assert_eq!(through, without_secrets(&direct, era), "{row}");
            let ran = |earlier: [usize; 5], later: [usize; 5]| [0, 1, 2, 3, 4].map(|tool| later[tool] - earlier[tool]);
            let (ran_directly, ran_through) = (ran(before, between), ran(between, after));
            assert_eq!(ran_through[..3], [0, 0, 0], "{row}: {told:?}");
            assert_eq!(ran_through[3], ran_directly[3].min(1), "{row}: completions");
            // The Python SDK's old client says nothing to the server, and the Go SDK's new server does not hear when it is hung up.
            if client != Client::PythonV1 && (server, era) != (Server::Go, Era::Modern) {
                let begun = || running.ran("count") - before[4];
                eventually(&format!("{row}: stopped"), || running.stopped("count") - stopped == begun());
            }
        }
    }
}

#[test]
fn python_v1() {
    through_and_directly(Server::PythonV1);
}

#[test]
fn python_v2() {
    through_and_directly(Server::PythonV2);
}

#[test]
fn typescript_v1() {
    through_and_directly(Server::TypeScriptV1);
}

#[test]
fn typescript_v2() {
    through_and_directly(Server::TypeScriptV2);
}

#[test]
fn rust() {
    through_and_directly(Server::Rust);
}

#[test]
fn go() {
    through_and_directly(Server::Go);
}

/// What Inspector is asked to do, and where in its answer the part is that matters.
const ASKED: [(&[&str], &str); 6] = [
    (&["--method", "tools/list"], "/result/tools"),
    (
        &["--method", "tools/call", "--tool-name", "add", "--tool-arg", "a=6", "--tool-arg", "b=7"],
        "/result/content/0/text",
    ),
    (
        &["--method", "prompts/get", "--prompt-name", "greeting", "--prompt-args", "name=Bob"],
        "/result/messages/0/content/text",
    ),
    (&["--method", "prompts/get", "--prompt-name", "secret"], "/result/messages/0/content/text"),
    (&["--method", "resources/read", "--uri", "note://today"], "/result/contents/0/text"),
    (&["--method", "resources/read", "--uri", "note://secret"], "/result/contents/0/text"),
];

#[test]
fn inspector() {
    let running = Server::TypeScriptV2.start();
    let stack = Stack::start(running.port, PUBLIC);
    let direct = format!("http://127.0.0.1:{}/mcp", running.port);
    for era in ["legacy", "modern"] {
        for (arguments, part) in ASKED {
            let ask = |url: &str, token: &str| {
                let mut part = client::inspector(url, token, era, arguments).pointer(part).cloned().unwrap_or_default();
                if let Some(tools) = part.as_array_mut() {
                    tools.retain(|tool| tool["name"] != "multiply");
                }
                part
            };
            let row = format!("{era} {arguments:?}");
            let through = ask(&stack.url(), &stack.issuer.of_team("ops"));
            let directly = ask(&direct, "none");
            if arguments.iter().any(|argument| argument.contains("secret")) {
                assert_eq!((through, directly), (Value::Null, json!("hidden")), "{row}");
            } else {
                assert_eq!(through, directly, "{row}");
                assert_ne!(through, Value::Null, "{row}");
            }
        }
    }
    assert_eq!((running.ran("secret"), running.ran("note://secret")), (2, 2), "directly alone");
}
