//! Patterns in which `*` stands for any run of characters, the empty one too. Nothing else is special.
//!
//! Of what a caller wrote, a star stands for nothing that leads elsewhere: `acme/*` does not fit `acme/../evil`.

use std::borrow::Cow;

use crate::detours::{self, Detours};

/// A parsed pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    /// The literal parts between the stars; one part means that there is no star.
    parts: Vec<String>,
    /// Those that the pattern has itself.
    detours: Detours,
}

impl Glob {
    /// Reads a pattern; every string is one.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        Self { parts: pattern.split('*').map(str::to_owned).collect(), detours: Detours::of(pattern) }
    }

    /// Whether a pattern has no star, so that it fits itself alone.
    #[must_use]
    pub fn is_literal(pattern: &str) -> bool {
        !pattern.contains('*')
    }

    /// Whether the whole of what a caller wrote fits, and leads nowhere else. A pattern of nothing but stars fits all: there
    /// is nothing that could be left.
    #[must_use]
    pub fn matches_callers(&self, text: &str) -> bool {
        let is_literal = self.parts.len() == 1;
        let is_any = !is_literal && self.parts.iter().all(String::is_empty);
        let leads = || Detours::of(text).exceed(self.detours) || !self.matches_decoded(text);
        self.matches(text) && (is_literal || is_any || !leads())
    }

    /// Whether the text fits as well where both are read without percent-encoding.
    fn matches_decoded(&self, text: &str) -> bool {
        match detours::decoded(text) {
            Cow::Borrowed(_) => true,
            Cow::Owned(text) => {
                let parts: Vec<_> = self.parts.iter().map(|part| detours::decoded(part)).collect();
                fits(&parts, &text)
            }
        }
    }

    /// Whether the whole text fits. Takes the leftmost place for each part, so its time grows with the text and the
    /// pattern and never explodes.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        fits(&self.parts, text)
    }
}

/// Whether these parts, with anything between them, make the text.
fn fits(parts: &[impl AsRef<str>], text: &str) -> bool {
    let [first, middle @ .., last] = parts else {
        return parts.first().is_some_and(|only| only.as_ref() == text);
    };
    let Some(mut rest) = text.strip_prefix(first.as_ref()) else { return false };
    for part in middle {
        match rest.split_once(part.as_ref()) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last.as_ref())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Glob;

    #[test]
    fn patterns() {
        let rows = [
            ("add", "add", true),
            ("add", "adder", false),
            ("add", "Add", false),
            ("math_*", "math_", true),
            ("math_*", "math_add", true),
            ("math_*", "xmath_add", false),
            ("*", "", true),
            ("*", "anything", true),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("**", "x", true),
            ("", "", true),
            ("", "x", false),
            ("file://*/secret", "file:///a/b/secret", true),
        ];
        for (pattern, text, fits) in rows {
            assert_eq!(Glob::new(pattern).matches(text), fits, "{pattern} on {text}");
        }
    }

    #[test]
    fn what_callers_write() {
        let rows = [
            ("acme/*", "acme/x", true),
            ("acme/*", "acme/../evil/x", false),
            ("acme/*", "acme/..%2fevil", false),
            ("acme/*", "acme//evil", false),
            ("file://*", "file:///a", true),
            ("file://*", "file:////a", false),
            ("acme/../*", "acme/../evil", true),
            ("acme/../evil", "acme/../evil", true),
            ("*", "a/../b", true),
            ("**", "..\\", true),
            ("*.example.com", "evil.com/..\\.example.com", false),
            ("acme/*", "acme/s%65cret", true),
            ("acme/*", "acm%65/x", false),
            ("*65", "x%65", false),
            ("100%*", "100%41", false),
            ("a%20*", "a%20b%20c", true),
        ];
        for (pattern, text, fits) in rows {
            assert_eq!(Glob::new(pattern).matches_callers(text), fits, "{pattern} on {text}");
        }
    }

    /// The definition, in exponential time.
    fn naive(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            ([b'*', after @ ..], _) => (0..=text.len()).any(|skip| naive(after, &text[skip..])),
            ([p, after @ ..], [t, rest @ ..]) => p == t && naive(after, rest),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            prop_assert_eq!(Glob::new(&pattern).matches(&text), naive(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
