//! What Envoy refuses is said where the user looks: in the status of the Gateway.

use std::net::TcpListener;

use serde_json::{Value, json};
use toolward_tests::http::{self, call};
use toolward_tests::ports;
use toolward_tests::process::eventually;
use toolward_tests::upstream::OK;

use crate::world::World;

#[test]
fn a_listener_that_envoy_can_not_open() {
    let world = World::start();
    let ops = world.issuer.of_team("ops");
    let programmed = || {
        let gateway = world.cluster.get("gateway", "default", "mcp-gateway");
        let conditions = gateway["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.into_iter().find(|found| found["type"] == "Programmed").unwrap_or_default();
        let is_new = found["observedGeneration"] == gateway["metadata"]["generation"];
        let text = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
        (text("status"), text("reason"), text("message"), is_new)
    };
    let listens_on = |second: u16| {
        let listener = |name: &str, port: u16| json!({ "name": name, "port": port, "protocol": "HTTP" });
        let listeners = json!({ "spec": { "listeners": [listener("mcp", world.port), listener("second", second)] } });
        world.cluster.kubectl(&["patch", "gateway", "mcp-gateway", "--type=merge", "-p", &listeners.to_string()]);
    };
    let is_programmed = || {
        let (status, reason, _, is_new) = programmed();
        is_new && (status.as_str(), reason.as_str()) == ("True", "Programmed")
    };
    eventually("programmed", is_programmed);

    // Somebody else has the port, which no resource tells.
    let taken = ports::free();
    let squatter = TcpListener::bind(("127.0.0.1", taken)).expect("a free port");
    listens_on(taken);
    eventually("refused", || {
        let (status, reason, message, is_new) = programmed();
        is_new && (status.as_str(), reason.as_str()) == ("False", "Invalid") && message.contains("Envoy refuses it")
    });
    let (.., message, _) = programmed();
    let said = rejection(&world);
    assert!(said.contains("Address already in use") && message.contains(&said), "{message}: {said}");
    assert!(message.contains(&format!("default/mcp-gateway/{taken}")), "which resource it is: {message}");
    let accepted = world.condition("gateway", "mcp-gateway", "Accepted");
    assert_eq!(accepted, ("True".to_owned(), "Accepted".to_owned()), "it is valid all the same");
    assert_eq!(world.ask(&ops, "add").text, OK, "what Envoy has taken over is served on");

    // Another port, which Envoy takes.
    drop(squatter);
    let free = ports::free();
    listens_on(free);
    eventually("programmed again", is_programmed);
    let url = format!("http://127.0.0.1:{free}/mcp");
    eventually("served", || {
        let answer = http::post(&http::client(), &url, call("add")).bearer_auth(&ops).send();
        answer.is_ok_and(|answer| answer.status() == 200)
    });
}

/// What Envoy said of the listeners that it refused last.
fn rejection(world: &World) -> String {
    let clients: Value = world.toolward.get("/clients").json();
    let said = &clients[0]["types"]["Listener"]["lastRejection"]["message"];
    said.as_str().unwrap_or_else(|| panic!("no rejection: {clients:#}")).to_owned()
}
