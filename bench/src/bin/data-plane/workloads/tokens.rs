//! Tokens that were never seen: good ones, and a flood of forged ones.

use std::time::Duration;

use toolward_bench::report::Row;

use super::{Bench, again, call, called, row};
use crate::load::{self, Requests, get, post};
use crate::rounds::{measure, median, p99};
use crate::tokens::{Algorithm, forged};

/// More than a cache holds: sent in turn, each is forgotten before it comes again.
const TOKENS: usize = 2_500;

pub(super) fn run(bench: &Bench) -> Vec<Row> {
    bench.run(measured(bench))
}

async fn measured(bench: &Bench) -> Vec<Row> {
    let _stub = bench.stub(called());
    let row = |name: &str, value, target| row("tokens", name, "ratio", value, target);
    let mut rows = Vec::new();
    for algorithm in [Algorithm::RS256, Algorithm::ES256] {
        println!("every token new, {algorithm:?}");
        let tokens = bench.issuer.tokens(algorithm, TOKENS);
        let new = || Requests::new(tokens.iter().map(|token| post(token, &call(10))));
        let (own, native, jwt) = (new(), new(), new());
        let chains = [(&bench.toolward, &own), (&bench.native_uncached, &native), (&bench.jwt, &jwt)];
        let costs = measure(bench.rounds(TOKENS), &chains).await;
        let ratio = costs[0].ratio(&costs[1]);
        rows.push(row(&format!("new token, {algorithm:?}: of native"), ratio, Some(0.85)));
        println!("every token forged, {algorithm:?}");
        let good = Requests::new(tokens.iter().map(|token| get(token)));
        let forged = tokens.iter().enumerate().map(|(number, token)| get(&forged(token, number)));
        let forged = Requests::new(forged).answered(401);
        let chains = [(&bench.toolward, &good), (&bench.toolward, &forged)];
        let costs = measure(bench.rounds(TOKENS), &chains).await;
        rows.push(row(&format!("forged token, {algorithm:?}: of new token"), costs[1].ratio(&costs[0]), Some(1.0)));
        if matches!(algorithm, Algorithm::RS256) {
            let ratio = flooded(bench, &forged).await;
            rows.push(row("p99 of others under 2,000 forged/s: of quiet", ratio, Some(1.5)));
        }
    }
    rows
}

/// How many times as long the slowest answers to others take while somebody sends 2,000 forged tokens in a second.
async fn flooded(bench: &Bench, forged: &Requests) -> f64 {
    let rounds = if bench.full { 25 } else { 5 };
    let (port, own) = (bench.toolward.port, again(&bench.token(), &call(10)));
    let others = || load::paced(port, &own, Duration::from_millis(1), 1_000);
    let mut ratios = Vec::new();
    for _ in 0..rounds {
        let quiet = p99(others().await);
        let flood = load::paced(port, forged, Duration::from_micros(500), 2_000);
        let (_, flooded) = tokio::join!(flood, others());
        let flooded = p99(flooded);
        println!("    p99 quiet {quiet:?}, flooded {flooded:?}");
        ratios.push(flooded.as_secs_f64() / quiet.as_secs_f64());
    }
    median(ratios)
}
