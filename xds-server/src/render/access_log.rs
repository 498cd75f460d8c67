//! One JSON line on standard output for each request, with what the filter decided and why.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::accesslog::v3::{AccessLog, access_log::ConfigType};
use envoy_types::pb::envoy::config::core::v3::{SubstitutionFormatString, substitution_format_string::Format};
use envoy_types::pb::envoy::extensions::access_loggers::stream::v3::{
    StdoutAccessLog, stdout_access_log::AccessLogFormat,
};
use envoy_types::pb::google::protobuf::Struct;

use super::message::{merged, string};

/// The fields of a line. Tokens, arguments and the query string are not among them.
const FIELDS: [(&str, &str); 18] = [
    ("time", "%START_TIME%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("http_method", "%REQ(:METHOD)%"),
    ("path", "%PATH(NQ:ORIG_OR_PATH)%"),
    ("status", "%RESPONSE_CODE%"),
    ("flags", "%RESPONSE_FLAGS%"),
    ("duration_ms", "%DURATION%"),
    ("route", "%ROUTE_NAME%"),
    ("cluster", "%UPSTREAM_CLUSTER%"),
    ("method", "%FILTER_STATE(wasm.toolward.method:PLAIN)%"),
    ("name", "%FILTER_STATE(wasm.toolward.name:PLAIN)%"),
    ("issuer", "%FILTER_STATE(wasm.toolward.issuer:PLAIN)%"),
    ("subject", "%FILTER_STATE(wasm.toolward.subject:PLAIN)%"),
    ("decision", "%FILTER_STATE(wasm.toolward.decision:PLAIN)%"),
    ("policy", "%FILTER_STATE(wasm.toolward.policy:PLAIN)%"),
    ("rule", "%FILTER_STATE(wasm.toolward.rule:PLAIN)%"),
    ("reason", "%FILTER_STATE(wasm.toolward.reason:PLAIN)%"),
    ("hidden", "%FILTER_STATE(wasm.toolward.hidden:PLAIN)%"),
];

/// The access log of all listeners.
pub(super) fn access_log() -> AccessLog {
    AccessLog {
        name: "envoy.access_loggers.stdout".to_owned(),
        config_type: Some(ConfigType::TypedConfig(merged(FIELDS.map(|(name, format)| line_with(name, format))))),
        ..Default::default()
    }
}

fn line_with(name: &str, format: &str) -> StdoutAccessLog {
    let fields = HashMap::from([(name.to_owned(), string(format))]);
    StdoutAccessLog {
        access_log_format: Some(AccessLogFormat::LogFormat(SubstitutionFormatString {
            format: Some(Format::JsonFormat(Struct { fields })),
            ..Default::default()
        })),
    }
}
