//! Asks a Kubernetes API server whose service account a token is. Whoever reaches the port may make up tokens, so each is looked
//! at before, and each address is asked for at a bounded pace.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::api::PostParams;
use kube::{Api, Client};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::auth::{ReviewError, TokenReviewer};
use super::identity::ServiceAccount;
use crate::provision::TOKEN_AUDIENCE;

pub mod cache;
mod pace;
pub mod unverified;

use cache::Cache;
use pace::Pace;
pub use pace::Rate;

/// The API server answers within this time.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Questions to the API server at the same time; others wait.
const MAX_QUESTIONS: usize = 16;

/// How long a good token counts as such. One that was withdrawn is good for that much longer.
const GOOD_FOR: Duration = Duration::from_secs(60);

/// How long a bad one is remembered.
const BAD_FOR: Duration = Duration::from_secs(10);

/// Asks by TokenReview, for our audience, and remembers the answer for a short while.
#[derive(Debug)]
pub struct KubernetesTokenReview {
    reviews: Api<TokenReview>,
    questions: Semaphore,
    known: Mutex<Known>,
}

/// What was asked of late.
#[derive(Debug)]
struct Known {
    good: Cache<ServiceAccount>,
    bad: Cache<String>,
    pace: Pace,
}

impl Known {
    fn new(rate: Rate, now: Instant) -> Self {
        Self { good: Cache::new(GOOD_FOR), bad: Cache::new(BAD_FOR), pace: Pace::new(rate, now) }
    }

    /// What is known of a token without asking; none: the API server is to be asked.
    fn find(&mut self, key: &[u8; 32], from: IpAddr, now: Instant) -> Option<Result<ServiceAccount, ReviewError>> {
        if let Some(account) = self.good.get(key, now) {
            return Some(Ok(account));
        }
        if let Some(why) = self.bad.get(key, now) {
            return Some(Err(ReviewError::Invalid(why)));
        }
        (!self.pace.ask(from, now)).then_some(Err(ReviewError::TooMany))
    }

    fn learn(&mut self, key: [u8; 32], answer: &Result<ServiceAccount, ReviewError>, now: Instant) {
        match answer {
            Ok(account) => self.good.insert(key, account.clone(), now),
            Err(ReviewError::Invalid(why)) => self.bad.insert(key, why.clone(), now),
            Err(ReviewError::Unavailable(_) | ReviewError::TooMany) => (),
        }
    }
}

impl KubernetesTokenReview {
    /// By this client, who must be allowed to create `tokenreviews.authentication.k8s.io`.
    #[must_use]
    pub fn new(client: Client, rate: Rate) -> Self {
        let known = Mutex::new(Known::new(rate, Instant::now()));
        Self { reviews: Api::all(client), questions: Semaphore::new(MAX_QUESTIONS), known }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // A panic elsewhere leaves it whole: each change is one call.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, token: &str) -> Result<ServiceAccount, ReviewError> {
        let unavailable = |why: &str| ReviewError::Unavailable(why.to_owned());
        let review = TokenReview {
            spec: TokenReviewSpec { token: Some(token.to_owned()), audiences: Some(vec![TOKEN_AUDIENCE.to_owned()]) },
            ..TokenReview::default()
        };
        let answer = async {
            let _place = self.questions.acquire().await.map_err(|_| unavailable("shutting down"))?;
            let created = self.reviews.create(&PostParams::default(), &review).await;
            // The error is the API server's, and does not repeat the token.
            created.map_err(|error| ReviewError::Unavailable(format!("the API server: {error}")))
        };
        let review =
            timeout(ANSWER_WITHIN, answer).await.map_err(|_| unavailable("the API server does not answer"))??;
        read(&review.status.unwrap_or_default())
    }
}

#[tonic::async_trait]
impl TokenReviewer for KubernetesTokenReview {
    async fn review(&self, token: &str, from: IpAddr) -> Result<ServiceAccount, ReviewError> {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let claimed = unverified::look(token, time.as_secs()).map_err(ReviewError::Invalid)?;
        let key = Sha256::digest(token).into();
        let found = self.known().find(&key, from, Instant::now());
        if let Some(found) = found {
            return found;
        }
        let answer = self.ask(token).await.and_then(|account| {
            // Whoever says otherwise than the token itself does not speak of this token.
            if account == claimed {
                Ok(account)
            } else {
                Err(ReviewError::Invalid("it is another account's".to_owned()))
            }
        });
        self.known().learn(key, &answer, Instant::now());
        answer
    }
}

/// What the API server says. Where it does not say that it looked at the audience, the token may be meant for anybody.
fn read(status: &TokenReviewStatus) -> Result<ServiceAccount, ReviewError> {
    let invalid = |why: String| Err(ReviewError::Invalid(why));
    if status.authenticated != Some(true) {
        let why = status.error.as_deref().filter(|error| !error.is_empty());
        return invalid(why.unwrap_or("the API server does not know it").to_owned());
    }
    if !status.audiences.iter().flatten().any(|audience| audience == TOKEN_AUDIENCE) {
        return invalid(format!("it is not for the audience {TOKEN_AUDIENCE}"));
    }
    let username = status.user.as_ref().and_then(|user| user.username.as_deref()).unwrap_or_default();
    match ServiceAccount::from_username(username) {
        Some(account) => Ok(account),
        None => invalid(format!("{username:?} is not a service account")),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::authentication::v1::UserInfo;

    use super::*;

    #[test]
    fn what_is_known_is_not_asked_again() {
        let (start, from) = (Instant::now(), IpAddr::from([10, 0, 0, 1]));
        let mut known = Known::new(Rate { all: 100, each: 1 }, start);
        let account = ServiceAccount::new("ns", "gw-toolward").unwrap();
        let (good, bad, unknown) = ([1; 32], [2; 32], [3; 32]);
        known.learn(good, &Ok(account.clone()), start);
        known.learn(bad, &Err(ReviewError::Invalid("forged".into())), start);
        known.learn(unknown, &Err(ReviewError::Unavailable("away".into())), start);
        for _ in 0..100 {
            assert_eq!(known.find(&good, from, start), Some(Ok(account.clone())));
            assert_eq!(known.find(&bad, from, start), Some(Err(ReviewError::Invalid("forged".into()))));
        }
        assert_eq!((0..11).filter(|_| known.find(&unknown, from, start).is_none()).count(), 10);
        assert_eq!(known.find(&unknown, from, start), Some(Err(ReviewError::TooMany)));
        assert_eq!(known.find(&good, from, start), Some(Ok(account)), "whoever is known does not pay");
        assert_eq!(known.find(&bad, from, start + BAD_FOR), None, "it may have become good");
        assert_eq!(known.find(&good, from, start + GOOD_FOR), None);
    }

    #[test]
    fn answers_of_the_api_server() {
        let good = || TokenReviewStatus {
            authenticated: Some(true),
            audiences: Some(vec![TOKEN_AUDIENCE.to_owned()]),
            user: Some(UserInfo {
                username: Some("system:serviceaccount:ns:gw-toolward".to_owned()),
                ..UserInfo::default()
            }),
            error: None,
        };
        let person = UserInfo { username: Some("ann".to_owned()), ..UserInfo::default() };
        let rows = [
            ("good", good(), true),
            ("not authenticated", TokenReviewStatus { authenticated: Some(false), ..good() }, false),
            ("nothing said", TokenReviewStatus { authenticated: None, ..good() }, false),
            ("for another audience", TokenReviewStatus { audiences: Some(vec!["other".into()]), ..good() }, false),
            ("for no audience", TokenReviewStatus { audiences: None, ..good() }, false),
            ("a person", TokenReviewStatus { user: Some(person), ..good() }, false),
            ("nobody", TokenReviewStatus { user: None, ..good() }, false),
            ("an empty answer", TokenReviewStatus::default(), false),
        ];
        for (row, status, expected) in rows {
            assert_eq!(read(&status).is_ok(), expected, "{row}");
        }
    }
}
