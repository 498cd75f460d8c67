//! Whose an object is that has the name of one of ours.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::names;

/// The uid of the Gateway for which we made an object; `None`: it is somebody else's. A name says nothing: whoever was first
/// in the namespace has it.
#[must_use]
pub fn gateway_uid<'o>(labels: &BTreeMap<String, String>, owners: &'o [OwnerReference]) -> Option<&'o str> {
    let is_labelled = labels.get(names::MANAGED_BY).is_some_and(|manager| manager == names::MANAGER);
    let owner = owners.iter().find(|owner| owner.controller == Some(true)).filter(|_| is_labelled)?;
    let is_gateway = owner.kind == "Gateway" && owner.api_version.starts_with("gateway.networking.k8s.io/");
    (is_gateway && !owner.uid.is_empty()).then_some(&*owner.uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_and_controlling_owner_are_both_needed() {
        let owner = OwnerReference {
            api_version: "gateway.networking.k8s.io/v1".to_owned(),
            kind: "Gateway".to_owned(),
            name: "web".to_owned(),
            uid: "1".to_owned(),
            controller: Some(true),
            ..Default::default()
        };
        let ours = names::labels("web", "toolward");
        let with = |change: fn(&mut OwnerReference)| {
            let mut owner = owner.clone();
            change(&mut owner);
            vec![owner]
        };
        for (name, labels, owners, uid) in [
            ("ours", ours.clone(), with(|_| ()), Some("1")),
            ("without our label", BTreeMap::new(), with(|_| ()), None),
            ("without an owner", ours.clone(), vec![], None),
            ("not controlled by it", ours.clone(), with(|owner| owner.controller = None), None),
            ("of another kind", ours.clone(), with(|owner| owner.kind = "Deployment".to_owned()), None),
            ("of another group", ours.clone(), with(|owner| owner.api_version = "example.com/v1".to_owned()), None),
            ("of no uid", ours, with(|owner| owner.uid = String::new()), None),
        ] {
            assert_eq!(gateway_uid(&labels, &owners), uid, "{name}");
        }
        let managed = BTreeMap::from([(names::MANAGED_BY.to_owned(), "helm".to_owned())]);
        assert_eq!(gateway_uid(&managed, &with(|_| ())), None, "managed by somebody else");
    }
}
