//! Lets an Envoy have what is its own: credentials are checked when a stream opens, and again when it opens anew, since
//! no stream outlives a certain age.
//!
//! ```text
//! client certificate (verified by TLS) ─┐
//!                                       ├─> ServiceAccount ─ Grants ─> may it be the Gateway of node.cluster?
//! bearer token ─ TokenReviewer ─────────┘
//! ```

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use tonic::codegen::http::HeaderMap;
use tonic::metadata::MetadataMap;

use super::identity::{Grants, ServiceAccount};
use super::refusal::Refusal;
use crate::model::GatewayName;

/// Longest token that is looked at, in bytes.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Says whose service account a token is.
#[tonic::async_trait]
pub trait TokenReviewer: Send + Sync {
    /// Reviews a token that somebody at this address has shown.
    ///
    /// # Errors
    /// When it is nobody's, or when that can't be said.
    async fn review(&self, token: &str, from: IpAddr) -> Result<ServiceAccount, ReviewError>;
}

/// Why a token says nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReviewError {
    /// It is not good: expired, of another audience, or made up.
    #[error("{0}")]
    Invalid(String),
    /// Whoever knows can't be asked.
    #[error("{0}")]
    Unavailable(String),
    /// Too many are shown that nobody knows.
    #[error("too many tokens that are not known were shown from this address, or in all")]
    TooMany,
}

/// Whether clients must say who they are.
#[derive(Clone, Debug, Default)]
pub enum Authentication {
    /// No: each is what its `node.cluster` says. For ports that only the right ones can reach.
    #[default]
    None,
    /// Yes.
    Required(Required),
}

/// How clients say who they are, and what they may be then.
#[derive(Clone, Default)]
pub struct Required {
    /// Where there is none, tokens are refused, and only client certificates count.
    pub reviewer: Option<Arc<dyn TokenReviewer>>,
    /// Which service account may be which Gateway.
    pub grants: Grants,
}

impl fmt::Debug for Required {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Required").field("grants", &self.grants).finish_non_exhaustive()
    }
}

/// Who a client has proven to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Nobody asked.
    Unasked,
    /// This service account.
    Account(ServiceAccount),
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unasked => f.write_str("unasked"),
            Self::Account(account) => account.fmt(f),
        }
    }
}

/// What a client shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    certificate: Option<CertificateDer<'static>>,
    token: Option<Result<String, Refusal>>,
}

impl Credentials {
    /// Of a request on a connection with this client certificate, which was verified.
    #[must_use]
    pub fn of(certificate: Option<CertificateDer<'static>>, headers: HeaderMap) -> Self {
        Self { certificate, token: token(&MetadataMap::from_headers(headers)) }
    }
}

fn token(metadata: &MetadataMap) -> Option<Result<String, Refusal>> {
    let mut values = metadata.get_all("authorization").iter();
    let value = values.next()?;
    if values.next().is_some() {
        return Some(Err(Refusal::Token("there is more than one `authorization`".to_owned())));
    }
    let parsed = value.to_str().ok().and_then(|value| value.split_once(' '));
    let bearer = parsed.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    Some(match bearer {
        None | Some("") => Err(Refusal::Token("`authorization` must be `Bearer TOKEN`".to_owned())),
        Some(token) if token.len() > MAX_TOKEN_BYTES => {
            Err(Refusal::Token(format!("it is longer than {MAX_TOKEN_BYTES} bytes")))
        }
        Some(token) => Ok(token.to_owned()),
    })
}

impl Authentication {
    /// Finds out who a client is. A certificate that names a service account is enough; otherwise the token counts.
    ///
    /// # Errors
    /// When the client does not prove who it is.
    pub async fn identify(&self, credentials: Credentials, from: IpAddr) -> Result<Identity, Refusal> {
        let Self::Required(required) = self else { return Ok(Identity::Unasked) };
        let named = credentials.certificate.as_ref().and_then(ServiceAccount::from_certificate);
        if let Some(account) = named {
            return Ok(Identity::Account(account));
        }
        let token = match (credentials.token, &credentials.certificate) {
            (Some(token), _) => token?,
            (None, Some(_)) => return Err(Refusal::Certificate),
            (None, None) => return Err(Refusal::NoCredentials),
        };
        let Some(reviewer) = &required.reviewer else {
            return Err(Refusal::Token("only client certificates are accepted here".to_owned()));
        };
        match reviewer.review(&token, from).await {
            Ok(account) => Ok(Identity::Account(account)),
            Err(ReviewError::Invalid(why)) => Err(Refusal::Token(why)),
            Err(ReviewError::Unavailable(why)) => Err(Refusal::Unreviewed(why)),
            Err(ReviewError::TooMany) => Err(Refusal::TooManyTokens),
        }
    }

    /// Whether this is the Envoy of one of these Gateways, as far as that is to be proven.
    #[must_use]
    pub fn is_of_any<'a>(&self, identity: &Identity, mut gateways: impl Iterator<Item = &'a GatewayName>) -> bool {
        gateways.any(|gateway| self.admit(identity, gateway).is_ok())
    }

    /// Lets a client be this Gateway.
    ///
    /// # Errors
    /// When it is not its own.
    pub fn admit(&self, identity: &Identity, gateway: &GatewayName) -> Result<(), Refusal> {
        match (self, identity) {
            (Self::None, _) => Ok(()),
            (Self::Required(required), Identity::Account(account)) if required.grants.allow(account, gateway) => Ok(()),
            (Self::Required(_), Identity::Account(account)) => {
                Err(Refusal::OtherGateway { account: account.clone(), gateway: gateway.clone() })
            }
            // Doubt closes: nobody who had to be asked went unasked.
            (Self::Required(_), Identity::Unasked) => Err(Refusal::NoCredentials),
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::string::Ia5String;
    use rcgen::{CertificateParams, KeyPair, SanType};
    use tokio::runtime::Builder;

    use super::super::refusal::RefusalReason;
    use super::*;

    /// Stands in for an API server.
    struct Reviewer;

    #[tonic::async_trait]
    impl TokenReviewer for Reviewer {
        async fn review(&self, token: &str, _: IpAddr) -> Result<ServiceAccount, ReviewError> {
            match token {
                "good" => Ok(ServiceAccount::new("ns", "gw-toolward").unwrap()),
                "unknown" => Err(ReviewError::Unavailable("the API server is away".into())),
                _ => Err(ReviewError::Invalid("it has expired".into())),
            }
        }
    }

    fn certificate(name: Option<&str>) -> CertificateDer<'static> {
        let mut parameters = CertificateParams::default();
        parameters.subject_alt_names =
            name.iter().map(|uri| SanType::URI(Ia5String::try_from(*uri).unwrap())).collect();
        parameters.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn with_authorization(values: &[&str]) -> Option<Result<String, Refusal>> {
        let mut metadata = MetadataMap::new();
        for value in values {
            metadata.append("authorization", value.parse().unwrap());
        }
        token(&metadata)
    }

    #[test]
    fn tokens_are_read_strictly() {
        let long = format!("Bearer {}", "x".repeat(MAX_TOKEN_BYTES + 1));
        let rows = [
            ("none", vec![], None),
            ("a token", vec!["Bearer abc"], Some(Some("abc"))),
            ("in small letters, with the line break of a file", vec!["bearer abc "], Some(Some("abc"))),
            ("another scheme", vec!["Basic abc"], Some(None)),
            ("no scheme", vec!["abc"], Some(None)),
            ("empty", vec!["Bearer "], Some(None)),
            ("two", vec!["Bearer abc", "Bearer def"], Some(None)),
            ("too long", vec![long.as_str()], Some(None)),
        ];
        for (row, values, expected) in rows {
            let read = with_authorization(&values).map(Result::ok);
            assert_eq!(read, expected.map(|token| token.map(str::to_owned)), "{row}");
        }
    }

    #[test]
    fn clients_are_identified() {
        let own = "spiffe://d/ns/ns/sa/gw-toolward";
        let all =
            || Authentication::Required(Required { reviewer: Some(Arc::new(Reviewer)), grants: Grants::default() });
        let certificates_only = || Authentication::Required(Required::default());
        let me = || Ok(Identity::Account(ServiceAccount::new("ns", "gw-toolward").unwrap()));
        use RefusalReason::{InvalidCredentials, NoCredentials, ReviewFailed};
        let rows = [
            ("nobody asks", Authentication::None, None, None, Ok(Identity::Unasked)),
            ("nothing is shown", all(), None, None, Err(NoCredentials)),
            ("a certificate", all(), Some(certificate(Some(own))), None, me()),
            ("a certificate, tokens not accepted", certificates_only(), Some(certificate(Some(own))), None, me()),
            ("a certificate of nobody", all(), Some(certificate(None)), None, Err(InvalidCredentials)),
            ("the same with a token", all(), Some(certificate(None)), Some("Bearer good"), me()),
            ("a token", all(), None, Some("Bearer good"), me()),
            ("a bad token", all(), None, Some("Bearer bad"), Err(InvalidCredentials)),
            ("no token at all", all(), None, Some("Basic good"), Err(InvalidCredentials)),
            ("a token that nobody can review", all(), None, Some("Bearer unknown"), Err(ReviewFailed)),
            ("a token, not accepted", certificates_only(), None, Some("Bearer good"), Err(InvalidCredentials)),
        ];
        let runtime = Builder::new_current_thread().build().unwrap();
        for (row, authentication, certificate, authorization, expected) in rows {
            let token = authorization.and_then(|value| with_authorization(&[value]));
            let identity = runtime
                .block_on(authentication.identify(Credentials { certificate, token }, IpAddr::from([127, 0, 0, 1])));
            assert_eq!(identity.map_err(|refusal| refusal.reason()), expected, "{row}");
        }
    }

    #[test]
    fn a_gateway_is_for_its_own() {
        let required = Authentication::Required(Required::default());
        let own = Identity::Account(ServiceAccount::new("ns", "gw-toolward").unwrap());
        let other = Identity::Account(ServiceAccount::new("ns", "other-toolward").unwrap());
        let rows = [
            ("nobody asks", &Authentication::None, &Identity::Unasked, None),
            ("its own", &required, &own, None),
            ("another's", &required, &other, Some(RefusalReason::OtherGateway)),
            ("unasked, though it had to be", &required, &Identity::Unasked, Some(RefusalReason::NoCredentials)),
        ];
        for (row, authentication, identity, expected) in rows {
            let refusal = authentication.admit(identity, &GatewayName("ns/gw".into())).err();
            assert_eq!(refusal.map(|refusal| refusal.reason()), expected, "{row}");
        }
    }
}
