//! A tenant with much of everything: what it has and does takes little of the control plane's memory and of the API server's
//! time, and holds up nobody.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use toolward_tests::cluster::Cluster;
use toolward_tests::process::eventually;

use crate::world::{World, condition_of, policy};

mod tenant;

use tenant::{SIZE, Tenant, config_map, keyed, route};

/// Bytes of a ConfigMap that nobody asks for.
const JUNK: usize = 1000 * 1024;

/// For how long it edits and refuses.
const SPAN: Duration = Duration::from_secs(8);

/// How many of its routes it edits at the same time.
const EDITED: usize = 5;

#[test]
fn what_one_tenant_has_and_does_is_bounded() {
    let world = World::start();
    let tenant = Tenant::new(&world);
    large_config_maps(&world, &tenant);
    a_change_of_all_statuses(&world, &tenant);
    edits_and_refusals(&world, &tenant);
}

/// Of a ConfigMap the key is held that a policy names.
fn large_config_maps(world: &World, tenant: &Tenant) {
    let before = world.toolward.process.resident_mib();
    let junk = "x".repeat(JUNK);
    let keys = world.issuer.jwks();
    for number in 0..SIZE {
        let name = format!("some-{number}");
        let data = json!({ "jwks.json": keys, "junk": junk });
        tenant.creates(vec![config_map(&name, data), keyed(&name), route(&name)]);
    }
    let is_read = |policy: &Value| condition_of(policy, "ResolvedRefs").0 == "True";
    eventually("all key sets are read", || {
        tenant.list("mcpaccesspolicies").iter().filter(|it| is_read(it)).count() == SIZE
    });
    let (grown, size) = (world.toolward.process.resident_mib().saturating_sub(before), (SIZE * JUNK) as u64 >> 20);
    println!("{size} MiB of ConfigMaps take {grown} MiB; {before} MiB before");
    assert!(grown < size / 3, "{grown} MiB for {size} MiB of which little is asked for");

    // One that is too large where it is asked for is not held.
    let large = format!("{}{}", keys, " ".repeat(256 * 1024));
    tenant.creates(vec![config_map("large", json!({ "jwks.json": large })), keyed("large"), route("large")]);
    let said = || tenant.get("mcpaccesspolicies", "large")["status"].to_string();
    eventually("said", || said().contains("ConfigMap crowd/large: data") && said().contains("256 KiB"));
    assert!(world.toolward.get("/problems").text.contains("TooLarge"));
    eventually("closed", || world.is_closed("/large", "KeySetNotFound"));
}

/// Nobody waits for the statuses of all that another one has.
fn a_change_of_all_statuses(world: &World, tenant: &Tenant) {
    let is_settled = || ["httproutes", "mcpaccesspolicies"].iter().all(|kind| tenant.list(kind).iter().all(is_told));
    eventually("all is said", is_settled);
    let before = world.cluster.statuses_written("httproutes").len();
    world.cluster.apply(&policy("[add]").replace("name: math, namespace", "name: extra, namespace"));
    let says_it = |route: &Value| route["status"].to_string().contains("default/extra");
    eventually("all say it", || tenant.list("httproutes").iter().all(says_it));
    eventually("and the honest one", || says_it(&world.cluster.get("httproute", "default", "math")));
    let written = world.cluster.statuses_written("httproutes").split_off(before);
    let place = written.iter().position(|route| route == "default/math").expect("it is written");
    println!("{place} of {} before the honest one's", written.len());
    assert!(written.len() > SIZE && place < SIZE / 4, "{place} of {written:#?}");
}

/// Whether a status is that of the object as it is.
fn is_told(object: &Value) -> bool {
    let status = &object["status"];
    let first = |list: &str| status[list][0]["conditions"][0]["observedGeneration"].clone();
    [first("parents"), first("ancestors")].contains(&object["metadata"]["generation"])
}

/// Statuses that change all the time are written now and then, and those of others meanwhile.
fn edits_and_refusals(world: &World, tenant: &Tenant) {
    let cluster = &world.cluster;
    tenant.creates(vec![tenant::gateway()]);
    let gateway = || tenant.get("gateways", "gateway");
    eventually("it is told", || condition_of(&gateway(), "Programmed").0 == "True");
    let writes = || {
        let statuses = |kind: &str, prefix: &str| {
            let written = cluster.statuses_written(kind);
            written.iter().filter(|name| name.starts_with(prefix)).count()
        };
        [statuses("httproutes", "crowd/some-"), statuses("gateways", "crowd/"), leases(cluster)]
    };
    let before = writes();
    let (edits, refusals, stopped) = (Arc::default(), Arc::default(), Arc::default());
    let start = Instant::now();
    for number in 0..EDITED {
        tenant.edits(&format!("some-{number}"), &edits, &stopped);
    }
    tenant.refuses(world.toolward.xds, &refusals, &stopped);
    let mut told = 0;
    while told < 3 || start.elapsed() < SPAN {
        told += 1;
        let more = json!([{ "op": "add", "path": "/spec/rules/0/matches/-",
            "value": { "path": { "type": "PathPrefix", "value": format!("/told-{told}") } } }]);
        cluster.kubectl(&["patch", "httproute", "math", "--type=json", "-p", &more.to_string()]);
        eventually("the honest one is told", || is_told(&cluster.get("httproute", "default", "math")));
    }
    stopped.store(true, Ordering::Relaxed);
    let (edits, refusals) = (edits.load(Ordering::Relaxed), refusals.load(Ordering::Relaxed));
    let after = writes();
    let seconds = start.elapsed().as_secs() as usize + 1;

    let [routes, gateways, leases] = [0, 1, 2].map(|kind| after[kind] - before[kind]);
    println!("{edits} edits and {routes} writes of routes, {refusals} refusals and {gateways} writes of the Gateway,");
    println!("{leases} of the Lease in {seconds} s; the honest one was told {told} times");
    // One of each route in two seconds, but for the first few…
    assert!(routes <= EDITED * (6 + seconds / 2) && routes * 3 < edits, "{routes} writes for {edits} edits");
    // …and one change of what is refused in five.
    assert!(gateways > 0 && gateways <= 1 + seconds.div_ceil(5), "{gateways} writes for {refusals} refusals");
    assert!(leases <= 2 + seconds * 2 / 5 && refusals > 100, "{leases} writes for {refusals} refusals");
}

/// How often a replica has told the others what Envoys refuse.
fn leases(cluster: &Cluster) -> usize {
    let is_it = |event: &&Value| {
        let name = event["objectRef"]["name"].as_str().unwrap_or_default();
        event["objectRef"]["resource"] == "leases" && name.starts_with("toolward-refusals-")
    };
    cluster.audit_log().iter().filter(is_it).count()
}
