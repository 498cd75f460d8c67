//! The Aggregated Discovery Service on the wire. It is what would be generated for it, but for the buffers: a stream keeps the
//! one that its last message was encoded in, which is here as large as the message, not the next power of two.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use prost::Message;
use tonic::body::Body;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};
use tonic::server::{Grpc, NamedService};
use tonic::{Status, Streaming};

use super::delta::Delta;
use super::sotw::Sotw;
use super::wire::Wire;
use super::{Ads, Incoming, MAX_MESSAGE_BYTES};

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
    let mut grpc = Grpc::new(Exact::<W>(PhantomData)).max_decoding_message_size(MAX_MESSAGE_BYTES);
    grpc.streaming(Method::<W>(ads, PhantomData), request).await
}

/// Opens a stream.
struct Method<W>(Ads, PhantomData<W>);

impl<W: Wire> Service<tonic::Request<Streaming<W::Request>>> for Method<W> {
    type Response = tonic::Response<Pin<Box<dyn Incoming<Item = Result<W::Response, Status>> + Send>>>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::Request<Streaming<W::Request>>) -> Self::Future {
        let ads = self.0.clone();
        Box::pin(async move {
            let responses = ads.open::<W>(request).await?;
            Ok(tonic::Response::new(Box::pin(responses) as Pin<Box<dyn Incoming<Item = _> + Send>>))
        })
    }
}

/// Protobuf in buffers that are as large as they must be.
struct Exact<W>(PhantomData<W>);

impl<W> Exact<W> {
    fn buffers() -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, HAND_OVER_BYTES)
    }
}

fn internal(error: &dyn fmt::Display) -> Status {
    Status::internal(error.to_string())
}

impl<W: Wire> Codec for Exact<W> {
    type Encode = W::Response;
    type Decode = W::Request;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self(PhantomData)
    }

    fn decoder(&mut self) -> Self {
        Self(PhantomData)
    }
}

impl<W: Wire> Encoder for Exact<W> {
    type Item = W::Response;
    type Error = Status;

    fn encode(&mut self, message: W::Response, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(message.encoded_len());
        message.encode(buffer).map_err(|error| internal(&error))
    }

    fn buffer_settings(&self) -> BufferSettings {
        Self::buffers()
    }
}

impl<W: Wire> Decoder for Exact<W> {
    type Item = W::Request;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<W::Request>, Status> {
        W::Request::decode(buffer).map(Some).map_err(|error| internal(&error))
    }

    fn buffer_settings(&self) -> BufferSettings {
        Self::buffers()
    }
}
