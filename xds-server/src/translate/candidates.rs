//! The routes that are tried for a host, where they may be of several namespaces.

use std::sync::Arc;

use crate::model::{Route, RouteMatch};
use crate::resources::Name;

use super::metadata::Described;

/// What a rule is to rules of other namespaces on its hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// Whether a policy protects its backends.
    pub(super) is_protected: bool,
    /// Whether clients may be told where to log in for it: it is protected, or leads to a kind that is there to be protected.
    pub(super) is_endpoint: bool,
}

/// A route of a host, or one that tells of it.
pub(super) struct Candidate<'a> {
    /// The HTTPRoute.
    pub(super) name: &'a Arc<Name>,
    /// Index of its rule.
    pub(super) rule: usize,
    pub(super) standing: Standing,
    /// What requests of the rule look like.
    pub(super) matches: &'a RouteMatch,
    pub(super) route: Arc<Route>,
    /// None: somebody wrote it.
    pub(super) described: Option<&'a Described>,
}

impl<'a> Candidate<'a> {
    pub(super) fn namespace(&self) -> &'a str {
        &self.name.namespace
    }

    /// Whether somebody wrote it for what clients may be told of.
    pub(super) fn is_endpoint(&self) -> bool {
        self.described.is_none() && self.standing.is_endpoint
    }
}

/// Whether a match is for calls that have nothing special about them. What clients are told of a path is told of the route that
/// takes those: one that needs a header nobody sends has no say.
pub(super) fn takes_plain_calls(matches: &RouteMatch) -> bool {
    let is_post = matches.method.as_deref().is_none_or(|method| method == "POST");
    is_post && matches.headers.is_empty() && matches.query.is_empty()
}
