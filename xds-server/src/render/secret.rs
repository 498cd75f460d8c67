//! SDS: certificates with their keys.

use envoy_types::pb::envoy::config::core::v3::{DataSource, data_source::Specifier};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{Secret, TlsCertificate, secret};

use crate::model::Certificate;

/// The secret of this name.
pub(super) fn secret(name: &str, certificate: &Certificate) -> Secret {
    let pem =
        |text: &str| DataSource { specifier: Some(Specifier::InlineString(text.to_owned())), ..Default::default() };
    Secret {
        name: name.to_owned(),
        r#type: Some(secret::Type::TlsCertificate(TlsCertificate {
            certificate_chain: Some(pem(&certificate.chain)),
            private_key: Some(pem(&certificate.key)),
            ..Default::default()
        })),
    }
}
