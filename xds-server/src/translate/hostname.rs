//! Hostnames of listeners and routes, and how they cover each other.

use std::cmp::Ordering;
use std::net::Ipv4Addr;

use super::problems::Fault;

/// A set of hosts as Gateway API writes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Hostname {
    /// Every host.
    Any,
    /// All hosts that end with this suffix, which begins with a dot; one or more labels stand before it.
    Wildcard(String),
    /// This host.
    Exact(String),
}

impl Hostname {
    /// Reads `name`, or `*.suffix`.
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        match text.strip_prefix("*.") {
            Some(suffix) => check_name(suffix).map(|()| Self::Wildcard(format!(".{suffix}"))),
            None => check_name(text).map(|()| Self::Exact(text.to_owned())),
        }
    }

    /// Whether every host of `other` is one of `self`.
    pub(super) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (Self::Wildcard(suffix), Self::Wildcard(name) | Self::Exact(name)) => name.ends_with(suffix),
            (Self::Exact(one), Self::Exact(two)) => one == two,
            (Self::Wildcard(_) | Self::Exact(_), _) => false,
        }
    }

    /// All hostnames that cover it, the most specific first: itself, and one for each dot in it.
    pub(super) fn covering(&self) -> Vec<Self> {
        let (own, text) = match self {
            Self::Any => return vec![Self::Any],
            Self::Wildcard(suffix) => (Vec::new(), suffix.as_str()),
            Self::Exact(name) => (vec![self.clone()], name.as_str()),
        };
        let suffixes = text.match_indices('.').filter_map(|(index, _)| text.get(index..));
        own.into_iter().chain(suffixes.map(|suffix| Self::Wildcard(suffix.to_owned()))).chain([Self::Any]).collect()
    }

    /// The hosts that are in both. Of two sets that meet, one covers the other.
    pub(super) fn intersection(&self, other: &Self) -> Option<Self> {
        if self.covers(other) {
            Some(other.clone())
        } else if other.covers(self) {
            Some(self.clone())
        } else {
            None
        }
    }

    /// The wildcards that cover it, without itself, the most specific first.
    pub(super) fn above(&self) -> impl Iterator<Item = Self> {
        // A wildcard's suffix begins with a dot, of which it is not above itself.
        let name = match self {
            Self::Any => "",
            Self::Wildcard(suffix) => suffix.strip_prefix('.').unwrap_or(suffix),
            Self::Exact(name) => name,
        };
        name.match_indices('.').filter_map(|(at, _)| name.get(at..)).map(|suffix| Self::Wildcard(suffix.to_owned()))
    }

    /// As Envoy writes the domain of a virtual host.
    pub(super) fn domain(&self) -> String {
        match self {
            Self::Any => "*".to_owned(),
            Self::Wildcard(suffix) => format!("*{suffix}"),
            Self::Exact(name) => name.clone(),
        }
    }

    /// As clients ask for it over TLS; none stands for all.
    pub(super) fn server_name(&self) -> Option<String> {
        match self {
            Self::Any => None,
            Self::Wildcard(_) | Self::Exact(_) => Some(self.domain()),
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Any => "",
            Self::Wildcard(text) | Self::Exact(text) => text,
        }
    }

    fn rank(&self) -> (u8, usize) {
        match self {
            Self::Any => (0, 0),
            Self::Wildcard(suffix) => (1, suffix.len()),
            Self::Exact(name) => (2, name.len()),
        }
    }
}

/// The more specific is the greater; names of equal rank by alphabet.
impl Ord for Hostname {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank()).then_with(|| self.text().cmp(other.text()))
    }
}

impl PartialOrd for Hostname {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A DNS name in lower case (RFC 1123), which no IP address is.
pub(super) fn check_name(name: &str) -> Result<(), Fault> {
    let label = |label: &str| {
        let inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = label.as_bytes();
        label.len() <= 63
            && bytes.first().is_some_and(inner)
            && bytes.last().is_some_and(inner)
            && bytes.iter().all(|byte| inner(byte) || *byte == b'-')
    };
    if name.len() <= 253 && name.split('.').all(label) && name.parse::<Ipv4Addr>().is_err() {
        Ok(())
    } else {
        Err(Fault::unsupported(format!(
            "{name:?} is no hostname: write a DNS name in lower case, where hosts may vary with `*.` in front"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostnames_are_read() {
        let rows = [
            ("a name", "a.example.com", Some(Hostname::Exact("a.example.com".to_owned()))),
            ("a single label", "localhost", Some(Hostname::Exact("localhost".to_owned()))),
            ("a wildcard", "*.example.com", Some(Hostname::Wildcard(".example.com".to_owned()))),
            ("nothing", "", None),
            ("only a star", "*", None),
            ("a star inside", "a.*.com", None),
            ("upper case", "Example.com", None),
            ("an address", "127.0.0.1", None),
            ("a port", "example.com:80", None),
            ("an empty label", "a..com", None),
            ("a hyphen at the end", "a-.com", None),
        ];
        for (row, text, expected) in rows {
            assert_eq!(Hostname::parse(text).ok(), expected, "{row}");
        }
    }

    #[test]
    fn the_wildcards_above_a_name() {
        let rows: [(&str, &[&str]); 4] =
            [("a.b.c", &["*.b.c", "*.c"]), ("*.b.c", &["*.c"]), ("*.c", &[]), ("localhost", &[])];
        for (name, expected) in rows {
            let name = Hostname::parse(name).unwrap();
            let above: Vec<Hostname> = name.above().collect();
            assert!(above.iter().all(|above| above.covers(&name) && above < &name));
            assert_eq!(above.iter().map(Hostname::domain).collect::<Vec<_>>(), expected);
        }
        assert_eq!(Hostname::Any.above().count(), 0);
    }

    #[test]
    fn the_more_specific_side_of_two_that_meet_is_their_intersection() {
        let rows = [
            ("any and a name", "*", "a.com", Some("a.com")),
            ("any and a wildcard", "*", "*.a.com", Some("*.a.com")),
            ("a wildcard and a name below", "*.a.com", "x.a.com", Some("x.a.com")),
            ("a wildcard and a name two below", "*.a.com", "x.y.a.com", Some("x.y.a.com")),
            ("a wildcard and its own suffix", "*.a.com", "a.com", None),
            ("a wildcard and a look-alike", "*.a.com", "xa.com", None),
            ("nested wildcards", "*.com", "*.a.com", Some("*.a.com")),
            ("strangers", "*.a.com", "*.b.com", None),
            ("the same name", "a.com", "a.com", Some("a.com")),
            ("other names", "a.com", "b.com", None),
        ];
        let parse = |text: &str| if text == "*" { Hostname::Any } else { Hostname::parse(text).unwrap() };
        for (row, one, two, expected) in rows {
            let expected = expected.map(parse);
            assert_eq!(parse(one).intersection(&parse(two)), expected, "{row}");
            assert_eq!(parse(two).intersection(&parse(one)), expected, "{row}, the other way round");
        }
    }
}
