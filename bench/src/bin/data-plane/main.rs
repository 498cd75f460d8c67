//! What the filter costs: Envoys with different chains of filters, the same in all else, answer the same load in turn.
//!
//! ```text
//! workloads ─> rounds ─┬─> load ─ HTTP/1.1 ─> Envoy (a chain) ─ HTTP/1.1 ─> stub
//!                      └─> process: CPU time of that Envoy before and after
//! ```
//! Envoys run on one core, load and stub on the other, so that what is measured is saturated and nothing else is.
//! `FULL=1` measures longer, `ONLY=word` the workloads with this word in their name.

mod chain;
mod load;
mod native;
mod process;
mod rounds;
mod stub;
mod tokens;
mod workloads;
mod world;

use std::env;

fn main() {
    process::pin_self();
    let bench = workloads::Bench::new(env::var_os("FULL").is_some());
    let only = env::var("ONLY").unwrap_or_default();
    for (name, workload) in workloads::ALL {
        if name.contains(&only) {
            toolward_bench::report::add(&workload(&bench));
        }
    }
}
