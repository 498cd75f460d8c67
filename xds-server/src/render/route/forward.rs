//! Sending requests to upstreams.

use std::collections::BTreeSet;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::RuntimeFractionalPercent;
use envoy_types::pb::envoy::config::route::v3::{
    RetryPolicy, RouteAction as Action, WeightedCluster as Weighted,
    route_action::{ClusterNotFoundResponseCode, ClusterSpecifier, HostRewriteSpecifier},
    weighted_cluster::{ClusterWeight, cluster_weight},
};
use envoy_types::pb::envoy::r#type::v3::{FractionalPercent, fractional_percent::DenominatorType};

use toolward_policy::exchange::ENDPOINT;

use super::headers;
use crate::model::{Forward, INVALID_BACKEND, PathMatch, PathRewrite, RouteAction, WeightedCluster};
use crate::render::message::{duration, uint32};
use crate::render::path::{Rewrite, rewrite};

/// What [`FractionalPercent`] counts in here.
const MILLION: u64 = 1_000_000;

/// A share of a route's requests.
pub(super) struct Share {
    /// How many of the requests it takes, counted from the first share on; none where it takes all that are left.
    pub(super) fraction: Option<RuntimeFractionalPercent>,
    /// What is done with them.
    pub(super) action: Action,
}

/// What is done with the requests of a route: one action for all of them where that is possible. In Envoy a path can
/// be rewritten by the route only, not by the choice of a cluster, so clusters with paths of their own get a route each.
pub(super) fn shares(forward: &Forward, matched: &PathMatch) -> Vec<Share> {
    let clusters: Vec<&WeightedCluster> = forward.clusters.iter().collect();
    let mut paths = clusters.iter().filter(|cluster| cluster.cluster != INVALID_BACKEND).map(|cluster| &cluster.path);
    let path = paths.next().cloned().flatten();
    if forward.path.is_some() || paths.all(|other| *other == path) {
        return vec![Share { fraction: None, action: action(forward, &clusters, path.as_deref(), matched) }];
    }
    let total: u64 = clusters.iter().map(|cluster| u64::from(cluster.weight)).sum();
    let mut taken = 0;
    let mut shares = Vec::with_capacity(clusters.len());
    for cluster in clusters {
        // INVARIANT: Envoy draws one number for a request and compares all routes with it, so fractions add up.
        taken += u64::from(cluster.weight);
        let fraction = (taken < total).then(|| fraction(taken, total));
        shares.push(Share { fraction, action: action(forward, &[cluster], cluster.path.as_deref(), matched) });
    }
    shares
}

/// Names the servers that a route leads to; `None`: it leads to none.
pub(super) fn servers(action: &RouteAction) -> Option<String> {
    let RouteAction::Forward(forward) = action else { return None };
    let names = forward.clusters.iter().map(|cluster| cluster.cluster.as_str());
    let names: BTreeSet<&str> = names.filter(|name| *name != INVALID_BACKEND).collect();
    (!names.is_empty()).then(|| names.into_iter().collect::<Vec<_>>().join(" "))
}

/// The same share for requests that go where their server announced (HTTP+SSE): to the same clusters, by that path and query
/// instead of the one that was asked for.
pub(super) fn to_endpoint(share: &Share) -> Share {
    let action = Action {
        prefix_rewrite: String::new(),
        regex_rewrite: None,
        path_rewrite: format!("%REQ({ENDPOINT})%"),
        ..share.action.clone()
    };
    Share { fraction: share.fraction.clone(), action }
}

fn fraction(part: u64, total: u64) -> RuntimeFractionalPercent {
    let numerator = part * MILLION / total.max(1);
    RuntimeFractionalPercent {
        default_value: Some(FractionalPercent {
            numerator: u32::try_from(numerator).unwrap_or(u32::MAX),
            denominator: DenominatorType::Million.into(),
        }),
        ..Default::default()
    }
}

fn action(forward: &Forward, clusters: &[&WeightedCluster], path: Option<&str>, matched: &PathMatch) -> Action {
    let new_path = match (&forward.path, path) {
        (Some(asked), _) => Some(asked.clone()),
        // An MCP endpoint is one path: nothing below it is meant.
        (None, Some(path)) => Some(PathRewrite::Full(path.to_owned())),
        (None, None) => None,
    };
    let mut action = Action {
        cluster_specifier: Some(ClusterSpecifier::WeightedClusters(Weighted {
            clusters: clusters.iter().map(|cluster| weight(cluster, forward.host.is_some())).collect(),
            ..Default::default()
        })),
        cluster_not_found_response_code: ClusterNotFoundResponseCode::InternalServerError.into(),
        host_rewrite_specifier: forward.host.clone().map(HostRewriteSpecifier::HostRewriteLiteral),
        timeout: Some(duration(timeout(forward))),
        retry_policy: forward.first_byte_timeout.map(|limit| RetryPolicy {
            // Of an answer that has begun Envoy waits for the rest.
            per_try_timeout: Some(duration(limit)),
            num_retries: Some(uint32(0)),
            ..Default::default()
        }),
        ..Default::default()
    };
    match new_path.and_then(|path| rewrite(matched, &path)) {
        None => {}
        Some(Rewrite::Prefix(prefix)) => action.prefix_rewrite = prefix,
        Some(Rewrite::Regex(regex)) => action.regex_rewrite = Some(regex),
    }
    action
}

/// A cluster with its weight. A host that the user asked for wins over the one that the upstream expects.
fn weight(cluster: &WeightedCluster, host_is_given: bool) -> ClusterWeight {
    let host = cluster.host.clone().filter(|_| !host_is_given);
    ClusterWeight {
        name: cluster.cluster.clone(),
        weight: Some(uint32(cluster.weight)),
        request_headers_to_add: headers::to_add(&cluster.request_headers),
        request_headers_to_remove: cluster.request_headers.remove.clone(),
        response_headers_to_add: headers::to_add(&cluster.response_headers),
        response_headers_to_remove: cluster.response_headers.remove.clone(),
        host_rewrite_specifier: host.map(cluster_weight::HostRewriteSpecifier::HostRewriteLiteral),
        ..Default::default()
    }
}

/// Until the answer is complete. Zero is no limit: an answer may be a stream that stays open. Requests are tried once
/// (a tool may not be called twice), so the limit for a try is one for the request as well.
fn timeout(forward: &Forward) -> Duration {
    let limits = [forward.request_timeout, forward.backend_timeout];
    limits.into_iter().flatten().filter(|limit| !limit.is_zero()).min().unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::HeaderChanges;

    fn cluster(name: &str, weight: u32, path: Option<&str>) -> WeightedCluster {
        WeightedCluster {
            cluster: name.to_owned(),
            weight,
            path: path.map(str::to_owned),
            host: None,
            request_headers: HeaderChanges::default(),
            response_headers: HeaderChanges::default(),
        }
    }

    fn forward(clusters: Vec<WeightedCluster>) -> Forward {
        Forward {
            clusters: clusters.into(),
            path: None,
            host: None,
            request_timeout: None,
            first_byte_timeout: None,
            backend_timeout: None,
        }
    }

    /// Numerators of the fractions and the new paths.
    fn summary(forward: &Forward) -> Vec<(Option<u32>, String)> {
        let shares = shares(forward, &PathMatch::Prefix("/a".to_owned()));
        let numerator = |fraction: RuntimeFractionalPercent| fraction.default_value.map(|value| value.numerator);
        let path = |action: Action| match action.regex_rewrite {
            Some(rewrite) => rewrite.substitution,
            None => action.prefix_rewrite,
        };
        shares.into_iter().map(|share| (share.fraction.and_then(numerator), path(share.action))).collect()
    }

    #[test]
    fn clusters_with_one_path_share_a_route() {
        let one = forward(vec![cluster("a", 1, Some("/mcp")), cluster(INVALID_BACKEND, 1, None)]);
        assert_eq!(summary(&one), [(None, "/mcp".to_owned())]);
    }

    #[test]
    fn clusters_with_different_paths_get_their_share_of_requests() {
        let thirds = vec![cluster("a", 1, Some("/x")), cluster("b", 1, None), cluster("c", 1, Some("/z"))];
        let expected = [(Some(333_333), "/x".to_owned()), (Some(666_666), String::new()), (None, "/z".to_owned())];
        assert_eq!(summary(&forward(thirds)), expected);
    }

    #[test]
    fn a_rewrite_asked_for_wins_over_the_paths_of_clusters() {
        let mut asked = forward(vec![cluster("a", 1, Some("/x")), cluster("b", 1, Some("/z"))]);
        asked.path = Some(PathRewrite::Prefix("/q".to_owned()));
        assert_eq!(summary(&asked), [(None, "/q".to_owned())]);
    }

    #[test]
    fn the_shorter_limit_counts_and_zero_is_none() {
        let seconds = Duration::from_secs;
        for (name, request, backend, expected) in [
            ("no limits", None, None, 0),
            ("no limit by wish", Some(0), None, 0),
            ("request", Some(5), None, 5),
            ("backend is shorter", Some(5), Some(2), 2),
            ("no limit for the request", Some(0), Some(2), 2),
        ] {
            let mut limited = forward(Vec::new());
            limited.request_timeout = request.map(seconds);
            limited.backend_timeout = backend.map(seconds);
            assert_eq!(timeout(&limited), seconds(expected), "{name}");
        }
    }
}
