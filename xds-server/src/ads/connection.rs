//! A connection with its place among others, which must begin to speak within a time.

use std::future::Future as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::bounds::Place;

/// Length of what a client says first (RFC 9113 section 3.4).
const PREFACE_BYTES: usize = 24;

/// A connection with a peer.
pub(super) trait Peer {
    /// The peer's address, if the system still knows it.
    fn peer(&self) -> Option<IpAddr>;
}

impl Peer for TcpStream {
    fn peer(&self) -> Option<IpAddr> {
        self.peer_addr().ok().map(|address: SocketAddr| address.ip())
    }
}

impl Peer for TlsStream<TcpStream> {
    fn peer(&self) -> Option<IpAddr> {
        self.get_ref().0.peer()
    }
}

/// A connection in its place.
#[derive(Debug)]
pub(super) struct Placed<C> {
    connection: C,
    _place: Place,
    /// Runs until the client has spoken.
    silence: Option<Pin<Box<Sleep>>>,
    heard: usize,
}

impl<C> Placed<C> {
    pub(super) fn new(connection: C, place: Place, preface_within: Duration) -> Self {
        Self { connection, _place: place, silence: Some(Box::pin(sleep(preface_within))), heard: 0 }
    }
}

impl<C: Connected> Connected for Placed<C> {
    type ConnectInfo = C::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.connection.connect_info()
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Placed<C> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.connection).poll_read(context, buffer);
        if let Some(silence) = &mut this.silence {
            this.heard += buffer.filled().len() - before;
            if this.heard >= PREFACE_BYTES {
                this.silence = None;
            } else if silence.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::TimedOut)));
            }
        }
        read
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Placed<C> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().connection).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().connection).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().connection).poll_shutdown(context)
    }
}
