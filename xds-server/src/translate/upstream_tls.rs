//! TLS towards upstreams: what a BackendTLSPolicy says of a Service, or an MCPBackend of its server. What can't be
//! honoured closes the way there; it never falls back to plain HTTP.

use std::collections::btree_map::{BTreeMap, Entry};
use std::net::IpAddr;

use gateway_api::backendtlspolicies::{
    BackendTlsPolicy, BackendTlsPolicyValidation, BackendTlsPolicyValidationSubjectAltNames,
    BackendTlsPolicyValidationSubjectAltNamesType,
};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::model::{Authorities, Subject, UpstreamTls};
use crate::resources::mcp::{LocalRef, TargetTls};
use crate::resources::{Name, ObjectRef, Protects};

use super::certificates;
use super::hostname;
use super::problems::{Fault, GATEWAY_API, Problems, Reporter, object};
use super::services::Services;
use super::view::{Source, View};

/// The key of a ConfigMap that holds certificate authorities, by the standard.
const AUTHORITIES_KEY: &str = "ca.crt";

/// What BackendTLSPolicies say.
#[derive(Debug, Default)]
pub(super) struct BackendTlsPolicies {
    /// By Service, and by the name of its port where the policy is for that port alone.
    by_target: BTreeMap<(Name, Option<String>), Result<UpstreamTls, Fault>>,
    /// Services whose policy can't be read; without a name, all of the namespace.
    closed: BTreeMap<Name, Fault>,
}

impl BackendTlsPolicies {
    pub(super) fn new(view: &View<'_>, problems: &mut Problems<'_>) -> Self {
        let mut policies: Vec<(&Name, &BackendTlsPolicy)> = view.backend_tls_policies().collect();
        policies.sort_by_key(|(name, policy)| (policy.metadata.creation_timestamp.clone(), *name));
        let mut by_target = BTreeMap::new();
        for (name, policy) in policies {
            let mut reporter = problems.of(object(GATEWAY_API, "BackendTLSPolicy", name));
            let tls = of_policy(name, policy, view, &mut reporter);
            for (index, target) in policy.spec.target_refs.iter().enumerate() {
                let field = format!("spec.targetRefs[{index}]");
                if (target.group.as_str(), target.kind.as_str()) != ("", "Service") {
                    let message =
                        format!("TLS towards a {} is not set by this kind, only towards a Service", target.kind);
                    reporter.report(field, Fault::new("TargetNotFound", message));
                    continue;
                }
                let service = Name::new(&name.namespace, &target.name);
                if !Services::has_port_named(&service, target.section_name.as_deref(), view) {
                    let port =
                        target.section_name.as_ref().map(|port| format!(" with a port {port}")).unwrap_or_default();
                    let fault = Fault::new("TargetNotFound", format!("there is no Service {service}{port}"));
                    reporter.report(&field, fault);
                }
                let key = (service, target.section_name.clone());
                match by_target.entry(key) {
                    Entry::Vacant(entry) => drop(entry.insert(tls.clone())),
                    Entry::Occupied(_) => {
                        let message =
                            "an older BackendTLSPolicy, or one first by name, is for the same Service and port";
                        reporter.report(field, Fault::new("Conflicted", message));
                    }
                }
            }
        }
        let mut closed = BTreeMap::new();
        for (Name { namespace, name }, malformed) in view.malformed_backend_tls_policies() {
            let Protects::Services(services) = &malformed.protects else { continue };
            let fault =
                Fault::new("UnsupportedProtocol", format!("the BackendTLSPolicy {namespace}/{name} can't be read"));
            let all = services.is_empty().then(String::new);
            let services = services.iter().cloned().chain(all);
            closed.extend(services.map(|service| (Name::new(namespace, service), fault.clone())));
        }
        Self { by_target, closed }
    }

    /// The Services of which the two say something else.
    pub(super) fn differing<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a Name> {
        let differs = |(key, tls): &(&(Name, Option<String>), _), other: &Self| other.by_target.get(*key) != Some(*tls);
        let here = self.by_target.iter().filter(move |entry| differs(entry, other));
        let there = other.by_target.iter().filter(move |entry| differs(entry, self));
        let here_closed = self.closed.keys().filter(|service| !other.closed.contains_key(service));
        let there_closed = other.closed.keys().filter(|service| !self.closed.contains_key(service));
        here.chain(there).map(|((service, _), _)| service).chain(here_closed).chain(there_closed)
    }

    /// What is said of this port of a Service; nothing: it is spoken to in clear.
    pub(super) fn of(&self, service: &Name, port: &str, view: &View<'_>) -> Result<Option<UpstreamTls>, Fault> {
        view.note(&Source::Tls(service));
        let all = Name::new(&service.namespace, "");
        view.note(&Source::Tls(&all));
        if let Some(fault) = self.closed.get(service).or_else(|| self.closed.get(&all)) {
            return Err(fault.clone());
        }
        let of_port = self.by_target.get(&(service.clone(), Some(port.to_owned())));
        let found = of_port.or_else(|| self.by_target.get(&(service.clone(), None)));
        found.cloned().transpose()
    }
}

fn of_policy(
    name: &Name,
    policy: &BackendTlsPolicy,
    view: &View<'_>,
    reporter: &mut Reporter<'_, '_>,
) -> Result<UpstreamTls, Fault> {
    let BackendTlsPolicyValidation { hostname, subject_alt_names, .. } = &policy.spec.validation;
    if policy.spec.options.as_ref().is_some_and(|options| !options.is_empty()) {
        reporter
            .report("spec.options", Fault::new("Invalid", "there are no options that could be honoured; remove them"));
    }
    let server_name = hostname::check_name(hostname).map(|()| hostname.clone());
    let server_name = reporter.accept("spec.validation.hostname", server_name);
    let mut subjects = Some(Vec::new());
    for (index, written) in subject_alt_names.iter().flatten().enumerate() {
        let subject = reporter.accept(format!("spec.validation.subjectAltNames[{index}]"), subject(written));
        subjects = subjects.zip(subject).map(|(mut subjects, subject)| {
            subjects.push(subject);
            subjects
        });
    }
    let authorities = authorities_of_policy(name, &policy.spec.validation, view, reporter);
    let unusable = || Fault::new("UnsupportedProtocol", format!("the BackendTLSPolicy {name} can't be honoured"));
    let server_name = server_name.ok_or_else(unusable)?;
    let mut subjects = subjects.ok_or_else(unusable)?;
    if subjects.is_empty() {
        subjects.push(Subject::Dns(server_name.clone()));
    }
    let authorities = authorities.ok_or_else(unusable)?;
    if policy.spec.options.as_ref().is_some_and(|options| !options.is_empty()) {
        return Err(unusable());
    }
    Ok(UpstreamTls { server_name: Some(server_name), subjects, authorities, certificate: None })
}

fn subject(written: &BackendTlsPolicyValidationSubjectAltNames) -> Result<Subject, Fault> {
    match (&written.r#type, &written.hostname, &written.uri) {
        (BackendTlsPolicyValidationSubjectAltNamesType::Hostname, Some(name), None) => {
            hostname::check_name(name).map(|()| Subject::Dns(name.clone()))
        }
        (BackendTlsPolicyValidationSubjectAltNamesType::Uri, None, Some(uri)) => Ok(Subject::Uri(uri.clone())),
        _ => Err(Fault::new("Invalid", "exactly the member that `type` names must be given: hostname or uri")),
    }
}

/// `None` after reporting what is wrong. As long as one reference holds, the others are only said.
fn authorities_of_policy(
    name: &Name,
    validation: &BackendTlsPolicyValidation,
    view: &View<'_>,
    reporter: &mut Reporter<'_, '_>,
) -> Option<Authorities> {
    let references = validation.ca_certificate_refs.as_deref().unwrap_or_default();
    match validation.well_known_ca_certificates.as_deref() {
        Some("System") if references.is_empty() => return Some(Authorities::System),
        None if !references.is_empty() => {}
        given => {
            let message = match given {
                Some("System") => "wellKnownCACertificates and caCertificateRefs are given; keep one".to_owned(),
                Some(other) => format!("there are no well-known authorities {other:?}; System can be given"),
                None => "give wellKnownCACertificates: System, or caCertificateRefs".to_owned(),
            };
            reporter.report("spec.validation.wellKnownCACertificates", Fault::new("Invalid", message));
            return None;
        }
    }
    let mut pem = String::new();
    for (index, reference) in references.iter().enumerate() {
        let authorities = if (reference.group.as_str(), reference.kind.as_str()) == ("", "ConfigMap") {
            config_map(&Name::new(&name.namespace, &reference.name), view)
        } else {
            let message = format!("authorities can't come from a {}, only from a ConfigMap", reference.kind);
            Err(Fault::new("InvalidKind", message))
        };
        let field = format!("spec.validation.caCertificateRefs[{index}]");
        pem.extend(reporter.accept(field, authorities));
    }
    let secret = format!("authorities/backendtlspolicy/{name}");
    (!pem.is_empty()).then_some(Authorities::Given { name: secret, pem })
}

/// What an MCPBackend says of a server, with the field below `tls` that is wrong.
pub(super) fn of_target(
    tls: &TargetTls,
    backend: &ObjectRef,
    target: &str,
    host: Option<&str>,
    view: &View<'_>,
) -> Result<UpstreamTls, (&'static str, Fault)> {
    let namespace = &backend.name.namespace;
    let expected = tls.sni.as_deref().or(host).ok_or_else(|| {
        (
            ".sni",
            Fault::unsupported("the name on the certificate of a Service's endpoints is not known; give it as sni"),
        )
    })?;
    let (server_name, subject) = match expected.parse::<IpAddr>() {
        Ok(address) if tls.sni.is_none() => (None, Subject::Ip(address.to_string())),
        _ => {
            hostname::check_name(expected).map_err(|fault| (".sni", fault))?;
            (Some(expected.to_owned()), Subject::Dns(expected.to_owned()))
        }
    };
    if tls.well_known_ca_certificates.is_some() && !tls.ca_certificate_refs.is_empty() {
        let message = "wellKnownCACertificates and caCertificateRefs are given; keep one";
        return Err((".wellKnownCACertificates", Fault::unsupported(message)));
    }
    let pem = authorities(&tls.ca_certificate_refs, namespace, view);
    let pem = pem.map_err(|fault| (".caCertificateRefs", fault))?;
    let authorities = if pem.is_empty() {
        Authorities::System
    } else {
        let kind = backend.kind.to_ascii_lowercase();
        Authorities::Given { name: format!("authorities/{kind}/{}/{target}", backend.name), pem }
    };
    let certificate = tls.client_certificate_ref.as_ref().map(|reference| {
        let name = Name::new(namespace, &reference.name);
        certificates::certificate(&name, view).map(|certificate| (name.to_string(), certificate))
    });
    let certificate = certificate.transpose().map_err(|fault| (".clientCertificateRef", fault))?;
    Ok(UpstreamTls { server_name, subjects: vec![subject], authorities, certificate })
}

/// The authorities in ConfigMaps of a namespace, in PEM.
pub(super) fn authorities(references: &[LocalRef], namespace: &str, view: &View<'_>) -> Result<String, Fault> {
    references.iter().map(|reference| config_map(&Name::new(namespace, &reference.name), view)).collect()
}

/// The authorities in a ConfigMap, in PEM with a line end.
fn config_map(name: &Name, view: &View<'_>) -> Result<String, Fault> {
    let invalid = |what: &str| Fault::new("InvalidCACertificateRef", format!("the ConfigMap {name} {what}"));
    let lacks = |fault: Fault| Fault { message: view.lack("ConfigMap", name, fault.message), ..fault };
    let map = view.config_map(name).ok_or_else(|| lacks(invalid("does not exist")))?;
    let text = map.data.as_ref().and_then(|data| data.get(AUTHORITIES_KEY));
    let text = text.ok_or_else(|| lacks(invalid("has no key ca.crt")))?;
    let authorities: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let authorities = authorities.map_err(|_| invalid("has something in ca.crt that is no certificate in PEM"))?;
    let count = authorities.len();
    if count == 0 {
        return Err(invalid("has no certificate in PEM in ca.crt"));
    }
    if RootCertStore::empty().add_parsable_certificates(authorities).0 != count {
        return Err(invalid("has something in ca.crt that is no certificate authority"));
    }
    Ok(format!("{}\n", text.trim_end()))
}
