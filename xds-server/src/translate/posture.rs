//! Whether anybody said who may come on a way, and what becomes of it where nobody did.
//!
//! That there is a policy says nothing: it must ask for something. One with `protocol` alone, or whose gate is a dry run, lets
//! everybody do everything.
//!
//! ```text
//! asks for a token, or has an enforcing gate ─> Protected
//! authentication: { anonymous: {} }          ─> OpenedOnPurpose
//! neither                                    ─> Unprotected ─ a policy is lost that may have been for it ─> 503
//!                                                           ─ a policy was for it and is deleted         ─> 503
//!                                                           ─ to an MCPBackend, by default              ─> 503
//!                                                           ─ else                                      ─> open, and told
//! ```
//!
//! Whatever policies say: while not all that restricts can be read, ways that are new are closed.

use std::collections::BTreeSet;

use toolward_policy::config::{Authentication, Mode, POLICY_TARGET_NOT_FOUND, RoutePolicy, UNPROTECTED};

use crate::resources::ObjectRef;
use crate::resources::mcp::{self, AuthenticationSpec, Override};

use super::UnprotectedRoutes;
use super::problems::Fault;
use super::protection::{Protection, Way};

/// The key of ways that are open since no policy is on them. Keys of protections have a colon in them.
const OPEN: &str = "open";

/// The same of ways to a server outside.
const REMOTE: &str = "remote";

/// The reason of a way that is closed since its policy was deleted.
const POLICY_DELETED: &str = "PolicyDeleted";

/// What annotations of a route begin with that say that it was written.
pub(crate) const WRITTEN_BY: &str = "toolward.dev/";

/// The two ways out.
const WAYS_OUT: &str = "attach an MCPAccessPolicy with issuers or with rules that are enforced, or one that opens it on \
                        purpose: authentication: { anonymous: {} }";

/// What is said where the gateway itself would be known to a server, and callers to nobody.
const LENT: &str = "the backend has credentials, which only verified callers may use; protect it with a policy that has \
                    issuers";

/// What is said while a kind can't be read.
const UNKNOWN: &str = "a kind of the API server can't be read, and policies for what is new since then may be unknown; it is \
                       served once all kinds can be read again (see /ready, /problems and toolward_unknown_kinds)";

/// Most policies that a message names.
const MAX_NAMED: usize = 3;

/// Whether anybody said who may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Posture {
    /// Something is asked of callers or calls, or the way is closed.
    Protected,
    /// A policy says that nothing is asked.
    OpenedOnPurpose,
    /// Nobody said anything.
    Unprotected,
}

impl Posture {
    /// Of what policies make of a way, where there are any.
    pub(super) fn of(policy: Option<&RoutePolicy>, are_opened: bool) -> Self {
        let asks = match policy {
            Some(RoutePolicy::Protected { authentication, gates, .. }) => {
                !matches!(authentication, Authentication::Anonymous {})
                    || gates.iter().any(|gate| gate.mode == Mode::Enforce)
            }
            Some(RoutePolicy::Closed { .. }) => true,
            _ => false,
        };
        match (asks, are_opened) {
            (true, _) => Self::Protected,
            (false, true) => Self::OpenedOnPurpose,
            (false, false) => Self::Unprotected,
        }
    }
}

/// Why a way that nobody protects is closed; `None`: it is open.
pub(super) fn closing(
    routes: UnprotectedRoutes,
    to_own_kind: bool,
    lost: &BTreeSet<&ObjectRef>,
    deleted: &BTreeSet<&ObjectRef>,
) -> Option<Fault> {
    // In doubt deny, whatever is allowed otherwise: one of these policies may have been meant for this way.
    if !lost.is_empty() {
        let message = format!(
            "no policy protects this route, and {} may have been meant for it: a target of it is not there or not \
             understood; correct its targetRefs",
            named(lost)
        );
        return Some(Fault::new(POLICY_TARGET_NOT_FOUND, message));
    }
    // What nobody has said of the route itself does not open it.
    if !deleted.is_empty() {
        let message = format!(
            "{} protected this route and was deleted, and no other policy does; {WAYS_OUT}, or write the route again after \
             the deletion: its spec, or an annotation that begins with {WRITTEN_BY}",
            named(deleted)
        );
        return Some(Fault::new(POLICY_DELETED, message));
    }
    let closed = match routes {
        UnprotectedRoutes::ByKind => to_own_kind,
        UnprotectedRoutes::Allow => false,
        UnprotectedRoutes::Deny => true,
    };
    closed.then(|| Fault::new(UNPROTECTED, format!("no policy protects this route; {WAYS_OUT}")))
}

/// Some policies, by their names.
fn named(policies: &BTreeSet<&ObjectRef>) -> String {
    let named: Vec<String> = policies.iter().take(MAX_NAMED).map(ToString::to_string).collect();
    let more = match policies.len().saturating_sub(MAX_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", named.join(", "))
}

/// Whether a backend of a way is of a kind that is there to be protected.
pub(super) fn leads_to_own_kind(way: &Way<'_>) -> bool {
    way.backends.iter().flatten().any(|backend| backend.group == mcp::GROUP)
}

impl Protection {
    /// Of a way without any policy.
    pub(super) fn none(is_remote: bool) -> Self {
        let (key, policy) = if is_remote { (REMOTE, RoutePolicy::Remote {}) } else { (OPEN, RoutePolicy::Open {}) };
        Self::new(key.to_owned(), BTreeSet::new(), policy)
    }

    /// The same of a way that would lend a credential to anybody.
    pub(super) fn lent(self) -> Self {
        let key = format!("{}; credentials", self.key);
        Self { key, ..self.closed(Fault::new("CredentialsUnprotected", LENT)) }
    }

    /// The same of a way of which it may not be known what restricts it.
    pub(super) fn in_doubt(self) -> Self {
        let key = format!("{}; unknown", self.key);
        Self { key, ..self.closed(Fault::new("PoliciesUnknown", UNKNOWN)) }
    }

    /// The same of a way that is closed since nobody protects it. INVARIANT: its key is none of an open way, whatever the
    /// order in which routes and the table change.
    pub(super) fn unprotected(self, fault: Fault, lost: &BTreeSet<&ObjectRef>, deleted: &BTreeSet<&ObjectRef>) -> Self {
        let what = match (lost.first(), deleted.first()) {
            (Some(first), _) => format!("lost: {first}"),
            (None, Some(first)) => format!("deleted: {first}"),
            (None, None) => "unprotected".to_owned(),
        };
        let key = if self.attached.is_empty() { what } else { format!("{}; {what}", self.key) };
        Self { key, fault: None, ..self.closed(fault) }
    }
}

/// What is wrong with a section that asks for nothing.
pub(super) fn anonymous_faults(spec: &AuthenticationSpec) -> Vec<(String, Fault)> {
    let rows = [
        ("issuers", !spec.issuers.is_empty(), "exactly one of issuers, passthrough and anonymous must be given"),
        ("passthrough", spec.passthrough.is_some(), "exactly one of issuers, passthrough and anonymous must be given"),
        ("resource", spec.resource.is_some(), "with anonymous there is nowhere to log in"),
        ("scopeImplies", !spec.scope_implies.is_empty(), "with anonymous there are no tokens to look into"),
        (
            "override",
            spec.overriding != Override::Narrow,
            "with anonymous nothing is asked, so there is nothing to override",
        ),
    ];
    let wrong = rows.into_iter().filter(|(_, wrong, _)| *wrong);
    wrong.map(|(part, _, message)| (format!("spec.authentication.{part}"), Fault::new("Invalid", message))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use toolward_policy::config::{Gate, Protocol};

    use super::*;
    use crate::resources::Name;

    fn gate(mode: Mode) -> Gate {
        Gate {
            policy: "apps/one".to_owned(),
            mode,
            denial: Default::default(),
            step_up: Default::default(),
            rules: Vec::new(),
        }
    }

    #[test]
    fn a_policy_must_ask_for_something() {
        let protected =
            |authentication, gates| RoutePolicy::Protected { authentication, gates, protocol: Protocol::default() };
        let anybody = |gates| protected(Authentication::Anonymous {}, gates);
        let closed = RoutePolicy::Closed { reason: "Invalid".to_owned(), message: String::new() };
        let server_asks = protected(Authentication::Passthrough { public_url: None }, vec![]);
        let rows = [
            ("no policy", None, false, Posture::Unprotected),
            ("protocol alone", Some(anybody(vec![])), false, Posture::Unprotected),
            ("a dry run alone", Some(anybody(vec![gate(Mode::DryRun)])), false, Posture::Unprotected),
            (
                "a gate beside a dry run",
                Some(anybody(vec![gate(Mode::DryRun), gate(Mode::Enforce)])),
                false,
                Posture::Protected,
            ),
            ("the server asks", Some(server_asks), false, Posture::Protected),
            ("broken", Some(closed), true, Posture::Protected),
            ("opened", Some(anybody(vec![])), true, Posture::OpenedOnPurpose),
            ("opened for a dry run", Some(anybody(vec![gate(Mode::DryRun)])), true, Posture::OpenedOnPurpose),
            ("opened with rules", Some(anybody(vec![gate(Mode::Enforce)])), true, Posture::Protected),
        ];
        for (row, policy, are_opened, expected) in rows {
            assert_eq!(Posture::of(policy.as_ref(), are_opened), expected, "{row}");
        }
    }

    #[test]
    fn what_asks_for_nothing_says_nothing_else() {
        let rows = [
            ("alone", json!({}), None),
            ("with the default", json!({ "override": "Narrow" }), None),
            ("with override", json!({ "override": "Allow" }), Some("spec.authentication.override")),
            ("with passthrough", json!({ "passthrough": {} }), Some("spec.authentication.passthrough")),
        ];
        for (row, mut section, expected) in rows {
            section["anonymous"] = json!({});
            let spec = serde_json::from_value(section).unwrap();
            let fields: Vec<String> = anonymous_faults(&spec).into_iter().map(|(field, _)| field).collect();
            assert_eq!(fields, Vec::from_iter(expected), "{row}");
        }
    }

    #[test]
    fn what_closes_a_way_that_nobody_protects() {
        use UnprotectedRoutes::{Allow, ByKind, Deny};
        let policy = |name: &str| ObjectRef {
            group: mcp::GROUP.to_owned(),
            kind: "MCPAccessPolicy".to_owned(),
            name: Name::new("apps", name),
        };
        let lost = [policy("a"), policy("b"), policy("c"), policy("d")];
        let (nothing, one, all) = (BTreeSet::new(), lost.iter().take(1).collect(), lost.iter().collect());
        let deleted = BTreeSet::new();
        let rows = [
            ("to an MCPBackend", ByKind, true, &nothing, Some((UNPROTECTED, "anonymous: {}"))),
            ("to a Service", ByKind, false, &nothing, None),
            ("to an MCPBackend, allowed", Allow, true, &nothing, None),
            ("to a Service, denied", Deny, false, &nothing, Some((UNPROTECTED, "MCPAccessPolicy"))),
            (
                "to a Service, in doubt",
                ByKind,
                false,
                &one,
                Some((POLICY_TARGET_NOT_FOUND, "MCPAccessPolicy apps/a may")),
            ),
            ("to a Service, allowed, in doubt", Allow, false, &one, Some((POLICY_TARGET_NOT_FOUND, "apps/a"))),
            ("denied, in doubt", Deny, true, &all, Some((POLICY_TARGET_NOT_FOUND, "apps/c and 1 more"))),
        ];
        for (row, routes, to_own_kind, lost, expected) in rows {
            let fault = closing(routes, to_own_kind, lost, &deleted);
            assert_eq!(fault.as_ref().map(|fault| fault.reason), expected.map(|(reason, _)| reason), "{row}");
            let said = expected.is_none_or(|(_, said)| fault.is_some_and(|fault| fault.message.contains(said)));
            assert!(said, "{row}");
        }
    }
}
