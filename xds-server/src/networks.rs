//! Which addresses may be reached. Whoever writes resources must not reach, through the control plane or the gateway, into
//! networks that only these can reach: addresses that are not public are refused unless they are allowed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;

/// The networks beside the public ones that may be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Arc<[IpNet]>);

impl Networks {
    /// Lets these networks be reached as well.
    #[must_use]
    pub fn with(allowed: &[IpNet]) -> Self {
        Self(allowed.into())
    }

    /// Whether an address may be reached.
    #[must_use]
    pub fn permit(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        if is_public(address) || self.allow(address) {
            return true;
        }
        // An IPv4 address is allowed in the forms of IPv6 as well.
        matches!(address, IpAddr::V6(outer) if embedded(outer).is_some_and(|inner| self.allow(inner.into())))
    }

    fn allow(&self, address: IpAddr) -> bool {
        let is_within = |address: IpAddr| self.0.iter().any(|network| network.contains(&address));
        // To allow a network of translated addresses is not to allow what they stand for.
        let inner = match address {
            IpAddr::V6(outer) => embedded(outer),
            IpAddr::V4(_) => None,
        };
        is_within(address) && inner.is_none_or(|inner| is_public_v4(inner) || is_within(inner.into()))
    }
}

/// One entry of the list of networks that backends may be in: a network, or the word `public`, which stands for those that are
/// always allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendNetwork {
    /// The public addresses.
    Public,
    /// These.
    Network(IpNet),
}

impl FromStr for BackendNetwork {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "public" => Ok(Self::Public),
            _ => text
                .parse()
                .map(Self::Network)
                .map_err(|_| "a network such as 10.1.0.0/16 is needed, or the word `public`".to_owned()),
        }
    }
}

/// Where backends may be that are named by host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum BackendNetworks {
    /// Anywhere, and Envoy resolves their names: for folders, where one operator writes everything.
    #[default]
    Any,
    /// At public addresses and in these networks. Names are resolved by the control plane.
    Only(Networks),
}

impl BackendNetworks {
    /// Only public addresses and these.
    #[must_use]
    pub fn only(allowed: &[BackendNetwork]) -> Self {
        let networks = allowed.iter().filter_map(|allowed| match allowed {
            BackendNetwork::Public => None,
            BackendNetwork::Network(network) => Some(*network),
        });
        Self::Only(Networks::with(&networks.collect::<Vec<_>>()))
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
    let [first, second, third, fourth] = address.octets();
    // The host of virtual machines of Azure: public by its number, and another one on each machine.
    let is_of_this_host = (first, second, third, fourth) == (168, 63, 129, 16);
    let is_special = matches!(
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
    );
    !is_special && !is_of_this_host
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
            ("168.63.129.16", false),
            ("100.64.0.1", false),
            ("0.0.0.0", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("198.18.0.1", false),
            ("::1", false),
            ("::", false),
            ("fe80::1", false),
            ("fd00::1", false),
            ("fd00:ec2::254", false),
            ("ff02::1", false),
            ("2001:db8::1", false),
            ("2001::1", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:93.184.216.34", true),
            ("64:ff9b::7f00:1", false),
            ("64:ff9b:1::7f00:1", false),
            ("2002:7f00:1::", false),
            ("::127.0.0.1", false),
        ] {
            assert_eq!(Networks::default().permit(address.parse().unwrap()), public, "{address}");
        }
    }

    #[test]
    fn what_is_allowed_is_allowed_in_each_form_and_nothing_beside_it() {
        let networks = |text: &str| Networks::with(&[text.parse().unwrap()]);
        for (network, address, allowed) in [
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("10.0.0.0/8", "64:ff9b::10.1.2.3", true),
            ("10.0.0.0/8", "2002:a01:203::1", true),
            ("10.0.0.0/8", "127.0.0.1", false),
            ("10.0.0.0/8", "::ffff:127.0.0.1", false),
            ("64:ff9b::/96", "64:ff9b::10.1.2.3", false),
            ("::/0", "fd00::1", true),
            ("::/0", "64:ff9b::10.1.2.3", false),
            ("::/0", "::ffff:10.1.2.3", false),
            ("0.0.0.0/0", "169.254.169.254", true),
            ("0.0.0.0/0", "fd00::1", false),
        ] {
            assert_eq!(networks(network).permit(address.parse().unwrap()), allowed, "{address} by {network}");
        }
    }
}
