//! Which namespaces a listener takes routes from.

use std::collections::BTreeMap;

use gateway_api::gateways::{
    GatewayListenersAllowedRoutesNamespaces as Namespaces, GatewayListenersAllowedRoutesNamespacesFrom as From,
    GatewayListenersAllowedRoutesNamespacesSelector as LabelSelector,
};

use super::problems::Fault;
use super::view::View;

/// The label that Kubernetes puts on every Namespace.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Namespaces, by name or by label.
#[derive(Clone, Debug)]
pub(super) enum NamespaceSelector {
    /// Every namespace.
    All,
    /// Only this one.
    One(String),
    /// Those whose labels fulfil all of these.
    Labels(Vec<Requirement>),
}

/// A condition on labels.
#[derive(Clone, Debug)]
pub(super) enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    DoesNotExist(String),
}

impl NamespaceSelector {
    /// Reads `allowedRoutes.namespaces` of a listener of a Gateway in the namespace `own`.
    pub(super) fn parse(namespaces: Option<&Namespaces>, own: &str) -> Result<Self, Fault> {
        match namespaces.and_then(|namespaces| namespaces.from.as_ref()) {
            None | Some(From::Same) => Ok(Self::One(own.to_owned())),
            Some(From::All) => Ok(Self::All),
            Some(From::Selector) => {
                let selector = namespaces.and_then(|namespaces| namespaces.selector.as_ref());
                selector
                    .ok_or_else(|| Fault::unsupported("from: Selector needs a selector"))
                    .and_then(requirements)
                    .map(Self::Labels)
            }
        }
    }

    /// Whether a namespace is selected.
    pub(super) fn selects(&self, namespace: &str, view: &View<'_>) -> bool {
        match self {
            Self::All => true,
            Self::One(own) => own == namespace,
            Self::Labels(requirements) => {
                let labels = labels(namespace, view);
                requirements.iter().all(|requirement| requirement.holds(&labels))
            }
        }
    }
}

fn labels<'r>(namespace: &'r str, view: &View<'r>) -> BTreeMap<&'r str, &'r str> {
    let object = view.namespace(namespace);
    let written = object.and_then(|object| object.metadata.labels.as_ref()).into_iter().flatten();
    let mut labels: BTreeMap<&str, &str> = written.map(|(key, value)| (key.as_str(), value.as_str())).collect();
    labels.insert(NAME_LABEL, namespace);
    labels
}

fn requirements(selector: &LabelSelector) -> Result<Vec<Requirement>, Fault> {
    let equal = selector.match_labels.iter().flatten();
    let equal = equal.map(|(key, value)| Ok(Requirement::In(key.clone(), vec![value.clone()])));
    let expressions = selector.match_expressions.iter().flatten().map(|expression| {
        let key = expression.key.clone();
        let values = expression.values.clone().unwrap_or_default();
        match (expression.operator.as_str(), values.is_empty()) {
            ("In", false) => Ok(Requirement::In(key, values)),
            ("NotIn", false) => Ok(Requirement::NotIn(key, values)),
            ("Exists", true) => Ok(Requirement::Exists(key)),
            ("DoesNotExist", true) => Ok(Requirement::DoesNotExist(key)),
            (operator, _) => Err(Fault::unsupported(format!(
                "the operator {operator:?} does not fit: In and NotIn need values, Exists and DoesNotExist have none"
            ))),
        }
    });
    equal.chain(expressions).collect()
}

impl Requirement {
    fn holds(&self, labels: &BTreeMap<&str, &str>) -> bool {
        let has = |key: &String, values: &[String]| {
            labels.get(key.as_str()).is_some_and(|label| values.iter().any(|value| value == label))
        };
        match self {
            Self::In(key, values) => has(key, values),
            Self::NotIn(key, values) => !has(key, values),
            Self::Exists(key) => labels.contains_key(key.as_str()),
            Self::DoesNotExist(key) => !labels.contains_key(key.as_str()),
        }
    }
}
