//! By what the routes of one host are told apart, where not all of them are protected alike. Envoy has chosen the route
//! before the filter is asked, so a request that a server could read as one for another route is refused, whichever
//! route it took.
//!
//! The wire form is lines, a word and a name each, behind the first four of a [`crate::config::RouteKey`].

use std::collections::BTreeSet;
use std::fmt;

/// What the matches of a host's routes look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteChoice {
    /// Names of headers, in lower case.
    pub headers: BTreeSet<String>,
    /// Those of them that are compared with values without commas only: a list is none of these.
    pub single_headers: BTreeSet<String>,
    /// Names of query parameters.
    pub parameters: BTreeSet<String>,
    /// HTTP methods.
    pub methods: BTreeSet<String>,
    /// Reserved characters (RFC 3986 section 2.2) in paths: written as octets, they would be other paths to Envoy.
    pub path_characters: BTreeSet<char>,
}

/// The line that says that there is a choice at all.
const FIRST_LINE: &str = "routes";

const HEADER: &str = "header ";
const SINGLE_HEADER: &str = "single ";
const PARAMETER: &str = "parameter ";
const METHOD: &str = "method ";
const PATH_CHARACTER: &str = "path ";

impl RouteChoice {
    /// Reads what [`fmt::Display`] writes; none: it says something that is not understood.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut choice = Self::default();
        let mut lines = text.split('\n');
        lines.next().filter(|first| *first == FIRST_LINE)?;
        for line in lines {
            let name = |word: &str| line.strip_prefix(word);
            if let Some(characters) = name(PATH_CHARACTER) {
                choice.path_characters.extend(characters.chars());
                continue;
            }
            let names = [
                (HEADER, &mut choice.headers),
                (SINGLE_HEADER, &mut choice.single_headers),
                (PARAMETER, &mut choice.parameters),
                (METHOD, &mut choice.methods),
            ];
            let (name, names) = names.into_iter().find_map(|(word, names)| Some((name(word)?, names)))?;
            names.insert(name.to_owned());
        }
        Some(choice)
    }
}

impl fmt::Display for RouteChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FIRST_LINE)?;
        let names = [
            (HEADER, &self.headers),
            (SINGLE_HEADER, &self.single_headers),
            (PARAMETER, &self.parameters),
            (METHOD, &self.methods),
        ];
        for (word, names) in names {
            for name in names {
                write!(f, "\n{word}{name}")?;
            }
        }
        if !self.path_characters.is_empty() {
            write!(f, "\n{PATH_CHARACTER}{}", self.path_characters.iter().collect::<String>())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let all = RouteChoice {
            headers: names(&["accept", "x-tenant"]),
            single_headers: names(&["x-tenant"]),
            parameters: names(&["a b", "tenant"]),
            methods: names(&["GET"]),
            path_characters: ['@', ':'].into(),
        };
        for choice in [RouteChoice::default(), all] {
            assert_eq!(RouteChoice::parse(&choice.to_string()), Some(choice));
        }
    }

    #[test]
    fn what_is_not_understood_is_not_passed_over() {
        for text in ["", "header x", "routes\nheaders x", "routes\n", "routes\nheader x\ncookie y", "Routes"] {
            assert_eq!(RouteChoice::parse(text), None, "{text:?}");
        }
    }
}
