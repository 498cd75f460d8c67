//! Nothing is granted that is not needed: what the API server was asked for, against what `manifests/` grant.

use std::collections::BTreeSet;

use serde_json::Value;
use toolward_tests::cluster::Cluster;

/// Rights that don't show as requests, or that a cluster of another making needs, with the reason. A resource of `*` stands
/// for all of the rule's.
const OTHERWISE_NEEDED: [(&str, &str, &str, &str); 8] = [
    ("create", "apps", "deployments", "asked for by server-side apply, which is a patch, where the object is new"),
    ("create", "", "serviceaccounts", "the same"),
    ("create", "", "configmaps", "the same"),
    ("create", "", "services", "the same"),
    ("create", "policy", "poddisruptionbudgets", "the same"),
    ("update", "gateway.networking.k8s.io", "gateways/finalizers", "where OwnerReferencesPermissionEnforcement is on"),
    ("delete", "", "services", "a Gateway that has no listener left needs no Service"),
    ("watch", "agentgateway", "*", "kinds that are not installed here: a list shows that, and nothing is watched"),
];

/// Fails where something is granted that was not asked for.
pub(crate) fn check(cluster: &Cluster) {
    let asked = cluster.asked();
    let granted = granted(cluster);
    assert!(granted.len() > 20 && asked.len() > 20, "{granted:?}\n{asked:?}");
    let is_excused = |(verb, group, resource): &(String, String, String)| {
        OTHERWISE_NEEDED.iter().any(|(excused, of, what, _)| {
            verb == excused
                && (group == of || (*what == "*" && group.contains(of)))
                && (resource == what || *what == "*")
        })
    };
    let unused: Vec<_> = granted.difference(&asked).filter(|right| !is_excused(right)).collect();
    assert!(unused.is_empty(), "granted, but not asked for: {unused:?}");
}

fn granted(cluster: &Cluster) -> BTreeSet<(String, String, String)> {
    let mut granted = BTreeSet::new();
    for arguments in [
        ["get", "clusterrole", "toolward", "-o", "json"].as_slice(),
        &["get", "clusterrole", "toolward-provision", "-o", "json"],
        &["get", "role", "-n", "toolward-system", "toolward", "-o", "json"],
    ] {
        let role: Value = serde_json::from_str(&cluster.kubectl(arguments)).expect("JSON");
        for rule in role["rules"].as_array().expect("rules") {
            let texts = |name: &str| -> Vec<String> {
                let list = rule[name].as_array().expect("a list");
                list.iter().map(|text| text.as_str().expect("text").to_owned()).collect()
            };
            for verb in texts("verbs") {
                for group in texts("apiGroups") {
                    granted
                        .extend(texts("resources").into_iter().map(|resource| (verb.clone(), group.clone(), resource)));
                }
            }
        }
    }
    granted
}
