//! What makes a text mean another place than it seems to, to whoever resolves it as a path or URL: dot segments
//! (RFC 3986 section 5.2.4), in all their encodings, backslashes, and empty segments.
//!
//! It is counted, so that a pattern may have what its author wrote into it: a text that has no more of it than the pattern
//! has none where the pattern has a star.

use std::borrow::Cow;

use crate::{percent, spelling};

/// How often a text leaves the way that it spells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Detours {
    /// Whether a backslash stands in it, which many take for a slash.
    backslash: bool,
    /// Segments of nothing but dots, encodings that hide something, and control characters.
    hidden: usize,
    /// Empty segments, but for two behind a scheme: that of `//`, and an empty authority (`file:///a`, RFC 8089 section 2).
    empty: usize,
}

impl Detours {
    /// Those of a text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut detours = Self::default();
        let decoded = detours.decoded(text);
        let mut segment = Segment::default();
        let (mut slashes, mut is_behind_colon) = (0, false);
        for character in decoded.chars() {
            let plain = plain(character);
            detours.hidden += usize::from(plain != character && is_separator(plain));
            detours.hidden += usize::from(character.is_control() && !matches!(character, '\t' | '\n' | '\r'));
            if is_separator(plain) {
                detours.backslash |= plain == '\\';
                slashes += 1;
                detours.empty += usize::from(slashes > if is_behind_colon { 3 } else { 1 });
                detours.hidden += usize::from(segment.is_of_dots());
                segment = Segment::default();
            } else {
                segment.push(plain);
                (slashes, is_behind_colon) = (0, plain == ':');
            }
        }
        detours.hidden += usize::from(segment.is_of_dots());
        detours
    }

    /// Whether there is any in a URI, whose scheme may come with empty segments.
    #[must_use]
    pub fn are_in_uri(self) -> bool {
        self.backslash || self.hidden > 0
    }

    /// Whether there is more than there.
    #[must_use]
    pub fn exceed(self, other: Self) -> bool {
        (self.backslash && !other.backslash) || self.hidden > other.hidden || self.empty > other.empty
    }

    /// The text without percent-encoding; what hides something in it is counted.
    fn decoded<'t>(&mut self, text: &'t str) -> Cow<'t, str> {
        if !text.contains('%') {
            return Cow::Borrowed(text);
        }
        for (at, _) in text.match_indices('%') {
            let behind = text.as_bytes().get(at + 1..).unwrap_or_default();
            self.hidden += usize::from(matches!(behind.first(), Some(b'u' | b'U')));
            self.hidden += usize::from(matches!(percent::octet(behind), Some(b'.' | b'/' | b'\\' | b'%')));
        }
        let Some(decoded) = percent::once_decoded(text.as_bytes()) else { return Cow::Borrowed(text) };
        // Encoded twice, in part.
        let twice = |at: &usize| decoded.get(at + 1..).and_then(percent::octet).is_some();
        self.hidden += memchr::memchr_iter(b'%', &decoded).filter(twice).count();
        // Longer forms of ASCII are no UTF-8 (RFC 3629 section 10), and some read them all the same.
        self.hidden += usize::from(std::str::from_utf8(&decoded).is_err());
        Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
    }
}

/// A text without percent-encoding, which is undone once.
pub(crate) fn decoded(text: &str) -> Cow<'_, str> {
    Detours::default().decoded(text)
}

fn is_separator(character: char) -> bool {
    matches!(character, '/' | '\\')
}

/// What normalization (NFKC), or a conversion to an older character set, makes of a character.
pub(crate) fn plain(character: char) -> char {
    match character {
        '\u{ff0f}' | '\u{2044}' | '\u{2215}' | '\u{29f8}' => '/',
        '\u{ff3c}' | '\u{fe68}' | '\u{2216}' | '\u{29f5}' => '\\',
        '\u{ff0e}' | '\u{fe52}' | '\u{2024}' | '\u{2025}' | '\u{2026}' | '\u{fe19}' | '\u{fe30}' | '\u{3002}'
        | '\u{ff61}' => '.',
        other => other,
    }
}

/// A segment as far as it matters: URL parsers drop tabs and line feeds, others blanks, and parameters (`..;x`).
#[derive(Clone, Copy, Debug, Default)]
struct Segment {
    dots: usize,
    is_over: bool,
    has_others: bool,
}

impl Segment {
    fn push(&mut self, character: char) {
        match character {
            _ if self.is_over => {}
            '.' => self.dots += 1,
            ';' | '?' | '#' => self.is_over = true,
            other if other.is_whitespace() || other.is_control() || spelling::is_ignorable(other) => {}
            _ => self.has_others = true,
        }
    }

    fn is_of_dots(self) -> bool {
        self.dots > 0 && !self.has_others
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_lead_elsewhere() {
        let rows = [
            ("nothing", "", false),
            ("a name", "acme", false),
            ("a path", "acme/x.y/..z/z../.a", false),
            ("a URL", "https://example.com/a%20b/%C3%A4?q=1", false),
            ("a percent sign", "100% sure", false),
            ("dots between words", "and so on... or not", false),
            ("parent", "acme/../x", true),
            ("at the end", "acme/..", true),
            ("at the start", "../acme", true),
            ("itself", "acme/./x", true),
            ("three dots", "acme/.../x", true),
            ("encoded dots", "acme/%2e%2E/x", true),
            ("half encoded dots", "acme/.%2e/x", true),
            ("an encoded slash", "acme/..%2fx", true),
            ("an encoded backslash", "acme%5cx", true),
            ("encoded twice", "acme/%252e%252e/x", true),
            ("encoded twice, in part", "acme/%%32e%%32e/x", true),
            ("with four digits", "acme/%u002e%u002e/x", true),
            ("a longer form", "acme/%c0%ae%c0%ae/x", true),
            ("a longer slash", "acme%c0%afx", true),
            ("an encoded NUL", "acme/x%00", true),
            ("NUL", "acme/x\0", true),
            ("a backslash", "acme\\..\\x", true),
            ("full-width dots", "acme/\u{ff0e}\u{ff0e}/x", true),
            ("two dots in one", "acme/\u{2025}/x", true),
            ("a full-width slash", "acme\u{ff0f}x", true),
            ("full-width, encoded", "acme/%ef%bc%8e%ef%bc%8e/x", true),
            ("a tab between dots", "acme/.\t./x", true),
            ("a blank behind dots", "acme/.. /x", true),
            ("parameters", "acme/..;a=b/x", true),
            ("a query", "acme/..?x", true),
            ("zero width", "acme/.\u{200b}./x", true),
            ("marks of direction", "acme/.\u{61c}\u{202a}./x", true),
            ("another direction", "acme/.\u{202e}\u{2066}./x", true),
            ("a separator of vowels", "acme/.\u{180e}./x", true),
            ("an operator that is not seen", "acme/.\u{2061}\u{206f}./x", true),
            ("selectors of form", "acme/.\u{fe00}\u{fe0f}./x", true),
            ("a selector of form, encoded", "acme/.%ef%b8%8f./x", true),
            ("dots on top of each other", "acme/\u{fe30}/x", true),
        ];
        for (row, text, leads) in rows {
            assert_eq!(Detours::of(text).are_in_uri(), leads, "{row}: {:?}", Detours::of(text));
        }
        assert!(Detours::of("acme//x").exceed(Detours::of("acme/*")));
        assert!(Detours::of("https://a//x").exceed(Detours::of("https://a/*")));
        assert!(!Detours::of("https://a/x").exceed(Detours::of("https*")));
    }

    #[test]
    fn a_pattern_may_have_them() {
        let rows = [
            ("../*", "../x", false),
            ("../*", "../../x", true),
            ("C:\\data\\*", "C:\\data\\a\\b", false),
            ("C:\\data\\*", "C:\\data\\..\\b", true),
            ("a//*", "a//b", false),
            ("a//*", "a//b//c", true),
            ("https://", "https://a//b", true),
            ("file://", "file:///a", false),
            ("file://", "file:////a", true),
            ("a%2f*", "a%2fb", false),
            ("a%2f*", "a%2fb%2fc", true),
        ];
        for (pattern, text, exceeds) in rows {
            assert_eq!(Detours::of(text).exceed(Detours::of(pattern)), exceeds, "{text} for {pattern}");
        }
    }
}
