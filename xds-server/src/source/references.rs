//! The ConfigMaps and Secrets that other objects refer to, and what of them is read. Of no other the content is asked for.

use std::collections::{BTreeMap, BTreeSet};

use gateway_api::gateways::{Gateway, GatewayListenersTlsCertificateRefs};
use serde_json::Value;

use super::object::{Fault, GATEWAY_API};
use crate::resources::{Name, ObjectRef, Resources};
use crate::translate::{CONTROLLER_NAME, granted};

/// Longest value that is kept, in bytes: a JWK Set and a bundle of authorities fit.
const MAX_VALUE: usize = 256 * 1024;

/// Most bytes of all values of an object of which all keys are read.
const MAX_OF_ALL: usize = 32 * 1024;

/// Where objects have values.
const PARTS: [&str; 3] = ["data", "binaryData", "stringData"];

/// Which keys of an object are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    Named(BTreeSet<String>),
    /// Of parameters: one that is not known is a fault.
    All,
}

/// What is referred to, with its keys.
#[derive(Debug, Default)]
struct References(BTreeMap<ObjectRef, Keys>);

impl References {
    fn refer(&mut self, kind: &str, namespace: &str, name: &str, keys: Keys) {
        let object = ObjectRef { group: String::new(), kind: kind.to_owned(), name: Name::new(namespace, name) };
        match (self.0.get_mut(&object), keys) {
            (Some(Keys::Named(all)), Keys::Named(more)) => all.extend(more),
            (_, keys) => drop(self.0.insert(object, keys)),
        }
    }

    fn named(&mut self, kind: &str, namespace: &str, name: &str, keys: &[&str]) {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        self.refer(kind, namespace, name, Keys::Named(keys));
    }

    fn certificate(&mut self, namespace: &str, name: &str) {
        self.named("Secret", namespace, name, &["tls.crt", "tls.key"]);
    }

    fn authorities(&mut self, namespace: &str, name: &str) {
        self.named("ConfigMap", namespace, name, &["ca.crt"]);
    }
}

/// The ConfigMaps and Secrets that other objects refer to and may refer to.
pub(super) fn of(resources: &Resources) -> BTreeMap<ObjectRef, Keys> {
    let mut references = References::default();
    let classes = resources.gateway_classes.iter();
    let classes: Vec<_> = classes.filter(|(_, class)| class.spec.controller_name == CONTROLLER_NAME).collect();
    for (_, class) in &classes {
        if let Some(parameters) = class.spec.parameters_ref.as_ref().filter(|reference| reference.kind == "ConfigMap") {
            let namespace = parameters.namespace.as_deref().unwrap_or_default();
            references.refer("ConfigMap", namespace, &parameters.name, Keys::All);
        }
    }
    let is_ours = |gateway: &Gateway| classes.iter().any(|(name, _)| name.name == gateway.spec.gateway_class_name);
    for (name, gateway) in resources.gateways.iter().filter(|(_, gateway)| is_ours(gateway)) {
        let infrastructure = gateway.spec.infrastructure.as_ref();
        let parameters = infrastructure.and_then(|infrastructure| infrastructure.parameters_ref.as_ref());
        if let Some(parameters) = parameters.filter(|reference| reference.kind == "ConfigMap") {
            references.refer("ConfigMap", &name.namespace, &parameters.name, Keys::All);
        }
        let listeners = gateway.spec.listeners.iter().filter_map(|listener| listener.tls.as_ref());
        for reference in listeners.flat_map(|tls| tls.certificate_refs.iter().flatten()) {
            if may_refer(name, reference, resources) {
                references.certificate(reference.namespace.as_ref().unwrap_or(&name.namespace), &reference.name);
            }
        }
    }
    for (name, policy) in &resources.backend_tls_policies {
        let authorities = policy.spec.validation.ca_certificate_refs.iter().flatten();
        for reference in authorities.filter(|reference| reference.kind == "ConfigMap") {
            references.authorities(&name.namespace, &reference.name);
        }
    }
    for (object, backend) in &resources.backends {
        let namespace = &object.name.namespace;
        for credentials in backend.spec.targets.iter().filter_map(|target| target.credentials.as_ref()) {
            references.named("Secret", namespace, &credentials.secret_ref.name, &[&credentials.secret_ref.key]);
        }
        for tls in backend.spec.targets.iter().filter_map(|target| target.tls.as_ref()) {
            tls.ca_certificate_refs.iter().for_each(|map| references.authorities(namespace, &map.name));
            tls.client_certificate_ref.iter().for_each(|secret| references.certificate(namespace, &secret.name));
        }
    }
    for (object, policy) in &resources.policies {
        let namespace = &object.name.namespace;
        for issuer in policy.spec.authentication.iter().flat_map(|section| &section.issuers) {
            if let Some(map) = &issuer.jwks.config_map_ref {
                references.named("ConfigMap", namespace, &map.name, &[&map.key]);
            }
            issuer.jwks.ca_certificate_refs.iter().for_each(|map| references.authorities(namespace, &map.name));
        }
    }
    references.0
}

/// Whether a Gateway may have this certificate: another namespace's content is not even asked for before it is granted.
fn may_refer(gateway: &Name, reference: &GatewayListenersTlsCertificateRefs, resources: &Resources) -> bool {
    let of = |group: &str, kind: &str, name: Name| ObjectRef { group: group.to_owned(), kind: kind.to_owned(), name };
    let namespace = reference.namespace.as_ref().unwrap_or(&gateway.namespace);
    let gateway = of(GATEWAY_API, "Gateway", gateway.clone());
    let secret = of("", "Secret", Name::new(namespace, &reference.name));
    let grants = resources.reference_grants.starting_at(Name::new(namespace, ""));
    let mut there = grants.take_while(|(name, _)| name.namespace == *namespace).map(|(_, grant)| &**grant);
    *namespace == gateway.name.namespace || granted(&mut there, &gateway, &secret)
}

/// Leaves what is read of an object, and says what is too large for it.
pub(super) fn cut(document: &mut Value, keys: &Keys) -> Option<Fault> {
    let mut too_large = None;
    let mut all = 0_usize;
    for part in PARTS {
        let Some(values) = document.get_mut(part).and_then(Value::as_object_mut) else { continue };
        values.retain(|key, value| {
            let bytes = value.as_str().map_or(0, |text| decoded(part, text.len()));
            all = all.saturating_add(bytes);
            let (read, fits) = match keys {
                Keys::Named(keys) => (keys.contains(key), bytes <= MAX_VALUE),
                Keys::All => (true, all <= MAX_OF_ALL),
            };
            if read && !fits {
                too_large.get_or_insert_with(|| format!("{part}[{key:?}]"));
            }
            read && fits
        });
    }
    let (bytes, of) = match keys {
        Keys::Named(_) => (MAX_VALUE, "a value that is referred to"),
        Keys::All => (MAX_OF_ALL, "all parameters together"),
    };
    let message = format!("{of} must not have more than {} KiB; what is larger is left out", bytes / 1024);
    too_large.map(|field| Fault { field, reason: "TooLarge", message })
}

/// Bytes of what is left of an object.
pub(super) fn kept(document: &Value) -> usize {
    let values = PARTS.iter().filter_map(|part| document.get(part)?.as_object()).flatten();
    values.map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum()
}

/// What is said of an object for which its namespace has no room.
pub(super) fn no_room(room: usize) -> Fault {
    let message = format!(
        "what is referred to of this namespace's ConfigMaps and Secrets has more than {room} bytes \
         (--max-namespace-bytes): this one is left out until there is room"
    );
    Fault { field: String::new(), reason: "TooLarge", message }
}

/// How many bytes so much text stands for, at most: Secrets and `binaryData` are in base64, of ConfigMaps `data` is not.
fn decoded(part: &str, length: usize) -> usize {
    if part == "data" { length } else { length.div_ceil(4).saturating_mul(3) }
}
