//! What Envoy refuses is said where the user looks: in the status of the Gateway and of its listeners, whichever replica
//! the Envoy is connected to.

use std::net::TcpListener;

use serde_json::{Value, json};
use toolward_tests::cluster::NAMESPACE;
use toolward_tests::envoy::Envoy;
use toolward_tests::http::{self, call};
use toolward_tests::ports;
use toolward_tests::process::eventually;
use toolward_tests::toolward::Toolward;
use toolward_tests::upstream::OK;

use crate::outages::holder;
use crate::world::{World, replica};

#[test]
fn a_listener_that_envoy_can_not_open() {
    let world = World::start();
    let ops = world.issuer.of_team("ops");
    eventually("programmed", || is_programmed(&world));

    // Somebody else has the port, which no resource tells.
    let taken = ports::free();
    let squatter = TcpListener::bind(("127.0.0.1", taken)).expect("a free port");
    listens_on(&world, taken);
    eventually("refused", || is_refused(&world));
    let message = programmed(&world).message;
    let said = rejection(&world.toolward);
    assert!(said.contains("Address already in use") && message.contains(&said), "{message}: {said}");
    assert!(message.contains(&format!("default/mcp-gateway/{taken}")), "which resource it is: {message}");
    let accepted = world.condition("gateway", "mcp-gateway", "Accepted");
    assert_eq!(accepted, ("True".to_owned(), "Accepted".to_owned()), "it is valid all the same");
    assert_eq!(world.ask(&ops, "add").text, OK, "what Envoy has taken over is served on");

    // Another port, which Envoy takes.
    drop(squatter);
    let free = ports::free();
    listens_on(&world, free);
    eventually("programmed again", || is_programmed(&world));
    let url = format!("http://127.0.0.1:{free}/mcp");
    eventually("served", || {
        let answer = http::post(&http::client(), &url, call("add")).bearer_auth(&ops).send();
        answer.is_ok_and(|answer| answer.status() == 200)
    });
}

#[test]
fn an_envoy_of_a_replica_that_does_not_lead() {
    let mut world = World::start();
    eventually("the first one leads", || holder(&world) == "one");
    let mut second = replica(&world.cluster, "two");
    drop(world.envoy.take());
    let _envoy = Envoy::with_control_plane("default/mcp-gateway", second.xds);
    eventually("programmed", || is_programmed(&world));
    assert_eq!(leases(&world), [""; 0], "nothing is refused");

    let taken = ports::free();
    let squatter = TcpListener::bind(("127.0.0.1", taken)).expect("a free port");
    listens_on(&world, taken);
    eventually("refused", || is_refused(&world));
    let (message, said) = (programmed(&world).message, rejection(&second));
    assert!(message.contains(&said), "{message}: {said}");
    assert_eq!(leases(&world), ["two"]);
    assert_eq!(world.toolward.get("/clients").json(), json!([]), "the leader has no Envoy");
    listens_on(&world, ports::free());
    eventually("programmed again", || is_programmed(&world));
    eventually("nothing is refused any more", || leases(&world).is_empty());

    // A replica that dies takes its word with it.
    listens_on(&world, taken);
    eventually("refused again", || is_refused(&world));
    second.process.kill();
    eventually("its word counts no more", || is_programmed(&world));
    eventually("and is deleted", || leases(&world).is_empty());
    assert_eq!(holder(&world), "one");
    drop(squatter);
}

/// The Gateway has a second listener on this port.
fn listens_on(world: &World, second: u16) {
    let listener = |name: &str, port: u16| json!({ "name": name, "port": port, "protocol": "HTTP" });
    let listeners = json!({ "spec": { "listeners": [listener("mcp", world.port), listener("second", second)] } });
    world.cluster.kubectl(&["patch", "gateway", "mcp-gateway", "--type=merge", "-p", &listeners.to_string()]);
}

/// What the status says of being programmed.
struct Programmed {
    /// Status and reason, of the Gateway and then of each listener.
    all: Vec<(String, String)>,
    message: String,
    /// Whether it is said of the Gateway as it is now.
    is_new: bool,
}

fn programmed(world: &World) -> Programmed {
    let gateway = world.cluster.get("gateway", "default", "mcp-gateway");
    let found = |status: &Value| {
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        conditions.into_iter().find(|found| found["type"] == "Programmed").unwrap_or_default()
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let status = &gateway["status"];
    let listeners = status["listeners"].as_array().into_iter().flatten();
    let found: Vec<Value> = std::iter::once(status).chain(listeners).map(found).collect();
    Programmed {
        all: found.iter().map(|found| (text(&found["status"]), text(&found["reason"]))).collect(),
        message: text(&found[0]["message"]),
        is_new: found.iter().all(|found| found["observedGeneration"] == gateway["metadata"]["generation"]),
    }
}

fn is_programmed(world: &World) -> bool {
    let Programmed { all, is_new, .. } = programmed(world);
    is_new && all.iter().all(|(status, reason)| (status.as_str(), reason.as_str()) == ("True", "Programmed"))
}

/// The second listener is refused, and therefore the Gateway; the first one is not.
fn is_refused(world: &World) -> bool {
    let Programmed { all, message, is_new } = programmed(world);
    let all: Vec<&str> = all.iter().flat_map(|(status, reason)| [status.as_str(), reason.as_str()]).collect();
    is_new
        && all == ["False", "Invalid", "True", "Programmed", "False", "Invalid"]
        && message.contains("Envoy refuses it")
}

/// Who says that Envoys refuse something.
fn leases(world: &World) -> Vec<String> {
    let selected = ["get", "leases", "-n", NAMESPACE, "-l", "toolward.dev/holds=refusals", "-o", "json"];
    let leases: Value = serde_json::from_str(&world.cluster.kubectl(&selected)).expect("JSON");
    let holder = |lease: &Value| lease["spec"]["holderIdentity"].as_str().expect("a holder").to_owned();
    leases["items"].as_array().expect("a list").iter().map(holder).collect()
}

/// What Envoy said of the listeners that it refused last.
fn rejection(toolward: &Toolward) -> String {
    let clients: Value = toolward.get("/clients").json();
    let said = &clients[0]["types"]["Listener"]["lastRejection"]["message"];
    said.as_str().unwrap_or_else(|| panic!("no rejection: {clients:#}")).to_owned()
}
