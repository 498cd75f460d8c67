//! Which addresses may be asked for key sets: policies name their URLs.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::networks;

/// The networks beside the public ones that may be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(networks::Networks);

/// Why an address or URL is not asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum Refused {
    #[error("{0:?} is no URL of the form https://host/path")]
    Url(String),
    #[error("{0}: keys are fetched over https; http is for addresses of this machine alone")]
    Insecure(String),
    #[error("{0} leads to no public address; allow its network with --key-set-networks")]
    Private(String),
}

impl Networks {
    /// Lets these networks be asked as well.
    #[must_use]
    pub fn with(allowed: &[IpNet]) -> Self {
        Self(networks::Networks::with(allowed))
    }

    /// A URL that may be asked, as far as it says itself; its host's addresses are looked at when it is resolved.
    ///
    /// # Errors
    /// When it may not.
    pub fn url(&self, text: &str) -> Result<Url, Refused> {
        let url = Url::parse(text).map_err(|_| Refused::Url(text.to_owned()))?;
        self.check(&url)?;
        Ok(url)
    }

    /// The same for a URL that is one already.
    ///
    /// # Errors
    /// When it may not be asked.
    pub fn check(&self, url: &Url) -> Result<(), Refused> {
        let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        let host = url.host_str().filter(|_| plain).ok_or_else(|| Refused::Url(url.to_string()))?;
        let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
        match (url.scheme(), address) {
            ("https", None) => Ok(()),
            ("https", Some(address)) => self.address(address).map_err(|_| Refused::Private(url.to_string())),
            ("http", Some(address)) if address.is_loopback() => {
                self.address(address).map_err(|_| Refused::Private(url.to_string()))
            }
            ("http", None) if host == "localhost" => Ok(()),
            ("http", _) => Err(Refused::Insecure(url.to_string())),
            _ => Err(Refused::Url(url.to_string())),
        }
    }

    fn address(&self, address: IpAddr) -> Result<(), ()> {
        if self.0.permit(address) { Ok(()) } else { Err(()) }
    }
}

/// Looks names up, and gives only addresses that may be asked.
impl Resolve for Networks {
    fn resolve(&self, name: Name) -> Resolving {
        let networks = self.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|found| networks.address(found.ip()).is_ok()).collect();
            if allowed.is_empty() {
                return Err(Refused::Private(name.as_str().to_owned()).into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let none = Networks::default();
        let loopback = Networks::with(&["127.0.0.0/8".parse().unwrap()]);
        for (url, of_none, of_loopback) in [
            ("https://login.example.com/jwks", true, true),
            ("https://127.0.0.1/jwks", false, true),
            ("https://[::ffff:127.0.0.1]/jwks", false, true),
            ("https://2130706433/jwks", false, true),
            ("https://10.0.0.1/jwks", false, false),
            ("http://127.0.0.1:1/jwks", false, true),
            ("http://localhost/jwks", true, true),
            ("http://login.example.com/jwks", false, false),
            ("http://93.184.216.34/jwks", false, false),
            ("https://user@login.example.com/", false, false),
            ("https://login.example.com/#x", false, false),
            ("file:///etc/passwd", false, false),
            ("gopher://login.example.com", false, false),
            ("login.example.com", false, false),
        ] {
            assert_eq!((none.url(url).is_ok(), loopback.url(url).is_ok()), (of_none, of_loopback), "{url}");
        }
    }
}
