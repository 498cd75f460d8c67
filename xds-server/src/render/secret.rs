//! SDS: certificates with their keys, certificate authorities, what is shown to servers, and the keys for binding.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::core::v3::{DataSource, data_source::Specifier};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, GenericSecret, Secret, TlsCertificate, secret,
};

use toolward_policy::config::BindingKey;

use crate::model::{Authorities, Certificate, Gateway};

/// The name of the secret with the keys for binding; those that come from resources have a slash in them.
pub(super) const BINDING_KEYS: &str = "binding-keys";

/// All secrets of a Gateway, each once.
pub(super) fn of(gateway: &Gateway) -> impl Iterator<Item = Secret> {
    let mut secrets: BTreeMap<&str, Secret> = BTreeMap::new();
    for (name, content) in &gateway.certificates {
        secrets.insert(name, certificate(name, content));
    }
    for credential in gateway.clusters.values().filter_map(|cluster| cluster.credential.as_ref()) {
        secrets.insert(&credential.name, generic(&credential.name, &credential.value));
    }
    for tls in gateway.clusters.values().filter_map(|cluster| cluster.tls.as_ref()) {
        if let Authorities::Given { name, pem } = &tls.authorities {
            secrets.insert(name, authorities(name, pem));
        }
        if let Some((name, content)) = &tls.certificate {
            secrets.insert(name, certificate(name, content));
        }
    }
    if !gateway.binding_keys.is_empty() {
        secrets.insert(BINDING_KEYS, generic(BINDING_KEYS, &BindingKey::header(&gateway.binding_keys)));
    }
    secrets.into_values()
}

fn certificate(name: &str, certificate: &Certificate) -> Secret {
    let content = TlsCertificate {
        certificate_chain: Some(text(&certificate.chain)),
        private_key: Some(text(&certificate.key)),
        ..Default::default()
    };
    Secret { name: name.to_owned(), r#type: Some(secret::Type::TlsCertificate(content)) }
}

fn authorities(name: &str, pem: &str) -> Secret {
    let content = CertificateValidationContext { trusted_ca: Some(text(pem)), ..Default::default() };
    Secret { name: name.to_owned(), r#type: Some(secret::Type::ValidationContext(content)) }
}

fn generic(name: &str, value: &str) -> Secret {
    let content = GenericSecret { secret: Some(text(value)), ..Default::default() };
    Secret { name: name.to_owned(), r#type: Some(secret::Type::GenericSecret(content)) }
}

fn text(text: &str) -> DataSource {
    DataSource { specifier: Some(Specifier::InlineString(text.to_owned())), ..Default::default() }
}
