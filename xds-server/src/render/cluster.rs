//! CDS: upstreams.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3::{
    CircuitBreakers, Cluster,
    circuit_breakers::Thresholds,
    cluster::{ClusterDiscoveryType, DiscoveryType, DnsLookupFamily, EdsClusterConfig},
};
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::{
    HttpProtocolOptions,
    http_protocol_options::{ExplicitHttpConfig, UpstreamProtocolOptions, explicit_http_config::ProtocolConfig},
};

use super::message::{ads, any, duration, uint32};
use super::{RenderOptions, credential, endpoint, tls};
use crate::model::{self, Endpoints};

/// How many connections and requests an upstream may have. An SSE stream holds one of each for hours, so that Envoy's
/// default of 1024 would turn away the client after the thousandth. As many as one address has ports.
const CONCURRENT: u32 = 65_536;

/// How long a connection is kept for the next request. Common MCP servers close theirs after 5 s; a request that meets
/// the closing would fail.
const KEPT_CONNECTION: Duration = Duration::from_secs(4);

/// The upstream of an Envoy that asks for addresses.
pub(super) fn discovered(name: &str, cluster: &model::Cluster, options: &RenderOptions) -> Cluster {
    let secrets = ads();
    match cluster.endpoints {
        Endpoints::Addresses(_) => Cluster {
            cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
            eds_cluster_config: Some(EdsClusterConfig { eds_config: Some(ads()), ..Default::default() }),
            ..build(name, cluster, Some(&secrets), options)
        },
        Endpoints::Dns { .. } => with_addresses(name, cluster, Some(&secrets), options),
    }
}

/// The upstream with its addresses, for an Envoy that asks nobody.
pub(super) fn complete(name: &str, cluster: &model::Cluster, options: &RenderOptions) -> Cluster {
    with_addresses(name, cluster, None, options)
}

fn with_addresses(
    name: &str,
    cluster: &model::Cluster,
    secrets: Option<&core::ConfigSource>,
    options: &RenderOptions,
) -> Cluster {
    let found_by = match &cluster.endpoints {
        Endpoints::Dns { host, .. } if host.parse::<IpAddr>().is_err() => {
            // With `STRICT_DNS` a changed answer would cut the streams to addresses that it no longer names.
            DiscoveryType::LogicalDns
        }
        _ => DiscoveryType::Static,
    };
    Cluster {
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(found_by.into())),
        // Hosts with an IPv6 address that leads nowhere are common.
        dns_lookup_family: if found_by == DiscoveryType::LogicalDns {
            DnsLookupFamily::V4Preferred.into()
        } else {
            DnsLookupFamily::Auto.into()
        },
        load_assignment: Some(endpoint::assignment(name, cluster)),
        ..build(name, cluster, secrets, options)
    }
}

fn build(
    name: &str,
    cluster: &model::Cluster,
    secrets: Option<&core::ConfigSource>,
    options: &RenderOptions,
) -> Cluster {
    let protocol = HttpProtocolOptions {
        upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(ProtocolConfig::HttpProtocolOptions(core::Http1ProtocolOptions::default())),
        })),
        common_http_protocol_options: Some(core::HttpProtocolOptions {
            idle_timeout: Some(duration(KEPT_CONNECTION)),
            ..Default::default()
        }),
        http_filters: cluster.credential.as_ref().map(|shown| credential::filters(shown, secrets)).unwrap_or_default(),
        ..Default::default()
    };
    Cluster {
        name: name.to_owned(),
        transport_socket: cluster.tls.as_ref().map(|tls| tls::upstream(tls, secrets, &options.system_ca_file)),
        connect_timeout: Some(duration(cluster.connect_timeout)),
        circuit_breakers: Some(CircuitBreakers {
            thresholds: vec![Thresholds {
                max_connections: Some(uint32(CONCURRENT)),
                max_pending_requests: Some(uint32(CONCURRENT)),
                max_requests: Some(uint32(CONCURRENT)),
                ..Default::default()
            }],
            ..Default::default()
        }),
        typed_extension_protocol_options: HashMap::from([(
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions".to_owned(),
            any(&protocol),
        )]),
        ..Default::default()
    }
}
