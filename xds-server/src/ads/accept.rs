//! Accepts connections, in clear or over TLS. Handshakes run side by side, and like all connections on which no stream is
//! served each has a bounded time, and there is a bounded number of them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tracing::{debug, info, warn};

use super::connection::Accepted;
use super::lobby::{ClosedConnection, Lobby, Present};
use crate::metrics::Metrics;

/// When the system has no more connections to give, such as for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections in clear. Ends the accepting when nobody takes them any more.
pub(super) fn clear(
    listener: TcpListener,
    lobby: Lobby,
    metrics: Arc<Metrics>,
) -> impl Stream<Item = io::Result<Accepted<TcpStream>>> {
    let (connections, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let accepting = async {
            loop {
                let (connection, address) = accept(&listener).await;
                let present = lobby.enter(address.ip());
                let _ = connections.send(Ok(Accepted::new(connection, address, present, Arc::clone(&metrics)))).await;
            }
        };
        tokio::select! {
            () = accepting => (),
            () = connections.closed() => (),
        }
    });
    ReceiverStream::new(receiver)
}

/// Connections whose handshake is done, each with the configuration that was in force when it began.
pub(super) fn tls(
    listener: TcpListener,
    configs: watch::Receiver<Arc<ServerConfig>>,
    lobby: Lobby,
    metrics: Arc<Metrics>,
) -> impl Stream<Item = io::Result<Accepted<TlsStream<TcpStream>>>> {
    let (connections, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let accepting = async {
            loop {
                let (connection, address) = accept(&listener).await;
                let present = lobby.enter(address.ip());
                let acceptor = TlsAcceptor::from(Arc::clone(&configs.borrow()));
                let (metrics, connections) = (Arc::clone(&metrics), connections.clone());
                tokio::spawn(async move {
                    if let Some(stream) = shake_hands(acceptor, connection, address, present, metrics).await {
                        // Nobody takes it when the server is shutting down.
                        let _ = connections.send(Ok(stream)).await;
                    }
                });
            }
        };
        tokio::select! {
            () = accepting => (),
            () = connections.closed() => (),
        }
    });
    ReceiverStream::new(receiver)
}

async fn shake_hands(
    acceptor: TlsAcceptor,
    connection: TcpStream,
    address: SocketAddr,
    (present, mut ends): (Present, oneshot::Receiver<ClosedConnection>),
    metrics: Arc<Metrics>,
) -> Option<Accepted<TlsStream<TcpStream>>> {
    let fault = tokio::select! {
        shaken = acceptor.accept(connection) => match shaken {
            Ok(stream) => return Some(Accepted::new(stream, address, (present, ends), metrics)),
            Err(error) => error.to_string(),
        },
        why = &mut ends => {
            why.ok().into_iter().for_each(|why| metrics.closed_connection(why));
            "it took too long, or there were too many".to_owned()
        }
    };
    metrics.failed_handshake();
    info!(%address, fault, "a TLS handshake failed");
    None
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((connection, address)) => {
                // A response is more than one write, of which the last would wait for the client's acknowledgement of the first.
                match connection.set_nodelay(true) {
                    Ok(()) => return (connection, address),
                    Err(error) => debug!(%address, %error, "a connection ended at once"),
                }
            }
            Err(error) => {
                warn!(%error, "can't accept a connection");
                sleep(PAUSE).await;
            }
        }
    }
}
