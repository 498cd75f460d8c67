//! What can be chosen for the Envoys of a Gateway: the keys of a ConfigMap that `parametersRef` names.
//!
//! | key | value | without it |
//! |---|---|---|
//! | `replicas` | number of pods | 2 |
//! | `image` | an image of Envoy 1.40 | `envoyproxy/envoy:distroless-v1.40.0` |
//! | `concurrency` | worker threads of each Envoy | 2 |
//! | `resources` | YAML with `requests` and `limits`, of memory 64Mi at least | 100m CPU and 256Mi, at most 1Gi |
//! | `serviceType` | `LoadBalancer`, `NodePort` or `ClusterIP` | `LoadBalancer` |
//! | `serviceAnnotations` | YAML of names and values | none |
//! | `loadBalancerClass` | the Service's class | the cluster's own |
//! | `externalTrafficPolicy` | `Cluster` or `Local` | `Cluster` |
//! | `nodeSelector` | YAML of labels and values | none |
//! | `tolerations` | YAML, a list as in a pod | none |
//!
//! What a Gateway's own ConfigMap says comes before that of its class, which says what it may say: see [`Bounds`].

use std::collections::BTreeMap;

use gateway_api::gateways::GatewayInfrastructure;
use k8s_openapi::api::core::v1::ConfigMap;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::bounds::{self, Bounds};
use super::quantity;

/// The least memory that an Envoy with the filter can be limited to, in bytes.
const LEAST_MEMORY: u64 = 64 << 20;

/// What is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table above says it")]
pub struct Parameters {
    pub replicas: u16,
    pub image: String,
    pub concurrency: u16,
    pub resources: ResourceLimits,
    pub service: ServiceParameters,
    pub node_selector: BTreeMap<String, String>,
    pub tolerations: Vec<Toleration>,
}

/// What is chosen for the Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table above says it")]
pub struct ServiceParameters {
    pub kind: ServiceKind,
    pub annotations: BTreeMap<String, String>,
    pub load_balancer_class: Option<String>,
    pub external_traffic_policy: Option<ExternalTrafficPolicy>,
}

/// Who can reach a Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the words of Kubernetes")]
pub enum ServiceKind {
    #[default]
    LoadBalancer,
    NodePort,
    #[serde(rename = "ClusterIP")]
    ClusterIp,
}

/// Whether a node sends calls from outside on to other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of Kubernetes")]
pub enum ExternalTrafficPolicy {
    Cluster,
    Local,
}

/// What a container asks for and gets at most, by resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the words of Kubernetes")]
pub struct ResourceLimits {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, String>,
}

/// Which taints of a node are no obstacle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(missing_docs, reason = "the words of Kubernetes")]
pub struct Toleration {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toleration_seconds: Option<i64>,
}

impl Default for Parameters {
    fn default() -> Self {
        let amounts = |amounts: &[(&str, &str)]| {
            amounts.iter().map(|(resource, amount)| ((*resource).to_owned(), (*amount).to_owned())).collect()
        };
        Self {
            replicas: 2,
            image: "envoyproxy/envoy:distroless-v1.40.0".to_owned(),
            concurrency: 2,
            resources: ResourceLimits {
                requests: amounts(&[("cpu", "100m"), ("memory", "256Mi")]),
                limits: amounts(&[("memory", "1Gi")]),
            },
            service: ServiceParameters::default(),
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
        }
    }
}

/// A key of a ConfigMap that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("data.{key}: {fault}")]
#[expect(missing_docs, reason = "the names say it")]
pub struct ParameterFault {
    pub key: String,
    pub fault: String,
}

/// What a class chooses for its Gateways, and leaves to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassParameters {
    /// Where a Gateway does not choose.
    pub defaults: Parameters,
    /// What a Gateway may choose.
    pub bounds: Bounds,
}

impl ClassParameters {
    /// These with what the ConfigMap of a class says otherwise. A class may say everything.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn with(mut self, written: &ConfigMap) -> Result<Self, Vec<ParameterFault>> {
        let mut faults = Vec::new();
        for (key, value) in written.data.iter().flatten() {
            let set = match key.as_str() {
                bounds::KEY => Bounds::parse(value.trim()).map(|bounds| self.bounds = bounds),
                key => self.defaults.set(key, value.trim()),
            };
            faults.extend(set.err().map(|fault| ParameterFault { key: key.clone(), fault }));
        }
        faults.extend(self.defaults.faults(written));
        if faults.is_empty() { Ok(self) } else { Err(faults) }
    }

    /// What a Gateway of the class gets whose own ConfigMap says this.
    ///
    /// # Errors
    /// Everything that is wrong with it, or more than the class allows.
    pub fn of_gateway(&self, written: &ConfigMap) -> Result<Parameters, Vec<ParameterFault>> {
        let mut chosen = self.defaults.clone();
        let mut faults = Vec::new();
        for (key, value) in written.data.iter().flatten() {
            let set = match key.as_str() {
                bounds::KEY => Err("only the ConfigMap of a GatewayClass can say this".to_owned()),
                // Each key sets what is compared there, and nothing else.
                key => chosen.set(key, value.trim()).and_then(|()| self.bounds.check(key, &chosen, &self.defaults)),
            };
            faults.extend(set.err().map(|fault| ParameterFault { key: key.clone(), fault }));
        }
        faults.extend(chosen.faults(written));
        if faults.is_empty() { Ok(chosen) } else { Err(faults) }
    }

    /// What is wrong with a Gateway's own labels and annotations, by the name of the field.
    pub fn metadata_faults(&self, infrastructure: &GatewayInfrastructure) -> Vec<(&'static str, String)> {
        let labels = self.bounds.refused_label(infrastructure.labels.iter().flat_map(BTreeMap::keys));
        let annotations = self.bounds.refused_annotation(infrastructure.annotations.iter().flat_map(BTreeMap::keys));
        let fault = |field: &'static str, name: &str| {
            let message = format!(
                "a Gateway of this class may not choose {name}; leave it out, or have it allowed by {field} in {} of the \
                 class's ConfigMap",
                bounds::KEY
            );
            (field, message)
        };
        let labels = labels.map(|name| fault("labels", name));
        labels.into_iter().chain(annotations.map(|name| fault("annotations", name))).collect()
    }
}

impl Parameters {
    /// What is wrong with them as a whole, once all keys of a ConfigMap are set.
    fn faults(&self, written: &ConfigMap) -> Vec<ParameterFault> {
        let mut faults = Vec::new();
        for key in written.binary_data.iter().flat_map(BTreeMap::keys) {
            let fault = "parameters are text; write it under data".to_owned();
            faults.push(ParameterFault { key: key.clone(), fault });
        }
        if let (Some(_), ServiceKind::NodePort | ServiceKind::ClusterIp) =
            (&self.service.load_balancer_class, self.service.kind)
        {
            let fault = "only a Service of type LoadBalancer has a class; leave it out".to_owned();
            faults.push(ParameterFault { key: "loadBalancerClass".to_owned(), fault });
        }
        if let (Some(_), ServiceKind::ClusterIp) = (&self.service.external_traffic_policy, self.service.kind) {
            let fault = "a Service of type ClusterIP is not reached from outside; leave it out".to_owned();
            faults.push(ParameterFault { key: "externalTrafficPolicy".to_owned(), fault });
        }
        faults
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "replicas" => self.replicas = number(value, 1000)?,
            "image" => self.image = word(value)?,
            "concurrency" => self.concurrency = number(value, 256)?,
            "resources" => self.resources = resources(value)?,
            "serviceType" => self.service.kind = ServiceKind::parse(value)?,
            "serviceAnnotations" => self.service.annotations = yaml(value)?,
            "loadBalancerClass" => self.service.load_balancer_class = Some(word(value)?),
            "externalTrafficPolicy" => {
                self.service.external_traffic_policy = Some(ExternalTrafficPolicy::parse(value)?);
            }
            "nodeSelector" => self.node_selector = yaml(value)?,
            "tolerations" => self.tolerations = yaml(value)?,
            _ => return Err("this key is not known; correct its name or remove it".to_owned()),
        }
        Ok(())
    }
}

impl ServiceKind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::LoadBalancer => "LoadBalancer",
            Self::NodePort => "NodePort",
            Self::ClusterIp => "ClusterIP",
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let known = [Self::LoadBalancer, Self::NodePort, Self::ClusterIp].into_iter().find(|kind| kind.word() == text);
        known.ok_or_else(|| format!("{text:?} is none of LoadBalancer, NodePort and ClusterIP"))
    }
}

impl ExternalTrafficPolicy {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Cluster => "Cluster",
            Self::Local => "Local",
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let known = [Self::Cluster, Self::Local].into_iter().find(|policy| policy.word() == text);
        known.ok_or_else(|| format!("{text:?} is neither Cluster nor Local"))
    }
}

fn number(text: &str, most: u16) -> Result<u16, String> {
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| format!("{text:?} is no number from 1 to {most}"))
}

fn word(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 1024 || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(format!("{text:?} is not one word"));
    }
    Ok(text.to_owned())
}

fn yaml<T: DeserializeOwned + Default>(text: &str) -> Result<T, String> {
    if text.is_empty() {
        return Ok(T::default());
    }
    serde_yaml_ng::from_str(text).map_err(|error| error.to_string())
}

fn resources(text: &str) -> Result<ResourceLimits, String> {
    let limits: ResourceLimits = yaml(text)?;
    let mut amounts = limits.requests.values().chain(limits.limits.values());
    if let Some(amount) = amounts.find(|amount| quantity::parse(amount).is_none()) {
        return Err(format!("{amount:?} is no amount: write for example 500m, 2 or 512Mi"));
    }
    // Envoy's own bounds go by it.
    let memory = limits.limits.get("memory").and_then(|memory| Some((memory, quantity::parse(memory)?)));
    match memory.filter(|(_, bytes)| *bytes < LEAST_MEMORY) {
        Some((memory, _)) => Err(format!("the limit {memory:?} is too little memory: Envoy needs 64Mi at least")),
        None => Ok(limits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(key: &str, value: &str) -> Result<Parameters, Vec<ParameterFault>> {
        let data = Some(BTreeMap::from([(key.to_owned(), value.to_owned())]));
        let class = ClassParameters::default().with(&ConfigMap { data, ..ConfigMap::default() })?;
        Ok(class.defaults)
    }

    #[test]
    fn values_are_read_or_refused() {
        let rows = [
            ("replicas", "3", true),
            ("replicas", "0", false),
            ("replicas", "many", false),
            ("image", "registry.example.com/envoy:v1", true),
            ("image", "", false),
            ("image", "a b", false),
            ("concurrency", "4\n", true),
            ("resources", "requests: { cpu: 1500m, memory: 1.5Gi }", true),
            ("resources", "limits: { cpu: \"2\" }", true),
            ("resources", "limits: { memory: lots }", false),
            ("resources", "limits: { memory: 1.5Gi }", true),
            ("resources", "limits: { memory: 99Ei }", false),
            ("resources", "limits: { memory: 512m }", false),
            ("resources", "limits: { memory: 1e9 }", true),
            ("resources", "limit: { memory: 1Gi }", false),
            ("serviceType", "NodePort", true),
            ("serviceType", "nodeport", false),
            ("serviceAnnotations", "example.com/a: b", true),
            ("serviceAnnotations", "[a]", false),
            ("externalTrafficPolicy", "Local", true),
            ("externalTrafficPolicy", "local", false),
            ("tolerations", "- { key: a, operator: Exists }", true),
            ("tolerations", "- { keys: a }", false),
            ("replica", "3", false),
        ];
        for (key, value, fits) in rows {
            let read = with(key, value);
            assert_eq!(read.is_ok(), fits, "{key} {value}: {read:?}");
        }
    }

    #[test]
    fn a_later_config_map_says_more() {
        let class = ClassParameters { defaults: with("image", "envoy:1").unwrap(), ..Default::default() };
        let data = Some(BTreeMap::from([("replicas".to_owned(), "5".to_owned())]));
        let gateway = class.of_gateway(&ConfigMap { data, ..ConfigMap::default() }).unwrap();
        assert_eq!((gateway.replicas, gateway.image.as_str()), (5, "envoy:1"));
    }
}
