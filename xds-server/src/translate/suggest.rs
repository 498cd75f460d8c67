//! What a name that is not there may have been meant to be.

use strsim::osa_distance;

use crate::resources::mcp::{self, TargetRef};
use crate::resources::{Name, ObjectRef};

use super::problems::GATEWAY_API;
use super::view::View;

/// What policies can be attached to.
const KINDS: [(&str, &str); 4] = [
    (GATEWAY_API, "Gateway"),
    (GATEWAY_API, "HTTPRoute"),
    (mcp::GROUP, "MCPBackend"),
    ("agentgateway.dev", "AgentgatewayBackend"),
];

/// A question to the reader, after all that is said of a kind; empty where nothing is near.
pub(super) fn kind(group: &str, kind: &str) -> String {
    let near = |known: &str| osa_distance(&kind.to_lowercase(), &known.to_lowercase());
    let known = KINDS.iter().map(|(group, known)| (near(known), *group, *known));
    match known.filter(|(distance, _, known)| *distance <= known.len() / 5).min() {
        Some((_, known_group, known)) if known_group == group => format!(" Did you mean {known}?"),
        Some((_, known_group, known)) => format!(" Did you mean {known} of {known_group}?"),
        None => String::new(),
    }
}

/// The same of a name. Of other namespaces nothing is told.
pub(super) fn name(written: &TargetRef, namespace: &str, view: &View<'_>) -> String {
    let names: Vec<&str> = match (written.group.as_str(), written.kind.as_str()) {
        (GATEWAY_API, "Gateway") => view.gateways_of(namespace).map(|name| name.name.as_str()).collect(),
        (GATEWAY_API, "HTTPRoute") => view.routes_of(namespace).map(|name| name.name.as_str()).collect(),
        (group, kind) => {
            let first = ObjectRef { group: group.to_owned(), kind: kind.to_owned(), name: Name::new(namespace, "") };
            view.backends_of(&first).map(|object| object.name.name.as_str()).collect()
        }
    };
    nearest(&written.name, names.into_iter()).map(|near| format!(" Did you mean {near:?}?")).unwrap_or_default()
}

/// A third of the letters may differ, and at least one.
fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let near = names.map(|other| (osa_distance(name, other), other));
    let (_, nearest) = near.filter(|(distance, _)| *distance <= 1.max(name.chars().count() / 3)).min()?;
    Some(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_near() {
        let names = || ["tickets", "notes", "a"].into_iter();
        let rows = [
            ("ticket", Some("tickets")),
            ("tikcets", Some("tickets")),
            ("b", Some("a")),
            ("payments", None),
            ("", Some("a")),
        ];
        for (written, expected) in rows {
            assert_eq!(nearest(written, names()), expected, "{written}");
        }
    }

    #[test]
    fn kinds_that_are_near() {
        for (group, written, said) in [
            (GATEWAY_API, "HttpRoute", " Did you mean HTTPRoute?"),
            (GATEWAY_API, "httproutes", " Did you mean HTTPRoute?"),
            (GATEWAY_API, "gateways", " Did you mean Gateway?"),
            ("", "HTTPRoute", " Did you mean HTTPRoute of gateway.networking.k8s.io?"),
            (mcp::GROUP, "McpBackend", " Did you mean MCPBackend?"),
            (mcp::GROUP, "MCPServer", ""),
            ("", "Service", ""),
        ] {
            assert_eq!(kind(group, written), said, "{written}");
        }
    }
}
