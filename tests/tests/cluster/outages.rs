//! What goes away comes back, and nobody notices.

use std::time::{Duration, Instant};

use toolward_tests::process::eventually;
use toolward_tests::upstream::OK;

use crate::world::{World, policy, replica};

#[test]
fn the_leader_dies() {
    let mut world = World::start();
    let ops = world.issuer.of_team("ops");
    eventually("the first one leads", || holder(&world) == "one");
    let second = replica(&world.cluster, "two");
    world.toolward.process.kill();
    let died = Instant::now();
    assert_eq!(world.ask(&ops, "add").text, OK, "Envoy goes on");
    // A change that only a leader can tell.
    world.cluster.apply(&policy("[add]").replace("name: login-keys", "name: nowhere"));
    eventually("the other one writes", || {
        world.has_condition("mcpaccesspolicy", "math", "ResolvedRefs", "False", "KeySetNotFound")
    });
    assert!(died.elapsed() < Duration::from_secs(20), "{:?}", died.elapsed());
    assert_eq!(holder(&world), "two");
    drop(second);
}

fn holder(world: &World) -> String {
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
