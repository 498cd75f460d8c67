//! What is right and may yet be other than it was meant.

use toolward_policy::config::{Authentication, Gate, RoutePolicy};

use crate::resources::mcp::AuthorizationSpec;

use super::problems::Fault;

/// Of several authentication sections on a way one applies.
pub(super) const APPLYING: &str = "AuthenticationApplies";

/// Rules that grant nothing to anybody, by field.
pub(super) fn of_rules(spec: &AuthorizationSpec) -> Vec<(String, Fault)> {
    let mut notes = Vec::new();
    if spec.rules.is_empty() {
        let message = "there is no rule, so nothing is granted to anybody";
        notes.push(("spec.authorization".to_owned(), Fault::new("GrantsNothing", message)));
    }
    for (index, rule) in spec.rules.iter().enumerate() {
        let mut named = [&rule.tools, &rule.prompts, &rule.resources, &rule.methods].into_iter();
        if named.all(Vec::is_empty) {
            let message =
                format!("the rule {} names no tools, prompts, resources or methods and grants nothing", rule.name);
            notes.push((format!("spec.authorization.rules[{index}]"), Fault::new("GrantsNothing", message)));
        }
    }
    notes
}

/// Says so where rules ask for what no caller of a route can have.
pub(super) fn of_way(policy: &RoutePolicy) -> Option<Fault> {
    let RoutePolicy::Protected { authentication, gates, .. } = policy else { return None };
    if matches!(authentication, Authentication::Jwt { .. }) {
        return None;
    }
    let asks = |gate: &&Gate| gate.rules.iter().any(|rule| !rule.claims.is_empty() || !rule.scopes.is_empty());
    let gate = gates.iter().find(asks)?;
    let message = format!(
        "rules of {} ask for claims or scopes, but no policy on the way of these requests has issuers: no caller has any",
        gate.policy
    );
    Some(Fault::new("NoCallers", message))
}
