//! How the objects of a Gateway are called, and by which labels they are found.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

/// Longest name of a Service, and longest value of a label.
const LONGEST: usize = 63;

/// The label that every pod which may reach the xDS port has.
pub const APP: (&str, &str) = ("app.kubernetes.io/name", "toolward-envoy");

/// The label that says who made an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// The label that says of which class its Gateway was then.
pub const CLASS: &str = "gateway.networking.k8s.io/gateway-class-name";

/// The name of all objects of a Gateway, also of the ServiceAccount by which its Envoys are known: `NAME-toolward`.
#[must_use]
pub fn object(gateway: &str) -> String {
    shorten(&format!("{gateway}-toolward"))
}

/// The labels that select a Gateway's pods. They never change.
#[must_use]
pub fn selector(gateway: &str) -> BTreeMap<String, String> {
    labelled([APP, ("gateway.networking.k8s.io/gateway-name", &shorten(gateway))])
}

/// The labels of all objects of a Gateway (GEP-1762).
#[must_use]
pub fn labels(gateway: &str, class: &str) -> BTreeMap<String, String> {
    let name = shorten(gateway);
    labelled([
        APP,
        ("app.kubernetes.io/instance", &name),
        ("app.kubernetes.io/component", "proxy"),
        (MANAGED_BY, "toolward"),
        ("gateway.networking.k8s.io/gateway-name", &name),
        (CLASS, &self::class(class)),
    ])
}

/// A class as [`CLASS`] has it.
#[must_use]
pub fn class(class: &str) -> String {
    shorten(class)
}

fn labelled<const N: usize>(labels: [(&str, &str); N]) -> BTreeMap<String, String> {
    labels.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// A name that is too long keeps its beginning, and ends with what tells it from others that begin alike.
fn shorten(name: &str) -> String {
    if name.len() <= LONGEST {
        return name.to_owned();
    }
    let hash: String = Sha256::digest(name).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let kept: String = name.chars().take(LONGEST - hash.len() - 1).collect();
    format!("{}-{hash}", kept.trim_end_matches(['-', '.']).replace('.', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_differ() {
        assert_eq!(object("mcp-gateway"), "mcp-gateway-toolward");
        let long = ["a".repeat(60), format!("{}b", "a".repeat(59)), "a.".repeat(100) + "a"].map(|name| object(&name));
        for name in &long {
            assert!(name.len() <= 63 && !name.contains('.'), "{name}");
        }
        assert_ne!(long[0], long[1]);
    }
}
