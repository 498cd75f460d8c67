//! Chains in turn, round by round, so that what disturbs one disturbs all.

use std::time::{Duration, Instant};

use crate::chain::Chain;
use crate::load::{self, Requests};
use crate::process;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rounds {
    pub(crate) count: usize,
    /// Of each chain in each round.
    pub(crate) requests: usize,
}

/// Many clients at once, as a worker has.
const CONNECTIONS: usize = 16;

/// What one chain cost in each round.
#[derive(Clone, Debug)]
pub(crate) struct Cost {
    name: &'static str,
    /// CPU time of Envoy for a request, in microseconds.
    cpu: Vec<f64>,
    /// Requests in a second.
    rate: Vec<f64>,
}

impl Cost {
    /// CPU time for a request, in microseconds.
    pub(crate) fn micros(&self) -> f64 {
        median(self.cpu.clone())
    }

    /// How many times as much as the other in the same round.
    pub(crate) fn ratio(&self, other: &Self) -> f64 {
        median(self.cpu.iter().zip(&other.cpu).map(|(own, other)| own / other).collect())
    }
}

/// Sends each chain its requests in turn. The first round warms up.
pub(crate) async fn measure(rounds: Rounds, chains: &[(&Chain, &Requests)]) -> Vec<Cost> {
    let of = |(chain, _): &(&Chain, _)| Cost { name: chain.name, cpu: Vec::new(), rate: Vec::new() };
    let mut costs: Vec<Cost> = chains.iter().map(of).collect();
    for round in 0..=rounds.count {
        for ((chain, requests), cost) in chains.iter().zip(&mut costs) {
            let (cpu, start) = (process::cpu(chain.pid), Instant::now());
            load::run(chain.port, requests, CONNECTIONS.min(rounds.requests), rounds.requests).await;
            let (cpu, took) = (process::cpu(chain.pid) - cpu, start.elapsed());
            if round > 0 {
                cost.cpu.push(each(cpu, rounds.requests) * 1e6);
                cost.rate.push(1.0 / each(took, rounds.requests));
            }
        }
    }
    for cost in &costs {
        println!("    {:<20} {:>9.1} us CPU {:>9.0} requests/s", cost.name, cost.micros(), median(cost.rate.clone()));
    }
    costs
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn each(whole: Duration, count: usize) -> f64 {
    whole.as_secs_f64() / count as f64
}

/// The middle of some values.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The value below which 99 of 100 are.
pub(crate) fn p99(mut values: Vec<Duration>) -> Duration {
    values.sort_unstable();
    values[values.len() * 99 / 100]
}
