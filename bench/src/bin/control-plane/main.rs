//! What the control plane costs: the real `toolward serve` in a process of its own, a world in a folder, and simulated
//! Envoys that are real clients of delta ADS and acknowledge what they get.
//!
//! ```text
//! World ─ files ─> toolward serve ─ delta ADS ─> Fleet of Envoys ─ Received ─┐
//!                  └ Server: CPU, RSS                                        └> rows of the report
//! ```

mod envoy;
mod figures;
mod fleet;
mod measure;
mod memory;
mod rival;
mod server;
mod world;

use world::Size;

/// Makes every row again.
const COMMAND: &str = "make bench-control-plane";

#[tokio::main]
async fn main() {
    let full = std::env::var("FULL").is_ok_and(|value| value == "1");
    let only = std::env::var("ONLY").unwrap_or_default();
    if "changes".contains(&only) {
        toolward_bench::report::add(&measure::all(&Size::ALL, full).await);
    }
    if "memory".contains(&only) {
        toolward_bench::report::add(&memory::all().await);
    }
}
