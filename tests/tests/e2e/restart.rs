//! The control plane may die at any time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use toolward_tests::http::{self, call};
use toolward_tests::process::eventually;
use toolward_tests::stack::{OPS_MAY_ADD, Stack};
use toolward_tests::toolward::Toolward;
use toolward_tests::upstream::{OK, Upstream};

#[test]
fn kill_and_restart_under_load() {
    let upstream = Upstream::start();
    let mut stack = Stack::start(upstream.port, OPS_MAY_ADD);
    let ops = stack.issuer.of_team("ops");
    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let load = {
        let (stop, answered, url, token) = (Arc::clone(&stop), Arc::clone(&answered), stack.url(), ops.clone());
        std::thread::spawn(move || {
            let client = http::client();
            while !stop.load(Ordering::SeqCst) {
                let answer = http::send(http::post(&client, &url, call("add")).bearer_auth(&token));
                assert_eq!(answer.text, OK, "{answer:?}");
                answered.fetch_add(1, Ordering::SeqCst);
            }
        })
    };
    let goes_on = |after: &str| {
        let before = answered.load(Ordering::SeqCst);
        eventually(&format!("answers after {after}"), || answered.load(Ordering::SeqCst) > before + 100);
    };
    goes_on("the start");
    stack.toolward.process.kill();
    goes_on("the end of the control plane");
    let updates = updates(&stack);
    stack.toolward = Toolward::serve_on(stack.folder.path(), stack.toolward.xds, stack.toolward.admin);
    eventually("connected again", || has_everything(&stack.toolward));
    goes_on("the reconnection");
    assert_eq!(stack.toolward.metric("toolward_xds_resources_sent_total"), 0.0, "Envoy has everything already");
    assert_eq!(self::updates(&stack), updates, "Envoy was told nothing new");

    // And the new one is in charge.
    stop.store(true, Ordering::SeqCst);
    load.join().expect("no request failed");
    stack.set_rules("[]");
    eventually("a change after the restart", || stack.ask(&ops, call("add")).code() == Some(-32602));
    assert!(stack.toolward.metric("toolward_xds_resources_sent_total") > 0.0);
}

/// Whether the one Envoy said of each type that it has something, which is known of nothing but what it said.
fn has_everything(toolward: &Toolward) -> bool {
    let clients = toolward.get("/clients").json();
    ["Cluster", "Listener", "TypedExtensionConfig", "RouteConfiguration"].iter().all(|name| {
        let of_type = &clients[0]["types"][name];
        let count = |what: &str| of_type[what].as_object().map(serde_json::Map::len);
        count("accepted").is_some_and(|accepted| accepted > 0) && count("unanswered") == Some(0)
    })
}

/// How often Envoy took something over from the control plane.
fn updates(stack: &Stack) -> Vec<u64> {
    let listener = format!("default/mcp-gateway/{}", stack.port);
    let names = [
        "cluster_manager.cluster_added".to_owned(),
        "cluster_manager.cluster_modified".to_owned(),
        "listener_manager.listener_added".to_owned(),
        "listener_manager.listener_modified".to_owned(),
        format!("extension_config_discovery.http_filter.{listener}.config_reload"),
    ];
    names.iter().map(|name| stack.envoy.stat(name)).collect()
}
