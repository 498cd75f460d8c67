//! The form of a token: a compact JWS (RFC 7515 section 7.1), read strictly so that one token has one spelling.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::TokenFault;
use crate::config::Algorithm;
use crate::strict;

/// A compact JWS whose form and header are right. Nothing in it is verified.
#[derive(Debug)]
pub struct Jws<'t> {
    /// `alg`.
    pub algorithm: Algorithm,
    /// `kid`.
    pub key_id: Option<String>,
    /// What `typ` says it is.
    pub token_type: Type,
    /// The second part, decoded.
    pub payload: Vec<u8>,
    /// What is signed: the first two parts with the dot between them.
    pub signing_input: &'t str,
    /// The third part, decoded.
    pub signature: Vec<u8>,
}

/// A token whose form is right. Nothing in it is verified.
#[derive(Debug)]
pub struct Token<'t> {
    /// What carries it.
    pub jws: Jws<'t>,
    /// The payload.
    pub claims: Map<String, Value>,
}

/// What the header parameter `typ` says (RFC 8725 section 3.11). ID tokens say `JWT` as well; logout tokens, DPoP
/// proofs, ID-JAGs and security events have types of their own, which are all refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Nothing, or `JWT`.
    Jwt,
    /// `at+jwt` (RFC 9068).
    AccessToken,
}

impl<'t> Token<'t> {
    /// Reads a token.
    ///
    /// # Errors
    /// When it has another form, or its header asks for what we don't do.
    pub fn parse(text: &'t str) -> Result<Self, TokenFault> {
        let jws = Jws::parse(text)?;
        let claims = strict::object(&jws.payload).map_err(|_| TokenFault::BadClaims)?;
        Ok(Self { jws, claims })
    }
}

impl<'t> Jws<'t> {
    /// Reads a JWS, whatever it carries.
    ///
    /// # Errors
    /// When it has another form, or its header asks for what we don't do.
    pub fn parse(text: &'t str) -> Result<Self, TokenFault> {
        let mut parts = text.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenFault::Malformed);
        };
        let signing_input = text.get(..header.len() + 1 + payload.len()).ok_or(TokenFault::Malformed)?;
        if header.is_empty() || signature.is_empty() {
            return Err(TokenFault::Malformed);
        }
        let (header, payload, signature) = (decode(header)?, decode(payload)?, decode(signature)?);
        let header = strict::object(&header).map_err(|_| TokenFault::BadHeader)?;
        // Also `b64` (RFC 7797) would change what is signed.
        if header.contains_key("crit") || header.contains_key("b64") {
            return Err(TokenFault::CriticalHeader);
        }
        Ok(Self {
            algorithm: algorithm(&header)?,
            key_id: key_id(&header)?,
            token_type: token_type(&header)?,
            payload,
            signing_input,
            signature,
        })
    }
}

/// The alphabet is checked by the engine, which refuses padding and non-zero trailing bits as well.
fn decode(part: &str) -> Result<Vec<u8>, TokenFault> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenFault::Malformed)
}

/// Compared with case: `none` in all its spellings is not on the list.
fn algorithm(header: &Map<String, Value>) -> Result<Algorithm, TokenFault> {
    let name = header.get("alg").and_then(Value::as_str).ok_or(TokenFault::AlgorithmNotAllowed)?;
    match name {
        "RS256" => Ok(Algorithm::RS256),
        "RS384" => Ok(Algorithm::RS384),
        "RS512" => Ok(Algorithm::RS512),
        "PS256" => Ok(Algorithm::PS256),
        "PS384" => Ok(Algorithm::PS384),
        "PS512" => Ok(Algorithm::PS512),
        "ES256" => Ok(Algorithm::ES256),
        "ES384" => Ok(Algorithm::ES384),
        // RFC 9864 gives Ed25519 a name of its own.
        "EdDSA" | "Ed25519" => Ok(Algorithm::EdDSA),
        _ => Err(TokenFault::AlgorithmNotAllowed),
    }
}

fn key_id(header: &Map<String, Value>) -> Result<Option<String>, TokenFault> {
    match header.get("kid") {
        None => Ok(None),
        Some(Value::String(id)) => Ok(Some(id.clone())),
        Some(_) => Err(TokenFault::BadHeader),
    }
}

fn token_type(header: &Map<String, Value>) -> Result<Type, TokenFault> {
    match header.get("typ") {
        None => Ok(Type::Jwt),
        Some(Value::String(name)) => match name.to_ascii_lowercase().as_str() {
            "jwt" => Ok(Type::Jwt),
            "at+jwt" | "application/at+jwt" => Ok(Type::AccessToken),
            _ => Err(TokenFault::TypeNotAllowed),
        },
        Some(_) => Err(TokenFault::BadHeader),
    }
}
