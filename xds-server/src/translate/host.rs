//! The host of a target as it is written. One host has one reading: what resolvers read in other ways than it looks, such as
//! `127.1` or `0x7f.1`, is refused.

use std::net::IpAddr;

use crate::resources::Name;

use super::hostname;
use super::problems::Fault;

/// The domain of a cluster where nobody chose another one.
const CLUSTER_DOMAIN: &str = ".cluster.local";

/// A host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// An IP address.
    Address(IpAddr),
    /// `localhost`, or a name below it (RFC 6761, section 6.3).
    Local,
    /// A Service by its DNS name.
    Service(Name),
    /// Another DNS name.
    Name,
}

/// Reads a host. It comes with its one spelling: in lower case, without a dot at its end, an address as it is usually written.
pub(super) fn parse(text: &str) -> Result<(String, Host), Fault> {
    let spelling = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if let Ok(address) = spelling.parse::<IpAddr>() {
        return Ok((address.to_string(), Host::Address(address)));
    }
    let last = spelling.rsplit('.').next().unwrap_or_default();
    if hostname::check_name(&spelling).is_err() || is_number(last) {
        let message =
            format!("{text:?} is no host: write a DNS name, or an IP address with all its parts and nothing else");
        return Err(invalid(message));
    }
    let host = match service(&spelling) {
        Some(service) => Host::Service(service),
        None if last == "localhost" => Host::Local,
        None => Host::Name,
    };
    Ok((spelling, host))
}

/// Whether a name can be looked up as one outside of the cluster.
pub(super) fn check_outside(name: &str) -> Result<(), Fault> {
    if !name.contains('.') {
        return Err(invalid(format!("{name:?} is another host in each namespace: write its full name")));
    }
    // `pod-0.math.apps.svc`, `10-0-0-1.apps.pod`; with a domain behind it, whichever that is.
    let is_of_cluster = |(place, label): (usize, &str)| place >= 2 && matches!(label, "svc" | "pod");
    let ends_in_cluster = name.ends_with(".svc") || name.ends_with(".pod") || name.ends_with(CLUSTER_DOMAIN);
    let (apiece, below) = (name.split('.').enumerate(), name.strip_suffix(CLUSTER_DOMAIN).unwrap_or_default());
    if apiece.into_iter().any(is_of_cluster) || ends_in_cluster || !below.is_empty() {
        let message = format!(
            "{name:?} is a name inside the cluster; a Service can be named, by `service` or as name.namespace.svc, and nothing else there"
        );
        return Err(invalid(message));
    }
    Ok(())
}

/// The Service that a name is the DNS name of: `name.namespace.svc`, with whatever domain the cluster has behind it.
fn service(host: &str) -> Option<Name> {
    let mut labels = host.split('.');
    let (name, namespace) = (labels.next()?, labels.next()?);
    (labels.next()? == "svc").then(|| Name::new(namespace, name))
}

/// Whether resolvers take a name with this label at its end for an IPv4 address (inet_aton, WHATWG URL).
fn is_number(label: &str) -> bool {
    let digits = label.strip_prefix("0x").filter(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    digits.is_some() || label.bytes().all(|byte| byte.is_ascii_digit())
}

fn invalid(message: String) -> Fault {
    Fault::new("InvalidHost", message)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hosts_are_read() {
        let address = |text: &str| Some((text.to_owned(), Host::Address(text.parse().unwrap())));
        let name = |text: &str| Some((text.to_owned(), Host::Name));
        let service = |text: &str, namespace: &str, name: &str| {
            Some((text.to_owned(), Host::Service(Name::new(namespace, name))))
        };
        let local = |text: &str| Some((text.to_owned(), Host::Local));
        let rows = [
            ("a name", "gitlab.com", name("gitlab.com")),
            ("a name in capitals, with a dot", "GitLab.com.", name("gitlab.com")),
            ("a short name", "math", name("math")),
            ("a name with a number before its end", "1.2.3.4.com", name("1.2.3.4.com")),
            ("an address", "192.0.2.1", address("192.0.2.1")),
            ("an address with a dot", "127.0.0.1.", address("127.0.0.1")),
            ("an IPv6 address", "2001:DB8::1", address("2001:db8::1")),
            ("an IPv6 address written out", "0:0:0:0:0:0:0:1", address("::1")),
            ("an IPv4 address in IPv6", "::ffff:127.0.0.1", address("::ffff:127.0.0.1")),
            ("the same in another way", "::FFFF:7f00:1", address("::ffff:127.0.0.1")),
            ("the machine itself", "localhost", local("localhost")),
            ("the same with a dot", "LOCALHOST.", local("localhost")),
            ("a name below", "admin.localhost", local("admin.localhost")),
            ("a Service", "math.default.svc", service("math.default.svc", "default", "math")),
            ("a Service in capitals", "MATH.default.SVC.", service("math.default.svc", "default", "math")),
            (
                "a Service by its full name",
                "math.default.svc.cluster.local",
                service("math.default.svc.cluster.local", "default", "math"),
            ),
            (
                "a Service of a cluster with another domain",
                "math.default.svc.example.com",
                service("math.default.svc.example.com", "default", "math"),
            ),
            ("two parts", "127.1", None),
            ("three parts", "127.0.1", None),
            ("hexadecimal parts", "0x7f.1", None),
            ("one hexadecimal number", "0x7f000001", None),
            ("capital X", "0X7F000001", None),
            ("an empty hexadecimal part", "127.0.0.0x", None),
            ("one number", "2130706433", None),
            ("zero", "0", None),
            ("octal parts", "0177.0.0.1", None),
            ("leading zeros", "127.0.0.01", None),
            ("five parts", "1.2.3.4.5", None),
            ("too large", "1.2.3.256", None),
            ("two dots at the end", "127.0.0.1..", None),
            ("brackets", "[::1]", None),
            ("a zone", "fe80::1%eth0", None),
            ("a zone by number", "fe80::1%1", None),
            ("a port", "gitlab.com:443", None),
            ("a blank", "127.0.0.1 ", None),
            ("a blank inside", "127.0.0.1 gitlab.com", None),
            ("a name of SRV records", "_http._tcp.math.default.svc", None),
            ("other digits", "１２７.0.0.1", None),
            ("another dot", "127。0。0。1", None),
            ("nothing", "", None),
            ("a dot", ".", None),
            ("percent", "127%2e0.0.1", None),
            ("a user", "a@127.0.0.1", None),
        ];
        for (row, text, expected) in rows {
            assert_eq!(parse(text).ok(), expected, "{row}");
        }
    }

    #[test]
    fn names_inside_the_cluster_are_not_looked_up() {
        let rows = [
            ("a name outside", "gitlab.com", true),
            ("a name with svc in it", "svc.example.com", true),
            ("a name below svc", "api.svc.example.com", true),
            ("a short name", "math", false),
            ("a namespace", "default.svc", false),
            ("a pod of a Service", "pod-0.math.default.svc", false),
            ("the same by its full name", "pod-0.math.default.svc.cluster.local", false),
            ("the same with another domain", "pod-0.math.default.svc.example.com", false),
            ("a pod by its address", "10-0-0-1.default.pod.cluster.local", false),
            ("the same with another domain", "10-0-0-1.default.pod.example.com", false),
            ("the same without", "10-0-0-1.default.pod", false),
            ("anything of the cluster", "math.cluster.local", false),
        ];
        for (row, name, expected) in rows {
            assert_eq!(check_outside(name).is_ok(), expected, "{row}");
        }
    }

    /// What C libraries make of an address in text: up to four parts, each decimal, octal or hexadecimal, the last of which
    /// fills what is left.
    fn inet_aton(text: &str) -> Option<Ipv4Addr> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let part = |part: &str| {
            let lower = part.to_ascii_lowercase();
            match lower.strip_prefix("0x") {
                Some("") => Some(0),
                Some(digits) => u64::from_str_radix(digits, 16).ok(),
                None if lower.starts_with('0') => u64::from_str_radix(&lower, 8).ok(),
                None => lower.parse().ok(),
            }
        };
        let parts: Vec<u64> = text.split('.').map(part).collect::<Option<_>>()?;
        let (last, first) = parts.split_last().filter(|_| parts.len() <= 4)?;
        let room = 8 * (4 - first.len());
        if first.iter().any(|part| *part > 255) || last >> room != 0 {
            return None;
        }
        let high = first.iter().enumerate().fold(0, |sum, (place, part)| sum | (part << (24 - 8 * place)));
        Some(Ipv4Addr::from(u32::try_from(high | last).ok()?))
    }

    proptest! {
        #[test]
        fn what_a_resolver_takes_for_an_address_is_that_address_or_refused(
            parts in prop::collection::vec(prop_oneof![
                "[0-9]{1,10}", "0[0-7]{1,11}", "0[xX][0-9a-fA-F]{0,8}", "[a-z0-9-]{1,4}", Just("127".to_owned())
            ], 1..6),
            dot in any::<bool>(),
        ) {
            let text = parts.join(".") + if dot { "." } else { "" };
            match parse(&text) {
                Ok((_, Host::Address(address))) => prop_assert_eq!(Some(address), inet_aton(&text).map(IpAddr::V4)),
                Ok(_) => prop_assert_eq!(inet_aton(&text), None),
                Err(_) => {}
            }
        }
    }
}
