//! Accepts TLS connections: handshakes run side by side, each for a bounded time, and a bounded number of them, of which
//! no address has all.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tracing::{debug, info, warn};

use super::bounds::Places;
use crate::metrics::Metrics;

/// A handshake ends within this time.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// Handshakes at the same time; what comes beyond is closed at once.
const MAX_HANDSHAKES: usize = 512;

/// The same of one address.
const MAX_HANDSHAKES_PER_ADDRESS: usize = 128;

/// When the system has no more connections to give, such as for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections whose handshake is done, each with the configuration that was in force when it began. Ends the accepting
/// when nobody takes them any more.
pub fn tls(
    listener: TcpListener,
    configs: watch::Receiver<Arc<ServerConfig>>,
    metrics: Arc<Metrics>,
) -> impl Stream<Item = io::Result<TlsStream<TcpStream>>> {
    let (connections, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        tokio::select! {
            () = accept(&listener, &configs, &metrics, &connections) => (),
            () = connections.closed() => (),
        }
    });
    ReceiverStream::new(receiver)
}

async fn accept(
    listener: &TcpListener,
    configs: &watch::Receiver<Arc<ServerConfig>>,
    metrics: &Arc<Metrics>,
    connections: &mpsc::Sender<io::Result<TlsStream<TcpStream>>>,
) {
    let handshakes = Places::new(MAX_HANDSHAKES, MAX_HANDSHAKES_PER_ADDRESS);
    loop {
        let (connection, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "can't accept a connection");
                sleep(PAUSE).await;
                continue;
            }
        };
        let place = match handshakes.take(&address.ip().to_string()) {
            Ok(place) => place,
            Err(full) => {
                metrics.refused_connection(full.reason());
                continue;
            }
        };
        if let Err(error) = connection.set_nodelay(true) {
            debug!(%address, %error, "a connection ended at once");
            continue;
        }
        let acceptor = TlsAcceptor::from(Arc::clone(&configs.borrow()));
        let (metrics, connections) = (Arc::clone(metrics), connections.clone());
        tokio::spawn(async move {
            let fault = match timeout(HANDSHAKE_WITHIN, acceptor.accept(connection)).await {
                Ok(Ok(stream)) => {
                    // Nobody takes it when the server is shutting down.
                    let _ = connections.send(Ok(stream)).await;
                    drop(place);
                    return;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("it took longer than {} s", HANDSHAKE_WITHIN.as_secs()),
            };
            metrics.failed_handshake();
            info!(%address, fault, "a TLS handshake failed");
        });
    }
}
