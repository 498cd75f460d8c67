//! The certificate of the xDS port, which may be renewed at any time: files are read again, and what is wrong with them
//! leaves the last good ones in force.
//!
//! ```text
//! files ─ read ─> Content ─ changed? ─> ServerConfig ─> watch ─> each new connection; those that are open live on
//! ```

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tracing::{error, info};

use crate::metrics::{Load, Metrics};

/// Largest file that is read.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Files that are replaced together are read this often until two readings agree.
const READINGS: usize = 5;

/// Where the certificate is, all in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, with its chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Certificates of the authorities whose client certificates are accepted.
    pub client_authorities: Option<PathBuf>,
}

/// Why files can't be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the names say it")]
pub enum TlsError {
    #[error("{}: {cause}", path.display())]
    Unreadable { path: PathBuf, cause: io::Error },
    #[error("{}: no certificate in PEM in it", .0.display())]
    NoCertificate(PathBuf),
    #[error("{}: a certificate in it can't be read: {cause}", path.display())]
    Certificate { path: PathBuf, cause: String },
    #[error("{}: no private key in PEM in it: {cause}", path.display())]
    NoKey { path: PathBuf, cause: String },
    #[error("{} and {} can't be used together: {cause}", certificate.display(), key.display())]
    Pair { certificate: PathBuf, key: PathBuf, cause: rustls::Error },
    #[error("{}: the authorities can't be used: {cause}", path.display())]
    Authorities { path: PathBuf, cause: VerifierBuilderError },
    #[error("no protocol version is left: {0}")]
    Versions(rustls::Error),
}

/// The certificate in force.
#[derive(Debug)]
pub struct Certificate {
    files: TlsFiles,
    /// What was read last, good or bad, so that each fault is told once.
    seen: Result<[u8; 32], String>,
    configs: watch::Sender<Arc<ServerConfig>>,
    metrics: Arc<Metrics>,
}

impl Certificate {
    /// Reads it for the first time.
    ///
    /// # Errors
    /// When it can't be used.
    pub fn load(files: TlsFiles, metrics: Arc<Metrics>) -> Result<Self, TlsError> {
        let content = Content::read(&files)?;
        let configs = watch::Sender::new(Arc::new(content.config(&files)?));
        metrics.loaded_certificate(Load::Ok);
        Ok(Self { seen: Ok(content.digest()), files, configs, metrics })
    }

    /// What new connections are to use.
    #[must_use]
    pub fn configs(&self) -> watch::Receiver<Arc<ServerConfig>> {
        self.configs.subscribe()
    }

    /// Reads the files again. Where they can't be used, the last good ones stay in force, and the log says so once.
    pub fn reload(&mut self) {
        let content = Content::read(&self.files).map_err(|error| error.to_string());
        let seen = content.as_ref().map(Content::digest).map_err(Clone::clone);
        if seen == self.seen {
            return;
        }
        let config = content.and_then(|content| content.config(&self.files).map_err(|error| error.to_string()));
        self.seen = seen;
        match config {
            Ok(config) => {
                self.configs.send_replace(Arc::new(config));
                self.metrics.loaded_certificate(Load::Ok);
                info!("the certificate of the xDS port was renewed");
            }
            Err(fault) => {
                self.metrics.loaded_certificate(Load::Failed);
                error!(fault, "the certificate of the xDS port can't be renewed: the last good one stays in force");
            }
        }
    }
}

/// The files' bytes.
#[derive(Clone, PartialEq, Eq)]
struct Content {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_authorities: Option<Vec<u8>>,
}

impl Content {
    /// A mounted Secret is replaced as a whole, but between reading one file and the next.
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let mut last = Self::read_once(files)?;
        for _ in 1..READINGS {
            let next = Self::read_once(files)?;
            if next == last {
                break;
            }
            last = next;
        }
        Ok(last)
    }

    fn read_once(files: &TlsFiles) -> Result<Self, TlsError> {
        Ok(Self {
            certificate: read(&files.certificate)?,
            key: read(&files.key)?,
            client_authorities: files.client_authorities.as_deref().map(read).transpose()?,
        })
    }

    fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in [Some(&self.certificate), Some(&self.key), self.client_authorities.as_ref()].into_iter().flatten() {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }

    fn config(&self, files: &TlsFiles) -> Result<ServerConfig, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let certificate = certificates(&files.certificate, &self.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| TlsError::NoKey { path: files.key.clone(), cause: error.to_string() })?;
        let clients = match (&files.client_authorities, &self.client_authorities) {
            (Some(path), Some(authorities)) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates(path, authorities)? {
                    roots
                        .add(authority)
                        .map_err(|error| TlsError::Certificate { path: path.clone(), cause: error.to_string() })?;
                }
                // Without a certificate a client may still have a token; who has neither is told so in gRPC.
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                    .allow_unauthenticated()
                    .build()
                    .map_err(|cause| TlsError::Authorities { path: path.clone(), cause })?
            }
            _ => WebPkiClientVerifier::no_client_auth(),
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Versions)?
            .with_client_cert_verifier(clients)
            .with_single_cert(certificate, key)
            .map_err(|cause| TlsError::Pair {
                certificate: files.certificate.clone(),
                key: files.key.clone(),
                cause,
            })?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        // INVARIANT: no session is resumed, so each connection's client certificate was verified at its beginning.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable = |cause| TlsError::Unreadable { path: path.to_owned(), cause };
    let mut content = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut content).map_err(unreadable)?;
    if content.len() as u64 > MAX_FILE_BYTES {
        return Err(unreadable(io::Error::other(format!("more than {MAX_FILE_BYTES} bytes"))));
    }
    Ok(content)
}

fn certificates(path: &Path, content: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(content).collect();
    let certificates =
        read.map_err(|error| TlsError::Certificate { path: path.to_owned(), cause: error.to_string() })?;
    if certificates.is_empty() { Err(TlsError::NoCertificate(path.to_owned())) } else { Ok(certificates) }
}
