//! While policies can't be read, nothing that they could restrict gets looser.

use serde_json::Value;
use toolward_tests::process::eventually;
use toolward_tests::upstream::OK;

use crate::world::{World, open_route, policy, policy_of_route, replica, route};

/// The rights of toolward, without those to policies. Given back as they were.
fn without_policies(world: &World) -> (String, String) {
    let role = world.cluster.kubectl(&["get", "clusterrole", "toolward", "-o", "json"]);
    let mut without: Value = serde_json::from_str(&role).expect("JSON");
    for rule in without["rules"].as_array_mut().expect("rules") {
        let resources = rule["resources"].as_array_mut().expect("resources");
        resources.retain(|resource| resource != "mcpaccesspolicies");
    }
    without["metadata"]["resourceVersion"] = Value::Null;
    let mut role: Value = serde_json::from_str(&role).expect("JSON");
    role["metadata"]["resourceVersion"] = Value::Null;
    (without.to_string(), role.to_string())
}

#[test]
fn while_policies_can_not_be_read_what_is_new_is_closed() {
    let mut world = World::start();
    let ops = world.issuer.of_team("ops");
    // No policy on the Gateway, so that a Service's route is open where nobody protects it.
    world.cluster.apply(&policy_of_route("math", "math"));
    world.cluster.apply(&open_route("early"));
    eventually("open", || world.ask_anonymously("/early").text == OK);
    assert_eq!(world.ask(&ops, "add").text, OK);

    // The right is lost in an upgrade. A watch that stands is not asked again, so it is cut.
    let (without, with) = without_policies(&world);
    world.cluster.try_kubectl(&["replace", "-f", "-"], &without).expect("replaced");
    world.cluster.stop_server();
    world.cluster.start_server();
    eventually("it is noticed", || world.toolward.metric("toolward_unknown_kinds{kind=\"MCPAccessPolicy\"}") == 1.0);
    eventually("that kind alone", || world.toolward.metric("toolward_unknown_kinds") == 1.0);
    eventually("it is said", || {
        world.toolward.get("/ready").text.contains("not allowed to list and watch mcpaccesspolicies")
    });
    assert_eq!(world.toolward.get("/ready").status, 200, "what is known is served");

    // A route whose policy was applied before it.
    world.cluster.apply(&policy_of_route("late", "late"));
    world.cluster.apply(&open_route("late"));
    eventually("the new route is there", || world.is_closed("/late", "PoliciesUnknown"));
    // What was served goes on.
    assert_eq!(world.ask_anonymously("/early").text, OK);
    assert_eq!(world.ask(&ops, "add").text, OK);
    // A rule that is new in a route that was served.
    let more = open_route("early").replace("  rules:\n", "  rules:\n  - matches: [{ path: { type: PathPrefix, value: /more } }]\n    backendRefs: [{ name: math, port: 80 }]\n");
    world.cluster.apply(&more);
    eventually("the new rule is there", || world.is_closed("/more", "PoliciesUnknown"));
    assert_eq!(world.ask_anonymously("/early").text, OK, "the old one goes on");
    // Others' changes are taken: a server goes away.
    world.cluster.kubectl(&["delete", "httproute", "math"]);
    eventually("a route is gone", || world.ask(&ops, "add").status == 404);
    world.cluster.apply(&route("math", "default"));
    eventually("it is back as it was", || world.ask(&ops, "add").text == OK);
    // A replica that starts now serves nothing rather than half of it.
    let account = world.cluster.service_account("toolward-system", "toolward");
    let arguments = ["--provision", "false", "--namespace", "toolward-system", "--identity", "blind"];
    let blind = toolward_tests::toolward::Toolward::in_cluster(&account, &arguments);
    eventually("it says why", || blind.get("/ready").text.contains("mcpaccesspolicies"));
    assert_eq!(blind.get("/ready").status, 503);

    world.cluster.try_kubectl(&["replace", "-f", "-"], &with).expect("replaced");
    eventually("the policy is in force", || {
        let answer = world.ask_anonymously("/late");
        assert_ne!(answer.text, OK, "it is never open");
        answer.status == 401
    });
    eventually("what nobody protects is open", || world.ask_anonymously("/more").text == OK);
    eventually("nothing is unknown", || world.toolward.metric("toolward_unknown_kinds") == 0.0);
    eventually("ready, without more", || world.toolward.get("/ready").text == "ready\n");
    eventually("the other one starts", || blind.get("/ready").status == 200);
}

/// An API server that restarts makes all kinds unknown for a while, and nothing stays so.
#[test]
fn after_a_restart_of_the_api_server_all_is_known_again_soon() {
    let mut world = World::start();
    let two = replica(&world.cluster, "two");
    world.cluster.stop_server();
    eventually("it is noticed", || world.toolward.metric("toolward_unknown_kinds") > 10.0);
    world.cluster.start_server();
    let started = std::time::Instant::now();
    world.cluster.apply(&policy("[add]"));
    world.cluster.apply(&open_route("late"));
    eventually("protected by the Gateway's policy", || {
        let answer = world.ask_anonymously("/late");
        assert_ne!(answer.text, OK, "it is never open");
        answer.status == 401
    });
    println!("a new route is served {:?} after the API server is back", started.elapsed());
    eventually("all is known", || {
        [&world.toolward, &two].iter().all(|replica| replica.metric("toolward_unknown_kinds") == 0.0)
    });
}
