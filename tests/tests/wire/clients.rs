//! A client on each SDK does through the gateway what it does directly, but for what is hidden.

use serde_json::{Value, json};
use toolward_tests::clients::Client;
use toolward_tests::process::eventually;
use toolward_tests::servers::{Era, Server};
use toolward_tests::stack::Stack;

/// What everybody may have; the rest is secret.
const PUBLIC: &str = "
    - name: public
      tools: [add, count, touch, pause]
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
            assert_eq!(ran(between, after)[..3], [0, 0, 0], "{row}: {told:?}");
            let completions = ran(before, between)[3].min(1);
            assert_eq!(ran(between, after)[3..], [completions, 1], "{row}: {told:?}");
            // The Go SDK's server goes on to the end where nobody but the connection says that it may stop.
            if (server, era) != (Server::Go, Era::Modern) {
                eventually(&format!("{row}: stopped"), || running.stopped("count") == stopped + 2);
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
