//! `toolward xds-certificate`: a certificate for the xDS port of a cluster, as the Secret that the Deployment mounts.
//!
//! Its authority signs nothing else: the authority's key is thrown away. A renewed certificate therefore has another
//! authority, which Envoys are told by their objects.

use std::process::ExitCode;

use clap::Args;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use serde_json::json;
use time::{Duration, OffsetDateTime};

use crate::render::yaml;

/// Arguments of `toolward xds-certificate`.
#[derive(Args, Clone, Debug)]
pub struct CertificateArgs {
    /// The namespace of the Deployment and of the Secret
    #[arg(long, value_name = "NAMESPACE", default_value = "toolward-system")]
    namespace: String,

    /// The Service of the xDS port: the certificate is for NAME.NAMESPACE.svc
    #[arg(long, value_name = "NAME", default_value = "toolward")]
    service: String,

    /// How long it is valid
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..=3650))]
    days: u16,
}

/// Name of the Secret.
const SECRET: &str = "toolward-xds-tls";

/// Clocks may differ by this.
const CLOCK_SKEW: Duration = Duration::hours(1);

/// Prints the Secret.
///
/// # Errors
/// When a name is none that a certificate can have.
pub fn run(args: &CertificateArgs) -> Result<ExitCode, rcgen::Error> {
    let host = format!("{}.{}.svc", args.service, args.namespace);
    let made = make(&host, OffsetDateTime::now_utc(), Duration::days(args.days.into()))?;
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": SECRET, "namespace": args.namespace, "labels": { "app.kubernetes.io/name": "toolward" } },
        "type": "kubernetes.io/tls",
        "stringData": { "ca.crt": made.authority, "tls.crt": made.certificate, "tls.key": made.key },
    });
    print!("{}", yaml::document(&secret));
    Ok(ExitCode::SUCCESS)
}

/// In PEM.
struct Made {
    authority: String,
    certificate: String,
    key: String,
}

fn make(host: &str, now: OffsetDateTime, valid_for: Duration) -> Result<Made, rcgen::Error> {
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, "toolward xDS authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let mut certificate = CertificateParams::new(vec![host.to_owned()])?;
    certificate.distinguished_name.push(DnType::CommonName, "toolward xDS");
    certificate.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    certificate.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    for parameters in [&mut authority, &mut certificate] {
        parameters.not_before = now - CLOCK_SKEW;
        parameters.not_after = now + valid_for;
    }
    let authority_key = KeyPair::generate()?;
    let authority_pem = authority.self_signed(&authority_key)?.pem();
    let key = KeyPair::generate()?;
    let issuer = Issuer::new(authority, authority_key);
    let certificate = certificate.signed_by(&key, &issuer)?.pem();
    Ok(Made { authority: authority_pem, certificate, key: key.serialize_pem() })
}
