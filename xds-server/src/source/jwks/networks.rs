//! Which addresses may be asked for key sets. Policies name URLs, and who writes a policy must not have the control plane
//! reach into networks that only it can reach: addresses that are not public are refused unless they are allowed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The networks beside the public ones that may be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Arc<[IpNet]>);

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
    /// Lets these networks be reached as well.
    #[must_use]
    pub fn with(allowed: &[IpNet]) -> Self {
        Self(allowed.into())
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
        let allowed = is_public(address) || self.0.iter().any(|network| network.contains(&address.to_canonical()));
        if allowed { Ok(()) } else { Err(()) }
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

/// Whether an address is one of the public internet (the IANA registries of special-purpose addresses).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match embedded(address) {
            Some(inner) => is_public_v4(inner),
            // Global unicast is 2000::/3.
            None => {
                let [first, second, ..] = address.segments();
                let special = [(0x2001, 0x0db8), (0x2001, 0)].contains(&(first, second)) || first == 0x3fff;
                first & 0xe000 == 0x2000 && !special && !(first == 0x2001 && second < 0x0200)
            }
        },
    }
}

/// The IPv4 address that an IPv6 address stands for: mapped, translated (NAT64) or tunnelled (6to4).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    if let Some(mapped) = address.to_ipv4_mapped() {
        return Some(mapped);
    }
    let of = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(of(high, low)),
        [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    !matches!(
        (first, second, third),
        (0 | 10 | 127 | 224..=255, ..)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 168, _)
            | (198, 18..=19, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (198, 51, 100)
            | (203, 0, 113)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_addresses() {
        for (address, public) in [
            ("93.184.216.34", true),
            ("2606:2800:220:1::1", true),
            ("127.0.0.1", false),
            ("10.1.2.3", false),
            ("172.16.0.1", false),
            ("172.32.0.1", true),
            ("192.168.1.1", false),
            ("169.254.169.254", false),
            ("100.64.0.1", false),
            ("0.0.0.0", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("198.18.0.1", false),
            ("::1", false),
            ("::", false),
            ("fe80::1", false),
            ("fd00::1", false),
            ("ff02::1", false),
            ("2001:db8::1", false),
            ("2001::1", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:93.184.216.34", true),
            ("64:ff9b::7f00:1", false),
            ("2002:7f00:1::", false),
            ("::127.0.0.1", false),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), public, "{address}");
        }
    }

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
