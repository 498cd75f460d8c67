//! What is right and may yet be other than it was meant.

use toolward_policy::config::{Authentication, RoutePolicy};
use toolward_policy::path::ArgumentPath;

use crate::resources::mcp::AuthorizationSpec;

use super::narrowing;
use super::problems::Fault;

/// Of several authentication sections on a way one applies.
pub(super) const APPLYING: &str = "AuthenticationApplies";

/// Rules that grant nothing to anybody, and paths that could be read in another way, by field.
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
        for (place, argument) in rule.arguments.iter().enumerate() {
            let field = format!("spec.authorization.rules[{index}].arguments[{place}].path");
            notes.extend(of_path(&argument.path).map(|note| (field, note)));
        }
    }
    notes
}

/// How a path of several levels is read. In releases before this one a dot could be part of a name.
fn of_path(text: &str) -> Option<Fault> {
    let path = ArgumentPath::parse(text).ok().filter(|path| path.names() != [text])?;
    let message =
        format!("the path {text} is read as {path}: a dot is a level, and a name with a dot is written in brackets");
    Some(Fault::new("PathRead", message))
}

/// Says so where rules ask for what no caller of a route can have.
pub(super) fn of_way(policy: &RoutePolicy) -> Option<Fault> {
    let RoutePolicy::Protected { authentication, gates, .. } = policy else { return None };
    if matches!(authentication, Authentication::Jwt { .. }) {
        return None;
    }
    let gate = gates.iter().find(|gate| narrowing::judges_callers(gate))?;
    let message = format!(
        "rules of {} ask for claims or scopes, but no policy on the way of these requests has issuers: no caller has any",
        gate.policy
    );
    Some(Fault::new("NoCallers", message))
}
