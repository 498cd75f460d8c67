//! The Aggregated Discovery Service on the wire. It is what would be generated for it, but for the buffers: a stream keeps the
//! one that its last message was encoded in, which is here as large as the message, not the next power of two.

use std::convert::Infallible;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use prost::Message;
use tonic::Status;
use tonic::body::Body;
use tonic::codec::{BufferSettings, EncodeBody, EncodeBuf, Encoder, SingleMessageCompressionOverride};
use tonic::codegen::Service;
use tonic::codegen::http::header::CONTENT_TYPE;
use tonic::codegen::http::{Request, Response};
use tonic::metadata::GRPC_CONTENT_TYPE;
use tonic::server::NamedService;

use super::Ads;
use super::delta::Delta;
use super::sotw::Sotw;
use super::wire::Wire;

/// What a stream's buffers are at first, in bytes: most of what clients say is shorter.
const BUFFER_BYTES: usize = 512;

/// Messages are handed to the connection once there are so many bytes of them.
const HAND_OVER_BYTES: usize = 32 * 1024;

/// The service.
#[derive(Clone, Debug)]
pub(super) struct Discovery(pub(super) Ads);

impl NamedService for Discovery {
    const NAME: &'static str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
}

impl Service<Request<Body>> for Discovery {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let ads = self.0.clone();
        let path = request.uri().path();
        let method =
            path.strip_prefix('/').and_then(|path| path.strip_prefix(Self::NAME)).unwrap_or_default().to_owned();
        Box::pin(async move {
            Ok(match method.as_str() {
                "/StreamAggregatedResources" => serve::<Sotw>(ads, request).await,
                "/DeltaAggregatedResources" => serve::<Delta>(ads, request).await,
                _ => Status::unimplemented("").into_http(),
            })
        })
    }
}

async fn serve<W: Wire>(ads: Ads, request: Request<Body>) -> Response<Body> {
    match ads.open::<W>(request).await {
        Ok(responses) => {
            let uncompressed = SingleMessageCompressionOverride::Disable;
            let body = EncodeBody::new_server(Exact::<W>(PhantomData), responses, None, uncompressed, None);
            let mut response = Response::new(Body::new(body));
            response.headers_mut().insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
            response
        }
        Err(status) => status.into_http(),
    }
}

/// Writes protobuf into buffers that are as large as they must be.
struct Exact<W>(PhantomData<W>);

impl<W: Wire> Encoder for Exact<W> {
    type Item = W::Response;
    type Error = Status;

    fn encode(&mut self, message: W::Response, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(message.encoded_len());
        message.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, HAND_OVER_BYTES)
    }
}
