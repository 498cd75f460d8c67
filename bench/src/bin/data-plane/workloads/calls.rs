//! Calls of a tool with a token that was seen before.

use toolward_bench::report::Row;

use super::{Bench, again, call, called, row};
use crate::rounds::measure;

pub(super) fn run(bench: &Bench) -> Vec<Row> {
    bench.run(measured(bench))
}

async fn measured(bench: &Bench) -> Vec<Row> {
    let _stub = bench.stub(called());
    let row = |name: &str, value, target| row("calls", name, "ratio", value, target);
    let mut rows = Vec::new();
    let targets = [("call", 10, 10_000, 1.22, 0.80), ("call, 64 KiB", 65_536, 2_000, 1.25, 0.85)];
    for (name, text, requests, of_plain, of_native) in targets {
        println!("{name}");
        let request = again(&bench.token(), &call(text));
        let chains = [(&bench.plain, &request), (&bench.toolward, &request), (&bench.native, &request)];
        let costs = measure(bench.rounds(requests), &chains).await;
        let [plain, toolward, native] = &costs[..] else { unreachable!() };
        rows.push(row(&format!("{name}: of plain"), toolward.ratio(plain), Some(of_plain)));
        rows.push(row(&format!("{name}: of native"), toolward.ratio(native), Some(of_native)));
    }
    rows
}
