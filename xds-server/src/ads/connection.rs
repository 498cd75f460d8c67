//! A connection, which is ended when it is told to.

use std::future::Future as _;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;
use tracing::debug;

use super::lobby::{ClosedConnection, Presence, Present};
use crate::metrics::Metrics;

/// The client's end of a connection.
pub(super) trait Peer {
    /// The certificate that it has shown, which was verified.
    fn certificate(&self) -> Option<CertificateDer<'static>>;
}

impl Peer for TcpStream {
    fn certificate(&self) -> Option<CertificateDer<'static>> {
        None
    }
}

impl Peer for TlsStream<TcpStream> {
    fn certificate(&self) -> Option<CertificateDer<'static>> {
        self.get_ref().1.peer_certificates().and_then(|certificates| certificates.first().cloned())
    }
}

/// A connection that was accepted.
#[derive(Debug)]
pub(super) struct Accepted<C> {
    connection: C,
    address: SocketAddr,
    present: Present,
    ends: Option<oneshot::Receiver<ClosedConnection>>,
    metrics: Arc<Metrics>,
}

/// What its requests know of it.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) address: SocketAddr,
    pub(super) certificate: Option<CertificateDer<'static>>,
    pub(super) presence: Presence,
}

impl<C> Accepted<C> {
    pub(super) fn new(
        connection: C,
        address: SocketAddr,
        (present, ends): (Present, oneshot::Receiver<ClosedConnection>),
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { connection, address, present, ends: Some(ends), metrics }
    }

    /// Fails once it has to end.
    fn poll_end(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let Some(ends) = &mut self.ends else { return Err(io::ErrorKind::ConnectionAborted.into()) };
        match Pin::new(ends).poll(context) {
            Poll::Pending => Ok(()),
            Poll::Ready(why) => {
                self.ends = None;
                if let Ok(why) = why {
                    self.metrics.closed_connection(why);
                    debug!(address = %self.address, ?why, "closed a connection");
                }
                Err(io::ErrorKind::ConnectionAborted.into())
            }
        }
    }
}

impl<C: Peer> Connected for Accepted<C> {
    type ConnectInfo = Client;

    fn connect_info(&self) -> Client {
        let certificate = self.connection.certificate();
        Client { address: self.address, certificate, presence: self.present.presence() }
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Accepted<C> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.poll_end(context)?;
        Pin::new(&mut this.connection).poll_read(context, buffer)
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Accepted<C> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.poll_end(context)?;
        Pin::new(&mut this.connection).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.poll_end(context)?;
        Pin::new(&mut this.connection).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.poll_end(context)?;
        Pin::new(&mut this.connection).poll_shutdown(context)
    }
}
