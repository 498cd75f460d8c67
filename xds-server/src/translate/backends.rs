//! What backendRefs name: Services, and MCP servers that are described by a resource of their own.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{Cluster, Endpoints, UpstreamTls};
use crate::problem::Problem;
use crate::resources::mcp::{self, MCPBackend, StaticTarget, Target};
use crate::resources::{Name, ObjectRef};

use super::changing::Changing;
use super::credentials;
use super::grants;
use super::host;
use super::outside::Place;
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
    pub(super) fn service(&self, route: &ObjectRef, reference: &BackendRef<'_>, view: &View<'_>) -> Option<Name> {
        let object = object(reference.group, reference.kind, &reference.name);
        grants::check(view, route, &object).ok()?;
        if (reference.group, reference.kind) == ("", "Service") {
            return Some(object.name);
        }
        let target = view.backend(&object)?.spec.targets.first()?;
        if let Some(service) = &target.service {
            return Some(Name::new(&object.name.namespace, &service.name));
        }
        match Place::of(&object, target.host.as_ref()?, &self.services, view) {
            Ok(Place::Service(service)) => Some(service),
            _ => None,
        }
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
            endpoints: Endpoints::Addresses(self.services.endpoints(name, port, view)?),
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
        let host = target.host.as_ref().map(|target| host::parse(&target.host)).transpose();
        let host = host.map_err(at(".static"))?.map(|(spelling, _)| spelling);
        let tls = target.tls.as_ref();
        let tls = tls.map(|tls| upstream_tls::of_target(tls, object, &target.name, host.as_deref(), view));
        let tls = tls.transpose().map_err(|(field, fault)| (format!(".tls{field}"), fault))?;
        let credential = target.credentials.as_ref().map(|written| credentials::credential(written, object, view));
        let credential = credential.transpose().map_err(at(".credentials"))?;
        let Located { cluster, server, host } = match (&target.service, &target.host) {
            (Some(service), None) => {
                let name = Name::new(&object.name.namespace, &service.name);
                self.at_service(&name, service.port, tls, view).map_err(at(".service"))?
            }
            (None, Some(host)) => self.at_host(object, host, tls, view).map_err(at(".static"))?,
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

    fn at_service(&self, name: &Name, port: u16, tls: Option<UpstreamTls>, view: &View<'_>) -> Result<Located, Fault> {
        let cluster = self.of_service(name, port, tls, view)?;
        Ok(Located { cluster, server: format!("service/{name}/{port}"), host: None })
    }

    /// A host that leads to a Service is read as that Service: its endpoints then follow the cluster without waiting for DNS.
    fn at_host(
        &self,
        object: &ObjectRef,
        target: &StaticTarget,
        tls: Option<UpstreamTls>,
        view: &View<'_>,
    ) -> Result<Located, Fault> {
        let port = syntax::port(i32::from(target.port))?;
        let (host, addresses) = match Place::of(object, target, &self.services, view)? {
            Place::Service(service) => return self.at_service(&service, port, tls, view),
            Place::Outside { host, addresses } => (host, addresses),
        };
        let written = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let usual = if tls.is_some() { 443 } else { 80 };
        let authority = if port == usual { written } else { format!("{written}:{port}") };
        let endpoints = Place::endpoints(&host, addresses, port);
        let cluster = Cluster { endpoints, connect_timeout: CONNECT_TIMEOUT, tls, credential: None };
        Ok(Located { cluster, server: format!("{host}:{port}"), host: Some(authority) })
    }
}

/// The server of a target.
struct Located {
    cluster: Cluster,
    /// As in [`Upstream::server`].
    server: String,
    /// As in [`Upstream::host`].
    host: Option<String>,
}
