//! References across namespaces, which the target's namespace must grant.

use gateway_api::referencegrants::ReferenceGrant;

use crate::resources::ObjectRef;

use super::problems::Fault;
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
