//! How soon the honest team's changes land while a tenant does one of its attacks without end: figures, no test.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};
use toolward_tests::tools::reports;

use crate::attacks::{ATTACKS, Attack};
use crate::honest::percentile;
use crate::storm::{Storm, bring_server, chosen, clean_up, number, start};
use crate::tenant::Tenant;
use crate::world::World;

/// For how long each goes on, in seconds, unless the variable `TENANT_SECONDS` says another number.
const SECONDS: u64 = 20;

/// How long Envoy and the API server have until the next.
const SETTLES: Duration = Duration::from_secs(5);

/// `make bench-tenants`.
#[test]
#[ignore = "a measurement"]
fn how_soon_changes_land() {
    let lasts = Duration::from_secs(number("TENANT_SECONDS").unwrap_or(SECONDS));
    let (world, hostile) = start();
    let hostile = match number("TENANTS") {
        Some(1) => &hostile[..1],
        None | Some(2) => &hostile,
        Some(_) => panic!("TENANTS is how many tenants are hostile, 1 or 2"),
    };
    let mut rows = BTreeMap::new();
    let alone = chosen().map(|attack| (attack.name, std::slice::from_ref(attack)));
    for (name, attacks) in std::iter::once(("nothing", &ATTACKS[..0])).chain(alone) {
        rows.insert(name, row(name, &world, hostile, attacks, lasts));
        hostile.iter().for_each(|tenant| clean_up(&world, tenant));
        sleep(SETTLES);
        hostile.iter().for_each(|tenant| bring_server(&world, tenant));
    }
    let report = serde_json::to_string_pretty(&rows).expect("JSON");
    std::fs::write(reports().join("tenants.json"), report).expect("writable");
}

fn row(name: &str, world: &std::sync::Arc<World>, hostile: &[Tenant], attacks: &[Attack], lasts: Duration) -> Value {
    let storm = Storm::new(world);
    let used = [world.toolward.process.cpu(), world.envoy.process.cpu()];
    let (fared, peaks) = storm.rages(hostile, attacks.iter(), || sleep(lasts));
    let used = [world.toolward.process.cpu() - used[0], world.envoy.process.cpu() - used[1]];
    let all = [fared.granted, fared.revoked].concat();
    let millis = |spans: &[Duration], hundredths| percentile(spans, hundredths).as_millis() as u64;
    let [p50, p99] = [50, 99].map(|hundredths| millis(&all, hundredths));
    let [told_p50, told_p99] = [50, 99].map(|hundredths| millis(&fared.after_told, hundredths));
    println!(
        "{name:<40} {:>4} changes, ms: p50 {p50:>4} p99 {p99:>4}, since told {told_p50:>4} and {told_p99:>4}; {:>4} calls, {} failed; control plane {:>4} MiB, {:>5.1} s of \
         CPU; Envoy {:>4} MiB, {:>5.1} s",
        all.len(),
        fared.calls,
        fared.failed.len(),
        peaks[0],
        used[0].as_secs_f64(),
        peaks[1],
        used[1].as_secs_f64(),
    );
    json!({
        "changes": all.len(), "p50Millis": p50, "p99Millis": p99, "sinceToldP50Millis": told_p50, "sinceToldP99Millis": told_p99, "calls": fared.calls,
        "failed": fared.failed.len(), "controlPlaneMiB": peaks[0], "envoyMiB": peaks[1],
        "controlPlaneCpuMillis": used[0].as_millis() as u64, "envoyCpuMillis": used[1].as_millis() as u64,
    })
}
