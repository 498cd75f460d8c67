//! A server that speaks TLS, in front of one that does not.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use crate::credentials::Authority;

/// A running front.
#[derive(Debug)]
pub struct TlsFront {
    /// Where it listens.
    pub port: u16,
    asked_for: Arc<Mutex<Vec<Option<String>>>>,
    _runtime: Runtime,
}

impl TlsFront {
    /// Starts a front with this certificate and key for the server on a loopback port. Where an authority is given,
    /// clients must show a certificate of it.
    ///
    /// # Panics
    /// When it can't listen, or the certificate can't be used.
    #[must_use]
    pub fn start(server: u16, certificate: &[(&str, String); 2], clients: Option<&Authority>) -> Self {
        Self::start_on(IpAddr::from([127, 0, 0, 1]), server, certificate, clients)
    }

    /// The same in front of a server on this address, on which it listens as well.
    ///
    /// # Panics
    /// When it can't listen, or the certificate can't be used.
    #[must_use]
    pub fn start_on(
        address: IpAddr,
        server: u16,
        certificate: &[(&str, String); 2],
        clients: Option<&Authority>,
    ) -> Self {
        let acceptor = acceptor(certificate, clients);
        let runtime = Runtime::new().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind((address, 0))).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let asked_for = Arc::new(Mutex::new(Vec::new()));
        let names = Arc::clone(&asked_for);
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(acceptor.clone(), client, SocketAddr::new(address, server), Arc::clone(&names)));
            }
        });
        Self { port, asked_for, _runtime: runtime }
    }

    /// The server names that clients asked for, one for each handshake that succeeded.
    ///
    /// # Panics
    /// Never: the lock is not held across a panic.
    #[must_use]
    pub fn asked_for(&self) -> Vec<Option<String>> {
        self.asked_for.lock().expect("not poisoned").clone()
    }
}

fn acceptor(certificate: &[(&str, String); 2], clients: Option<&Authority>) -> TlsAcceptor {
    let [(_, chain), (_, key)] = certificate;
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>().expect("certificates");
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider));
    let config = config.with_safe_default_protocol_versions().expect("versions");
    let config = match clients {
        None => config.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots
                .add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).expect("a certificate"))
                .expect("a root");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            config.with_client_cert_verifier(verifier.build().expect("a verifier"))
        }
    };
    TlsAcceptor::from(Arc::new(config.with_single_cert(chain, key).expect("a certificate with its key")))
}

async fn pass(acceptor: TlsAcceptor, client: TcpStream, server: SocketAddr, names: Arc<Mutex<Vec<Option<String>>>>) {
    let Ok(mut client) = acceptor.accept(client).await else { return };
    names.lock().expect("not poisoned").push(client.get_ref().1.server_name().map(str::to_owned));
    if let Ok(mut server) = TcpStream::connect(server).await {
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}
