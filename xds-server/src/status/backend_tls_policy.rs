//! BackendTLSPolicies: one entry for each Gateway of ours that leads to the Service. One that no Gateway of ours leads to is
//! none of our business.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::Desired;
use super::conditions::{Condition, World, conditions, is_at, messages, object};
use super::policy::{MAX_ANCESTORS, gateway};
use crate::problem::Problem;
use crate::resources::Name;
use crate::translate::CONTROLLER_NAME;

const AUTHORITIES: &str = "spec.validation.caCertificateRefs";

pub(super) fn policies(world: &World<'_>) -> impl Iterator<Item = Desired> {
    world.resources.backend_tls_policies.iter().filter_map(|(name, policy)| {
        // The targetRefs that are reached through each Gateway.
        let mut gateways: BTreeMap<&Name, BTreeSet<usize>> = BTreeMap::new();
        for (index, target) in policy.spec.target_refs.iter().enumerate() {
            let service = Name::new(&name.namespace, &target.name);
            let reached = world.services.get(&service);
            for gateway in reached.into_iter().flatten().filter(|_| target.kind == "Service") {
                gateways.entry(gateway).or_default().insert(index);
            }
        }
        let object = object("gateway.networking.k8s.io", "BackendTLSPolicy", name);
        let problems = world.problems(&object);
        let generation = policy.metadata.generation;
        let ancestors = gateways.iter().take(MAX_ANCESTORS).map(|(name, targets)| {
            let concerns = |problem: &&&Problem| {
                !is_at(problem, "spec.targetRefs")
                    || targets.iter().any(|index| is_at(problem, &format!("spec.targetRefs[{index}]")))
            };
            let here: Vec<&Problem> = problems.iter().filter(concerns).copied().collect();
            json!({
                "ancestorRef": gateway(name),
                "controllerName": CONTROLLER_NAME,
                "conditions": conditions(&both(policy.spec.validation.ca_certificate_refs.iter().flatten().count(), &here), generation),
            })
        });
        let ancestors: Vec<_> = ancestors.collect();
        (!ancestors.is_empty()).then(|| Desired { object, status: json!({ "ancestors": ancestors }) })
    })
}

/// `references`: how many ConfigMaps are named. One that holds is enough to verify certificates.
fn both(references: usize, problems: &[&Problem]) -> [Condition; 2] {
    let (of_references, others): (Vec<&Problem>, Vec<&Problem>) =
        problems.iter().copied().partition(|problem| is_at(problem, AUTHORITIES));
    let none_holds = references > 0 && of_references.len() >= references;
    let accepted = match others.first() {
        Some(first) if matches!(first.reason.as_str(), "Conflicted" | "TargetNotFound") => {
            Condition::new("Accepted", false, &first.reason, messages(&others))
        }
        Some(_) => Condition::new("Accepted", false, "Invalid", messages(&others)),
        None if none_holds => Condition::new("Accepted", false, "NoValidCACertificate", messages(&of_references)),
        None => Condition::yes("Accepted", "Accepted"),
    };
    [accepted, Condition::unless("ResolvedRefs", of_references)]
}
