//! Public vectors that others wrote, through a real Envoy: `make vectors VECTORS=PATH`.

use std::path::PathBuf;
use std::process::ExitCode;

mod json;
mod jws;
mod tally;

use tally::Tally;

fn main() -> ExitCode {
    let vectors = PathBuf::from(std::env::var("VECTORS").expect("VECTORS says where the vectors are"));
    let mut tally = Tally::default();
    json::run(&vectors.join("json-test-suite/test_parsing"), &mut tally);
    jws::run(&vectors.join("wycheproof/testvectors_v1"), &mut tally);
    tally.close()
}
