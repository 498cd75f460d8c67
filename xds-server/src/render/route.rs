//! RDS: which request goes where, and which policy judges it.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::core::v3::Metadata;
use envoy_types::pb::envoy::config::route::v3::{
    DirectResponseAction, HeaderMatcher, QueryParameterMatcher, Route, RouteConfiguration, RouteMatch, VirtualHost,
    header_matcher::HeaderMatchSpecifier, query_parameter_matcher::QueryParameterMatchSpecifier, route::Action,
    route_match::PathSpecifier,
};
use envoy_types::pb::google::protobuf::Struct;
use toolward_policy::config::{METADATA_NAMESPACE, METADATA_POLICY_FIELD, RouteKey, Transport};
use toolward_policy::exchange::ENDPOINT;

use super::message::{no, regex, string, string_matcher};
use super::path::without_slash;
use crate::model::{self, PathMatch, RouteAction, StringMatch};

mod choice;
mod forward;
mod headers;
mod redirect;

/// Headers by which servers are told of another host, path or method than the request's own. Toolward stands at the edge,
/// so what clients say there is nobody's word; a route is chosen without them. What a route sets itself is kept.
const NOBODYS_WORD: [&str; 19] = [
    "forwarded",
    "x-forwarded-host",
    "x-forwarded-method",
    "x-forwarded-path",
    "x-forwarded-prefix",
    "x-forwarded-server",
    "x-forwarded-uri",
    "x-host",
    "x-http-host-override",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-original-method",
    "x-original-path",
    "x-original-uri",
    "x-original-url",
    "x-rewrite-uri",
    "x-rewrite-url",
];

/// All routes of these hosts on this port.
pub(super) fn configuration(name: &str, hosts: &[model::VirtualHost], port: u16) -> RouteConfiguration {
    RouteConfiguration {
        name: name.to_owned(),
        virtual_hosts: hosts.iter().map(|host| virtual_host(host, port)).collect(),
        // A hostname means all ports; the server still sees the port that the client wrote.
        ignore_port_in_host_matching: true,
        request_headers_to_remove: NOBODYS_WORD.map(str::to_owned).to_vec(),
        // First this is done, then what a route says.
        most_specific_header_mutations_wins: true,
        // The cluster for the share of invalid backends does not exist, on purpose.
        validate_clusters: Some(no()),
        ..Default::default()
    }
}

fn virtual_host(host: &model::VirtualHost, port: u16) -> VirtualHost {
    let choice = choice::of(&host.routes).map(|choice| choice.to_string());
    VirtualHost {
        name: host.name.clone(),
        domains: host.domains.clone(),
        routes: host.routes.iter().flat_map(|route| routes(host, route, choice.as_deref(), port)).collect(),
        ..Default::default()
    }
}

/// One route, or several that take shares of its requests.
fn routes(host: &model::VirtualHost, route: &model::Route, choice: Option<&str>, port: u16) -> Vec<Route> {
    let matches = route_match(&route.matches);
    let path = &route.matches.path;
    let servers = forward::servers(&route.action);
    let id = host.written_route_id(route);
    let actions: Vec<(RouteMatch, _, Action)> = match &route.action {
        RouteAction::Forward(forward) => {
            let shares = forward::shares(forward, path);
            let to_endpoint = shares.iter().filter(|_| route.transport == Transport::HTTPSSE).map(forward::to_endpoint);
            let to_endpoint: Vec<_> = to_endpoint.map(|share| (with_endpoint(matches.clone()), share)).collect();
            let shares = to_endpoint.into_iter().chain(shares.into_iter().map(|share| (matches.clone(), share)));
            shares.map(|(matches, share)| (matches, share.fraction, Action::Route(share.action))).collect()
        }
        RouteAction::Redirect(redirect) => {
            vec![(matches, None, Action::Redirect(redirect::action(redirect, path, port)))]
        }
        RouteAction::Respond { status } => vec![(matches, None, respond(*status))],
    };
    let build = |(matches, runtime_fraction, action)| Route {
        name: route.name.clone(),
        r#match: Some(RouteMatch { runtime_fraction, ..matches }),
        metadata: Some(policy_metadata(&RouteKey {
            policy: &route.policy,
            origin: host.origin_of(route),
            servers: servers.as_deref(),
            route: id.as_deref(),
            choice,
        })),
        request_headers_to_add: headers::to_add(&route.request_headers),
        request_headers_to_remove: route.request_headers.remove.clone(),
        response_headers_to_add: headers::to_add(&route.response_headers),
        response_headers_to_remove: route.response_headers.remove.clone(),
        action: Some(action),
        ..Default::default()
    };
    actions.into_iter().map(build).collect()
}

/// The same for requests of which the filter says which endpoint their server announced (HTTP+SSE).
fn with_endpoint(mut matches: RouteMatch) -> RouteMatch {
    matches.headers.push(HeaderMatcher {
        name: ENDPOINT.to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::PresentMatch(true)),
        ..Default::default()
    });
    matches
}

/// Where the filter reads which policy judges the request.
fn policy_metadata(key: &RouteKey<'_>) -> Metadata {
    let fields = HashMap::from([(METADATA_POLICY_FIELD.to_owned(), string(&key.to_string()))]);
    Metadata {
        filter_metadata: HashMap::from([(METADATA_NAMESPACE.to_owned(), Struct { fields })]),
        ..Default::default()
    }
}

fn route_match(matches: &model::RouteMatch) -> RouteMatch {
    let method = matches.method.iter().map(|method| header(":method", &StringMatch::Exact(method.clone())));
    let headers = matches.headers.iter().map(|(name, value)| header(name, value));
    let query = matches.query.iter().map(|(name, value)| QueryParameterMatcher {
        name: name.clone(),
        query_parameter_match_specifier: Some(QueryParameterMatchSpecifier::StringMatch(string_matcher(value))),
    });
    RouteMatch {
        path_specifier: Some(path(&matches.path)),
        headers: method.chain(headers).collect(),
        query_parameters: query.collect(),
        ..Default::default()
    }
}

fn path(path: &PathMatch) -> PathSpecifier {
    match path {
        PathMatch::Exact(path) => PathSpecifier::Path(path.clone()),
        PathMatch::Regex(pattern) => PathSpecifier::SafeRegex(regex(pattern)),
        PathMatch::Prefix(prefix) => match without_slash(prefix) {
            "" => PathSpecifier::Prefix("/".to_owned()),
            prefix => PathSpecifier::PathSeparatedPrefix(prefix.to_owned()),
        },
    }
}

fn header(name: &str, value: &StringMatch) -> HeaderMatcher {
    HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(string_matcher(value))),
        ..Default::default()
    }
}

fn respond(status: u16) -> Action {
    Action::DirectResponse(DirectResponseAction { status: status.into(), ..Default::default() })
}
