//! Whatever somebody writes into the Lease, there are no two leaders.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use toolward_tests::cluster::{Cluster, NAMESPACE};
use toolward_tests::process::eventually;
use toolward_tests::toolward::Toolward;

use crate::world::replica;

#[test]
fn a_lease_that_somebody_has_edited() {
    let cluster = Cluster::start();
    let [one, two] = ["one", "two"].map(|name| replica(&cluster, name));
    eventually("one of them leads", || !holder(&cluster).is_empty());
    let (leader, other) = if holder(&cluster) == "one" { (&one, &two) } else { (&two, &one) };
    let (name, other_name) = if holder(&cluster) == "one" { ("one", "two") } else { ("two", "one") };
    eventually("it knows", || leads(leader));

    // Emptied: the leader puts it back, and the other one has not taken it meanwhile.
    let empty = json!({ "spec": { "holderIdentity": null, "leaseDurationSeconds": null, "renewTime": null,
        "acquireTime": null, "leaseTransitions": null } });
    patch(&cluster, &empty);
    eventually("put back", || holder(&cluster) == name);
    assert!(leads(leader) && !leads(other));
    // Of no duration.
    patch(&cluster, &json!({ "spec": { "holderIdentity": null, "leaseDurationSeconds": 1 } }));
    eventually("put back again", || holder(&cluster) == name);
    assert!(leads(leader) && !leads(other));
    cluster.kubectl(&["delete", "lease", "-n", NAMESPACE, "toolward"]);
    eventually("made again", || holder(&cluster) == name);
    assert!(leads(leader) && !leads(other));

    // In the name of the other one: the leader gives way at once, and nobody leads before all know it.
    patch(&cluster, &json!({ "spec": { "holderIdentity": other_name } }));
    let named = Instant::now();
    eventually("the leader gives way", || !leads(leader));
    assert!(named.elapsed() < Duration::from_secs(6), "{:?}", named.elapsed());
    eventually("somebody leads", || leads(leader) || leads(other));
    assert!(named.elapsed() > Duration::from_secs(8), "{:?}", named.elapsed());
    assert!(leads(leader) != leads(other), "one of them alone");
}

fn patch(cluster: &Cluster, patch: &Value) {
    cluster.kubectl(&["patch", "lease", "-n", NAMESPACE, "toolward", "--type=merge", "-p", &patch.to_string()]);
}

fn holder(cluster: &Cluster) -> String {
    let lease = cluster.try_kubectl(&["get", "lease", "-n", NAMESPACE, "toolward", "-o", "json"], "");
    let lease: Value = serde_json::from_str(&lease.unwrap_or_default()).unwrap_or_default();
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
}

/// As a replica says itself.
fn leads(replica: &Toolward) -> bool {
    let log = replica.process.log();
    let said = |words: &str| log.matches(words).count();
    said("leading now") > said("not leading any more")
}
