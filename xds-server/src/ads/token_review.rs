//! Asks a Kubernetes API server whose service account a token is.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

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

use cache::Cache;

/// The API server answers within this time.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Questions to the API server at the same time; others wait.
const MAX_QUESTIONS: usize = 16;

/// Asks by TokenReview, for our audience, and remembers good tokens for a short while.
#[derive(Debug)]
pub struct KubernetesTokenReview {
    reviews: Api<TokenReview>,
    questions: Semaphore,
    good: Mutex<Cache>,
}

impl KubernetesTokenReview {
    /// By this client, who must be allowed to create `tokenreviews.authentication.k8s.io`.
    #[must_use]
    pub fn new(client: Client) -> Self {
        let (questions, good) = (Semaphore::new(MAX_QUESTIONS), Mutex::default());
        Self { reviews: Api::all(client), questions, good }
    }

    fn good(&self) -> MutexGuard<'_, Cache> {
        // A panic elsewhere leaves it whole: each change is one call.
        self.good.lock().unwrap_or_else(PoisonError::into_inner)
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
    async fn review(&self, token: &str) -> Result<ServiceAccount, ReviewError> {
        let key = Sha256::digest(token).into();
        if let Some(account) = self.good().get(&key, Instant::now()) {
            return Ok(account);
        }
        let account = self.ask(token).await?;
        self.good().insert(key, account.clone(), Instant::now());
        Ok(account)
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
