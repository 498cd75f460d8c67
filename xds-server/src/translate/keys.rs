//! Issuers' key sets: where they are, and what of them the filter gets.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};
use toolward_policy::config::{self, KeySet};
use toolward_policy::jwt::jwks::{self, LeftOut, Listed, MAX_SHOWN};

use crate::key_sets::{Failing, Found, Known, Place, Removed};
use crate::resources::mcp::{ConfigMapKeyRef, IssuerSpec, JwksSpec};
use crate::resources::{Name, Resources};

use super::TranslateOptions;
use super::oauth;
use super::problems::Fault;
use super::upstream_tls;
use super::view::View;

/// The reason of a policy that is closed because its key set is still being fetched.
pub const KEY_SET_PENDING: &str = "KeySetPending";

/// A key set can't be fetched.
const KEY_SET_NOT_FETCHED: &str = "KeySetNotFetched";

/// A key set could be fetched once, too long ago.
const KEY_SET_EXPIRED: &str = "KeySetExpired";

/// The reason of a policy that works with a key set that could not be fetched again.
pub const KEY_SET_STALE: &str = "KeySetStale";

/// The reason of a policy that works with a key that its issuer has removed, until the grace is over.
pub const KEY_REMOVED: &str = "KeyRemoved";

/// The reason of a policy with a key set of which not all keys can be used.
pub const KEY_LEFT_OUT: &str = "KeyLeftOut";

/// The reason of a policy that is closed because its issuer publishes no key that can be used.
pub const KEY_SET_EMPTY: &str = "KeySetEmpty";

/// A key set under a name that says its content, so that equal sets are one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NamedKeySet {
    pub(super) name: String,
    /// Where it comes from, whatever its content.
    pub(super) source: config::KeySource,
    pub(super) keys: KeySet,
    /// The issuer's metadata, where they were fetched.
    pub(super) metadata: Option<String>,
    /// What is to be said of it, though it can be used.
    pub(super) notes: Vec<Fault>,
}

/// All key sets that are to be fetched.
#[must_use]
pub fn places(resources: &Resources) -> BTreeSet<Place> {
    let mut places = BTreeSet::new();
    // Where key sets are does not depend on the keys in them.
    let options = TranslateOptions::default();
    let view = View::new(resources, &options);
    for (object, policy) in &resources.policies {
        for issuer in policy.spec.authentication.iter().flat_map(|section| &section.issuers) {
            if let Ok(KeySource::Published(place)) = KeySource::of(issuer, &object.name.namespace, &view) {
                places.insert(place);
            }
        }
    }
    places
}

/// Reads the key set that a policy names for an issuer.
pub(super) fn resolve(issuer: &IssuerSpec, policy: &Name, view: &View<'_>) -> Result<NamedKeySet, Fault> {
    let namespace = policy.namespace.as_str();
    let read = |text: &[u8], place: String| {
        let unusable = |fault| Fault::new("InvalidKeySet", format!("{place}: {fault}"));
        let set = jwks::parse(text, view.most_rsa_bits()).map_err(unusable)?;
        let notes = left_out(&place, &set.left_out).collect();
        Ok::<_, Fault>((set.keys, None, notes))
    };
    let source = KeySource::of(issuer, namespace, view)?;
    let named = source.named(policy);
    let (keys, metadata, notes) = match source {
        KeySource::Inline(text) => read(text.as_bytes(), "inline".to_owned())?,
        KeySource::ConfigMap(reference) => {
            let place = format!("configMapRef {}/{}, key {}", namespace, reference.name, reference.key);
            read(config_map_entry(reference, namespace, view)?, place)?
        }
        KeySource::Published(place) => published(&place, view)?,
    };
    let canonical = serde_json::to_vec(&keys).map_err(|error| Fault::new("InvalidKeySet", error.to_string()))?;
    let hash: String = Sha256::digest(canonical).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Ok(NamedKeySet { name: format!("jwks-{hash}"), source: named, keys, metadata, notes })
}

fn left_out<'s>(place: &'s str, keys: &'s [LeftOut]) -> impl Iterator<Item = Fault> + use<'s> {
    keys.iter().map(move |key| Fault::new(KEY_LEFT_OUT, format!("{place}: tokens of a key are not accepted: {key}")))
}

/// Where a key set is, as a policy says it.
enum KeySource<'s> {
    Inline(&'s str),
    ConfigMap(&'s ConfigMapKeyRef),
    Published(Place),
}

impl<'s> KeySource<'s> {
    fn of(issuer: &'s IssuerSpec, namespace: &str, view: &View<'_>) -> Result<Self, Fault> {
        let invalid = |message: &str| Err(Fault::new("InvalidKeySet", message));
        let JwksSpec { inline, config_map_ref, uri, discovery, ca_certificate_refs } = &issuer.jwks;
        let found = match (inline, config_map_ref, uri, discovery) {
            (Some(_), None, None, None) | (None, Some(_), None, None) if !ca_certificate_refs.is_empty() => {
                return invalid("caCertificateRefs are for key sets that are fetched, by uri or discovery");
            }
            (Some(inline), None, None, None) => return Ok(Self::Inline(inline)),
            (None, Some(reference), None, None) => return Ok(Self::ConfigMap(reference)),
            (None, None, Some(uri), None) if oauth::is_url(uri) => Found::At(uri.clone()),
            (None, None, Some(_), None) => return invalid("the uri is no URL of the form https://host/path"),
            (None, None, None, Some(_)) if oauth::is_url(&issuer.issuer) => Found::ByMetadata(issuer.issuer.clone()),
            (None, None, None, Some(_)) => return invalid("discovery needs an issuer whose name is a URL"),
            _ => return invalid("exactly one of inline, configMapRef, uri and discovery must be given"),
        };
        let authorities = upstream_tls::authorities(ca_certificate_refs, namespace, view)?;
        Ok(Self::Published(Place { found, authorities: Some(authorities).filter(|pem| !pem.is_empty()) }))
    }

    /// In words by which other issuers of the same name are told apart, and which no new key changes. Authorities say how the
    /// place is recognized, and are renewed as well.
    fn named(&self, policy: &Name) -> config::KeySource {
        config::KeySource(match self {
            Self::Inline(_) => format!("inline {policy}"),
            Self::ConfigMap(ConfigMapKeyRef { name, key }) => {
                format!("configMapRef {}/{name} {key}", policy.namespace)
            }
            Self::Published(Place { found: Found::At(url), .. }) => format!("uri {url}"),
            Self::Published(Place { found: Found::ByMetadata(issuer), .. }) => format!("discovery {issuer}"),
        })
    }
}

/// Whether what is closed for this reason opens as soon as keys can be fetched.
pub(super) fn waits_for_keys(reason: &str) -> bool {
    [KEY_SET_PENDING, KEY_SET_NOT_FETCHED, KEY_SET_EXPIRED].contains(&reason)
}

/// What was fetched, with what is to be said of it.
fn published(place: &Place, view: &View<'_>) -> Result<(KeySet, Option<String>, Vec<Fault>), Fault> {
    match view.key_set(place) {
        Known::Pending => Err(Fault::new(KEY_SET_PENDING, format!("{place}: the key set is being fetched"))),
        Known::Unfetched(error) => {
            Err(Fault::new(KEY_SET_NOT_FETCHED, format!("{place}: the key set can't be fetched: {error}")))
        }
        Known::Expired(Failing { last_good, error }) => {
            let message = format!(
                "{place}: the key set could not be fetched since {}, which is too long ago: {error}",
                date(*last_good)
            );
            Err(Fault::new(KEY_SET_EXPIRED, message))
        }
        Known::Good { keys, left_out, .. } if keys.keys.is_empty() => {
            let message = format!("{place}: the key set has no usable key{}", Listed(left_out));
            Err(Fault::new(KEY_SET_EMPTY, message))
        }
        Known::Good { keys, left_out: unfit, removed, metadata, failing } => {
            let stale = failing.iter().map(|Failing { last_good, error }| {
                let message = format!(
                    "{place}: the key set could not be fetched since {}, the one of then is in force: {error}",
                    date(*last_good)
                );
                Fault::new(KEY_SET_STALE, message)
            });
            let removed = removed.iter().map(|Removed { kid, until }| {
                let kid = kid.get(..kid.floor_char_boundary(MAX_SHOWN)).unwrap_or_default();
                let message =
                    format!("{place}: the issuer has removed the key {kid:?}, accepted until {}", date(*until));
                Fault::new(KEY_REMOVED, message)
            });
            let name = place.to_string();
            let notes = stale.chain(removed).chain(left_out(&name, unfit)).collect();
            Ok((KeySet { place: Some(place.id()), ..keys.clone() }, metadata.clone(), notes))
        }
    }
}

/// A point in time, to the second (RFC 3339).
fn date(unix: u64) -> String {
    let time = i64::try_from(unix).ok().and_then(|unix| time::OffsetDateTime::from_unix_timestamp(unix).ok());
    time.map_or_else(
        || format!("second {unix} of Unix time"),
        |time| {
            let (date, hour, minute, second) = (time.date(), time.hour(), time.minute(), time.second());
            format!("{date}T{hour:02}:{minute:02}:{second:02}Z")
        },
    )
}

fn config_map_entry<'r>(reference: &ConfigMapKeyRef, namespace: &str, view: &View<'r>) -> Result<&'r [u8], Fault> {
    let ConfigMapKeyRef { name, key } = reference;
    let name = Name::new(namespace, name);
    let missing = |what: String| Fault::new("KeySetNotFound", view.lack("ConfigMap", &name, what));
    let map = view.config_map(&name).ok_or_else(|| missing(format!("there is no ConfigMap {name}")))?;
    let text = map.data.as_ref().and_then(|data| data.get(key)).map(String::as_bytes);
    let bytes = || map.binary_data.as_ref().and_then(|data| data.get(key)).map(|bytes| bytes.0.as_slice());
    text.or_else(bytes).ok_or_else(|| missing(format!("the ConfigMap {name} has no key {key:?}")))
}
