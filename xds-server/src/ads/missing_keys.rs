//! Where filters tell of keys that tokens name and that their issuer's set does not have: a service beside discovery, for the
//! same clients. All that is told is which key sets, of those in the table of the Gateway that a client is; whether and when one is
//! fetched is decided elsewhere.

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
use super::connection::Client;
use super::gateways::Gateways;
use crate::source::jwks::Missing;

/// The header that names the key sets, with commas between them.
const KEY_SETS: &str = "toolward-key-sets";

/// The service.
#[derive(Clone, Debug)]
pub(super) struct MissingKeys {
    pub(super) missing: Missing,
    pub(super) authentication: Arc<Authentication>,
    pub(super) gateways: Gateways,
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
        let service = self.clone();
        Box::pin(async move {
            let status = service.hear(request).await;
            let mut answer = Response::new(Body::default());
            *answer.status_mut() = status;
            answer.headers_mut().insert("cache-control", HeaderValue::from_static("no-store"));
            Ok(answer)
        })
    }
}

impl MissingKeys {
    async fn hear(self, request: Request<Body>) -> StatusCode {
        let (mut head, _) = request.into_parts();
        let names = head.headers.get(KEY_SETS).and_then(|names| names.to_str().ok());
        let names = names.filter(|names| names.split(',').count() <= missing::MOST).map(str::to_owned);
        let Some(from) = head.extensions.remove::<Client>() else { return StatusCode::INTERNAL_SERVER_ERROR };
        let credentials = Credentials::of(from.certificate, head.headers);
        let Ok(identity) = self.authentication.identify(credentials, from.address.ip()).await else {
            return StatusCode::FORBIDDEN;
        };
        let Some(names) = names else { return StatusCode::BAD_REQUEST };
        let Some(snapshot) = self.gateways.there() else { return StatusCode::SERVICE_UNAVAILABLE };
        let own = snapshot.gateways.iter().filter(|(name, _)| self.authentication.admit(&identity, name).is_ok());
        let tables: Vec<_> = own.map(|(_, gateway)| &gateway.key_sets).collect();
        if tables.is_empty() {
            return StatusCode::FORBIDDEN;
        }
        let is_own = |name: &&str| tables.iter().any(|table| table.contains(*name));
        names.split(',').filter(is_own).for_each(|name| self.missing.tell(name));
        StatusCode::NO_CONTENT
    }
}
