//! A VM that traps is replaced within a second; nothing passes meanwhile, and everything works afterwards.

use std::time::{Duration, Instant};

use toolward_tests::http::{self, call};
use toolward_tests::probe::Probe;
use toolward_tests::process::eventually;
use toolward_tests::upstream::Upstream;

/// The longest that a worker is without a VM.
const WITHIN: Duration = Duration::from_millis(1500);

#[test]
fn a_trap_costs_less_than_a_second_and_lets_nothing_pass() {
    let upstream = Upstream::start();
    let probe = Probe::start(upstream.port);
    let ask = || http::post(&probe.client, &probe.url, call("add")).send().map(|answer| answer.status().as_u16());
    // Nobody has a token for the key of the example: what works is the refusal.
    assert_eq!(ask().expect("an answer"), 401);
    for round in 0..3 {
        let trap = http::post(&probe.client, &probe.url, call("add")).header("x-probe-trap", "1").send();
        let trapped = Instant::now();
        assert!(trap.is_ok_and(|answer| answer.status().is_server_error()), "round {round}");
        let mut between = Vec::new();
        eventually("the worker has a VM again", || match ask() {
            Ok(401) => true,
            Ok(status) => {
                between.push(status);
                false
            }
            Err(_) => false,
        });
        println!("round {round}: back after {:?}, {} requests refused meanwhile", trapped.elapsed(), between.len());
        assert!(trapped.elapsed() < WITHIN, "{:?}", trapped.elapsed());
        assert!(between.iter().all(|status| *status == 503 || *status == 500), "{between:?}");
    }
    assert!(upstream.take_recorded().is_empty(), "nothing passed");
    assert!(probe.envoy.process.log().contains("wasm"), "Envoy says so in its log");
}
