//! How the objects of a Gateway are called, and by which labels they are found.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

/// Longest name of a Service, and longest value of a label.
const LONGEST: usize = 63;

/// The label that every pod which may reach the xDS port has.
pub const APP: (&str, &str) = ("app.kubernetes.io/name", "toolward-envoy");

/// The label that says who made an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// Who made the objects of our Gateways.
pub const MANAGER: &str = "toolward";

/// The label that says of which class its Gateway was then.
pub const CLASS: &str = "gateway.networking.k8s.io/gateway-class-name";

/// The name of all objects of a Gateway, also of the ServiceAccount by which its Envoys are known: `NAME-toolward` where a
/// Service can have that name, else what it can have of it with a hash of it.
///
/// INVARIANT: no two Gateways have the same. What was changed ends with 16 hexadecimal digits, which `toolward` is not.
#[must_use]
pub fn object(gateway: &str) -> String {
    let name = format!("{gateway}-toolward");
    let begins_well = name.starts_with(|first: char| first.is_ascii_lowercase());
    if begins_well && name.len() <= LONGEST && !name.contains('.') {
        return name;
    }
    let first = if begins_well { "" } else { "gw-" };
    let hash = hash(&name);
    let kept: String = format!("{first}{gateway}").replace('.', "-").chars().take(LONGEST - hash.len() - 1).collect();
    format!("{}-{hash}", kept.trim_end_matches('-'))
}

/// The labels that select a Gateway's pods. They never change.
#[must_use]
pub fn selector(gateway: &str) -> BTreeMap<String, String> {
    labelled([APP, ("gateway.networking.k8s.io/gateway-name", &label(gateway))])
}

/// The labels of all objects of a Gateway (GEP-1762).
#[must_use]
pub fn labels(gateway: &str, class: &str) -> BTreeMap<String, String> {
    let name = label(gateway);
    labelled([
        APP,
        ("app.kubernetes.io/instance", &name),
        ("app.kubernetes.io/component", "proxy"),
        (MANAGED_BY, MANAGER),
        ("gateway.networking.k8s.io/gateway-name", &name),
        (CLASS, &self::class(class)),
    ])
}

/// A class as [`CLASS`] has it.
#[must_use]
pub fn class(class: &str) -> String {
    label(class)
}

fn labelled<const N: usize>(labels: [(&str, &str); N]) -> BTreeMap<String, String> {
    labels.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The name of an object as the value of a label. One that is too long keeps its beginning, and ends with its hash.
///
/// INVARIANT: no two names have the same. What was changed has a `_`, which no name has.
fn label(name: &str) -> String {
    if name.len() <= LONGEST {
        return name.to_owned();
    }
    let hash = hash(name);
    let kept: String = name.chars().take(LONGEST - hash.len() - 1).collect();
    format!("{kept}_{hash}")
}

fn hash(name: &str) -> String {
    Sha256::digest(name).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Gateways whose names are easily taken for each other.
    fn gateways() -> Vec<String> {
        let long = "a".repeat(54);
        let mut gateways: Vec<String> =
            ["gw", "my.gw", "my-gw", "my..gw", "1gw", "gw-1gw", "a-.-b", "gw-toolward"].map(str::to_owned).into();
        gateways.extend([long.clone(), format!("{long}b"), format!("{long}.b"), "a.".repeat(100) + "a"]);
        gateways.extend(["a".repeat(63), "a".repeat(64), "a".repeat(253)]);
        // Named as the others are called.
        let called: Vec<String> = gateways.iter().flat_map(|gateway| [object(gateway), label(gateway)]).collect();
        gateways.extend(called.into_iter().filter(|name| !name.contains('_')));
        gateways.sort();
        gateways.dedup();
        gateways
    }

    #[test]
    fn a_service_can_have_every_name() {
        assert_eq!(object("mcp-gateway"), "mcp-gateway-toolward");
        for gateway in gateways() {
            let name = object(&gateway);
            let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            assert!(name.len() <= 63 && name.bytes().all(known), "{gateway}: {name}");
            assert!(name.starts_with(|first: char| first.is_ascii_lowercase()) && !name.ends_with('-'), "{name}");
            let label = label(&gateway);
            assert!(label.len() <= 63 && label.ends_with(|last: char| last.is_ascii_alphanumeric()), "{label}");
        }
    }

    #[test]
    fn no_two_gateways_have_the_same() {
        let gateways = gateways();
        let names: BTreeSet<String> = gateways.iter().map(|gateway| object(gateway)).collect();
        let selectors: BTreeSet<_> = gateways.iter().map(|gateway| selector(gateway)).collect();
        assert_eq!((names.len(), selectors.len()), (gateways.len(), gateways.len()));
    }
}
