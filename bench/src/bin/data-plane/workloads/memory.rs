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
    let plain = Chain::of("plain", &world, Vec::new());
    let toolward = Chain::toolward("toolward", &world);
    bench.run(measured(bench, &plain, &toolward))
}

async fn measured(bench: &Bench, plain: &Chain, toolward: &Chain) -> Vec<Row> {
    let _stub = bench.stub(called());
    let tokens = bench.issuer.tokens(Algorithm::ES256, 2_048);
    let all = Requests::new(tokens.iter().map(|token| post(token, &call(10))));
    let known = again(&bench.token(), &call(10));
    let requests = if bench.full { 2_500_000 } else { 50_000 };
    for chain in [plain, toolward] {
        load::run(chain.port, &all, 16, 4_096).await;
        load::run(chain.port, &known, 16, requests / 4).await;
    }
    let warm = resident_kib(toolward.pid);
    let beyond = warm.saturating_sub(resident_kib(plain.pid));
    load::run(toolward.port, &known, 16, requests).await;
    let grown = resident_kib(toolward.pid).saturating_sub(warm);
    println!("    warm {warm} KiB, {beyond} KiB beyond plain, {grown} KiB more after {requests} requests");
    vec![
        row("memory", "memory of a worker beyond plain, cache full", "MiB", mib(beyond), Some(24.0)),
        row("memory", "memory grown by more requests", "MiB", mib(grown), Some(1.0)),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
pub(super) fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
