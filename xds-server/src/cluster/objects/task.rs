//! What is to be done for each Gateway: functions over values.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gateway_api::gateways::Gateway;
use tokio::time::Instant;

use super::found::{Found, FoundObject};
use crate::provision::{Parameters, names};
use crate::resources::{Asks, Name, Resources};
use crate::translate::CONTROLLER_NAME;

/// What the worker of a Gateway is to see to.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) gateway: Name,
    pub(super) uid: String,
    pub(super) wish: Wish,
    /// What was there of ours for it…
    pub(super) found: Arc<Vec<FoundObject>>,
    /// …and when that was looked at; `None`: not yet.
    pub(super) looked: Option<Instant>,
}

/// What there is to be for a Gateway.
#[derive(Clone, Debug)]
pub(super) enum Wish {
    /// It is served.
    Keep { gateway: Arc<Gateway>, parameters: Parameters },
    /// It is somebody else's: nothing that has another class than this on its label.
    Leave { class: String },
}

impl Task {
    /// Whether there is nothing new in the other one: another wish, or another look at what is there.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let is_same_wish = match (&self.wish, &other.wish) {
            (
                Wish::Keep { gateway, parameters },
                Wish::Keep { gateway: other_gateway, parameters: other_parameters },
            ) => is_same_gateway(gateway, other_gateway) && parameters == other_parameters,
            (Wish::Leave { class }, Wish::Leave { class: other }) => class == other,
            _ => false,
        };
        is_same_wish && self.looked == other.looked
    }

    /// What is there and is to go.
    pub(super) fn unwished(&self, wished: &BTreeSet<String>) -> Vec<FoundObject> {
        let goes = |found: &&FoundObject| match &self.wish {
            Wish::Keep { .. } => !wished.contains(&found.id()),
            Wish::Leave { class } => found.class.as_ref().is_some_and(|labelled| labelled != class),
        };
        self.found.iter().filter(goes).cloned().collect()
    }
}

/// Its status may differ: objects are made of the rest.
fn is_same_gateway(one: &Arc<Gateway>, other: &Arc<Gateway>) -> bool {
    let (generation, other_generation) = (one.metadata.generation, other.metadata.generation);
    Arc::ptr_eq(one, other) || (generation.is_some() && generation == other_generation)
}

/// The Gateways that something is to be done for, by uid. One that is being deleted is left to end, and one that is ours
/// and can't be served keeps what it has.
pub(super) fn tasks(
    resources: &Resources,
    parameters: &BTreeMap<Name, Parameters>,
    found: &Found,
) -> BTreeMap<String, Task> {
    let ours = own_classes(resources);
    let mut tasks = BTreeMap::new();
    for (name, gateway) in resources.gateways.iter() {
        let Some(uid) = gateway.metadata.uid.clone().filter(|_| gateway.metadata.deletion_timestamp.is_none()) else {
            continue;
        };
        let class = &gateway.spec.gateway_class_name;
        let there = found.of(&name.namespace, &uid);
        let wish = match parameters.get(name) {
            Some(parameters) => Wish::Keep { gateway: Arc::clone(gateway), parameters: parameters.clone() },
            None if ours.contains(class.as_str()) || there.is_empty() => continue,
            // A Gateway whose class has vanished, or is not ours for a moment, is not left without Envoys for that: its
            // objects have that class on their labels.
            None => Wish::Leave { class: names::class(class) },
        };
        tasks.insert(uid.clone(), Task { gateway: name.clone(), uid, wish, found: there, looked: found.looked });
    }
    tasks
}

/// The classes that are ours, even where they can't be read.
fn own_classes(resources: &Resources) -> BTreeSet<&str> {
    let readable = resources.gateway_classes.iter();
    let readable = readable.filter(|(_, class)| class.spec.controller_name == CONTROLLER_NAME).map(|(name, _)| name);
    let malformed = resources.malformed_of("gateway.networking.k8s.io", "GatewayClass");
    let malformed = malformed.filter(|(_, it)| it.asks == Asks::Controller(CONTROLLER_NAME.to_owned()));
    readable.chain(malformed.map(|(object, _)| &object.name)).map(|name| name.name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
    use k8s_openapi::jiff::Timestamp;

    use super::*;
    use crate::source::documents::{self, File};

    const MANIFESTS: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: toolward }
spec: { controllerName: toolward.dev/gateway-controller }
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: foreign }
spec: { controllerName: example.com/other }
";

    fn found(kind: &'static str, class: &str) -> FoundObject {
        FoundObject {
            kind,
            name: Name::new("apps", "gw-toolward"),
            uid: "o".to_owned(),
            version: "1".to_owned(),
            class: Some(class.to_owned()),
        }
    }

    fn world(class: &str, change: impl Fn(&mut ObjectMeta)) -> Resources {
        let gateway = format!(
            "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{ name: gw, namespace: apps, uid: g, \
             generation: 1 }}\nspec: {{ gatewayClassName: {class}, listeners: [{{ name: a, port: 80, protocol: HTTP }}] }}\n"
        );
        let file = File { path: "a.yaml".into(), content: format!("{MANIFESTS}{gateway}").into_bytes() };
        let mut resources = documents::read(&[file]).unwrap();
        let mut gateway = Gateway::clone(resources.gateways.get(&Name::new("apps", "gw")).unwrap());
        change(&mut gateway.metadata);
        resources.gateways.insert(Name::new("apps", "gw"), gateway);
        resources
    }

    /// What is to go of a Service and a Deployment made for the class `toolward`, when the Deployment is wished.
    fn goes(resources: &Resources, is_served: bool) -> Option<Vec<&'static str>> {
        let there = ["Service", "Deployment"].map(|kind| found(kind, "toolward"));
        // Somebody else put the Gateway's uid on it, to have its worker delete things for ever.
        let elsewhere = FoundObject { name: Name::new("evil", "gw-toolward"), ..found("ConfigMap", "toolward") };
        let there = there.into_iter().chain([elsewhere]).map(|found| ("g".to_owned(), found));
        let there = Found::new(there, None);
        let parameters = is_served.then(|| (Name::new("apps", "gw"), Parameters::default()));
        let tasks = tasks(resources, &parameters.into_iter().collect(), &there);
        let wished = BTreeSet::from(["Deployment apps/gw-toolward".to_owned()]);
        tasks.get("g").map(|task| task.unwished(&wished).into_iter().map(|found| found.kind).collect())
    }

    #[test]
    fn what_is_not_wished_goes_and_what_is_in_doubt_stays() {
        let as_it_is = |_: &mut ObjectMeta| ();
        assert_eq!(goes(&world("toolward", as_it_is), true), Some(vec!["Service"]), "served");
        assert_eq!(goes(&world("toolward", as_it_is), false), None, "its parameters can't be used");
        assert_eq!(goes(&world("foreign", as_it_is), false), Some(vec!["Service", "Deployment"]), "another class");
        assert_eq!(goes(&world("unknown", as_it_is), false), Some(vec!["Service", "Deployment"]), "a class to come");
        let ends = |metadata: &mut ObjectMeta| metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        assert_eq!(goes(&world("toolward", ends), true), None, "it is being deleted");
        let another = |metadata: &mut ObjectMeta| metadata.uid = Some("h".to_owned());
        assert_eq!(goes(&world("foreign", another), false), None, "another Gateway of the name");
        let mut lost = world("toolward", as_it_is);
        lost.gateway_classes.remove(&Name::new("", "toolward"));
        assert_eq!(goes(&lost, false), Some(vec![]), "its class has vanished");
    }

    #[test]
    fn a_status_is_no_news() {
        let task = |resources: &Resources| {
            let parameters = BTreeMap::from([(Name::new("apps", "gw"), Parameters::default())]);
            tasks(resources, &parameters, &Found::default()).remove("g").unwrap()
        };
        let first = task(&world("toolward", |_| ()));
        assert!(first.is_same(&task(&world("toolward", |metadata| metadata.resource_version = Some("7".to_owned())))));
        assert!(!first.is_same(&task(&world("toolward", |metadata| metadata.generation = Some(2)))));
    }
}
