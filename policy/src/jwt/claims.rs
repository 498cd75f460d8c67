//! The content of a token: time, audience, subject (RFC 7519 section 4.1). The one place that judges it, whichever way
//! the signature is checked.

use serde_json::{Map, Value};

use super::TokenFault;
use crate::config::Audience;

/// `iat` may be this far ahead beyond the clock skew, in seconds; issuers' clocks are often ahead of ours a little.
const ISSUED_AHEAD: u64 = 300;

/// Times past this are not numbers on which two parsers agree (RFC 8259 section 6).
const LATEST: f64 = 9_007_199_254_740_991.0;

/// When a token may be used, in seconds since the epoch, clock skew included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Validity {
    /// Not before.
    pub from: f64,
    /// Not at this time nor after it.
    pub until: f64,
}

impl Validity {
    /// Whether it may be used at this time.
    #[must_use]
    pub fn holds(&self, now: u64) -> bool {
        let now = seconds(now);
        self.from <= now && now < self.until
    }

    /// How many seconds are left of it.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and at most 2^53")]
    pub fn left(&self, now: u64) -> u64 {
        (self.until - seconds(now)).clamp(0.0, LATEST) as u64
    }

    /// A time at which it may be used.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.left(0).saturating_sub(1)
    }
}

/// Judges the claims of a token.
///
/// # Errors
/// The first fault found.
pub fn validate(
    claims: &Map<String, Value>,
    audience: &Audience,
    clock_skew: u32,
    now: u64,
) -> Result<Validity, TokenFault> {
    let skew = f64::from(clock_skew);
    let expires = time(claims, "exp")?.ok_or(TokenFault::NoExpiry)?;
    let begins = time(claims, "nbf")?.unwrap_or(0.0);
    let issued = time(claims, "iat")?.unwrap_or(0.0);
    let validity = Validity { from: begins - skew, until: expires + skew };
    if seconds(now) >= validity.until {
        return Err(TokenFault::Expired);
    }
    if seconds(now) < validity.from {
        return Err(TokenFault::NotYetValid);
    }
    if issued > seconds(now) + skew + seconds(ISSUED_AHEAD) {
        return Err(TokenFault::IssuedInFuture);
    }
    if claims.get("sub").is_some_and(|subject| !subject.is_string()) {
        return Err(TokenFault::BadSubject);
    }
    if let Audience::OneOf(accepted) = audience
        && !is_for(claims, |one| accepted.iter().any(|ours| ours == one))
    {
        return Err(TokenFault::WrongAudience);
    }
    Ok(validity)
}

/// A NumericDate: a number, perhaps with a fraction. Anything else must not pass for "absent".
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>, TokenFault> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => match number.as_f64() {
            Some(time) if (0.0..=LATEST).contains(&time) => Ok(Some(time)),
            _ => Err(TokenFault::BadTime),
        },
        Some(_) => Err(TokenFault::BadTime),
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact for the next 285 million years")]
fn seconds(time: u64) -> f64 {
    time as f64
}

/// Whether one of the audiences is accepted. `aud` is a string or an array of strings; an array that holds anything else
/// is for nobody.
pub fn is_for(claims: &Map<String, Value>, accepted: impl Fn(&str) -> bool) -> bool {
    match claims.get("aud") {
        Some(Value::String(one)) => accepted(one),
        Some(Value::Array(many)) => {
            many.iter().all(Value::is_string) && many.iter().filter_map(Value::as_str).any(accepted)
        }
        _ => false,
    }
}

/// Refuses what is signed by the same key and is no access token for a bearer. The header's `typ` tells most, but issuers
/// that write nothing there, or `JWT`, are many.
///
/// # Errors
/// What the token is instead.
pub fn refuse_other_kinds(claims: &Map<String, Value>) -> Result<(), TokenFault> {
    let says = |name: &str, words: &[&str]| {
        let word = claims.get(name).and_then(Value::as_str).unwrap_or_default();
        words.iter().any(|other| word.eq_ignore_ascii_case(other))
    };
    // OpenID Connect Core sections 3.1.3.6 and 3.3.2.11; Keycloak's `typ` and Cognito's `token_use`.
    let of_an_id_token = ["at_hash", "c_hash", "s_hash"].iter().any(|name| claims.contains_key(*name));
    if of_an_id_token || says("typ", &["ID"]) || says("token_use", &["id"]) {
        return Err(TokenFault::IdToken);
    }
    // OpenID Connect Back-Channel Logout section 2.4; Keycloak's names.
    if claims.contains_key("events") || says("typ", &["Logout", "Refresh", "Offline"]) {
        return Err(TokenFault::NoAccessToken);
    }
    // RFC 7800: only with a proof that is not shown here is it good.
    if claims.contains_key("cnf") {
        return Err(TokenFault::SenderConstrained);
    }
    Ok(())
}
