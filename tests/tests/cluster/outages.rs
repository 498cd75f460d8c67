//! What goes away comes back, and nobody notices.

use std::time::{Duration, Instant};

use toolward_tests::envoy::Envoy;
use toolward_tests::ports;
use toolward_tests::process::eventually;
use toolward_tests::upstream::OK;

use crate::world::{World, policy, replica_on};

#[test]
fn the_leader_dies() {
    let mut world = World::start();
    let ops = world.issuer.of_team("ops");
    eventually("the first one leads", || holder(&world) == "one");
    // An Envoy that knows both replicas, of which only the leader is there yet.
    drop(world.envoy.take());
    let (xds, admin) = (ports::free(), ports::free());
    world.envoy = Some(Envoy::with_control_planes("default/mcp-gateway", &[world.toolward.xds, xds]));
    eventually("Envoy is with the leader", || world.ask(&ops, "add").text == OK);
    let second = replica_on(&world.cluster, "two", xds, admin);
    assert_eq!([&world.toolward, &second].map(|replica| replica.metric("toolward_xds_streams")), [1.0, 0.0]);

    world.toolward.process.kill();
    let died = Instant::now();
    assert_eq!(world.ask(&ops, "add").text, OK, "Envoy goes on");
    // A change reaches Envoy from the other replica, leader or not, and no request goes wrong meanwhile.
    world.cluster.apply(&policy("[echo]"));
    eventually("a change is in force", || {
        let answer = world.ask(&ops, "add");
        let denied = answer.code() == Some(-32602);
        assert!(denied || answer.text == OK, "{answer:?}");
        denied
    });
    println!("a change was in force {:?} after the leader died, led by {}", died.elapsed(), holder(&world));
    assert_eq!(second.metric("toolward_xds_streams"), 1.0);
    // A change that only a leader can tell.
    world.cluster.apply(&policy("[add]").replace("name: login-keys", "name: nowhere"));
    eventually("the other one writes", || {
        world.has_condition("mcpaccesspolicy", "math", "ResolvedRefs", "False", "KeySetNotFound")
    });
    println!("its statuses were written {:?} after it died", died.elapsed());
    assert!(died.elapsed() < Duration::from_secs(20), "{:?}", died.elapsed());
    assert_eq!(holder(&world), "two");
}

pub(crate) fn holder(world: &World) -> String {
    let lease = world.cluster.try_kubectl(&["get", "lease", "-n", "toolward-system", "toolward", "-o", "json"], "");
    let lease: serde_json::Value = serde_json::from_str(&lease.unwrap_or_default()).unwrap_or_default();
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn the_api_server_is_away_for_a_minute() {
    let mut world = World::start();
    let ops = world.issuer.of_team("ops");
    assert_eq!(world.toolward.metric("toolward_source_stale_seconds"), 0.0);
    world.cluster.stop_server();
    let stopped = Instant::now();
    eventually("it is noticed", || world.toolward.metric("toolward_source_stale_seconds") > 0.0);
    while stopped.elapsed() < Duration::from_secs(60) {
        assert_eq!(world.ask(&ops, "add").text, OK);
        assert_eq!(world.toolward.get("/ready").status, 200);
        std::thread::sleep(Duration::from_millis(250));
    }
    assert!(world.toolward.metric("toolward_source_stale_seconds") > 30.0);
    world.cluster.start_server();
    world.cluster.apply(&policy("[echo]"));
    eventually("a change is in force", || world.ask(&ops, "add").code() == Some(-32602));
    eventually("all is well", || world.toolward.metric("toolward_source_stale_seconds") == 0.0);
}

#[test]
fn the_control_plane_restarts_amid_changes() {
    let mut world = World::start();
    let ops = world.issuer.of_team("ops");
    for round in 0..5 {
        let tools = if round % 2 == 0 { "[echo]" } else { "[add, echo]" };
        world.cluster.apply(&policy(tools));
        world.toolward.process.kill();
        let answer = world.ask(&ops, "echo");
        assert_eq!(answer.text, OK, "{answer:?}");
        let (xds, admin) = (world.toolward.xds, world.toolward.admin);
        world.toolward = restart(&world, xds, admin);
        let expected = (round % 2 == 1).then(|| OK.to_owned());
        eventually("the change is in force", || {
            let answer = world.ask(&ops, "add");
            expected.as_ref().map_or(answer.code() == Some(-32602), |ok| answer.text == *ok)
        });
    }
}

fn restart(world: &World, xds: u16, admin: u16) -> toolward_tests::toolward::Toolward {
    restart_with(world, xds, admin, &[])
}

/// The same replica on the same ports, with more arguments.
pub(crate) fn restart_with(world: &World, xds: u16, admin: u16, more: &[&str]) -> toolward_tests::toolward::Toolward {
    let account = world.cluster.kubeconfig("toolward-system-toolward");
    let arguments = ["--provision", "false", "--namespace", "toolward-system", "--identity", "one"];
    let arguments = [&arguments, more].concat();
    let toolward = toolward_tests::toolward::Toolward::in_cluster_on(&account, xds, admin, &arguments);
    toolward.wait_until_ready();
    toolward
}
