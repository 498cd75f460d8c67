//! EDS: the addresses of upstreams.

use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier,
};

use super::message::address;
use crate::model::{Cluster, Endpoints};

/// What EDS serves for a cluster: its addresses, where they are known. A cluster that is down has none, which Envoy is
/// told as well.
pub(super) fn discovered(name: &str, cluster: &Cluster) -> Option<ClusterLoadAssignment> {
    match cluster.endpoints {
        Endpoints::Addresses(_) => Some(assignment(name, cluster)),
        Endpoints::Dns { .. } => None,
    }
}

/// All that is known of where a cluster is.
pub(super) fn assignment(name: &str, cluster: &Cluster) -> ClusterLoadAssignment {
    let addresses = match &cluster.endpoints {
        Endpoints::Addresses(endpoints) => {
            endpoints.iter().map(|endpoint| address(&endpoint.address, endpoint.port)).collect()
        }
        Endpoints::Dns { host, port } => vec![address(host, *port)],
    };
    let endpoints: Vec<_> = addresses
        .into_iter()
        .map(|address| LbEndpoint {
            host_identifier: Some(HostIdentifier::Endpoint(Endpoint { address: Some(address), ..Default::default() })),
            ..Default::default()
        })
        .collect();
    let localities = if endpoints.is_empty() {
        Vec::new()
    } else {
        vec![LocalityLbEndpoints { lb_endpoints: endpoints, ..Default::default() }]
    };
    ClusterLoadAssignment { cluster_name: name.to_owned(), endpoints: localities, ..Default::default() }
}
