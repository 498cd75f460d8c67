//! Fetches one key set over HTTP: within limits of time and size, from addresses that may be asked, and from no other host
//! than the one that was named.

use std::error::Error as _;
use std::time::Duration;

use reqwest::header::{AGE, CACHE_CONTROL, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Certificate, Client, Response, StatusCode};
use tokio::task::JoinError;
use toolward_policy::config::KeySet;
use toolward_policy::jwt::discovery::{self, Metadata, MetadataFault};
use toolward_policy::jwt::jwks::{self, Jwks, JwksFault};

use super::networks::{Networks, Refused};
use crate::key_sets::cached::Fetched;
use crate::key_sets::{Found, Place};

/// A server answers within this time, all of it.
const WITHIN: Duration = Duration::from_secs(5);

const CONNECT_WITHIN: Duration = Duration::from_secs(3);

/// Redirects within one host.
const MAX_REDIRECTS: usize = 3;

/// Fetches from one place.
#[derive(Clone, Debug)]
pub(super) struct Fetcher {
    place: Place,
    networks: Networks,
    most_rsa_bits: u32,
    client: Client,
}

/// What a fetch found and which version of it that is.
pub(super) type FetchResult = Result<(Fetched, Option<Version>), FetchError>;

/// Why a key set could not be fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("{}", chain(.0))]
    Http(#[from] reqwest::Error),
    #[error("{0}: the answer is {1}")]
    Status(String, StatusCode),
    #[error("{0}: the answer is longer than {limit} bytes", limit = jwks::MAX_BYTES)]
    TooLarge(String),
    #[error("{0}: {1}")]
    KeySet(String, JwksFault),
    #[error("{0}: {1}")]
    Metadata(String, MetadataFault),
    #[error("{0} has no metadata where they could be")]
    NoMetadata(String),
    #[error("the fetch stopped: {0}")]
    Stopped(#[from] JoinError),
}

/// The causes say what the error itself does not: that an address was refused, or what is wrong with a certificate.
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}

/// By what a server tells whether a key set has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    url: String,
    etag: HeaderValue,
}

impl Fetcher {
    pub(super) fn new(place: &Place, networks: &Networks, most_rsa_bits: u32) -> Result<Self, FetchError> {
        let networks = networks.clone();
        let redirects = {
            let networks = networks.clone();
            Policy::custom(move |attempt| within_host(attempt, &networks))
        };
        let client = Client::builder()
            .user_agent(concat!("toolward/", env!("CARGO_PKG_VERSION")))
            .timeout(WITHIN)
            .connect_timeout(CONNECT_WITHIN)
            .redirect(redirects)
            // A proxy would look names up itself.
            .no_proxy()
            .dns_resolver(networks.clone())
            .pool_max_idle_per_host(1);
        let client = match &place.authorities {
            Some(pem) => client.tls_certs_only(Certificate::from_pem_bundle(pem.as_bytes())?),
            None => client,
        };
        Ok(Self { place: place.clone(), networks, most_rsa_bits, client: client.build()? })
    }

    /// Fetches the key set, or learns that it has not changed since this version of it.
    pub(super) async fn fetch(&self, last: Option<Version>) -> FetchResult {
        let (url, metadata) = match &self.place.found {
            Found::At(url) => (url.clone(), None),
            Found::ByMetadata(issuer) => {
                let metadata = self.metadata(issuer).await?;
                (metadata.jwks_uri, Some(metadata.document))
            }
        };
        let last = last.filter(|last| last.url == url);
        let mut request = self.client.get(self.networks.url(&url)?);
        if let Some(last) = &last {
            request = request.header(IF_NONE_MATCH, last.etag.clone());
        }
        let answer = request.send().await?;
        let lifetime = lifetime(answer.headers());
        if let (StatusCode::NOT_MODIFIED, Some(last)) = (answer.status(), last) {
            return Ok((Fetched { keys: None, metadata, lifetime }, Some(last)));
        }
        let etag = answer.headers().get(ETAG).cloned();
        let set = match jwks::parse(&body(answer, &url).await?, self.most_rsa_bits) {
            Ok(set) => set,
            // This is what the issuer says: no key of those that it had holds any more.
            Err(JwksFault::NoUsableKey(left_out)) => Jwks { keys: KeySet { keys: Vec::new(), place: None }, left_out },
            Err(fault) => return Err(FetchError::KeySet(url, fault)),
        };
        let version = etag.map(|etag| Version { url, etag });
        Ok((Fetched { keys: Some(set), metadata, lifetime }, version))
    }

    /// The first metadata that are there must be right: whoever can put others before them is not trusted.
    async fn metadata(&self, issuer: &str) -> Result<Metadata, FetchError> {
        for url in discovery::urls(issuer) {
            let answer = self.client.get(self.networks.url(&url)?).send().await?;
            if answer.status().is_client_error() {
                continue;
            }
            let text = body(answer, &url).await?;
            return Metadata::parse(&text, issuer).map_err(|fault| FetchError::Metadata(url, fault));
        }
        Err(FetchError::NoMetadata(issuer.to_owned()))
    }
}

fn within_host(attempt: Attempt<'_>, networks: &Networks) -> reqwest::redirect::Action {
    let origin = |url: &reqwest::Url| url.origin();
    let first = attempt.previous().first().map(origin);
    if let Err(refused) = networks.check(attempt.url()) {
        return attempt.error(refused);
    }
    if first != Some(origin(attempt.url())) {
        return attempt.error("a redirect to another host is not followed");
    }
    if attempt.previous().len() > MAX_REDIRECTS {
        return attempt.error("there are too many redirects");
    }
    attempt.follow()
}

/// The body of a good answer. Nothing is held that is longer than a key set may be.
async fn body(mut answer: Response, url: &str) -> Result<Vec<u8>, FetchError> {
    if answer.status() != StatusCode::OK {
        return Err(FetchError::Status(url.to_owned(), answer.status()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > jwks::MAX_BYTES {
            return Err(FetchError::TooLarge(url.to_owned()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// For how long an answer is fresh (RFC 9111 section 4.2), as far as it says so.
fn lifetime(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let directives: Vec<String> = text.flat_map(|value| value.split(',')).map(|it| it.trim().to_lowercase()).collect();
    if directives.iter().any(|directive| matches!(directive.as_str(), "no-store" | "no-cache")) {
        return Some(Duration::ZERO);
    }
    let max_age = directives
        .iter()
        .find_map(|directive| directive.strip_prefix("max-age=")?.trim_matches('"').parse::<u64>().ok())?;
    let age = headers.get(AGE).and_then(|value| value.to_str().ok()?.parse::<u64>().ok()).unwrap_or(0);
    Some(Duration::from_secs(max_age.saturating_sub(age)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_an_answer_is_fresh() {
        type Row<'r> = (&'r str, &'r [(&'r str, &'r str)], Option<u64>);
        let rows: [Row<'_>; 8] = [
            ("nothing is said", &[], None),
            ("something else", &[("cache-control", "public")], None),
            ("a time", &[("cache-control", "public, max-age=300")], Some(300)),
            ("in quotes", &[("cache-control", "Max-Age=\"300\"")], Some(300)),
            ("of which some is over", &[("cache-control", "max-age=300"), ("age", "100")], Some(200)),
            ("all of it is over", &[("cache-control", "max-age=300"), ("age", "400")], Some(0)),
            ("none", &[("cache-control", "no-store"), ("cache-control", "max-age=5")], Some(0)),
            ("no number", &[("cache-control", "max-age=soon")], None),
        ];
        for (row, said, expected) in rows {
            let mut headers = HeaderMap::new();
            for (name, value) in said {
                headers.append(*name, HeaderValue::from_static(value));
            }
            assert_eq!(lifetime(&headers), expected.map(Duration::from_secs), "{row}");
        }
    }
}
