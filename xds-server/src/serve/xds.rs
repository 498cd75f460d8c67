//! How the xDS port is protected: what is served there includes the private keys of TLS listeners.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, value_parser};
use kube::Client;

use crate::ads::MAX_STREAM_AGE;
use crate::ads::auth::{Authentication, Required, TokenReviewer};
use crate::ads::bounds::Bounds;
use crate::ads::identity::Grant;
use crate::ads::tls::TlsFiles;
use crate::ads::token_review::{KubernetesTokenReview, Rate};

/// Arguments of the xDS port.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "The port for Envoys")]
pub struct XdsArgs {
    /// Address for Envoys (gRPC, ADS). Port 0 takes a free one, which the log names. Unless the address is loopback,
    /// the port must speak TLS and know its clients
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:18000", env = "TOOLWARD_XDS_ADDRESS")]
    pub xds_address: SocketAddr,

    /// The port's certificate with its chain, PEM; read again whenever it changes, and on SIGHUP. With the source
    /// `kubernetes`, Envoys then show a service account token for the audience toolward.dev/xds
    #[arg(long, value_name = "FILE", requires = "xds_tls_key", env = "TOOLWARD_XDS_TLS_CERT")]
    pub xds_tls_cert: Option<PathBuf>,

    /// The private key of the certificate, PEM
    #[arg(long, value_name = "FILE", requires = "xds_tls_cert", env = "TOOLWARD_XDS_TLS_KEY")]
    pub xds_tls_key: Option<PathBuf>,

    /// Authorities of client certificates, PEM. An Envoy's certificate has one URI name,
    /// spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT
    #[arg(long, value_name = "FILE", requires = "xds_tls_cert", env = "TOOLWARD_XDS_CLIENT_CA")]
    pub xds_client_ca: Option<PathBuf>,

    /// Let a service account be a Gateway, such as web/envoy=web/mcp-gateway; may be repeated. The service account
    /// GATEWAY-toolward of a Gateway's own namespace always may
    #[arg(
        long,
        value_name = "NAMESPACE/ACCOUNT=NAMESPACE/GATEWAY",
        value_delimiter = ',',
        env = "TOOLWARD_XDS_ALLOW_SERVICE_ACCOUNT"
    )]
    pub xds_allow_service_account: Vec<Grant>,

    /// Serve whoever reaches the port, also on an address that is not loopback: only for networks in which nobody else
    /// can
    #[arg(long, env = "TOOLWARD_XDS_INSECURE")]
    pub xds_insecure: bool,

    /// A stream ends at this age, and the Envoy comes back with fresh credentials
    #[arg(long, value_name = "DURATION", value_parser = age, default_value = "1h", env = "TOOLWARD_XDS_MAX_STREAM_AGE")]
    pub xds_max_stream_age: Duration,

    /// Streams of Envoys at the same time; one namespace's Gateways get at most a quarter of them, and the last quarter is for
    /// namespaces that have few
    #[arg(long, value_name = "NUMBER", value_parser = number, default_value_t = Bounds::default().streams, env = "TOOLWARD_XDS_MAX_STREAMS")]
    pub xds_max_streams: usize,

    /// Streams of one Gateway's Envoys: its replicas, twice while they are replaced
    #[arg(long, value_name = "NUMBER", value_parser = number, default_value_t = Bounds::default().streams_per_gateway, env = "TOOLWARD_XDS_MAX_STREAMS_PER_GATEWAY")]
    pub xds_max_streams_per_gateway: usize,

    /// Largest message of an Envoy. Twice as much is on its way at a time for one namespace, eight times as much in all
    #[arg(long, value_name = "BYTES", value_parser = bytes, default_value_t = Bounds::default().message_bytes, env = "TOOLWARD_XDS_MAX_MESSAGE")]
    pub xds_max_message: usize,

    /// The same of a service account that is of no Gateway
    #[arg(long, value_name = "BYTES", value_parser = bytes, default_value_t = Bounds::default().stranger_message_bytes, env = "TOOLWARD_XDS_MAX_STRANGER_MESSAGE")]
    pub xds_max_stranger_message: usize,

    /// Connections on which no stream is served, past which the oldest of the address that has most of them is closed
    #[arg(long, value_name = "NUMBER", value_parser = number, default_value_t = Bounds::default().idle_connections, env = "TOOLWARD_XDS_MAX_IDLE_CONNECTIONS")]
    pub xds_max_idle_connections: usize,

    /// Token reviews per second that the API server is asked for; a tenth of them for one address. Ten times as many at once
    #[arg(long, value_name = "NUMBER", value_parser = value_parser!(u32).range(10..=10_000), default_value_t = Rate::default().all, env = "TOOLWARD_XDS_TOKEN_REVIEWS")]
    pub xds_token_reviews: u32,
}

/// What the port speaks, and who is served there.
#[derive(Debug)]
pub enum Protection {
    /// Whoever reaches the port, in clear.
    Clear,
    /// Over TLS.
    #[expect(missing_docs, reason = "the names say it")]
    Tls { files: TlsFiles, authentication: Authentication },
}

/// The address can be reached from outside, and secrets would be given to whoever asks.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} is not a loopback address, and whoever reached the xDS port there would be given TLS keys and policies: make it \
     speak TLS with --xds-tls-cert and --xds-tls-key, and know its clients (by --source kubernetes or --xds-client-ca); \
     or choose a loopback --xds-address; or say --xds-insecure where nobody else can reach it"
)]
pub struct Exposed(pub SocketAddr);

impl XdsArgs {
    /// What Envoys may cost.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        Bounds {
            idle_connections: self.xds_max_idle_connections,
            streams: self.xds_max_streams,
            streams_per_gateway: self.xds_max_streams_per_gateway,
            message_bytes: self.xds_max_message,
            stranger_message_bytes: self.xds_max_stranger_message,
            ..Bounds::default()
        }
    }

    /// What follows from the arguments. Tokens can be reviewed where there is an API server.
    ///
    /// # Errors
    /// When secrets would be given to anybody.
    pub fn protection(&self, api_server: Option<Client>) -> Result<Protection, Exposed> {
        let rate = Rate { all: self.xds_token_reviews, each: self.xds_token_reviews / 10 };
        let reviewer =
            api_server.map(|client| Arc::new(KubernetesTokenReview::new(client, rate)) as Arc<dyn TokenReviewer>);
        let protection = match (&self.xds_tls_cert, &self.xds_tls_key) {
            (Some(certificate), Some(key)) => Protection::Tls {
                files: TlsFiles {
                    certificate: certificate.clone(),
                    key: key.clone(),
                    client_authorities: self.xds_client_ca.clone(),
                },
                authentication: if reviewer.is_some() || self.xds_client_ca.is_some() {
                    let grants = self.xds_allow_service_account.iter().cloned().collect();
                    Authentication::Required(Required { reviewer, grants })
                } else {
                    Authentication::None
                },
            },
            _ => Protection::Clear,
        };
        if protection.knows_its_clients() || self.xds_insecure || self.xds_address.ip().is_loopback() {
            Ok(protection)
        } else {
            Err(Exposed(self.xds_address))
        }
    }
}

impl Protection {
    /// Whether clients must say who they are.
    #[must_use]
    pub fn knows_its_clients(&self) -> bool {
        matches!(self, Self::Tls { authentication: Authentication::Required(_), .. })
    }
}

fn age(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<gateway_api::Duration>().ok();
    let millis = parsed.and_then(|duration| u64::try_from(duration.as_millis()).ok()).map(Duration::from_millis);
    millis
        .filter(|age| (Duration::from_secs(1)..=24 * MAX_STREAM_AGE).contains(age))
        .ok_or_else(|| "a duration from 1s to 24h is needed, such as 1h or 10m".to_owned())
}

/// Fewer would leave nothing where they are divided.
fn number(text: &str) -> Result<usize, String> {
    let parsed = text.parse().ok().filter(|number| (16..=1_000_000).contains(number));
    parsed.ok_or_else(|| "a number from 16 to 1000000 is needed".to_owned())
}

fn bytes(text: &str) -> Result<usize, String> {
    let parsed = text.parse().ok().filter(|bytes| (65_536..=1 << 30).contains(bytes));
    parsed.ok_or_else(|| "a number of bytes from 65536 to 1073741824 is needed".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        xds: XdsArgs,
    }

    fn line(arguments: &str) -> Result<XdsArgs, clap::Error> {
        let words = std::iter::once("toolward").chain(arguments.split_whitespace());
        Line::try_parse_from(words).map(|line| line.xds)
    }

    #[test]
    fn half_of_a_pair_is_refused() {
        let rows = [
            ("--xds-tls-cert a", "--xds-tls-key"),
            ("--xds-tls-key a", "--xds-tls-cert"),
            ("--xds-client-ca a", "--xds-tls-cert"),
            ("--xds-max-stream-age 0s", "1s to 24h"),
            ("--xds-max-stream-age 25h", "1s to 24h"),
            ("--xds-max-streams 0", "from 16"),
            ("--xds-max-message 10", "from 65536"),
            ("--xds-token-reviews 1", "10..=10000"),
            ("--xds-allow-service-account a=b", "web/envoy=web/mcp-gateway"),
        ];
        for (arguments, complaint) in rows {
            let error = line(arguments).map(|_| ()).expect_err(arguments).to_string();
            assert!(error.contains(complaint), "{arguments}: {error}");
        }
    }

    #[test]
    fn secrets_are_not_given_to_anybody() {
        let rows = [
            ("loopback", "", Ok(false)),
            ("the other loopback", "--xds-address [::1]:1", Ok(false)),
            ("all addresses", "--xds-address 0.0.0.0:1", Err(())),
            ("one address", "--xds-address 10.0.0.1:1", Err(())),
            ("all addresses, on purpose", "--xds-address 0.0.0.0:1 --xds-insecure", Ok(false)),
            ("TLS for anybody", "--xds-address 0.0.0.0:1 --xds-tls-cert a --xds-tls-key b", Err(())),
            ("TLS for anybody on loopback", "--xds-tls-cert a --xds-tls-key b", Ok(false)),
            (
                "TLS with client certificates",
                "--xds-address 0.0.0.0:1 --xds-tls-cert a --xds-tls-key b --xds-client-ca c",
                Ok(true),
            ),
        ];
        for (row, arguments, expected) in rows {
            let protection = line(arguments).unwrap().protection(None);
            assert_eq!(protection.map(|it| it.knows_its_clients()).map_err(|_| ()), expected, "{row}");
        }
    }
}
