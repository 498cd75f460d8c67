//! What a filter costs that judges nothing, and what each call to the host costs: `filter/examples/floor.rs`.

use toolward_bench::report::Row;
use toolward_tests::tools::tools;

use super::{Bench, again, call, called, row};
use crate::chain::Chain;
use crate::rounds::{Cost, measure};

/// Calls to the host, as the example names them, and what a row says of them.
const CALLS: [(&str, &str); 7] = [
    ("property", "the route's metadata"),
    ("headers", "the request's headers"),
    ("edit", "a header removed"),
    ("body", "a body"),
    ("time", "the time"),
    ("count", "a counter"),
    ("log", "a field of the access log"),
];

/// How often each call is made for a request.
const TIMES: u32 = 10;

pub(super) fn run(bench: &Bench) -> Vec<Row> {
    println!("floor");
    let module = tools().wasm.with_file_name("floor.wasm").canonicalize().expect("the module");
    let module = module.to_str().expect("UTF-8");
    let world = bench.world(super::RULES);
    let chain =
        |call: &'static str, times: u32| Chain::toolward(call, &world.with_module(module, &format!("{call} {times}")));
    let chains: Vec<Chain> = [chain("empty", 0)].into_iter().chain(CALLS.map(|(name, _)| chain(name, TIMES))).collect();
    bench.run(measured(bench, &chains))
}

async fn measured(bench: &Bench, chains: &[Chain]) -> Vec<Row> {
    let _stub = bench.stub(called());
    let request = again(&bench.token(), &call(10));
    let all: Vec<_> = std::iter::once(&bench.plain).chain(chains).map(|chain| (chain, &request)).collect();
    let costs = measure(bench.rounds(1_500), &all).await;
    let [plain, empty, calls @ ..] = &costs[..] else { unreachable!() };
    let each = |cost: &Cost| (cost.micros() - empty.micros()) / f64::from(TIMES) / plain.micros();
    let calls = CALLS
        .iter()
        .zip(calls)
        .map(|((_, what), cost)| row("floor", &format!("host call, {what}: of plain"), "ratio", each(cost), None));
    [row("floor", "empty filter: of plain", "ratio", empty.ratio(plain), None)].into_iter().chain(calls).collect()
}
