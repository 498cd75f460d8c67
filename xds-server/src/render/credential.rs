//! Secrets that Envoy puts into requests, so that no configuration, dump or log has them.
//!
//! ```text
//! request ─> binding keys put in ─> filter: takes them out ─> router ─> what is shown to a server, put in ─> server
//! ```

use envoy_types::pb::envoy::config::core::v3::{ConfigSource, TypedExtensionConfig};
use envoy_types::pb::envoy::extensions::filters::http::credential_injector::v3::CredentialInjector;
use envoy_types::pb::envoy::extensions::filters::http::upstream_codec::v3::UpstreamCodec;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{HttpFilter, http_filter};
use envoy_types::pb::envoy::extensions::http::injected_credentials::generic::v3::Generic;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::SdsSecretConfig;
use envoy_types::pb::google::protobuf::Any;

use toolward_policy::config::BINDING_KEYS_HEADER;

use super::message::any;
use super::secret::BINDING_KEYS;
use crate::model::Credential;

/// The filters of a cluster with a credential.
pub(super) fn filters(credential: &Credential, secrets: Option<&ConfigSource>) -> Vec<HttpFilter> {
    let generic = Generic {
        credential: Some(SdsSecretConfig { name: credential.name.clone(), sds_config: secrets.cloned() }),
        header: credential.header.clone(),
        header_value_prefix: credential.prefix.clone(),
    };
    vec![
        // Without the secret nothing goes to the server.
        injector(&generic, false),
        // A chain of one's own must end with it.
        filter("envoy.filters.http.upstream_codec", any(&UpstreamCodec::default())),
    ]
}

/// The filter that gives ours the keys under which it binds sessions to callers; it stands right before ours. A new key is a
/// new secret, and no connection is drained for it.
pub(super) fn binding_keys(secrets: Option<&ConfigSource>) -> HttpFilter {
    let generic = Generic {
        credential: Some(SdsSecretConfig { name: BINDING_KEYS.to_owned(), sds_config: secrets.cloned() }),
        header: BINDING_KEYS_HEADER.to_owned(),
        header_value_prefix: String::new(),
    };
    // Without the secret it is our filter that answers, with a reason: it believes no key whose id it was not told.
    injector(&generic, true)
}

fn injector(generic: &Generic, allow_request_without_credential: bool) -> HttpFilter {
    let injector = CredentialInjector {
        // What a client sends in this header, once or more often, is not passed on.
        overwrite: true,
        allow_request_without_credential,
        credential: Some(TypedExtensionConfig {
            name: "envoy.http.injected_credentials.generic".to_owned(),
            typed_config: Some(any(generic)),
        }),
    };
    filter("envoy.filters.http.credential_injector", any(&injector))
}

fn filter(name: &str, config: Any) -> HttpFilter {
    HttpFilter {
        name: name.to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(config)),
        ..Default::default()
    }
}
