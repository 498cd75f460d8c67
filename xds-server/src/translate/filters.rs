//! Filters of rules and of backendRefs. One that is not supported is never left out: what it stands on answers 500.

use gateway_api::httproutes::{
    HttpRouteRulesBackendRefsFilters as BackendFilter, HttpRouteRulesBackendRefsFiltersType as BackendFilterType,
    HttpRouteRulesFilters as RuleFilter, HttpRouteRulesFiltersRequestRedirect as RequestRedirect,
    HttpRouteRulesFiltersRequestRedirectPathType as RedirectPath, HttpRouteRulesFiltersRequestRedirectScheme as Scheme,
    HttpRouteRulesFiltersType as RuleFilterType, HttpRouteRulesFiltersUrlRewrite as UrlRewrite,
    HttpRouteRulesFiltersUrlRewritePathType as RewritePath,
};

use crate::model::{HeaderChanges, PathRewrite, Redirect};

use super::hostname;
use super::problems::{Fault, Reporter};
use super::syntax;

/// What the filters of a rule do.
#[derive(Clone, Debug, Default)]
pub(super) struct RuleFilters {
    pub(super) request_headers: Option<HeaderChanges>,
    pub(super) response_headers: Option<HeaderChanges>,
    pub(super) redirect: Option<Redirect>,
    pub(super) rewrite: Option<Rewrite>,
}

/// New host and path on the way upstream.
#[derive(Clone, Debug, Default)]
pub(super) struct Rewrite {
    pub(super) host: Option<String>,
    pub(super) path: Option<PathRewrite>,
}

/// What the filters of a backendRef do.
#[derive(Clone, Debug, Default)]
pub(super) struct BackendFilters {
    pub(super) request_headers: Option<HeaderChanges>,
    pub(super) response_headers: Option<HeaderChanges>,
}

/// Whether all matches of the rule are prefixes, so that the matched part can be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Matched {
    Prefixes,
    Other,
}

/// The changes that a header modifier of either filter type asks for; the generated types differ only by name.
macro_rules! header_changes {
    ($modifier:expr, $name:path) => {
        $modifier.as_ref().ok_or_else(missing).and_then(|modifier| {
            Ok(HeaderChanges {
                set: headers(modifier.set.iter().flatten().map(|header| (&*header.name, &*header.value)), $name)?,
                add: headers(modifier.add.iter().flatten().map(|header| (&*header.name, &*header.value)), $name)?,
                remove: modifier.remove.iter().flatten().map(|name| $name(name)).collect::<Result<_, _>>()?,
            })
        })
    };
}

/// Reads the filters of a rule; `None` after reporting what is wrong.
pub(super) fn of_rule(
    filters: &[RuleFilter],
    matched: Matched,
    field: &str,
    reporter: &mut Reporter<'_, '_>,
) -> Option<RuleFilters> {
    let mut read = Some(RuleFilters::default());
    for (index, filter) in filters.iter().enumerate() {
        let field = format!("{field}.filters[{index}]");
        let taken = reporter.accept(field, add_rule_filter(read.clone().unwrap_or_default(), filter, matched));
        read = read.and(taken);
    }
    let both = read.as_ref().is_some_and(|read| read.redirect.is_some() && read.rewrite.is_some());
    if both {
        let message = "RequestRedirect and URLRewrite can't stand in one rule";
        reporter.report(format!("{field}.filters"), Fault::new("IncompatibleFilters", message));
        return None;
    }
    read
}

fn add_rule_filter(mut read: RuleFilters, filter: &RuleFilter, matched: Matched) -> Result<RuleFilters, Fault> {
    match filter.r#type {
        RuleFilterType::RequestHeaderModifier => {
            once(
                &mut read.request_headers,
                header_changes!(filter.request_header_modifier, syntax::changeable_request_header)?,
            )?;
        }
        RuleFilterType::ResponseHeaderModifier => {
            once(
                &mut read.response_headers,
                header_changes!(filter.response_header_modifier, syntax::changeable_response_header)?,
            )?;
        }
        RuleFilterType::RequestRedirect => {
            let written = filter.request_redirect.as_ref().ok_or_else(missing)?;
            once(&mut read.redirect, redirect(written, matched)?)?;
        }
        RuleFilterType::UrlRewrite => {
            let written = filter.url_rewrite.as_ref().ok_or_else(missing)?;
            once(&mut read.rewrite, rewrite(written, matched)?)?;
        }
        RuleFilterType::RequestMirror => return Err(unsupported("RequestMirror")),
        RuleFilterType::ExtensionRef => return Err(unsupported("ExtensionRef")),
        RuleFilterType::Cors => return Err(unsupported("CORS")),
    }
    Ok(read)
}

/// Reads the filters of a backendRef; `None` after reporting what is wrong.
pub(super) fn of_backend(
    filters: &[BackendFilter],
    field: &str,
    reporter: &mut Reporter<'_, '_>,
) -> Option<BackendFilters> {
    let mut read = Some(BackendFilters::default());
    for (index, filter) in filters.iter().enumerate() {
        let field = format!("{field}.filters[{index}]");
        let taken = reporter.accept(field, add_backend_filter(read.clone().unwrap_or_default(), filter));
        read = read.and(taken);
    }
    read
}

fn add_backend_filter(mut read: BackendFilters, filter: &BackendFilter) -> Result<BackendFilters, Fault> {
    match filter.r#type {
        BackendFilterType::RequestHeaderModifier => {
            once(
                &mut read.request_headers,
                header_changes!(filter.request_header_modifier, syntax::changeable_request_header)?,
            )?;
        }
        BackendFilterType::ResponseHeaderModifier => {
            once(
                &mut read.response_headers,
                header_changes!(filter.response_header_modifier, syntax::changeable_response_header)?,
            )?;
        }
        BackendFilterType::RequestRedirect => return Err(unsupported("RequestRedirect on a backendRef")),
        BackendFilterType::UrlRewrite => return Err(unsupported("URLRewrite on a backendRef")),
        BackendFilterType::RequestMirror => return Err(unsupported("RequestMirror")),
        BackendFilterType::ExtensionRef => return Err(unsupported("ExtensionRef")),
        BackendFilterType::Cors => return Err(unsupported("CORS")),
    }
    Ok(read)
}

fn missing() -> Fault {
    Fault::unsupported("the field that belongs to this filter's type is missing")
}

fn unsupported(what: &str) -> Fault {
    Fault::unsupported(format!("the filter {what} is not supported; what it stands on answers 500"))
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), Fault> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Fault::new("IncompatibleFilters", "a filter of this type already stands here")),
    }
}

/// Of equal names the first counts.
fn headers<'a>(
    written: impl Iterator<Item = (&'a str, &'a str)>,
    changeable: impl Fn(&str) -> Result<String, Fault>,
) -> Result<Vec<(String, String)>, Fault> {
    let mut headers: Vec<(String, String)> = Vec::new();
    for (name, value) in written {
        let (name, value) = (changeable(name)?, syntax::header_value(value)?);
        if headers.iter().all(|(other, _)| *other != name) {
            headers.push((name, value));
        }
    }
    Ok(headers)
}

fn redirect(written: &RequestRedirect, matched: Matched) -> Result<Redirect, Fault> {
    let path = written.path.as_ref().map(|path| match path.r#type {
        RedirectPath::ReplaceFullPath => full_path(path.replace_full_path.as_deref()),
        RedirectPath::ReplacePrefixMatch => prefix(path.replace_prefix_match.as_deref(), matched),
    });
    let status = written.status_code.unwrap_or(302);
    let status = u16::try_from(status).ok().filter(|status| matches!(status, 301 | 302 | 303 | 307 | 308));
    let scheme = written.scheme.as_ref().map(|scheme| match scheme {
        Scheme::Http => "http".to_owned(),
        Scheme::Https => "https".to_owned(),
    });
    Ok(Redirect {
        scheme,
        hostname: host(written.hostname.as_deref())?,
        port: written.port.map(syntax::port).transpose()?,
        path: path.transpose()?,
        status: status.ok_or_else(|| Fault::unsupported("a redirect has the status 301, 302, 303, 307 or 308"))?,
    })
}

fn rewrite(written: &UrlRewrite, matched: Matched) -> Result<Rewrite, Fault> {
    let path = written.path.as_ref().map(|path| match path.r#type {
        RewritePath::ReplaceFullPath => full_path(path.replace_full_path.as_deref()),
        RewritePath::ReplacePrefixMatch => prefix(path.replace_prefix_match.as_deref(), matched),
    });
    Ok(Rewrite { host: host(written.hostname.as_deref())?, path: path.transpose()? })
}

fn host(written: Option<&str>) -> Result<Option<String>, Fault> {
    written.map(|host| hostname::check_name(host).map(|()| host.to_owned())).transpose()
}

fn full_path(written: Option<&str>) -> Result<PathRewrite, Fault> {
    syntax::replacement(written.ok_or_else(missing)?).map(PathRewrite::Full)
}

fn prefix(written: Option<&str>, matched: Matched) -> Result<PathRewrite, Fault> {
    if matched == Matched::Other {
        return Err(Fault::unsupported("ReplacePrefixMatch needs matches of type PathPrefix, and no others"));
    }
    syntax::replacement(written.ok_or_else(missing)?).map(PathRewrite::Prefix)
}
