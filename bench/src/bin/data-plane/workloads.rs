//! What is measured, each row of the table by name.

use std::future::Future;

use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;
use toolward_bench::report::Row;
use toolward_tests::tools::tools;

use crate::chain::Chain;
use crate::load::{Requests, post};
use crate::native::{self, TokenCache};
use crate::rounds::Rounds;
use crate::stub::{Answer, Stub};
use crate::tokens::{Algorithm, Issuer};
use crate::world::{self, World, tool};

mod calls;
mod floor;
mod lists;
mod memory;
mod policies;
mod streams;
mod tokens;
mod updates;

/// A workload gives its rows.
type Workload = fn(&Bench) -> Vec<Row>;

/// All workloads.
pub(crate) const ALL: [(&str, Workload); 8] = [
    ("calls", calls::run),
    ("tokens", tokens::run),
    ("lists", lists::run),
    ("streams", streams::run),
    ("policies", policies::run),
    ("memory", memory::run),
    ("updates", updates::run),
    ("floor", floor::run),
];

/// How many rules the policy has, where nothing else is said.
const RULES: usize = 50;

/// What the workloads share.
pub(crate) struct Bench {
    /// Whether there is time.
    pub(crate) full: bool,
    pub(crate) issuer: Issuer,
    upstream: u16,
    listener: std::net::TcpListener,
    wasm: String,
    runtime: Runtime,
    plain: Chain,
    toolward: Chain,
    native: Chain,
    native_uncached: Chain,
    jwt: Chain,
}

impl Bench {
    pub(crate) fn new(full: bool) -> Self {
        let (issuer, (upstream, listener)) = (Issuer::new(), world::bind());
        let wasm = tools().wasm.canonicalize().expect("the filter").to_str().expect("UTF-8").to_owned();
        let jwks = issuer.jwks();
        let world = World::render(&jwks, RULES, upstream, &wasm);
        let chain = |name, filters| Chain::of(name, &world, filters);
        Self {
            plain: chain("plain", Vec::new()),
            toolward: Chain::toolward("toolward", &world),
            native: chain("native", native::chain(&jwks, TokenCache::On, RULES)),
            native_uncached: chain("native, no cache", native::chain(&jwks, TokenCache::Off, RULES)),
            jwt: chain("jwt_authn, no cache", vec![native::jwt(&jwks, TokenCache::Off)]),
            full,
            issuer,
            upstream,
            listener,
            wasm,
            runtime: Builder::new_current_thread().enable_all().build().expect("a runtime"),
        }
    }

    /// Runs load and stub.
    fn run<T>(&self, load: impl Future<Output = T>) -> T {
        LocalSet::new().block_on(&self.runtime, load)
    }

    /// A longer measurement where there is time.
    fn rounds(&self, requests: usize) -> Rounds {
        if self.full { Rounds { count: 15, requests: requests * 4 } } else { Rounds { count: 5, requests } }
    }

    fn stub(&self, answer: Answer) -> Stub {
        Stub::start(self.listener.try_clone().expect("a listener"), answer)
    }

    fn world(&self, rules: usize) -> World {
        World::render(&self.issuer.jwks(), rules, self.upstream, &self.wasm)
    }

    fn token(&self) -> String {
        self.issuer.token(Algorithm::RS256, 0)
    }
}

/// A call of a granted tool of a middle rule, with so long a text among its arguments.
fn call(text: usize) -> String {
    let arguments = json!({ "a": 1, "text": "x".repeat(text) });
    message(1, "tools/call", &json!({ "name": tool(25), "arguments": arguments }))
}

fn message(id: u32, method: &str, params: &Value) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string()
}

/// What a server answers to a call.
fn called() -> Answer {
    let result = json!({ "content": [{ "type": "text", "text": "3" }], "isError": false });
    Answer::json(&json!({ "jsonrpc": "2.0", "id": 1, "result": result }).to_string())
}

/// The same request again and again.
fn again(token: &str, body: &str) -> Requests {
    Requests::new([post(token, body)])
}

/// A row of this program.
fn row(workload: &str, name: &str, unit: &str, value: f64, target: Option<f64>) -> Row {
    Row::new(name, unit, value, target, &format!("make bench-data-plane ONLY={workload}"))
}
