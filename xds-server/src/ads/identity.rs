//! Who an Envoy is, and which Gateway is its own: functions over values.
//!
//! Whatever proves it, an Envoy is a Kubernetes service account. A token says so by its user name; a client certificate
//! by one URI name, `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/NAME`, where everything that the authorities signed counts as
//! one trust domain.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use crate::model::GatewayName;
use crate::provision::names;

/// Longest name of a namespace or a service account.
const MAX_NAME: usize = 253;

/// A Kubernetes service account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceAccount {
    namespace: String,
    name: String,
}

impl fmt::Display for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl ServiceAccount {
    /// The service account of this namespace and name; none where those can't be names in Kubernetes.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Option<Self> {
        let fits = |part: &str| {
            let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
            !part.is_empty() && part.len() <= MAX_NAME && part.bytes().all(known)
        };
        let account = Self { namespace: namespace.to_owned(), name: name.to_owned() };
        (fits(namespace) && fits(name)).then_some(account)
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// By the name that the API server gives it as a user, `system:serviceaccount:NAMESPACE:NAME`.
    #[must_use]
    pub fn from_username(username: &str) -> Option<Self> {
        let (namespace, name) = username.strip_prefix("system:serviceaccount:")?.split_once(':')?;
        Self::new(namespace, name)
    }

    /// By its SPIFFE ID, `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/NAME`.
    #[must_use]
    pub fn from_spiffe_id(id: &str) -> Option<Self> {
        let mut parts = id.strip_prefix("spiffe://")?.split('/');
        let mut next = || parts.next();
        match (next(), next(), next(), next(), next(), next()) {
            (Some(domain), Some("ns"), Some(namespace), Some("sa"), Some(name), None) if !domain.is_empty() => {
                Self::new(namespace, name)
            }
            _ => None,
        }
    }

    /// By a certificate that was verified. As SPIFFE wants it, a certificate with more than one URI name is nobody's.
    #[must_use]
    pub fn from_certificate(certificate: &CertificateDer<'_>) -> Option<Self> {
        let certificate = EndEntityCert::try_from(certificate).ok()?;
        let mut names = certificate.valid_uri_names();
        match (names.next(), names.next()) {
            (Some(id), None) => Self::from_spiffe_id(id),
            _ => None,
        }
    }
}

/// The service account that the Envoys of a Gateway run as where Toolward provisions them: `NAME-toolward` in the
/// Gateway's namespace.
#[must_use]
pub fn service_account_of(gateway: &GatewayName) -> Option<ServiceAccount> {
    let (namespace, name) = gateway.0.split_once('/')?;
    ServiceAccount::new(namespace, &names::object(name))
}

/// Says that a service account may be a Gateway whose own it is not. Written `NAMESPACE/ACCOUNT=NAMESPACE/GATEWAY`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    account: ServiceAccount,
    gateway: GatewayName,
}

impl FromStr for Grant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('=').and_then(|(account, gateway)| {
            let (namespace, name) = account.split_once('/')?;
            let (gateway_namespace, gateway_name) = gateway.split_once('/')?;
            // A Gateway's parts are bound by the same rules.
            ServiceAccount::new(gateway_namespace, gateway_name)?;
            let account = ServiceAccount::new(namespace, name)?;
            Some(Self { account, gateway: GatewayName(gateway.to_owned()) })
        });
        parsed.ok_or_else(|| "a service account and a Gateway are needed, such as web/envoy=web/mcp-gateway".to_owned())
    }
}

/// Which service account may be which Gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants(BTreeSet<Grant>);

impl FromIterator<Grant> for Grants {
    fn from_iter<T: IntoIterator<Item = Grant>>(grants: T) -> Self {
        Self(grants.into_iter().collect())
    }
}

impl Grants {
    /// Whether it may: its own, or a granted one.
    #[must_use]
    pub fn allow(&self, account: &ServiceAccount, gateway: &GatewayName) -> bool {
        service_account_of(gateway).as_ref() == Some(account)
            || self.0.contains(&Grant { account: account.clone(), gateway: gateway.clone() })
    }
}

#[cfg(test)]
mod tests {
    use rcgen::string::Ia5String;
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn account(namespace: &str, name: &str) -> ServiceAccount {
        ServiceAccount::new(namespace, name).unwrap()
    }

    #[test]
    fn user_names_of_service_accounts() {
        let rows = [
            ("a service account", "system:serviceaccount:ns:gw-toolward", Some(account("ns", "gw-toolward"))),
            ("a person", "ann", None),
            ("a node", "system:node:ns", None),
            ("no name", "system:serviceaccount:ns:", None),
            ("no namespace", "system:serviceaccount::gw", None),
            ("one part", "system:serviceaccount:ns", None),
            ("too many parts", "system:serviceaccount:ns:gw:x", None),
            ("another prefix", "xsystem:serviceaccount:ns:gw", None),
        ];
        for (row, username, expected) in rows {
            assert_eq!(ServiceAccount::from_username(username), expected, "{row}");
        }
    }

    #[test]
    fn spiffe_ids() {
        let rows = [
            ("of a service account", "spiffe://cluster.local/ns/ns/sa/gw-toolward", Some(account("ns", "gw-toolward"))),
            (
                "of another trust domain",
                "spiffe://example.com/ns/ns/sa/gw-toolward",
                Some(account("ns", "gw-toolward")),
            ),
            ("without a trust domain", "spiffe:///ns/ns/sa/gw", None),
            ("of another scheme", "https://cluster.local/ns/ns/sa/gw", None),
            ("with a slash at the end", "spiffe://d/ns/ns/sa/gw/", None),
            ("with a part too many", "spiffe://d/ns/ns/sa/gw/x", None),
            ("with a part too few", "spiffe://d/ns/ns/sa", None),
            ("in another order", "spiffe://d/sa/gw/ns/ns", None),
            ("with an empty name", "spiffe://d/ns/ns/sa/", None),
            ("with a query", "spiffe://d/ns/ns/sa/gw?x", None),
            ("with an escape", "spiffe://d/ns/ns/sa/g%77", None),
            ("in capitals", "spiffe://d/ns/NS/sa/gw", None),
        ];
        for (row, id, expected) in rows {
            assert_eq!(ServiceAccount::from_spiffe_id(id), expected, "{row}");
        }
    }

    #[test]
    fn certificates_name_one_service_account() {
        let uri = |text: &str| SanType::URI(Ia5String::try_from(text).unwrap());
        let dns = |text: &str| SanType::DnsName(Ia5String::try_from(text).unwrap());
        let own = "spiffe://d/ns/ns/sa/gw-toolward";
        let rows = [
            ("its SPIFFE ID", vec![uri(own)], Some(account("ns", "gw-toolward"))),
            ("beside a DNS name", vec![dns("a.example"), uri(own)], Some(account("ns", "gw-toolward"))),
            ("two URI names", vec![uri(own), uri("spiffe://d/ns/ns/sa/other")], None),
            ("a DNS name alone", vec![dns("gw-toolward.ns")], None),
            ("no names", vec![], None),
        ];
        for (row, names, expected) in rows {
            let mut parameters = CertificateParams::default();
            parameters.subject_alt_names = names;
            let certificate = parameters.self_signed(&KeyPair::generate().unwrap()).unwrap();
            assert_eq!(ServiceAccount::from_certificate(certificate.der()), expected, "{row}");
        }
        assert_eq!(ServiceAccount::from_certificate(&CertificateDer::from(vec![0x30, 0])), None, "not a certificate");
    }

    #[test]
    fn a_service_account_has_its_own_gateway_and_those_granted() {
        let grants: Grants =
            ["edge/envoy=ns/gw", "edge/envoy=ns/two"].map(|text| text.parse().unwrap()).into_iter().collect();
        let rows = [
            ("its own", account("ns", "gw-toolward"), "ns/gw", true),
            ("another of its namespace", account("ns", "gw-toolward"), "ns/other", false),
            ("one of the same name elsewhere", account("ns", "gw-toolward"), "elsewhere/gw", false),
            ("the default service account", account("ns", "default"), "ns/gw", false),
            ("the name alone", account("ns", "gw"), "ns/gw", false),
            ("granted", account("edge", "envoy"), "ns/gw", true),
            ("granted as well", account("edge", "envoy"), "ns/two", true),
            ("not granted", account("edge", "envoy"), "ns/three", false),
            ("granted to another account", account("edge", "other"), "ns/gw", false),
            ("no Gateway at all", account("ns", "gw-toolward"), "gw", false),
        ];
        for (row, account, gateway, expected) in rows {
            assert_eq!(grants.allow(&account, &GatewayName(gateway.into())), expected, "{row}");
        }
    }

    #[test]
    fn grants_are_read_strictly() {
        let rows = [
            ("complete", "a/b=c/d", true),
            ("no Gateway", "a/b", false),
            ("no namespace of the account", "b=c/d", false),
            ("no namespace of the Gateway", "a/b=d", false),
            ("a wildcard", "a/*=c/d", false),
            ("three parts", "a/b=c/d/e", false),
            ("two signs", "a/b=c/d=e", false),
            ("nothing", "", false),
        ];
        for (row, text, good) in rows {
            assert_eq!(text.parse::<Grant>().is_ok(), good, "{row}");
        }
    }
}
