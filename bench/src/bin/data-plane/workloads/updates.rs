//! How long a worker is blocked while it takes a new configuration, and whether memory grows by that.

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::spawn_local;
use tokio::time::sleep;
use toolward_bench::report::Row;

use super::memory::mib;
use super::{Bench, again, call, called, row};
use crate::chain::Chain;
use crate::load::{self, Requests};
use crate::process::resident_kib;
use crate::rounds::median;
use crate::world::{FILTER, World, add_policies};

/// Rules of each policy.
const RULES: usize = 5;

pub(super) fn run(bench: &Bench) -> Vec<Row> {
    println!("update of 1,000 policies");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("filter.json");
    let updates = Updates::new(bench.world(RULES), 999);
    updates.write(&file, 0);
    let chain = Chain::discovering("discovering", &updates.world, file.to_str().expect("UTF-8"));
    let few = Updates::new(bench.world(RULES), 9);
    bench.run(measured(bench, &chain, &file, [&updates, &few]))
}

async fn measured(bench: &Bench, chain: &Chain, file: &Path, [updates, few]: [&Updates; 2]) -> Vec<Row> {
    let _stub = bench.stub(called());
    let request = again(&bench.token(), &call(10));
    load::run(chain.port, &request, 16, 20_000).await;
    let one = longest(updates, Change::One, chain, file, &request).await;
    let all = longest(updates, Change::All, chain, file, &request).await;
    let count = if bench.full { 10_000 } else { 100 };
    let warm = few.many(file, count / 4, chain).await;
    let grown = few.many(file, count, chain).await.saturating_sub(warm);
    println!("    warm {warm} KiB, {grown} KiB more after {count} updates");
    vec![
        row("updates", "update of 1,000 policies: worker blocked", "ms", one, Some(5.0)),
        row("updates", "update in which all of them differ: worker blocked", "ms", all, None),
        row("updates", "memory grown by updates of 10 policies", "MiB", mib(grown), Some(1.0)),
    ]
}

/// How long a client waits at most while the filter is told of a change, in milliseconds.
async fn longest(updates: &Updates, change: Change, chain: &Chain, file: &Path, request: &Requests) -> f64 {
    let mut longest = Vec::new();
    for number in 1..=9 {
        // While a client waits, this thread has nothing else to do.
        let new = updates.prepare(file, number, change);
        let (stop, took) = (Rc::new(Cell::new(false)), Rc::new(RefCell::new(Vec::new())));
        let client = spawn_local(load::until(chain.port, request.clone(), Rc::clone(&stop), Rc::clone(&took)));
        sleep(Duration::from_millis(100)).await;
        fs::rename(new, file).expect("writable");
        sleep(Duration::from_millis(500)).await;
        stop.set(true);
        client.await.expect("a client");
        longest.push(took.borrow().iter().max().expect("answers").as_secs_f64() * 1e3);
    }
    println!("    longest answers: {longest:.1?} ms");
    median(longest)
}

/// Which policies differ from those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    One,
    All,
}

/// Configurations that differ from each other.
struct Updates {
    world: World,
    config: Value,
}

impl Updates {
    fn new(mut world: World, more: usize) -> Self {
        let mut config = world.filter_config();
        add_policies(&mut config, more);
        Self { world, config }
    }

    /// A new configuration takes the old one's place.
    fn write(&self, file: &Path, number: usize) {
        fs::rename(self.prepare(file, number, Change::One), file).expect("writable");
    }

    /// A new configuration, in a file beside the old one's.
    fn prepare(&self, file: &Path, number: usize, change: Change) -> PathBuf {
        let (mut world, mut config) = (self.world.clone(), self.config.clone());
        let policies = config["policies"].as_object_mut().expect("an object").values_mut();
        for gate in policies.filter_map(|policy| policy.pointer_mut("/protected/gates/0/policy")) {
            if change == Change::All {
                *gate = json!(format!("default/{number}"));
            }
        }
        config["policies"][format!("open {number}")] = json!({ "open": {} });
        world.tell_filter(&config);
        let filter = &world.connection_manager()["http_filters"][FILTER];
        let resource = json!({
            "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            "name": filter["name"], "typed_config": filter["typed_config"],
        });
        let response = json!({ "version_info": number.to_string(), "resources": [resource] });
        let new = file.with_extension("new");
        fs::write(&new, response.to_string()).expect("writable");
        new
    }

    /// Memory after so many updates.
    async fn many(&self, file: &Path, count: usize, chain: &Chain) -> u64 {
        for number in 0..count {
            self.write(file, number);
            sleep(Duration::from_millis(10)).await;
        }
        sleep(Duration::from_millis(500)).await;
        resident_kib(chain.pid)
    }
}
