//! What backendRefs name: Services, and MCP servers that are described by a resource of their own.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{Cluster, Endpoints, UpstreamTls};
use crate::problem::Problem;
use crate::resources::mcp::{self, MCPBackend, StaticTarget, Target};
use crate::resources::{Name, ObjectRef};

use super::changing::Changing;
use super::credentials;
use super::grants;
use super::hostname;
use super::parts::{Part, Parts};
use super::problems::{Fault, Reporter, object};
use super::services::{self, Services};
use super::syntax;
use super::upstream_tls::{self, BackendTlsPolicies};
use super::view::{Source, Sources, View};

/// Kinds that describe an MCP server, by group.
const MCP_KINDS: [(&str, &str); 2] = [(mcp::GROUP, "MCPBackend"), ("agentgateway.dev", "AgentgatewayBackend")];

/// Time to connect to an upstream.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether objects of this kind describe an MCP server.
pub(super) fn is_mcp_kind(group: &str, kind: &str) -> bool {
    MCP_KINDS.contains(&(group, kind))
}

/// A backend that can be sent to.
#[derive(Clone, Debug)]
pub(super) struct Upstream {
    pub(super) cluster_name: String,
    pub(super) cluster: Arc<Cluster>,
    /// Names the server, whatever leads there: `service/namespace/name/port` or `host:port`.
    pub(super) server: String,
    /// The server's own path.
    pub(super) path: Option<String>,
    /// The `Host` that it expects, where it is not the client's.
    pub(super) host: Option<String>,
    /// Until the answer begins.
    pub(super) request_timeout: Option<Duration>,
    /// The object, where policies can attach to it.
    pub(super) policy_target: Option<ObjectRef>,
}

/// A backendRef as written, with its defaults.
#[derive(Clone, Debug)]
pub(super) struct BackendRef<'a> {
    pub(super) group: &'a str,
    pub(super) kind: &'a str,
    pub(super) name: Name,
    pub(super) port: Option<i32>,
}

/// All backends.
#[derive(Debug, Default)]
pub(super) struct Backends {
    services: Services,
    tls: Option<Part<BackendTlsPolicies>>,
    /// MCP servers that can be sent to, or why not.
    servers: Parts<ObjectRef, Result<Upstream, Fault>>,
}

impl Backends {
    /// Takes over what changed.
    pub(super) fn update(&mut self, world: &Changing<'_>, changed: &mut Sources) {
        self.services.update(world, changed);
        if self.tls.as_ref().is_none_or(|tls| tls.is_stale(changed)) {
            let nothing = Arc::default();
            let next = world.part(BackendTlsPolicies::new);
            let last = self.tls.as_ref().map_or(&nothing, |tls| &tls.value);
            next.value.differing(last).for_each(|service| changed.note(&Source::Tls(service)));
            self.tls = Some(next);
        }
        let mut servers = std::mem::take(&mut self.servers);
        let differing = world.next.backends.differing(&world.last.backends);
        let updates = servers.update(differing, changed, |object| {
            let backend = world.next.backends.get(object)?;
            Some(world.part(|view, problems| {
                self.described(object, backend, view, &mut problems.of(ObjectRef::clone(object)))
            }))
        });
        updates.iter().for_each(|(object, _)| changed.note(&Source::Server(object)));
        self.servers = servers;
    }

    pub(super) fn problems(&self) -> impl Iterator<Item = &Problem> {
        let tls = self.tls.iter().flat_map(|tls| &tls.problems);
        self.services.problems().chain(tls).chain(self.servers.problems())
    }

    /// What a reference from a route means.
    pub(super) fn resolve(
        &self,
        route: &ObjectRef,
        reference: &BackendRef<'_>,
        view: &View<'_>,
    ) -> Result<Upstream, Fault> {
        let object = object(reference.group, reference.kind, &reference.name);
        let is_service = (reference.group, reference.kind) == ("", "Service");
        if !is_service && !is_mcp_kind(reference.group, reference.kind) {
            let kind = if reference.group.is_empty() { "the core group" } else { reference.group };
            let message = format!("a {} of {kind} can't be a backend; a Service or an MCPBackend can", reference.kind);
            return Err(Fault::new("InvalidKind", message));
        }
        // Before anything is said about the object: what is not granted is not told either.
        grants::check(view, route, &object)?;
        if is_service { self.referred(reference, view) } else { self.server(&object, view) }
    }

    /// The Service that a reference from a route leads to, whether it can be sent to or not.
    pub(super) fn service(route: &ObjectRef, reference: &BackendRef<'_>, view: &View<'_>) -> Option<Name> {
        let object = object(reference.group, reference.kind, &reference.name);
        grants::check(view, route, &object).ok()?;
        if (reference.group, reference.kind) == ("", "Service") {
            return Some(object.name);
        }
        let target = view.backend(&object)?.spec.targets.first()?;
        let by_dns = target.host.as_ref().and_then(|target| service_name(&target.host));
        let by_name = target.service.as_ref().map(|service| Name::new(&object.name.namespace, &service.name));
        by_name.or(by_dns)
    }

    fn referred(&self, reference: &BackendRef<'_>, view: &View<'_>) -> Result<Upstream, Fault> {
        let number = reference.port.ok_or_else(|| Fault::unsupported("a reference to a Service needs a port"))?;
        let port = syntax::port(number)?;
        let name = &reference.name;
        Ok(Upstream {
            cluster_name: format!("service/{name}/{port}"),
            cluster: Arc::new(self.of_service(name, port, None, view)?),
            server: format!("service/{name}/{port}"),
            path: None,
            host: None,
            request_timeout: None,
            policy_target: None,
        })
    }

    /// The endpoints of a Service. Without TLS of a backend's own, a BackendTLSPolicy says whether there is any.
    fn of_service(
        &self,
        name: &Name,
        number: u16,
        tls: Option<UpstreamTls>,
        view: &View<'_>,
    ) -> Result<Cluster, Fault> {
        let port = Services::port(name, number, view)?;
        let tls = match tls {
            None => match &self.tls {
                Some(tls) => tls.value.of(name, port.name.as_deref().unwrap_or_default(), view)?,
                None => None,
            },
            own => own,
        };
        services::check_protocol(name, port, tls.is_some())?;
        Ok(Cluster {
            endpoints: Endpoints::Addresses(self.services.endpoints(name, port, view)),
            connect_timeout: CONNECT_TIMEOUT,
            tls,
            credential: None,
        })
    }

    fn server(&self, object: &ObjectRef, view: &View<'_>) -> Result<Upstream, Fault> {
        view.note(&Source::Server(object));
        match self.servers.get(object).map(|server| &**server) {
            Some(Ok(upstream)) => Ok(upstream.clone()),
            Some(Err(fault)) => Err(Fault::new(fault.reason, format!("the {object} can't be used: {}", fault.message))),
            None => {
                let what = if view.malformed(object).is_some() { "can't be read" } else { "does not exist" };
                Err(Fault::new("BackendNotFound", format!("the {object} {what}")))
            }
        }
    }

    fn described(
        &self,
        object: &ObjectRef,
        backend: &MCPBackend,
        view: &View<'_>,
        reporter: &mut Reporter<'_, '_>,
    ) -> Result<Upstream, Fault> {
        let [target] = backend.spec.targets.as_slice() else {
            let count = backend.spec.targets.len();
            let fault = Fault::unsupported(format!("{count} targets are given; exactly one is supported so far"));
            reporter.report("spec.targets", fault.clone());
            return Err(fault);
        };
        self.single(object, target, view).map_err(|(field, fault)| {
            reporter.report(format!("spec.targets[0]{field}"), fault.clone());
            fault
        })
    }

    /// The fault comes with the field below the target.
    fn single(&self, object: &ObjectRef, target: &Target, view: &View<'_>) -> Result<Upstream, (String, Fault)> {
        let at = |field: &'static str| move |fault: Fault| (field.to_owned(), fault);
        if target.name.is_empty() {
            return Err(at(".name")(Fault::unsupported("a target needs a name")));
        }
        let path = target.path.as_deref().map(syntax::path).transpose().map_err(at(".path"))?;
        let request_timeout = target.request_timeout.as_deref().map(syntax::duration).transpose();
        let request_timeout = request_timeout.map_err(at(".requestTimeout"))?;
        let host = target.host.as_ref().map(|target| target.host.as_str());
        let tls = target.tls.as_ref();
        let tls = tls.map(|tls| upstream_tls::of_target(tls, object, &target.name, host, view));
        let tls = tls.transpose().map_err(|(field, fault)| (format!(".tls{field}"), fault))?;
        let credential = target.credentials.as_ref().map(|written| credentials::credential(written, object, view));
        let credential = credential.transpose().map_err(at(".credentials"))?;
        let server = server(target, object, view);
        let (cluster, host) = match (&target.service, &target.host) {
            (Some(service), None) => {
                let name = Name::new(&object.name.namespace, &service.name);
                (self.of_service(&name, service.port, tls, view).map_err(at(".service"))?, None)
            }
            (None, Some(host)) => self.of_host(host, tls, view).map_err(at(".static"))?,
            _ => return Err(at("")(Fault::unsupported("exactly one of service and static must be given"))),
        };
        let ObjectRef { kind, name, .. } = object;
        Ok(Upstream {
            cluster_name: format!("backend/{}/{name}/{}", kind.to_ascii_lowercase(), target.name),
            cluster: Arc::new(Cluster { credential, ..cluster }),
            server,
            path,
            host,
            request_timeout,
            policy_target: Some(object.clone()),
        })
    }

    /// A host, and the `Host` that it expects. The DNS name of a Service that we know is read as that Service: its
    /// endpoints then follow the cluster without waiting for DNS.
    fn of_host(
        &self,
        target: &StaticTarget,
        tls: Option<UpstreamTls>,
        view: &View<'_>,
    ) -> Result<(Cluster, Option<String>), Fault> {
        let StaticTarget { host, port } = target;
        let port = syntax::port(i32::from(*port))?;
        if let Some(service) = service_name(host).filter(|name| Services::has(name, view)) {
            return Ok((self.of_service(&service, port, tls, view)?, None));
        }
        let written = match host.parse::<IpAddr>() {
            Ok(IpAddr::V6(_)) => format!("[{host}]"),
            Ok(IpAddr::V4(_)) => host.clone(),
            Err(_) => hostname::check_name(host).map(|()| host.clone())?,
        };
        let usual = if tls.is_some() { 443 } else { 80 };
        let authority = if port == usual { written } else { format!("{written}:{port}") };
        let endpoints = Endpoints::Dns { host: host.clone(), port };
        Ok((Cluster { endpoints, connect_timeout: CONNECT_TIMEOUT, tls, credential: None }, Some(authority)))
    }
}

/// The server that a target describes, by the name that all ways to it have in common.
fn server(target: &Target, object: &ObjectRef, view: &View<'_>) -> String {
    let of_service = |name: &Name, port: u16| format!("service/{name}/{port}");
    match (&target.service, &target.host) {
        (Some(service), _) => of_service(&Name::new(&object.name.namespace, &service.name), service.port),
        (None, Some(StaticTarget { host, port })) => {
            match service_name(host).filter(|name| Services::has(name, view)) {
                Some(service) => of_service(&service, *port),
                None => format!("{}:{port}", host.to_ascii_lowercase()),
            }
        }
        (None, None) => String::new(),
    }
}

fn service_name(host: &str) -> Option<Name> {
    let name = host.strip_suffix(".cluster.local").unwrap_or(host).strip_suffix(".svc")?;
    let (service, namespace) = name.split_once('.')?;
    (!namespace.contains('.')).then(|| Name::new(namespace, service))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns_names_of_services_are_recognised() {
        let rows = [
            ("the short form", "math.default.svc", Some(Name::new("default", "math"))),
            ("the full form", "math.default.svc.cluster.local", Some(Name::new("default", "math"))),
            ("a pod of a headless service", "pod-0.math.default.svc", None),
            ("no namespace", "math.svc", None),
            ("a host outside", "gitlab.com", None),
        ];
        for (row, host, expected) in rows {
            assert_eq!(service_name(host), expected, "{row}");
        }
    }
}
