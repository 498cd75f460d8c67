//! Hundreds of thousands of hostile requests: the VM is the same one, and no larger, and others are served. `FLOOD` says how
//! many.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use toolward_policy::mcp::message::Message;
use toolward_tests::hostile::{Case, Ending, Target, cases, flood};
use toolward_tests::http::{self, call};
use toolward_tests::servers::Era;
use toolward_tests::stack::{Stack, policy};
use toolward_tests::tools::root;
use toolward_tests::toolward::{AUDIENCE, ISSUER, Issuer};
use toolward_tests::upstream::{OK, Upstream};

use crate::signer::Signer;

/// Growth that is allowed after the first part, which fills caches and buffers.
const GROWTH_MIB: u64 = 8;

const RULES: &str = "[{ name: add, tools: [add] }]";

#[test]
fn the_vm_holds() {
    let count: usize = std::env::var("FLOOD").map_or(20_000, |count| count.parse().expect("FLOOD is a number"));
    let signer = Signer::Es256;
    let jwks = json!({ "keys": [signer.jwk("k")] }).to_string();
    let upstream = Upstream::start();
    let stack = Stack::with_policy(upstream.port, Issuer::new("ES256"), &policy(&jwks, RULES));
    let good = token(signer, "good");
    let requests = requests(&stack, signer, &good);
    let host = format!("127.0.0.1:{}", stack.port);
    let created = || stack.envoy.stat("wasm.envoy.wasm.runtime.v8.created");
    let alone = latencies(&stack, &good, Until::Count(200));

    let warm = flood(&host, &requests, count / 4, 4);
    let (vms, before) = (created(), stack.envoy.process.resident_mib());
    let done = AtomicBool::new(false);
    let (flooded, meanwhile) = thread::scope(|scope| {
        let client = scope.spawn(|| latencies(&stack, &good, Until::Done(&done)));
        let flooded = flood(&host, &requests, count - count / 4, 4);
        done.store(true, Ordering::Relaxed);
        (flooded, client.join().expect("no panic"))
    });
    let after = stack.envoy.process.resident_mib();
    let rate = flooded.answered as f64 / flooded.took.as_secs_f64();
    println!(
        "{count} hostile requests ({} kinds), {rate:.0} a second: {before} MiB after the first {}, {after} MiB in the end, {vms} VMs",
        requests.len(),
        warm.answered,
    );
    println!("a good client alone: {}; meanwhile: {}", shown(&alone), shown(&meanwhile));
    assert!(vms > 0, "VMs are counted: {}", stack.envoy.admin("/stats?filter=wasm"));
    assert_eq!(created(), vms, "the VMs are the same");
    assert!(after <= before + GROWTH_MIB, "{before} to {after} MiB");
    for recorded in upstream.take_recorded() {
        let message = Message::parse(&recorded.body).expect("what passes is a message");
        let targets = message.request().map_or(&[][..], |request| &request.targets);
        assert!(targets.iter().all(|target| target.name() == "add"), "{targets:?}");
    }
    assert_eq!(http::send(stack.post(call("add")).bearer_auth(&good)).text, OK);
}

/// All hostile requests that fit on a connection that stays open; and distinct tokens and sessions, good and bad ones.
fn requests(stack: &Stack, signer: Signer, good: &str) -> Vec<Vec<u8>> {
    let target = |token: &str, session: Option<String>| Target {
        host: format!("127.0.0.1:{}", stack.port),
        path: "/mcp".to_owned(),
        token: token.to_owned(),
        granted: "add".to_owned(),
        forbidden: "multiply".to_owned(),
        arguments: r#"{"a":6,"b":7}"#.to_owned(),
        era: Era::Legacy,
        session,
    };
    let open = |request: Vec<u8>| {
        let text = b"connection: close\r\n";
        let at = request.windows(text.len()).position(|window| window == text);
        at.map_or(request.clone(), |at| [&request[..at], &request[at + text.len()..]].concat())
    };
    let all = cases(&root().join("tests/hostile"));
    let fits = |case: &&Case| {
        let size = case.render(&target(good, None)).len();
        case.ending() == Ending::Sure && case.family != "framing" && size < 64 * 1024 && case.is_of(Era::Legacy)
    };
    let mut requests: Vec<Vec<u8>> =
        all.iter().filter(fits).map(|case| open(case.render(&target(good, None)))).collect();
    let forbidden: Case =
        serde_json::from_value(json!({ "name": "forbidden", "params": r#""name":"$FORBIDDEN""# })).expect("a case");
    for index in 0..2000 {
        // More than are remembered; every second one with a session that nobody opened, every third one forged.
        let mut own = token(signer, &format!("caller-{index}"));
        if index % 3 == 0 {
            own.truncate(own.len() - 4);
            own.push_str("AAAA");
        }
        let session = (index % 2 == 0).then(|| format!("session-{index}"));
        requests.push(open(forbidden.render(&target(&own, session))));
    }
    requests
}

fn token(signer: Signer, subject: &str) -> String {
    let header = json!({ "alg": signer.algorithm(), "kid": "k", "typ": "at+jwt" });
    signer.token(&header, &json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": subject, "exp": 4_000_000_000_u64 }))
}

enum Until<'d> {
    Count(usize),
    Done(&'d AtomicBool),
}

/// How long good calls take, sorted.
fn latencies(stack: &Stack, token: &str, until: Until<'_>) -> Vec<Duration> {
    let mut latencies = Vec::new();
    loop {
        let start = Instant::now();
        let answer = http::send(stack.post(call("add")).bearer_auth(token));
        latencies.push(start.elapsed());
        assert_eq!(answer.text, OK, "{answer:?}");
        let is_done = match &until {
            Until::Count(count) => latencies.len() >= *count,
            Until::Done(done) => done.load(Ordering::Relaxed),
        };
        if is_done {
            break;
        }
        thread::sleep(Duration::from_millis(2));
    }
    latencies.sort();
    latencies
}

fn shown(latencies: &[Duration]) -> String {
    let at = |share: usize| latencies[(latencies.len() - 1) * share / 100];
    format!("median {:?}, p99 {:?}, {} calls", at(50), at(99), latencies.len())
}
