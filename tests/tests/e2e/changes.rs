//! Changes take effect on a running Envoy and disturb nobody.

use toolward_tests::http::{self, call};
use toolward_tests::process::eventually;
use toolward_tests::stack::{OPS_MAY_ADD, Stack, policy, route};
use toolward_tests::stream::Stream;
use toolward_tests::upstream::{OK, Upstream};

const NOBODY: &str = "[]";

#[test]
fn an_open_stream_lives_through_changes_of_policy_and_route() {
    let upstream = Upstream::start();
    let stack = Stack::start(upstream.port, OPS_MAY_ADD);
    let ops = stack.issuer.of_team("ops");
    let stream = Stream::open("a stream", stack.client.get(stack.url()).bearer_auth(&ops));
    stream.goes_on("the start");
    stack.set_rules(NOBODY);
    eventually("denied", || stack.ask(&ops, call("add")).code() == Some(-32602));
    stream.goes_on("a change of policy");
    stack.folder.write("route.yaml", &route("/elsewhere"));
    eventually("moved", || stack.ask(&ops, call("add")).status == 404);
    stream.goes_on("a change of route");
    let moved = http::post(&stack.client, &format!("http://127.0.0.1:{}/elsewhere", stack.port), call("add"));
    assert_eq!(http::send(moved.bearer_auth(&ops)).code(), Some(-32602), "the policy is attached to the route");
    // Nobody protects the server any more, so that nothing may pass.
    stack.folder.remove("policy.yaml");
    stream.ends("the end of the policy");
    assert_eq!(stack.envoy.stat("listener_manager.listener_modified"), 0);
    assert_eq!(stack.envoy.stat("listener_manager.total_listeners_draining"), 0);
}

#[test]
fn a_thousand_requests_during_fifty_changes_see_only_old_or_new_answers() {
    let upstream = Upstream::start();
    let stack = Stack::start(upstream.port, OPS_MAY_ADD);
    let ops = stack.issuer.of_team("ops");
    let jwks = stack.issuer.jwks();
    let on_gateway = |policy: String| policy.replace("kind: HTTPRoute, name: math", "kind: Gateway, name: mcp-gateway");
    let worlds = [
        (false, policy(&jwks, NOBODY)),
        (true, on_gateway(policy(&jwks, OPS_MAY_ADD))),
        (false, on_gateway(policy(&jwks, NOBODY))),
        (true, policy(&jwks, OPS_MAY_ADD)),
    ];
    let mut answered = 0;
    for change in 0..50 {
        let (granted, world) = &worlds[change % worlds.len()];
        stack.folder.write("policy.yaml", world);
        let (mut asked, mut in_force) = (0, false);
        // At least so many requests per change, and until it is in force; then the old answer never comes again.
        eventually(&format!("change {change} in force, and 20 requests"), || {
            let answer = stack.ask(&ops, call("add"));
            let is_granted = match answer.text.as_str() {
                OK => true,
                _ if answer.status == 200 && answer.code() == Some(-32602) => false,
                _ => panic!("during change {change}: {answer:?}"),
            };
            assert!(!in_force || is_granted == *granted, "change {change} was taken back");
            in_force = is_granted == *granted;
            asked += 1;
            asked >= 20 && in_force
        });
        answered += asked;
    }
    assert!(answered >= 1000, "{answered}");
    let listener = format!("http.default/mcp-gateway/{}", stack.port);
    assert!(
        stack.envoy.stat(&format!("{listener}.downstream_rq_2xx")) >= 1000,
        "{}",
        stack.envoy.admin("/stats?filter=downstream_rq")
    );
    assert_eq!(stack.envoy.stat(&format!("{listener}.downstream_rq_5xx")), 0);
    assert_eq!(stack.envoy.stat("listener_manager.listener_modified"), 0);
}
