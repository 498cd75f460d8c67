//! What the objects of all Gateways have from how Toolward itself is run.

use std::path::PathBuf;

use clap::Args;

/// What does not follow from the Gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvisionOptions {
    /// Toolward's own image, which holds the wasm module.
    pub image: String,
    /// DNS name of the xDS port.
    pub xds_host: String,
    /// Its port.
    pub xds_port: u16,
    /// Whose certificate the xDS port must have.
    pub xds_trust: Trust,
}

/// Who may have signed a server's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The authorities that Envoy's image brings along.
    System,
    /// These, in PEM.
    Authorities(String),
}

/// Arguments that say how a Gateway's objects are made.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Objects of a Gateway")]
pub struct ProvisionArgs {
    /// Toolward's own image, from which the filter is copied into Envoy's pods
    #[arg(long, value_name = "IMAGE", default_value = concat!("ghcr.io/toolward/toolward:", env!("CARGO_PKG_VERSION")), env = "TOOLWARD_IMAGE")]
    image: String,

    /// Where Envoys reach the control plane
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port, default_value = "toolward.toolward-system.svc:18000", env = "TOOLWARD_XDS_SERVICE")]
    xds_service: (String, u16),

    /// Certificates of the authorities that Envoys trust to have signed the control plane's certificate; without this,
    /// those of Envoy's image
    #[arg(long, value_name = "PATH", env = "TOOLWARD_XDS_CA")]
    xds_ca: Option<PathBuf>,
}

impl ProvisionArgs {
    /// Reads the file that is named.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn read(&self) -> std::io::Result<ProvisionOptions> {
        let xds_trust = match &self.xds_ca {
            None => Trust::System,
            Some(path) => Trust::Authorities(std::fs::read_to_string(path).map_err(|error| {
                std::io::Error::new(
                    error.kind(),
                    format!("{}: {error}; name a file of certificates with --xds-ca", path.display()),
                )
            })?),
        };
        let (xds_host, xds_port) = self.xds_service.clone();
        Ok(ProvisionOptions { image: self.image.clone(), xds_host, xds_port, xds_trust })
    }
}

fn host_and_port(text: &str) -> Result<(String, u16), String> {
    let parsed = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    match parsed {
        Some((host, port)) if !host.is_empty() && port != 0 => Ok((host.to_owned(), port)),
        _ => Err("a host and a port are needed, such as toolward.toolward-system.svc:18000".to_owned()),
    }
}
