//! What a Gateway may choose for its own Envoys: the key `gatewaysMaySet` of the ConfigMap that its GatewayClass names.
//! Whoever may write a Gateway has not the rights of whoever runs the cluster: images, nodes, and what labels and
//! annotations mean to clouds and meshes are the platform's, unless the class says otherwise.
//!
//! | field | what a Gateway may set | without it |
//! |---|---|---|
//! | `replicas` | so many at most | 5, or what the class has |
//! | `concurrency` | so many at most | what the class has |
//! | `resources` | so much of each at most, for each Envoy | `cpu: "2"` and `memory: 2Gi`, or what the class has |
//! | `serviceType` | one of these | what the class has, and `ClusterIP` |
//! | `others` | these keys of its ConfigMap, to whatever it likes | none |
//! | `labels` | labels of these names in `spec.infrastructure`; `*` at the end stands for anything | none |
//! | `annotations` | the same of annotations | none |

use std::collections::BTreeMap;

use serde::Deserialize;

use super::parameters::{Parameters, ResourceLimits, ServiceKind};
use super::quantity;

/// Replicas that a Gateway may have where its class does not say.
const REPLICAS: u16 = 5;

/// What each of its Envoys may have.
const RESOURCES: [(&str, &str); 2] = [("cpu", "2"), ("memory", "2Gi")];

/// The key of a class's ConfigMap that says otherwise.
pub(super) const KEY: &str = "gatewaysMaySet";

/// Keys that can be among `others`: those that have no bound of their own.
const OTHERS: [&str; 6] =
    ["image", "serviceAnnotations", "loadBalancerClass", "externalTrafficPolicy", "nodeSelector", "tolerations"];

/// As it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Bounds {
    replicas: Option<u16>,
    concurrency: Option<u16>,
    resources: Option<BTreeMap<String, String>>,
    service_type: Option<Vec<ServiceKind>>,
    others: Vec<String>,
    labels: Vec<String>,
    annotations: Vec<String>,
}

impl Bounds {
    /// Reads the key [`KEY`].
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let bounds: Self = if text.is_empty() {
            Self::default()
        } else {
            serde_yaml_ng::from_str(text).map_err(|error| error.to_string())?
        };
        if let Some(amount) =
            bounds.resources.iter().flat_map(BTreeMap::values).find(|it| quantity::parse(it).is_none())
        {
            return Err(format!("{amount:?} is no amount: write for example 500m, 2 or 512Mi"));
        }
        if let Some(other) = bounds.others.iter().find(|other| !OTHERS.contains(&other.as_str())) {
            return Err(format!("others: {other:?} is none of {}", OTHERS.join(", ")));
        }
        Ok(bounds)
    }

    /// Whether a Gateway may set a key of its ConfigMap to what it has set it to.
    ///
    /// # Errors
    /// What is allowed instead.
    pub(super) fn check(&self, key: &str, chosen: &Parameters, class: &Parameters) -> Result<(), String> {
        match key {
            "replicas" => at_most(chosen.replicas, self.replicas.unwrap_or(REPLICAS.max(class.replicas)), key),
            "concurrency" => at_most(chosen.concurrency, self.concurrency.unwrap_or(class.concurrency), key),
            "resources" => self.check_resources(&chosen.resources, &class.resources),
            "serviceType" => {
                let of_the_class = [class.service.kind, ServiceKind::ClusterIp];
                let allowed = self.service_type.as_deref().unwrap_or(&of_the_class);
                if allowed.contains(&chosen.service.kind) {
                    return Ok(());
                }
                let allowed: Vec<&str> = allowed.iter().map(|kind| kind.word()).collect();
                Err(format!(
                    "a Gateway of this class may choose {}; more is allowed by serviceType in {KEY} of the class's \
                     ConfigMap",
                    if allowed.is_empty() { "none".to_owned() } else { allowed.join(" or ") }
                ))
            }
            other if self.others.iter().any(|allowed| allowed == other) => Ok(()),
            other => Err(format!(
                "a Gateway of this class may not choose it; leave it out, or have it allowed by `others: [{other}]` in {KEY} \
                 of the class's ConfigMap"
            )),
        }
    }

    /// A limit that the class sets can't be left out.
    fn check_resources(&self, chosen: &ResourceLimits, class: &ResourceLimits) -> Result<(), String> {
        if let Some(resource) = class.limits.keys().find(|resource| !chosen.limits.contains_key(*resource)) {
            return Err(format!("limits.{resource} is missing; name it, since the class has such a limit"));
        }
        for (part, amounts) in [("requests", &chosen.requests), ("limits", &chosen.limits)] {
            for (resource, amount) in amounts {
                let Some((most, written)) = self.most_of(resource, class) else {
                    return Err(format!(
                        "{part}.{resource}: a Gateway of this class may not choose it; leave it out, or have it allowed by \
                         resources in {KEY} of the class's ConfigMap"
                    ));
                };
                // INVARIANT: amounts were read before; what can't be read is more than anything.
                if quantity::billionths(amount).is_none_or(|amount| amount > most) {
                    return Err(format!(
                        "{part}.{resource}: {amount} is more than {written}, the most for a Gateway of this class; more is \
                         allowed by resources in {KEY} of the class's ConfigMap"
                    ));
                }
            }
        }
        Ok(())
    }

    /// The most that may be had of a resource, in billionths and as it is written.
    fn most_of(&self, resource: &str, class: &ResourceLimits) -> Option<(u128, String)> {
        let amount = |written: &String| Some((quantity::billionths(written)?, written.clone()));
        if let Some(resources) = &self.resources {
            return resources.get(resource).and_then(amount);
        }
        let default = RESOURCES.iter().find(|(known, _)| *known == resource).map(|(_, amount)| (*amount).to_owned());
        let of_the_class = [class.requests.get(resource).cloned(), class.limits.get(resource).cloned()];
        default.into_iter().chain(of_the_class.into_iter().flatten()).filter_map(|it| amount(&it)).max()
    }

    /// The first of these labels that a Gateway may not have.
    pub(super) fn refused_label<'n>(&self, names: impl Iterator<Item = &'n String>) -> Option<&'n str> {
        refused(&self.labels, names)
    }

    /// The same of annotations.
    pub(super) fn refused_annotation<'n>(&self, names: impl Iterator<Item = &'n String>) -> Option<&'n str> {
        refused(&self.annotations, names)
    }
}

fn at_most(chosen: u16, most: u16, key: &str) -> Result<(), String> {
    if chosen <= most {
        return Ok(());
    }
    Err(format!(
        "{chosen} is more than {most}, the most for a Gateway of this class; more is allowed by {key} in {KEY} of the class's \
         ConfigMap"
    ))
}

fn refused<'n>(allowed: &[String], mut names: impl Iterator<Item = &'n String>) -> Option<&'n str> {
    let is_allowed = |name: &str| {
        allowed.iter().any(|allowed| match allowed.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == allowed,
        })
    };
    names.find(|name| !is_allowed(name)).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::super::parameters::ClassParameters;
    use super::*;

    fn class(data: &[(&str, &str)]) -> ClassParameters {
        ClassParameters::default().with(&config_map(data)).unwrap()
    }

    fn config_map(data: &[(&str, &str)]) -> ConfigMap {
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        ConfigMap { data: Some(data), ..ConfigMap::default() }
    }

    #[test]
    fn what_a_gateway_may_set() {
        let (nothing, unlimited) = (("", ""), ("resources", "requests: { cpu: 1m }"));
        let rows = [
            ("by default", nothing, "replicas", "5", true),
            ("past the default", nothing, "replicas", "6", false),
            ("as many as the class", ("replicas", "8"), "replicas", "8", true),
            ("more than the class", ("replicas", "8"), "replicas", "9", false),
            ("fewer are allowed", ("gatewaysMaySet", "replicas: 1"), "replicas", "2", false),
            ("more are allowed", ("gatewaysMaySet", "replicas: 100"), "replicas", "100", true),
            ("fewer threads", nothing, "concurrency", "1", true),
            ("more threads", nothing, "concurrency", "3", false),
            ("more threads are allowed", ("gatewaysMaySet", "concurrency: 8"), "concurrency", "8", true),
            ("within the default", nothing, "resources", "limits: { cpu: 1900m, memory: 2048Mi }", true),
            ("a little more memory", nothing, "resources", "limits: { memory: 2147483649 }", false),
            ("a little more of a processor", nothing, "resources", "limits: { cpu: 2001m, memory: 1Gi }", false),
            ("asks for more", nothing, "resources", "{ requests: { cpu: 4 }, limits: { memory: 1Gi } }", false),
            ("no limit of memory", nothing, "resources", "requests: { memory: 1Gi }", false),
            ("nothing", nothing, "resources", "", false),
            ("no limit, as the class", unlimited, "resources", "requests: { memory: 1Gi }", true),
            ("another resource", nothing, "resources", "limits: { memory: 1Gi, nvidia.com/gpu: 1 }", false),
            (
                "another resource, allowed",
                ("gatewaysMaySet", "resources: { memory: 1Gi, nvidia.com/gpu: \"1\" }"),
                "resources",
                "limits: { memory: 1Gi, nvidia.com/gpu: 1 }",
                true,
            ),
            ("the class's own type", nothing, "serviceType", "LoadBalancer", true),
            ("reached from inside alone", nothing, "serviceType", "ClusterIP", true),
            ("ports of nodes", nothing, "serviceType", "NodePort", false),
            ("more than the class", ("serviceType", "ClusterIP"), "serviceType", "LoadBalancer", false),
            ("listed", ("gatewaysMaySet", "serviceType: [NodePort]"), "serviceType", "NodePort", true),
            ("not listed", ("gatewaysMaySet", "serviceType: [NodePort]"), "serviceType", "ClusterIP", false),
            ("an image", nothing, "image", "evil:1", false),
            ("an image, allowed", ("gatewaysMaySet", "others: [image]"), "image", "good:1", true),
            ("the class's image", ("image", "envoy:1"), "image", "envoy:2", false),
            ("nodes", nothing, "nodeSelector", "node-role.kubernetes.io/control-plane: ''", false),
            ("taints", nothing, "tolerations", "[{ operator: Exists }]", false),
            ("annotations of clouds", nothing, "serviceAnnotations", "a: b", false),
            ("what it may set", nothing, "gatewaysMaySet", "others: [image]", false),
        ];
        for (name, class_data, key, value, allowed) in rows {
            let class = if class_data == nothing { class(&[]) } else { class(&[class_data]) };
            let chosen = class.of_gateway(&config_map(&[(key, value)]));
            assert_eq!(chosen.is_ok(), allowed, "{name}: {chosen:?}");
            if let Err(faults) = chosen {
                assert_eq!(faults[0].key, key, "{name}");
            }
        }
    }

    #[test]
    fn every_key_has_a_bound() {
        for key in OTHERS {
            let fault = Bounds::default().check(key, &Parameters::default(), &Parameters::default());
            assert!(fault.is_err_and(|fault| fault.contains(key)), "{key}");
        }
    }

    #[test]
    fn labels_and_annotations() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let bounds = Bounds::parse("{ labels: [team], annotations: [example.com/*] }").unwrap();
        assert_eq!(Bounds::default().refused_label(names(&["team"]).iter()), Some("team"));
        assert_eq!(bounds.refused_label(names(&["team"]).iter()), None);
        assert_eq!(bounds.refused_label(names(&["team", "teams"]).iter()), Some("teams"));
        assert_eq!(bounds.refused_annotation(names(&["example.com/a"]).iter()), None);
        assert_eq!(bounds.refused_annotation(names(&["example.com.evil/a"]).iter()), Some("example.com.evil/a"));
    }

    #[test]
    fn bounds_that_can_not_be_read() {
        for text in
            ["replica: 5", "replicas: many", "serviceType: [nodeport]", "resources: { cpu: lots }", "others: [all]"]
        {
            assert!(Bounds::parse(text).is_err(), "{text}");
        }
        assert_eq!(Bounds::parse(""), Ok(Bounds::default()));
    }
}
