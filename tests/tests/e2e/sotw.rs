//! An Envoy that asks for the state of the world in place of changes.

use std::net::TcpListener;

use serde_json::{Value, json};
use toolward_tests::envoy::Envoy;
use toolward_tests::http::{self, call};
use toolward_tests::ports;
use toolward_tests::process::eventually;
use toolward_tests::stack::{OPS_MAY_ADD, Stack, backend, gateway, route};
use toolward_tests::toolward::Toolward;
use toolward_tests::upstream::{OK, Upstream};

#[test]
fn changes_refusals_and_removals() {
    let (upstream, second) = (Upstream::start(), Upstream::start());
    let mut stack = Stack::start(upstream.port, OPS_MAY_ADD);
    stack.envoy.process.kill();
    stack.envoy = Envoy::with_state_of_the_world("default/mcp-gateway", stack.toolward.xds);
    let ops = stack.issuer.of_team("ops");
    let asked = || stack.post(call("add")).bearer_auth(&ops).send().ok();
    eventually("served", || asked().is_some_and(|answer| answer.status() == 200));
    let client = |toolward: &Toolward| -> Value { toolward.get("/clients").json()[0].clone() };
    eventually("the other Envoy is gone", || client(&stack.toolward)["protocol"] == "sotw");
    assert_eq!(stack.toolward.metric("toolward_xds_nacks_total"), 0.0);

    // Changes of policy, backend and route.
    stack.set_rules("[]");
    eventually("denied", || stack.ask(&ops, call("add")).code() == Some(-32602));
    stack.set_rules(OPS_MAY_ADD);
    eventually("granted", || stack.ask(&ops, call("add")).text == OK);
    stack.folder.write("backend.yaml", &backend(second.port));
    eventually("another server", || stack.ask(&ops, call("add")).text == OK && !second.take_recorded().is_empty());
    stack.folder.write("route.yaml", &route("/elsewhere"));
    eventually("moved", || stack.ask(&ops, call("add")).status == 404);
    stack.folder.write("route.yaml", &route("/mcp"));
    eventually("moved back", || stack.ask(&ops, call("add")).text == OK);

    // A listener that Envoy can't open: the whole set is refused, and what it had is served on.
    let listens_on = |second: u16| {
        let listeners = json!([
            { "name": "mcp", "port": stack.port, "protocol": "HTTP" },
            { "name": "second", "port": second, "protocol": "HTTP" },
        ]);
        let one = format!("[{{ name: mcp, port: {}, protocol: HTTP }}]", stack.port);
        let changed = gateway(stack.port).replace(&one, &listeners.to_string());
        assert_ne!(changed, gateway(stack.port));
        stack.folder.write("gateway.yaml", &changed);
    };
    let refused = || stack.toolward.metric("toolward_xds_nacks_total");
    let taken = ports::free();
    let squatter = TcpListener::bind(("127.0.0.1", taken)).expect("a free port");
    listens_on(taken);
    eventually("refused", || refused() > 0.0);
    let listeners = client(&stack.toolward)["types"]["Listener"].clone();
    let message = listeners["lastRejection"]["message"].as_str().expect("a message");
    assert!(message.contains("Address already in use"), "{message}");
    assert!(stack.toolward.process.log().contains("Address already in use"), "the log says it");
    assert_eq!(stack.ask(&ops, call("add")).text, OK, "what Envoy has is served on");
    assert!(refused() < 5.0, "what was refused is not sent again and again: {}", refused());
    stack.set_rules("[]");
    eventually("a change of another type", || stack.ask(&ops, call("add")).code() == Some(-32602));
    stack.set_rules(OPS_MAY_ADD);
    eventually("granted again", || stack.ask(&ops, call("add")).text == OK);

    // Another port, which Envoy takes; then it is gone from the set.
    drop(squatter);
    let free = ports::free();
    listens_on(free);
    let url = format!("http://127.0.0.1:{free}/mcp");
    let at_second = || http::post(&http::client(), &url, call("add")).bearer_auth(&ops).send();
    eventually("the second listener", || at_second().is_ok_and(|answer| answer.status() == 200));
    stack.folder.write("gateway.yaml", &gateway(stack.port));
    eventually("closed", || at_second().is_err());
    assert_eq!(stack.ask(&ops, call("add")).text, OK);

    // The control plane dies, and what it says after its return counts.
    stack.toolward.process.kill();
    assert_eq!(stack.ask(&ops, call("add")).text, OK);
    stack.toolward = Toolward::serve_on(stack.folder.path(), stack.toolward.xds, stack.toolward.admin);
    eventually("connected again", || stack.toolward.metric("toolward_xds_streams") >= 1.0);
    assert_eq!(stack.ask(&ops, call("add")).text, OK);
    stack.set_rules("[]");
    eventually("a change after the return", || stack.ask(&ops, call("add")).code() == Some(-32602));
    assert_eq!(stack.toolward.metric("toolward_xds_nacks_total"), 0.0);
}
