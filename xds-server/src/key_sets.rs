//! Key sets that issuers publish: where each is, and what is known of it. Here is no I/O; `source::jwks` fetches.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};
use toolward_policy::config::KeySet;
use toolward_policy::jwt::jwks::LeftOut;

pub mod cached;

/// Where a key set is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// How it is found.
    pub found: Found,
    /// Authorities that may have signed the server's certificate, in PEM; none: those of the system.
    pub authorities: Option<String>,
}

/// How a key set is found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Found {
    /// It is at this URL.
    At(String),
    /// The metadata of this issuer say where it is (RFC 8414, OpenID Connect Discovery 1.0).
    ByMetadata(String),
}

impl Place {
    /// A short name, the same for the same place: by it a filter asks for keys that it misses.
    #[must_use]
    pub fn id(&self) -> String {
        let (kind, url) = match &self.found {
            Found::At(url) => ("at", url),
            Found::ByMetadata(issuer) => ("metadata", issuer),
        };
        let mut hash = Sha256::new();
        for part in [kind, url, self.authorities.as_deref().unwrap_or_default()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().iter().take(8).fold(String::new(), |mut id, byte| {
            // Writing to memory can't fail.
            let _ = write!(id, "{byte:02x}");
            id
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.found {
            Found::At(url) => f.write_str(url),
            Found::ByMetadata(issuer) => write!(f, "{issuer} (discovery)"),
        }
    }
}

/// What is known of a key set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing yet: it is being fetched.
    Pending,
    /// Nothing: it could not be fetched, for this reason.
    Unfetched(String),
    /// It is there.
    Good {
        /// Its keys, and those that it had and whose time is not over; perhaps none.
        keys: KeySet,
        /// What else is in it.
        left_out: Vec<LeftOut>,
        /// Those of the keys that it had.
        removed: Vec<Removed>,
        /// The issuer's metadata, where they were fetched.
        metadata: Option<String>,
        /// Why it could not be fetched again.
        failing: Option<Failing>,
    },
    /// It could not be fetched again for too long.
    Expired(Failing),
}

/// A key that its issuer has taken out of the set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// `kid`.
    pub kid: String,
    /// Until when it holds, as Unix time.
    pub until: u64,
}

/// Why a key set could not be fetched again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// The last good fetch, as Unix time.
    pub last_good: u64,
    /// The error of the first attempt since.
    pub error: String,
}

/// All that is known; what is not in it is pending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySets(pub BTreeMap<Place, Known>);

impl KeySets {
    /// What is known of a place.
    #[must_use]
    pub fn known(&self, place: &Place) -> &Known {
        self.0.get(place).unwrap_or(&Known::Pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_tell_places_apart() {
        let at = |found| Place { found, authorities: None };
        let places = [
            at(Found::At("https://a".to_owned())),
            at(Found::ByMetadata("https://a".to_owned())),
            at(Found::At("https://b".to_owned())),
            Place { found: Found::At("https://a".to_owned()), authorities: Some("pem".to_owned()) },
        ];
        let ids: std::collections::BTreeSet<String> = places.iter().map(Place::id).collect();
        assert_eq!(ids.len(), places.len());
        assert!(ids.iter().all(|id| id.len() == 16), "{ids:?}");
    }
}
