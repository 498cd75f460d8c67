//! Bearer tokens: from the characters of an `Authorization` header to a verified [`Caller`].
//!
//! ```text
//! text ─ token (form) ─> claims (content) ─> key by issuer and kid ─> verify (signature) ─> Caller
//! ```

pub mod budget;
pub mod cache;
pub mod claims;
pub mod discovery;
pub mod jwks;
pub mod key;
pub mod missing;
mod modulus;
pub mod token;
pub mod verify;

use std::rc::Rc;

use crate::claims::Caller;
use crate::config::Algorithm;
use crate::policy::{AcceptedIssuer, JwtAuthentication};
use budget::Cost;
use claims::Validity;
use key::PublicKey;
use token::{Token, Type};
use verify::SignatureVerifier;

/// A token that was verified: whom it names, for how long, and what else must stay as it is for it to be accepted again. The
/// token itself, which is a secret, is not in it.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Whom it names.
    pub caller: Rc<Caller>,
    /// When it may be used.
    pub validity: Validity,
    signed: Signed,
}

impl Verified {
    /// Somebody of whom nothing is known, for measurements of what remembers tokens.
    #[doc(hidden)]
    #[must_use]
    pub fn anonymous(validity: Validity) -> Self {
        let signed = Signed { token_type: Type::AccessToken, key_id: None, algorithm: Algorithm::EdDSA, key: [0; 32] };
        Self { caller: Rc::new(Caller::anonymous()), validity, signed }
    }
}

/// By what a token was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Signed {
    token_type: Type,
    key_id: Option<String>,
    algorithm: Algorithm,
    key: [u8; 32],
}

/// Why a token is refused; one variant per fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum TokenFault {
    #[error("the token is too long")]
    TooLong,
    #[error("the token is not a compact JWS of three base64url parts")]
    Malformed,
    #[error("the token header is not acceptable JSON")]
    BadHeader,
    #[error("the token claims are not acceptable JSON")]
    BadClaims,
    #[error("the token algorithm is not allowed")]
    AlgorithmNotAllowed,
    #[error("the token type is not allowed")]
    TypeNotAllowed,
    #[error("the token has critical header parameters")]
    CriticalHeader,
    #[error("the token issuer is not accepted")]
    UnknownIssuer,
    #[error("no key of the issuer fits the token")]
    UnknownKey,
    #[error("the token signature is wrong")]
    BadSignature,
    #[error("the token has no expiry")]
    NoExpiry,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYetValid,
    #[error("the token was issued in the future")]
    IssuedInFuture,
    #[error("the token has a time that is not a number of seconds")]
    BadTime,
    #[error("the token is for another audience")]
    WrongAudience,
    #[error("the token subject is not a string")]
    BadSubject,
    #[error("this is an ID token; an access token is needed")]
    IdToken,
    #[error("this is no access token")]
    NoAccessToken,
    #[error("the token is bound to a key, of which no proof can be given here")]
    SenderConstrained,
}

impl TokenFault {
    /// The word for metric and log.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::TooLong => "TokenTooLong",
            Self::Malformed => "TokenMalformed",
            Self::BadHeader => "TokenBadHeader",
            Self::BadClaims => "TokenBadClaims",
            Self::AlgorithmNotAllowed => "TokenAlgorithmNotAllowed",
            Self::TypeNotAllowed => "TokenTypeNotAllowed",
            Self::CriticalHeader => "TokenCriticalHeader",
            Self::UnknownIssuer => "TokenUnknownIssuer",
            Self::UnknownKey => "TokenUnknownKey",
            Self::BadSignature => "TokenBadSignature",
            Self::NoExpiry => "TokenNoExpiry",
            Self::Expired => "TokenExpired",
            Self::NotYetValid => "TokenNotYetValid",
            Self::IssuedInFuture => "TokenIssuedInFuture",
            Self::BadTime => "TokenBadTime",
            Self::WrongAudience => "TokenWrongAudience",
            Self::BadSubject => "TokenBadSubject",
            Self::IdToken => "TokenIsIdToken",
            Self::NoAccessToken => "TokenIsNoAccessToken",
            Self::SenderConstrained => "TokenSenderConstrained",
        }
    }
}

/// Whether a token names a key that its issuer's set does not have; then this is the place where the set can be fetched anew.
#[must_use]
pub fn missing_key(text: &str, authentication: &JwtAuthentication) -> Option<String> {
    let token = Token::parse(text).ok()?;
    let issuer = authentication.issuer(&token.claims)?;
    let is_missing = token.jws.key_id.is_some_and(|id| !issuer.has_key(&id));
    issuer.place().filter(|_| is_missing).map(str::to_owned)
}

/// Verifies a token against an authentication section. The claims are judged before the signature, which costs more;
/// what a caller learns from the order is only what it wrote into the token itself.
///
/// # Errors
/// The first fault found.
pub fn verify(
    text: &str,
    authentication: &JwtAuthentication,
    now: u64,
    verifier: &dyn SignatureVerifier,
) -> Result<Verified, TokenFault> {
    Unsigned::judge(text, authentication, now)?.verify(verifier)
}

/// A token of which all is judged but the signature.
#[derive(Debug)]
pub struct Unsigned<'t, 'a> {
    token: Token<'t>,
    authentication: &'a JwtAuthentication,
    issuer: &'a AcceptedIssuer,
    key: &'a PublicKey,
    validity: Validity,
}

impl<'t, 'a> Unsigned<'t, 'a> {
    /// Judges a token.
    ///
    /// # Errors
    /// The first fault found.
    pub fn judge(text: &'t str, authentication: &'a JwtAuthentication, now: u64) -> Result<Self, TokenFault> {
        let token = Token::parse(text)?;
        let issuer = authentication.issuer(&token.claims).ok_or(TokenFault::UnknownIssuer)?;
        let jws = &token.jws;
        if !issuer.token_type_allowed(jws.token_type) {
            return Err(TokenFault::TypeNotAllowed);
        }
        let key = issuer.key(jws.key_id.as_deref(), jws.algorithm)?;
        claims::refuse_other_kinds(&token.claims)?;
        let validity = claims::validate(&token.claims, issuer.audience(), issuer.clock_skew(), now)?;
        Ok(Self { token, authentication, issuer, key, validity })
    }

    /// Names the key set by its content.
    #[must_use]
    pub fn key_set(&self) -> &[u8; 32] {
        self.issuer.key_set()
    }

    /// What a look at the signature costs.
    #[must_use]
    pub fn cost(&self, verifier: &dyn SignatureVerifier) -> Cost {
        verifier.cost(self.key, self.token.jws.algorithm)
    }

    /// Looks at the signature.
    ///
    /// # Errors
    /// When it is wrong.
    pub fn verify(self, verifier: &dyn SignatureVerifier) -> Result<Verified, TokenFault> {
        let jws = &self.token.jws;
        if !verifier.verify(self.key, jws.algorithm, jws.signing_input.as_bytes(), &jws.signature) {
            return Err(TokenFault::BadSignature);
        }
        let signed = Signed {
            token_type: jws.token_type,
            key: self.key.fingerprint(),
            algorithm: jws.algorithm,
            key_id: self.token.jws.key_id,
        };
        let caller = Rc::new(Caller::new(self.token.claims, self.authentication.scope_implies()));
        Ok(Verified { caller, validity: self.validity, signed })
    }
}

/// Judges a token that was verified once by what stands now. Its signature need not be looked at again: the key that verified it
/// must be the one that would now.
///
/// # Errors
/// The first fault found.
pub fn verify_again(verified: &Verified, authentication: &JwtAuthentication, now: u64) -> Result<Verified, TokenFault> {
    let (claims, signed) = (verified.caller.claims(), &verified.signed);
    let issuer = authentication.issuer(claims).ok_or(TokenFault::UnknownIssuer)?;
    if !issuer.token_type_allowed(signed.token_type) {
        return Err(TokenFault::TypeNotAllowed);
    }
    let key = issuer.key(signed.key_id.as_deref(), signed.algorithm)?;
    if key.fingerprint() != signed.key {
        return Err(TokenFault::UnknownKey);
    }
    let validity = claims::validate(claims, issuer.audience(), issuer.clock_skew(), now)?;
    let caller = Rc::new(Caller::new(claims.clone(), authentication.scope_implies()));
    Ok(Verified { caller, validity, signed: signed.clone() })
}
