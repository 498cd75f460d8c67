//! References across namespaces, which the target's namespace must grant.

use std::collections::BTreeSet;

use gateway_api::referencegrants::ReferenceGrant;

use crate::resources::ObjectRef;

use super::problems::{Fault, GATEWAY_API};
use super::view::View;

/// Whether `from` may refer to `to`: within a namespace always, across by a ReferenceGrant beside `to`.
pub(super) fn check(view: &View<'_>, from: &ObjectRef, to: &ObjectRef) -> Result<(), Fault> {
    if from.name.namespace == to.name.namespace || granted(view.grants(&to.name.namespace), from, to) {
        return Ok(());
    }
    Err(Fault::new(
        "RefNotPermitted",
        format!(
            "{to} is in another namespace and no ReferenceGrant there lets {kind} of {namespace} refer to it",
            kind = from.kind,
            namespace = from.name.namespace,
        ),
    ))
}

/// Whether one of these ReferenceGrants, which are those of the namespace of `to`, lets `from` refer to it.
pub(crate) fn granted<'g>(
    mut grants: impl Iterator<Item = &'g ReferenceGrant>,
    from: &ObjectRef,
    to: &ObjectRef,
) -> bool {
    grants.any(|grant| {
        let from_fits = grant.spec.from.iter().any(|entry| {
            entry.group == from.group && entry.kind == from.kind && entry.namespace == from.name.namespace
        });
        let to_fits = grant.spec.to.iter().any(|entry| {
            let name_fits = entry.name.as_ref().is_none_or(|name| name.is_empty() || *name == to.name.name);
            entry.group == to.group && entry.kind == to.kind && name_fits
        });
        from_fits && to_fits
    })
}

/// The HTTPRoutes of a namespace to which those of another one may refer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Routes {
    All,
    /// These, by name.
    Named(BTreeSet<String>),
}

impl Routes {
    pub(super) fn granted(view: &View<'_>, from: &str, to: &str) -> Self {
        let is_route = |group: &str, kind: &str| (group, kind) == (GATEWAY_API, "HTTPRoute");
        let fitting = view.grants(to).filter(|grant| {
            grant.spec.from.iter().any(|entry| is_route(&entry.group, &entry.kind) && entry.namespace == from)
        });
        let mut named = BTreeSet::new();
        for entry in fitting.flat_map(|grant| &grant.spec.to).filter(|entry| is_route(&entry.group, &entry.kind)) {
            match entry.name.as_deref().filter(|name| !name.is_empty()) {
                Some(name) => named.insert(name.to_owned()),
                None => return Self::All,
            };
        }
        Self::Named(named)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(name),
        }
    }

    pub(super) fn are_none(&self) -> bool {
        matches!(self, Self::Named(names) if names.is_empty())
    }
}
