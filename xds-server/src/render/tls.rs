//! TLS towards clients and upstreams.

use envoy_types::pb::envoy::config::core::v3::{
    ConfigSource, DataSource, TransportSocket, data_source::Specifier, transport_socket,
};
use envoy_types::pb::envoy::config::listener::v3::{ListenerFilter, listener_filter};
use envoy_types::pb::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, DownstreamTlsContext, SdsSecretConfig, SubjectAltNameMatcher,
    TlsParameters, UpstreamTlsContext,
    common_tls_context::{CombinedCertificateValidationContext, ValidationContextType},
    subject_alt_name_matcher::SanType,
    tls_parameters::TlsProtocol,
};
use envoy_types::pb::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};

use super::message::any;
use crate::model::{Authorities, Subject, UpstreamTls};

/// Terminates TLS with these secrets. Nothing of a certificate stands here, so that it can change under open
/// connections.
pub(super) fn downstream(certificates: &[String], source: Option<&ConfigSource>) -> TransportSocket {
    let context = DownstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_certificate_sds_secret_configs: certificates.iter().map(|name| secret(name, source)).collect(),
            alpn_protocols: vec!["h2".to_owned(), "http/1.1".to_owned()],
            ..common()
        }),
        ..Default::default()
    };
    socket(transport_socket::ConfigType::TypedConfig(any(&context)))
}

/// Speaks TLS to an upstream, and takes no certificate but one for a subject that it must have.
pub(super) fn upstream(tls: &UpstreamTls, source: Option<&ConfigSource>, system_ca_file: &str) -> TransportSocket {
    let subjects = CertificateValidationContext {
        match_typed_subject_alt_names: tls.subjects.iter().map(subject).collect(),
        ..Default::default()
    };
    let validation = match &tls.authorities {
        Authorities::System => ValidationContextType::ValidationContext(CertificateValidationContext {
            trusted_ca: Some(DataSource {
                specifier: Some(Specifier::Filename(system_ca_file.to_owned())),
                ..Default::default()
            }),
            ..subjects
        }),
        Authorities::Given { name, .. } => {
            ValidationContextType::CombinedValidationContext(CombinedCertificateValidationContext {
                default_validation_context: Some(subjects),
                validation_context_sds_secret_config: Some(secret(name, source)),
                ..Default::default()
            })
        }
    };
    let context = UpstreamTlsContext {
        sni: tls.server_name.clone().unwrap_or_default(),
        common_tls_context: Some(CommonTlsContext {
            tls_certificate_sds_secret_configs: tls.certificate.iter().map(|(name, _)| secret(name, source)).collect(),
            alpn_protocols: vec!["http/1.1".to_owned()],
            validation_context_type: Some(validation),
            ..common()
        }),
        ..Default::default()
    };
    socket(transport_socket::ConfigType::TypedConfig(any(&context)))
}

fn common() -> CommonTlsContext {
    let oldest = TlsParameters { tls_minimum_protocol_version: TlsProtocol::TlSv12.into(), ..Default::default() };
    CommonTlsContext { tls_params: Some(oldest), ..Default::default() }
}

fn secret(name: &str, source: Option<&ConfigSource>) -> SdsSecretConfig {
    SdsSecretConfig { name: name.to_owned(), sds_config: source.cloned() }
}

fn subject(subject: &Subject) -> SubjectAltNameMatcher {
    let (kind, text) = match subject {
        Subject::Dns(name) => (SanType::Dns, name),
        Subject::Uri(uri) => (SanType::Uri, uri),
        Subject::Ip(address) => (SanType::IpAddress, address),
    };
    let matcher = StringMatcher { match_pattern: Some(MatchPattern::Exact(text.clone())), ..Default::default() };
    SubjectAltNameMatcher { san_type: kind.into(), matcher: Some(matcher), ..Default::default() }
}

fn socket(config: transport_socket::ConfigType) -> TransportSocket {
    TransportSocket { name: "envoy.transport_sockets.tls".to_owned(), config_type: Some(config) }
}

/// Reads the server name that a client asks for.
pub(super) fn inspector() -> ListenerFilter {
    ListenerFilter {
        name: "envoy.filters.listener.tls_inspector".to_owned(),
        config_type: Some(listener_filter::ConfigType::TypedConfig(any(&TlsInspector::default()))),
        ..Default::default()
    }
}
