//! Certificates and tokens by which the control plane and Envoys know each other, in folders as kubelet mounts them.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::string::Ia5String;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use tempfile::TempDir;

use crate::envoy::shipped;

/// The name in the control plane's certificate.
const HOST: &str = "toolward.toolward-system.svc";

/// An authority that signs certificates.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub pem: String,
}

impl Authority {
    /// A new one.
    ///
    /// # Panics
    /// When no key can be made.
    #[must_use]
    pub fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // A certificate of the same name as its authority's would pass for self-signed.
        parameters.distinguished_name.push(DnType::CommonName, "authority");
        let key = KeyPair::generate().expect("a key");
        let pem = parameters.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(parameters, key), pem }
    }

    /// Certificate and key for the control plane.
    #[must_use]
    pub fn server(&self) -> [(&'static str, String); 2] {
        self.host(HOST)
    }

    /// Certificate and key for a host.
    ///
    /// # Panics
    /// When that is no name.
    #[must_use]
    pub fn host(&self, name: &str) -> [(&'static str, String); 2] {
        self.hosts(&[name])
    }

    /// Certificate and key for several hosts, or wildcards.
    ///
    /// # Panics
    /// When one is no name.
    #[must_use]
    pub fn hosts(&self, names: &[&str]) -> [(&'static str, String); 2] {
        self.sign(names.iter().map(|name| SanType::DnsName(Ia5String::try_from(*name).expect("ASCII"))).collect())
    }

    /// Certificate and key for a service account, `namespace/name`.
    ///
    /// # Panics
    /// When it has no namespace.
    #[must_use]
    pub fn client(&self, account: &str) -> [(&'static str, String); 2] {
        let (namespace, name) = account.split_once('/').expect("a namespace");
        let id = format!("spiffe://cluster.local/ns/{namespace}/sa/{name}");
        self.sign(vec![SanType::URI(Ia5String::try_from(id).expect("ASCII"))])
    }

    fn sign(&self, names: Vec<SanType>) -> [(&'static str, String); 2] {
        let mut parameters = CertificateParams::default();
        parameters.subject_alt_names = names;
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.signed_by(&key, &self.issuer).expect("a certificate").pem();
        [("tls.crt", certificate), ("tls.key", key.serialize_pem())]
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

/// A mounted volume: links to a hidden folder, which is replaced as a whole.
#[derive(Debug)]
pub struct Mount {
    folder: TempDir,
    versions: AtomicUsize,
}

impl Mount {
    /// One with these files.
    #[must_use]
    pub fn new(files: &[(&str, String)]) -> Self {
        let mount = Self { folder: tempfile::tempdir().expect("a folder"), versions: AtomicUsize::new(0) };
        mount.replace(files);
        for (name, _) in files {
            symlink(Path::new("..data").join(name), mount.path(name)).expect("writable");
        }
        mount
    }

    /// Where a file of it is.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts other files of the same names in their place, all at once.
    ///
    /// # Panics
    /// When they can't be written.
    pub fn replace(&self, files: &[(&str, String)]) {
        let version = format!("..{}", self.versions.fetch_add(1, Ordering::SeqCst));
        std::fs::create_dir(self.path(&version)).expect("writable");
        for (name, content) in files {
            std::fs::write(self.path(&version).join(name), content).expect("writable");
        }
        symlink(version, self.path("..data_tmp")).expect("writable");
        std::fs::rename(self.path("..data_tmp"), self.path("..data")).expect("writable");
    }
}

/// What an Envoy shows, and whom it trusts.
#[derive(Debug)]
pub struct Credentials {
    /// `tls.crt` and `tls.key`, or `token`.
    pub own: Mount,
    config: TempDir,
}

impl Credentials {
    /// These files, and the certificate of an authority.
    ///
    /// # Panics
    /// When they can't be written.
    #[must_use]
    pub fn new(own: &[(&str, String)], authority: &Authority) -> Self {
        let (own, config) = (Mount::new(own), tempfile::tempdir().expect("a folder"));
        std::fs::write(config.path().join("xds-ca.crt"), &authority.pem).expect("writable");
        Self { own, config }
    }

    /// A bootstrap, and the files beside it, with the paths of this machine.
    pub(crate) fn put_into(&self, bootstrap: &str) -> String {
        let own = self.own.folder.path().to_str().expect("UTF-8");
        for name in ["xds-token.yaml", "xds-client.yaml"] {
            let secret = shipped(&format!("envoy/{name}"));
            let secret = secret.replace("/var/run/secrets/toolward.dev", own).replace("/etc/envoy/client", own);
            std::fs::write(self.config.path().join(name), secret).expect("writable");
        }
        let config = self.config.path().to_str().expect("UTF-8");
        bootstrap.replace("path: envoy/", &format!("path: {config}/")).replace("/etc/envoy/", &format!("{config}/"))
    }
}
