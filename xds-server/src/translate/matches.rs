//! What a request must look like, and which of two matches comes first.

use std::cmp::Reverse;

use gateway_api::httproutes::{
    HttpRouteRulesMatches, HttpRouteRulesMatchesHeadersType as HeaderType, HttpRouteRulesMatchesMethod as Method,
    HttpRouteRulesMatchesPathType as PathType, HttpRouteRulesMatchesQueryParamsType as QueryType,
};
use toolward_policy::exchange::{changes_header, changes_parameter};

use crate::model::{PathMatch, RouteMatch, StringMatch};

use super::expression;
use super::problems::Fault;
use super::syntax;

/// Matches every request: what a rule without matches stands for.
pub(super) fn any() -> RouteMatch {
    RouteMatch { path: PathMatch::Prefix("/".to_owned()), method: None, headers: Vec::new(), query: Vec::new() }
}

/// Reads one match, and says what is wrong with it by the fields below the match. What is wrong is left out: the match is
/// then for more requests than was meant, and none of those that were meant falls to another one.
pub(super) fn parse(written: &HttpRouteRulesMatches) -> (RouteMatch, Vec<(String, Fault)>) {
    let mut parsed = any();
    let mut faults = Vec::new();
    if let Some(path) = &written.path {
        let value = path.value.as_deref().unwrap_or("/");
        let path = match path.r#type.as_ref().unwrap_or(&PathType::PathPrefix) {
            PathType::Exact => syntax::path(value).map(PathMatch::Exact),
            PathType::PathPrefix => syntax::path_prefix(value).map(PathMatch::Prefix),
            PathType::RegularExpression => expression::check(value).map(PathMatch::Regex),
        };
        match path {
            Ok(path) => parsed.path = path,
            Err(fault) => faults.push((".path.value".to_owned(), fault)),
        }
    }
    parsed.method = written.method.as_ref().map(|method| method_name(method).to_owned());
    for (index, header) in written.headers.iter().flatten().enumerate() {
        let value = match header.r#type.as_ref().unwrap_or(&HeaderType::Exact) {
            HeaderType::Exact => syntax::header_value(&header.value).map(StringMatch::Exact),
            HeaderType::RegularExpression => expression::check(&header.value).map(StringMatch::Regex),
        };
        match entry(syntax::header_name(&header.name).and_then(lasting_header), value) {
            Ok((name, value)) => add_first(&mut parsed.headers, name, value),
            Err((part, fault)) => faults.push((format!(".headers[{index}].{part}"), fault)),
        }
    }
    for (index, parameter) in written.query_params.iter().flatten().enumerate() {
        let value = match parameter.r#type.as_ref().unwrap_or(&QueryType::Exact) {
            QueryType::Exact => query_value(&parameter.value).map(StringMatch::Exact),
            QueryType::RegularExpression => expression::check(&parameter.value).map(StringMatch::Regex),
        };
        match entry(query_name(&parameter.name), value) {
            Ok((name, value)) => add_first(&mut parsed.query, name, value),
            Err((part, fault)) => faults.push((format!(".queryParams[{index}].{part}"), fault)),
        }
    }
    (parsed, faults)
}

fn entry<V>(name: Result<String, Fault>, value: Result<V, Fault>) -> Result<(String, V), (&'static str, Fault)> {
    let name = name.map_err(|fault| ("name", fault))?;
    Ok((name, value.map_err(|fault| ("value", fault))?))
}

/// The order in which matches are tried, as far as the matches themselves decide: the least comes first.
pub(super) fn precedence(matches: &RouteMatch) -> impl Ord + use<> {
    let path = match &matches.path {
        PathMatch::Exact(_) => (0, 0),
        // The standard leaves the place of expressions open: they say more than a prefix.
        PathMatch::Regex(_) => (1, 0),
        PathMatch::Prefix(prefix) => (2, usize::MAX - prefix.len()),
    };
    (path, matches.method.is_none(), Reverse(matches.headers.len()), Reverse(matches.query.len()))
}

/// A header that reaches the server as it was sent. By another one, the route would be chosen whose policy judges, and
/// after the change perhaps another one, by which the request goes.
fn lasting_header(name: String) -> Result<String, Fault> {
    if changes_header(&name) { Err(changed("header", &name)) } else { Ok(name) }
}

fn changed(what: &str, name: &str) -> Fault {
    Fault::unsupported(format!(
        "the {what} {name} is changed on the way to the server, so no route can be chosen by it"
    ))
}

/// Of entries with the same name the first counts.
fn add_first(entries: &mut Vec<(String, StringMatch)>, name: String, value: StringMatch) {
    if entries.iter().all(|(other, _)| *other != name) {
        entries.push((name, value));
    }
}

fn query_name(name: &str) -> Result<String, Fault> {
    if changes_parameter(name) {
        Err(changed("query parameter", name))
    } else if (1..=256).contains(&name.len()) && !name.chars().any(char::is_control) {
        Ok(name.to_owned())
    } else {
        Err(Fault::unsupported(format!("{name:?} is no name of a query parameter")))
    }
}

fn query_value(value: &str) -> Result<String, Fault> {
    if (1..=1024).contains(&value.len()) && !value.chars().any(char::is_control) {
        Ok(value.to_owned())
    } else {
        Err(Fault::unsupported("a query parameter is compared with 1 to 1024 bytes without control characters"))
    }
}

fn method_name(method: &Method) -> &'static str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Connect => "CONNECT",
        Method::Options => "OPTIONS",
        Method::Trace => "TRACE",
        Method::Patch => "PATCH",
    }
}
