//! How much of Envoy's configuration a route is.

use crate::model::{HeaderChanges, PathMatch, RouteAction, RouteMatch, StringMatch};

use super::super::routes::{ParsedRoute, ParsedRule};

/// What has more bytes of text counts as more entries.
const TEXT: usize = 1024;

/// A regular expression, compiled, in entries.
const EXPRESSION: usize = 8;

/// Of a route on one host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Size {
    /// Its matches, of all rules.
    pub(super) matches: usize,
    /// The backends of the rule that has most.
    pub(super) backends: usize,
    /// In entries: one for each match and backend, and more for long texts and expressions.
    pub(super) served: usize,
    /// The same, where the route answers by itself.
    pub(super) closed: usize,
}

impl Size {
    pub(in super::super) fn of(route: &ParsedRoute) -> Self {
        let mut size = Self::default();
        for rule in &route.rules {
            let (backends, entries) = of_rule(rule);
            size.backends = size.backends.max(backends);
            for (_, matches) in &rule.matches {
                let own = of_match(matches);
                size.matches += 1;
                size.served += entries + own;
                size.closed += 1 + own;
            }
        }
        size
    }
}

/// Backends, and entries of each match.
fn of_rule(rule: &ParsedRule) -> (usize, usize) {
    let of_rule = text(&rule.request_headers) + text(&rule.response_headers);
    let RouteAction::Forward(forward) = &rule.action else { return (0, 1 + of_rule / TEXT) };
    let of_backends = forward.clusters.iter().map(|share| {
        let texts = [&share.path, &share.host].into_iter().flatten().map(String::len).sum::<usize>();
        texts + text(&share.request_headers) + text(&share.response_headers)
    });
    let backends = forward.clusters.len();
    (backends, backends.max(1) + (of_rule + of_backends.sum::<usize>()) / TEXT)
}

fn text(changes: &HeaderChanges) -> usize {
    let pairs = changes.set.iter().chain(&changes.add).map(|(name, value)| name.len() + value.len());
    pairs.chain(changes.remove.iter().map(String::len)).sum()
}

/// Beyond the one that each match is.
fn of_match(matches: &RouteMatch) -> usize {
    let (path, is_expression) = match &matches.path {
        PathMatch::Exact(path) | PathMatch::Prefix(path) => (path.len(), false),
        PathMatch::Regex(pattern) => (pattern.len(), true),
    };
    let (mut bytes, mut expressions) = (path, usize::from(is_expression));
    for (name, value) in matches.headers.iter().chain(&matches.query) {
        let (value, is_expression) = match value {
            StringMatch::Exact(value) => (value.len(), false),
            StringMatch::Regex(pattern) => (pattern.len(), true),
        };
        bytes += name.len() + value;
        expressions += usize::from(is_expression);
    }
    bytes / TEXT + expressions * EXPRESSION
}
