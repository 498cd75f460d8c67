//! Rewriting paths as the Gateway API means it, in Envoy's terms.

use envoy_types::pb::envoy::r#type::matcher::v3::RegexMatchAndSubstitute;

use super::message::regex;
use crate::model::{PathMatch, PathRewrite};

/// How Envoy makes the new path. The query string stays in either case.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Rewrite {
    /// The matched prefix is replaced by this, byte for byte.
    Prefix(String),
    /// What fits the pattern is replaced.
    Regex(RegexMatchAndSubstitute),
}

/// The rewrite of paths that match; none where it would change nothing. Where there is no prefix to be replaced, the
/// whole path is.
pub(super) fn rewrite(matched: &PathMatch, new: &PathRewrite) -> Option<Rewrite> {
    match (matched, new) {
        (PathMatch::Prefix(old), PathRewrite::Prefix(new)) => replace_prefix(without_slash(old), without_slash(new)),
        (_, PathRewrite::Full(new) | PathRewrite::Prefix(new)) => Some(substitute("^.*$", new)),
    }
}

/// `/` at the end of a prefix means nothing; the prefix `/` becomes empty.
pub(super) fn without_slash(prefix: &str) -> &str {
    prefix.trim_end_matches('/')
}

/// Replaces whole segments: `/a` by `/b` makes `/b` of `/a`, and `/b/c` of `/a/c`.
fn replace_prefix(old: &str, new: &str) -> Option<Rewrite> {
    match (old, new) {
        (old, new) if old == new => None,
        // Of `/` and of nothing before a path: else `/` by `/b` would make `/bc` of `/c`.
        ("", new) => Some(substitute("^/$|^", new)),
        // With the slash after it: else `/a` by `/` would make `//c` of `/a/c`.
        (old, "") => Some(substitute(&format!("^{}/?", literal(old)), "/")),
        (_, new) => Some(Rewrite::Prefix(new.to_owned())),
    }
}

fn substitute(pattern: &str, by: &str) -> Rewrite {
    Rewrite::Regex(RegexMatchAndSubstitute {
        pattern: Some(regex(pattern)),
        // `\1` would stand for a group.
        substitution: by.replace('\\', r"\\"),
    })
}

/// A pattern that fits the text and nothing else.
fn literal(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii_punctuation() && !matches!(character, '/' | '-' | '_') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_replaced_by_segments() {
        let regex = |pattern: &str, by: &str| Some(substitute(pattern, by));
        let prefix = |by: &str| Some(Rewrite::Prefix(by.to_owned()));
        for (name, old, new, expected) in [
            ("segment by segment", "/a", "/b", prefix("/b")),
            ("slashes at the end mean nothing", "/a/", "/b/", prefix("/b")),
            ("nothing to change", "/a", "/a/", None),
            ("the root by the root", "/", "/", None),
            ("the root by a segment", "/", "/b", regex("^/$|^", "/b")),
            ("a segment by the root", "/a", "/", regex("^/a/?", "/")),
            ("an empty prefix is the root", "/a", "", regex("^/a/?", "/")),
            ("what is special in a pattern", "/a.b+c", "/", regex(r"^/a\.b\+c/?", "/")),
        ] {
            let matched = PathMatch::Prefix(old.to_owned());
            assert_eq!(rewrite(&matched, &PathRewrite::Prefix(new.to_owned())), expected, "{name}");
        }
    }

    #[test]
    fn without_a_prefix_the_whole_path_is_replaced() {
        let exact = PathMatch::Exact("/a".to_owned());
        for new in [PathRewrite::Full(r"/b\1".to_owned()), PathRewrite::Prefix(r"/b\1".to_owned())] {
            let Some(Rewrite::Regex(made)) = rewrite(&exact, &new) else { panic!("{new:?} makes no pattern") };
            assert_eq!(made.substitution, r"/b\\1");
        }
    }
}
