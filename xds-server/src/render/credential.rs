//! What is shown to a server, whoever calls: put into its header in front of the server, so that no filter, log or trace
//! before it sees the value.

use envoy_types::pb::envoy::config::core::v3::{ConfigSource, TypedExtensionConfig};
use envoy_types::pb::envoy::extensions::filters::http::credential_injector::v3::CredentialInjector;
use envoy_types::pb::envoy::extensions::filters::http::upstream_codec::v3::UpstreamCodec;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{HttpFilter, http_filter};
use envoy_types::pb::envoy::extensions::http::injected_credentials::generic::v3::Generic;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::SdsSecretConfig;
use envoy_types::pb::google::protobuf::Any;

use super::message::any;
use crate::model::Credential;

/// The filters of a cluster with a credential.
pub(super) fn filters(credential: &Credential, secrets: Option<&ConfigSource>) -> Vec<HttpFilter> {
    let generic = Generic {
        credential: Some(SdsSecretConfig { name: credential.name.clone(), sds_config: secrets.cloned() }),
        header: credential.header.clone(),
        header_value_prefix: credential.prefix.clone(),
    };
    let injector = CredentialInjector {
        // What a client sends in this header is not passed on.
        overwrite: true,
        // Without the secret nothing goes to the server.
        allow_request_without_credential: false,
        credential: Some(TypedExtensionConfig {
            name: "envoy.http.injected_credentials.generic".to_owned(),
            typed_config: Some(any(&generic)),
        }),
    };
    vec![
        filter("envoy.filters.http.credential_injector", any(&injector)),
        // A chain of one's own must end with it.
        filter("envoy.filters.http.upstream_codec", any(&UpstreamCodec::default())),
    ]
}

fn filter(name: &str, config: Any) -> HttpFilter {
    HttpFilter {
        name: name.to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(config)),
        ..Default::default()
    }
}
