//! A call does not cost more where there are many policies and rules.

use toolward_bench::report::Row;

use super::{Bench, again, call, called, row};
use crate::chain::Chain;
use crate::rounds::measure;

pub(super) fn run(bench: &Bench) -> Vec<Row> {
    println!("1,000 policies, 200 rules");
    let few = Chain::toolward("one policy, one rule", &bench.world(1));
    let many = Chain::toolward("1,000 and 200", &bench.world(200).with_more_policies(999));
    let request = again(&bench.token(), &call(10));
    let costs = bench.run(async {
        let _stub = bench.stub(called());
        measure(bench.rounds(10_000), &[(&few, &request), (&many, &request)]).await
    });
    vec![row("policies", "1,000 policies, 200 rules: of one and one", "ratio", costs[1].ratio(&costs[0]), Some(1.03))]
}
