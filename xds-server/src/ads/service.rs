//! The Aggregated Discovery Service on the wire. It is what would be generated for it, but for the buffers: tonic's
//! streams keep one as large as the largest message that they ever carried, here each message has its own until it is sent.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::{Body as HttpBody, Frame};
use prost::Message;
use prost::bytes::{BufMut, Bytes, BytesMut};
use tokio_stream::Stream;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::header::CONTENT_TYPE;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::metadata::GRPC_CONTENT_TYPE;
use tonic::server::NamedService;

use super::Ads;
use super::delta::Delta;
use super::sotw::Sotw;
use super::wire::Wire;

/// A byte that says whether a message is compressed, and its length.
const HEADER_BYTES: usize = 5;

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
            let mut response = Response::new(Body::new(Framed { responses: Some(responses) }));
            response.headers_mut().insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
            response
        }
        Err(status) => status.into_http(),
    }
}

/// The body of an answer: each message in bytes of its own, which are gone once they are sent.
struct Framed<S> {
    /// None: all was said.
    responses: Option<S>,
}

impl<M: Message, S: Stream<Item = Result<M, Status>> + Unpin> HttpBody for Framed<S> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(responses) = &mut self.responses else { return Poll::Ready(None) };
        let end = match ready!(Pin::new(responses).poll_next(context)) {
            Some(Ok(message)) => match framed(&message) {
                Ok(bytes) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Err(status) => status,
            },
            Some(Err(status)) => status,
            None => Status::ok(""),
        };
        self.responses = None;
        let mut trailers = HeaderMap::new();
        Poll::Ready(Some(end.add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.responses.is_none()
    }
}

/// A message behind the byte that says that it is not compressed, and its length.
fn framed(message: &impl Message) -> Result<Bytes, Status> {
    let length = message.encoded_len();
    let said = u32::try_from(length).map_err(|_| Status::resource_exhausted("a message of 4 GiB"))?;
    let mut bytes = BytesMut::with_capacity(HEADER_BYTES + length);
    bytes.put_u8(0);
    bytes.put_u32(said);
    message.encode(&mut bytes).map_err(|error| Status::internal(error.to_string()))?;
    Ok(bytes.freeze())
}
