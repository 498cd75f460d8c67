//! Where filters tell of keys that tokens name and that their issuer's set does not have: a service beside discovery, for the
//! same clients. All that is told is which key sets; whether and when it is fetched is decided elsewhere.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{HeaderValue, Request, Response, StatusCode};
use tonic::server::NamedService;
use toolward_policy::jwt::missing;

use super::auth::{Authentication, Credentials};
use crate::source::jwks::Missing;

/// The header that names the key sets, with commas between them.
const KEY_SETS: &str = "toolward-key-sets";

/// The service.
#[derive(Clone, Debug)]
pub(super) struct MissingKeys {
    pub(super) missing: Missing,
    pub(super) authentication: Arc<Authentication>,
}

impl NamedService for MissingKeys {
    const NAME: &'static str = "toolward.v1alpha1.Keys";
}

impl Service<Request<Body>> for MissingKeys {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Self { missing, authentication } = self.clone();
        Box::pin(async move {
            let names = request.headers().get(KEY_SETS).and_then(|names| names.to_str().ok());
            let names = names.filter(|names| names.split(',').count() <= missing::MOST).map(str::to_owned);
            let credentials = Credentials::of(&tonic::Request::from_http(request));
            let status = match (names, authentication.identify(credentials).await) {
                (_, Err(_)) => StatusCode::FORBIDDEN,
                (None, Ok(_)) => StatusCode::BAD_REQUEST,
                (Some(names), Ok(_)) => {
                    names.split(',').for_each(|name| missing.tell(name));
                    StatusCode::NO_CONTENT
                }
            };
            let mut answer = Response::new(Body::default());
            *answer.status_mut() = status;
            answer.headers_mut().insert("cache-control", HeaderValue::from_static("no-store"));
            Ok(answer)
        })
    }
}
