//! Certificates with their keys, from Secrets.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use gateway_api::gateways::GatewayListenersTlsCertificateRefs;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::model::Certificate;
use crate::resources::{Name, ObjectRef};

use super::grants;
use super::problems::{Fault, object};
use super::view::View;

static PROVIDER: LazyLock<CryptoProvider> = LazyLock::new(aws_lc_rs::default_provider);

/// Reads all certificates that a listener names, by the names of their Secrets.
pub(super) fn resolve(
    references: &[GatewayListenersTlsCertificateRefs],
    gateway: &ObjectRef,
    view: &View<'_>,
) -> Result<BTreeMap<String, Certificate>, Fault> {
    if references.is_empty() {
        return Err(invalid("a listener that speaks HTTPS needs at least one certificate"));
    }
    let mut certificates = BTreeMap::new();
    for reference in references {
        let group = reference.group.as_deref().unwrap_or_default();
        let kind = reference.kind.as_deref().unwrap_or("Secret");
        if (group, kind) != ("", "Secret") {
            return Err(invalid(format!("a certificate can't come from a {kind} of {group:?}, only from a Secret")));
        }
        let namespace = reference.namespace.as_ref().unwrap_or(&gateway.name.namespace);
        let name = Name::new(namespace, &reference.name);
        // Before anything is said about the Secret: what is not granted is not told either.
        grants::check(view, gateway, &object("", "Secret", &name))?;
        certificates.insert(name.to_string(), certificate(&name, view)?);
    }
    Ok(certificates)
}

/// Reads the certificate and key of a Secret.
pub(super) fn certificate(name: &Name, view: &View<'_>) -> Result<Certificate, Fault> {
    let lacks = |what: String| invalid(view.lack("Secret", name, what));
    let secret = view.secret(name).ok_or_else(|| lacks(format!("there is no Secret {name}")))?;
    let text = |field: &str| {
        let bytes = secret.data.as_ref().and_then(|data| data.get(field)).map(|bytes| bytes.0.as_slice());
        let text = bytes.and_then(|bytes| std::str::from_utf8(bytes).ok());
        text.map(str::to_owned).ok_or_else(|| lacks(format!("the Secret {name} has no {field} in PEM")))
    };
    let certificate = Certificate { chain: text("tls.crt")?, key: text("tls.key")? };
    check(&certificate).map_err(|what| invalid(format!("the Secret {name} {what}")))?;
    Ok(certificate)
}

/// Whether Envoy will take it: what it does not take would be refused together with all that came with it.
fn check(certificate: &Certificate) -> Result<(), &'static str> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.chain.as_bytes()).collect();
    let chain = chain.map_err(|_| "has something in tls.crt that is no certificate in PEM")?;
    if chain.is_empty() {
        return Err("has no certificate in tls.crt");
    }
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes());
    let key = key.map_err(|_| "has no private key in PEM in tls.key")?;
    CertifiedKey::from_der(chain, key, &PROVIDER).map(drop).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => "has a key in tls.key that is not that of the certificate in tls.crt",
        _ => "has a certificate or key of a kind that is not supported",
    })
}

fn invalid(message: impl Into<String>) -> Fault {
    Fault::new("InvalidCertificateRef", message)
}
