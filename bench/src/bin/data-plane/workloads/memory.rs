//! Memory of a worker, and whether it grows.

use toolward_bench::report::Row;

use super::{Bench, again, call, called, row};
use crate::chain::Chain;
use crate::load::{self, Requests, post};
use crate::process::resident_kib;
use crate::tokens::Algorithm;

pub(super) fn run(bench: &Bench) -> Vec<Row> {
    println!("memory");
    let world = bench.world(super::RULES);
    let without = world.with_filters(Vec::new());
    // What the first worker needs, others share: the compiled module above all.
    let plain = [1, 3].map(|workers| Chain::with_workers("plain", &without, workers));
    let toolward = [1, 3].map(|workers| Chain::with_workers("toolward", &world, workers));
    bench.run(measured(bench, &plain, &toolward))
}

async fn measured(bench: &Bench, plain: &[Chain; 2], toolward: &[Chain; 2]) -> Vec<Row> {
    let _stub = bench.stub(called());
    let tokens = bench.issuer.tokens(Algorithm::ES256, 2_048);
    let all = Requests::new(tokens.iter().map(|token| post(token, &call(10))));
    let known = again(&bench.token(), &call(10));
    let requests = if bench.full { 10_000_000 } else { 50_000 };
    for chain in plain.iter().chain(toolward) {
        // Enough connections and tokens for all workers.
        load::run(chain.port, &all, 48, 4 * 2_048).await;
        load::run(chain.port, &known, 48, 12_000).await;
    }
    let sizes = |chains: &[Chain; 2]| [resident_kib(chains[0].pid), resident_kib(chains[1].pid)];
    let ([one_plain, three_plain], [one, three]) = (sizes(plain), sizes(toolward));
    let beyond = one.saturating_sub(one_plain);
    let each = three.saturating_sub(three_plain).saturating_sub(beyond) / 2;
    load::run(toolward[0].port, &known, 16, requests).await;
    let grown = resident_kib(toolward[0].pid).saturating_sub(one);
    println!("    plain {one_plain} KiB, toolward {one} KiB, each more worker {each} KiB beyond plain");
    println!("    {grown} KiB more after {requests} requests");
    vec![
        row("memory", "memory of each worker beyond plain, cache full", "MiB", mib(each), Some(24.0)),
        row("memory", "memory of the first worker beyond plain, with what all share", "MiB", mib(beyond), None),
        row("memory", "memory grown by more requests", "MiB", mib(grown), Some(1.0)),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
pub(super) fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
