//! Changes take effect on a running Envoy and disturb nobody.

use std::io::Read;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use reqwest::blocking::Body;
use toolward_tests::http::{self, call};
use toolward_tests::process::eventually;
use toolward_tests::stack::{OPS_MAY_ADD, Stack, policy, route};
use toolward_tests::stream::Stream;
use toolward_tests::upstream::{OK, Upstream};

const NOBODY: &str = "[]";
const ALL: &str = "[{ name: all, tools: ['*'] }]";

#[test]
fn an_open_stream_lives_for_as_long_as_its_route_does() {
    let upstream = Upstream::start();
    let stack = Stack::start(upstream.port, OPS_MAY_ADD);
    let ops = stack.issuer.of_team("ops");
    let stream = Stream::open("a stream", stack.client.get(stack.url()).bearer_auth(&ops));
    stream.goes_on("the start");
    stack.set_rules(NOBODY);
    eventually("denied", || stack.ask(&ops, call("add")).code() == Some(-32602));
    stream.goes_on("a change of policy");
    stack.folder.write("route.yaml", &rules(&["/elsewhere", "/mcp"], ""));
    let elsewhere = format!("http://127.0.0.1:{}/elsewhere", stack.port);
    let elsewhere = || http::send(http::post(&stack.client, &elsewhere, call("add")).bearer_auth(&ops));
    eventually("one more rule", || elsewhere().status == 200);
    stream.goes_on("a rule in front of its own");
    stack.folder.write("route.yaml", &route("/elsewhere"));
    stream.ends("the end of its path");
    assert_eq!(stack.ask(&ops, call("add")).status, 404);
    assert_eq!(elsewhere().code(), Some(-32602), "the policy is attached to the route");
    assert_eq!(stack.envoy.stat("listener_manager.listener_modified"), 0);
    assert_eq!(stack.envoy.stat("listener_manager.total_listeners_draining"), 0);
}

#[test]
fn a_stream_ends_when_its_route_loses_its_host() {
    let upstream = Upstream::start();
    let stack = Stack::start(upstream.port, OPS_MAY_ADD);
    let ops = stack.issuer.of_team("ops");
    let on = |hosts: &str| route("/mcp").replace("  rules:", &format!("  hostnames: [{hosts}]\n  rules:"));
    let get = |host: &str| stack.client.get(stack.url()).bearer_auth(&ops).header("host", host);
    stack.folder.write("route.yaml", &on("a.test, b.test"));
    eventually("two hosts alone", || stack.ask(&ops, call("add")).status == 404);
    let (of_a, of_b) = (Stream::open("a stream of a", get("a.test")), Stream::open("a stream of b", get("b.test")));
    of_a.goes_on("the start");
    stack.folder.write("route.yaml", &on("b.test"));
    of_a.ends("the end of its host");
    of_b.goes_on("the end of the other's host");
}

/// What is under way is judged by what its own rule has by then, whatever stands in the rule's old place.
#[test]
fn what_is_under_way_follows_its_rule_and_not_its_place() {
    let upstream = Upstream::start();
    let stack = Stack::start(upstream.port, ALL);
    let ops = stack.issuer.of_team("ops");
    let gates = gate("strict", "[add]") + &gate("loose", "['*']");
    stack.folder.write("route.yaml", &rules(&["/strict", "/loose"], &gates));
    let url = |path: &str| format!("http://127.0.0.1:{}{path}", stack.port);
    let ask = |path: &str| http::send(http::post(&stack.client, &url(path), call("multiply")).bearer_auth(&ops)).text;
    eventually("two rules", || ask("/loose") == OK && ask("/strict") != OK);

    // Each change gives all routes other keys, and the loose rule the strict one's place.
    let outer = gate("outer", "['*']")
        .replace("sectionName: outer", "")
        .replace("HTTPRoute, name: math", "Gateway, name: mcp-gateway");
    let worlds = [
        (vec!["/loose", "/strict"], gates.clone() + &outer),
        (vec!["/new", "/loose", "/strict"], gates.clone()),
        (vec!["/loose", "/strict", "/new"], gates.clone() + &outer),
        (vec!["/strict", "/loose"], gates.clone()),
    ];
    let lists = |path: &str| stack.client.get(url(path)).bearer_auth(&ops).header("x-stream", "lists");
    let of_strict = Stream::open("a stream of the strict rule", lists("/strict"));
    let of_loose = Stream::open("a stream of the loose rule", lists("/loose"));
    for (index, (paths, policies)) in worlds.into_iter().enumerate() {
        let held_back = ["/strict", "/loose"].map(|path| HeldBack::begin(&stack, &url(path), &ops));
        let _ = upstream.take_recorded();
        let has_outer = policies.contains("name: outer");
        stack.folder.write("route.yaml", &rules(&paths, &policies));
        eventually("the change", || stack.envoy.admin("/config_dump").contains("default/outer") == has_outer);
        let [strict, loose] = held_back.map(HeldBack::end);
        assert_ne!(strict, OK, "change {index}");
        assert_eq!(loose, OK, "change {index}");
        assert_eq!(upstream.take_recorded().len(), 1, "change {index}: the one of the loose rule");
        of_strict.goes_on("the change");
        of_loose.goes_on("the change");
    }
    let shown = |stream: &Stream, tool: &str| stream.seen().events.iter().filter(|event| event.contains(tool)).count();
    assert_eq!(shown(&of_strict, "multiply"), 0);
    assert_eq!(shown(&of_loose, "multiply"), of_loose.seen().events.len());
}

/// The HTTPRoute `default/math` with a rule for each path, named like it, and what else is in its file.
fn rules(paths: &[&str], more: &str) -> String {
    let route = route("/mcp");
    let (head, rule) = route.split_once("  - ").expect("a rule");
    let rules = paths.iter().map(|path| {
        let rule = rule.replace("value: /mcp", &format!("value: {path}"));
        format!("  - name: {}\n    {rule}", path.trim_start_matches('/'))
    });
    format!("{head}{}{more}", rules.collect::<String>())
}

/// A policy of one rule of the HTTPRoute that grants these tools.
fn gate(rule: &str, tools: &str) -> String {
    format!(
        "---
apiVersion: toolward.dev/v1alpha1
kind: MCPAccessPolicy
metadata: {{ name: {rule} }}
spec:
  targetRefs: [{{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: math, sectionName: {rule} }}]
  authorization:
    rules: [{{ name: all, tools: {tools} }}]
"
    )
}

/// A call whose body has begun.
struct HeldBack {
    rest: Sender<Vec<u8>>,
    answer: JoinHandle<String>,
    text: String,
}

impl HeldBack {
    fn begin(stack: &Stack, url: &str, token: &str) -> Self {
        let (rest, body) = channel();
        let text = call("multiply");
        let request = http::post(&stack.client, url, "").bearer_auth(token).body(Body::new(Chunks(body)));
        let active = format!("http.default/mcp-gateway/{}.downstream_rq_active", stack.port);
        let before = stack.envoy.stat(&active);
        let answer = std::thread::spawn(move || http::send(request).text);
        rest.send(text.as_bytes()[..10].to_vec()).expect("a request");
        eventually("the body's beginning", || stack.envoy.stat(&active) > before);
        Self { rest, answer, text }
    }

    fn end(self) -> String {
        self.rest.send(self.text.as_bytes()[10..].to_vec()).expect("a request");
        drop(self.rest);
        self.answer.join().expect("an answer")
    }
}

/// What is sent is a body.
struct Chunks(Receiver<Vec<u8>>);

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let Ok(piece) = self.0.recv() else { return Ok(0) };
        buffer[..piece.len()].copy_from_slice(&piece);
        Ok(piece.len())
    }
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
