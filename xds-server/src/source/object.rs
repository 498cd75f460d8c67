//! One object: from a JSON value to the type of its kind.

use gateway_api::httproutes::HttpRoute;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::likeness;
use super::lists;
use super::nulls::Nulls;
use super::route;
use crate::agentgateway;
use crate::problem::Problem;
use crate::resources::mcp::{self, TargetRef};
use crate::resources::{Asks, Current, Malformed, ObjectRef, Protects, Resources};

/// What became of an object.
pub(super) enum Read {
    /// It is among the resources now.
    Ok,
    /// It is of a kind that is none of our business.
    Foreign,
    /// It is of a kind of ours, but can't be read.
    Malformed(Box<Malformed>),
}

/// What is wrong with an object.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) field: String,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// All that is wrong with an object: something is.
struct Faults {
    first: Fault,
    others: Vec<Fault>,
}

impl Faults {
    /// Whether there is none.
    fn check(faults: impl IntoIterator<Item = Fault>) -> Result<(), Self> {
        let mut faults = faults.into_iter();
        faults.next().map_or(Ok(()), |first| Err(Self { first, others: faults.collect() }))
    }
}

impl From<Fault> for Faults {
    fn from(first: Fault) -> Self {
        Self { first, others: Vec::new() }
    }
}

pub(super) const GATEWAY_API: &str = "gateway.networking.k8s.io";

/// Groups of which every kind matters: one that can't be honoured is said.
const GROUPS: [&str; 4] = [GATEWAY_API, mcp::GROUP, agentgateway::GROUP, agentgateway::ENTERPRISE_GROUP];

pub(super) fn is_cluster_scoped(kind: &str) -> bool {
    matches!(kind, "GatewayClass" | "Namespace")
}

/// Where an object comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Somebody wrote it.
    File,
    /// An API server gives it, which may know more fields of its own kinds than we do.
    ApiServer,
}

/// Reads an object into the resources.
pub(super) fn read(
    object: &ObjectRef,
    version: &str,
    origin: Origin,
    document: Value,
    resources: &mut Resources,
) -> Read {
    let name = object.name.clone();
    let mut remains = Remains::of(object, &document);
    let group = object.group.as_str();
    let nulls = Nulls::of(group, origin);
    let result = match (group, object.kind.as_str(), version) {
        ("", "Service", "v1") => native(document, origin).map(|it| drop(resources.services.insert(name, it))),
        ("", "ConfigMap", "v1") => native(document, origin).map(|it| drop(resources.config_maps.insert(name, it))),
        ("", "Namespace", "v1") => native(document, origin).map(|it| drop(resources.namespaces.insert(name, it))),
        ("", "Secret", "v1") => native(document, origin).map(|it| drop(resources.secrets.insert(name, with_data(it)))),
        ("discovery.k8s.io", "EndpointSlice", "v1") => {
            native(document, origin).map(|it| drop(resources.endpoint_slices.insert(name, it)))
        }
        (GATEWAY_API, "GatewayClass", "v1" | "v1beta1") => {
            parse_by_schema(object, document, nulls).map(|it| drop(resources.gateway_classes.insert(name, it)))
        }
        (GATEWAY_API, "Gateway", "v1" | "v1beta1") => {
            parse_by_schema(object, document, nulls).map(|it| drop(resources.gateways.insert(name, it)))
        }
        (GATEWAY_API, "HTTPRoute", "v1" | "v1beta1") => {
            parse_by_schema(object, document, nulls).map(|it| drop(resources.http_routes.insert(name, it)))
        }
        (GATEWAY_API, "ReferenceGrant", "v1" | "v1beta1") => {
            parse_by_schema(object, document, nulls).map(|it| drop(resources.reference_grants.insert(name, it)))
        }
        (GATEWAY_API, "BackendTLSPolicy", "v1") => {
            parse_by_schema(object, document, nulls).map(|it| drop(resources.backend_tls_policies.insert(name, it)))
        }
        (mcp::GROUP, "MCPBackend", "v1alpha1") => {
            parse_by_schema(object, document, nulls).map(|it| drop(resources.backends.insert(object.clone(), it)))
        }
        (mcp::GROUP, "MCPAccessPolicy", "v1alpha1") => {
            parse_by_schema(object, document, nulls).map(|it| drop(resources.policies.insert(object.clone(), it)))
        }
        (agentgateway::GROUP, "AgentgatewayBackend", "v1alpha1") => {
            parse(document, nulls).map(|it: agentgateway::AgentgatewayBackend| {
                drop(resources.backends.insert(object.clone(), it.into_backend()));
            })
        }
        (agentgateway::GROUP, "AgentgatewayPolicy", "v1alpha1")
        | (agentgateway::ENTERPRISE_GROUP, "EnterpriseAgentgatewayPolicy", "v1alpha1") => parse(document, nulls)
            .and_then(|it: agentgateway::AgentgatewayPolicy| it.into_policy().map_err(invalid))
            .map(|it| drop(resources.policies.insert(object.clone(), it))),
        _ if GROUPS.contains(&group) || likeness::is_ours(object) => Err(unsupported(object, version).into()),
        _ => return Read::Foreign,
    };
    match result {
        Ok(()) => Read::Ok,
        Err(faults) => {
            if let Some(route) = remains.route.take() {
                resources.http_routes.insert(object.name.clone(), route);
            }
            Read::Malformed(Box::new(remains.with(object, faults)))
        }
    }
}

/// Takes in an object of which a part can't be read at all.
pub(super) fn refuse(object: &ObjectRef, document: &Value, fault: Fault, resources: &mut Resources) {
    let mut remains = Remains::of(object, document);
    if let Some(route) = remains.route.take() {
        resources.http_routes.insert(object.name.clone(), route);
    }
    resources.mark(object, remains.with(object, fault.into()));
}

/// Says what is wrong with a part of an object that is there all the same.
pub(super) fn complain(object: &ObjectRef, fault: Fault, resources: &mut Resources) {
    let remains = Remains::of(object, &Value::Null);
    resources.mark(object, remains.with(object, fault.into()));
}

/// What is known of an object that turns out not to be readable.
struct Remains {
    generation: Option<i64>,
    protects: Protects,
    asks: Asks,
    current: Current,
    route: Option<HttpRoute>,
}

impl Remains {
    fn of(object: &ObjectRef, document: &Value) -> Self {
        Self {
            generation: document.pointer("/metadata/generation").and_then(Value::as_i64),
            protects: protects(object, document),
            asks: asks(object, document),
            current: current(document),
            route: is_route(object).then(|| route::remains(document)),
        }
    }

    fn with(self, object: &ObjectRef, faults: Faults) -> Malformed {
        let Self { generation, protects, asks, current, .. } = self;
        let problem = |fault: Fault| Problem {
            file: None,
            resource: Some(object.clone()),
            field: fault.field,
            reason: fault.reason.to_owned(),
            message: fault.message,
        };
        let (problem, others) = (problem(faults.first), faults.others.into_iter().map(problem).collect());
        Malformed { generation, protects, asks, current, problem, others }
    }
}

/// A Secret as an API server would keep it: what was written as text is data as well.
fn with_data(mut secret: Secret) -> Secret {
    for (name, text) in secret.string_data.take().unwrap_or_default() {
        secret.data.get_or_insert_default().insert(name, ByteString(text.into_bytes()));
    }
    secret
}

/// Takes an object out of the resources, if it is there.
pub(super) fn remove(object: &ObjectRef, resources: &mut Resources) {
    let name = &object.name;
    resources.malformed.remove(object);
    match object.kind.as_str() {
        "Service" => drop(resources.services.remove(name)),
        "ConfigMap" => drop(resources.config_maps.remove(name)),
        "Namespace" => drop(resources.namespaces.remove(name)),
        "Secret" => drop(resources.secrets.remove(name)),
        "EndpointSlice" => drop(resources.endpoint_slices.remove(name)),
        "GatewayClass" => drop(resources.gateway_classes.remove(name)),
        "Gateway" => drop(resources.gateways.remove(name)),
        "HTTPRoute" => drop(resources.http_routes.remove(name)),
        "ReferenceGrant" => drop(resources.reference_grants.remove(name)),
        "BackendTLSPolicy" => drop(resources.backend_tls_policies.remove(name)),
        // The maps of backends and policies have the group in their keys.
        _ => {
            resources.backends.remove(object);
            resources.policies.remove(object);
        }
    }
}

/// A policy that can't be read closes what it was meant for; in doubt, its whole namespace.
fn protects(object: &ObjectRef, document: &Value) -> Protects {
    if (object.group.as_str(), object.kind.as_str()) == (GATEWAY_API, "BackendTLSPolicy") {
        return Protects::Services(services(document));
    }
    if !likeness::may_be_policy(object, document) {
        return Protects::Nothing;
    }
    let targets = document.pointer("/spec/targetRefs").filter(|targets| {
        // A list could be read as the fields of a target in their order.
        targets.as_array().is_some_and(|targets| targets.iter().all(Value::is_object))
    });
    let targets = targets.and_then(|targets| Vec::<TargetRef>::deserialize(targets).ok());
    match targets {
        Some(targets) if !targets.is_empty() => Protects::Targets(targets),
        _ => Protects::Namespace,
    }
}

/// The Services that a BackendTLSPolicy names; none where one of them can't be read.
fn services(document: &Value) -> Vec<String> {
    let targets = document.pointer("/spec/targetRefs").and_then(Value::as_array);
    let name = |target: &Value| target.get("name").and_then(Value::as_str).map(str::to_owned);
    targets.and_then(|targets| targets.iter().map(name).collect()).unwrap_or_default()
}

fn current(document: &Value) -> Current {
    let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    Current {
        uid: text("/metadata/uid"),
        version: text("/metadata/resourceVersion"),
        status: document.get("status").cloned(),
    }
}

fn asks(object: &ObjectRef, document: &Value) -> Asks {
    let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let asks = match (object.group.as_str(), object.kind.as_str()) {
        (GATEWAY_API, "GatewayClass") => text("/spec/controllerName").map(Asks::Controller),
        (GATEWAY_API, "Gateway") => text("/spec/gatewayClassName").map(Asks::Class),
        _ => None,
    };
    asks.unwrap_or(Asks::Nobody)
}

fn is_route(object: &ObjectRef) -> bool {
    (object.group.as_str(), object.kind.as_str()) == (GATEWAY_API, "HTTPRoute")
}

fn unsupported(object: &ObjectRef, version: &str) -> Fault {
    Fault {
        field: "kind".to_owned(),
        reason: "UnsupportedKind",
        message: format!("{} of {}/{version} is not supported{}", object.kind, object.group, likeness::meant(object)),
    }
}

fn invalid((field, message): (&str, &str)) -> Faults {
    Fault { field: field.to_owned(), reason: "UnsupportedValue", message: message.to_owned() }.into()
}

/// Reads a kind of Kubernetes' own.
fn native<T: DeserializeOwned>(document: Value, origin: Origin) -> Result<T, Faults> {
    match origin {
        Origin::File => parse(document, Nulls::Absent),
        Origin::ApiServer => serde_path_to_error::deserialize(document)
            .map_err(|error| invalid_at(&error.path().to_string(), &error.into_inner()).into()),
    }
}

/// Reads a kind of which there is a schema.
fn parse_by_schema<T: DeserializeOwned>(object: &ObjectRef, document: Value, nulls: Nulls) -> Result<T, Faults> {
    Faults::check(lists::faults(object, &document))?;
    parse(document, nulls)
}

fn invalid_at(path: &str, error: &serde_json::Error) -> Fault {
    Fault { field: field(path), reason: "Invalid", message: error.to_string() }
}

/// Reads a value into its type. All fields that the type does not know are faults: what was written but is not read
/// would be a promise not kept.
fn parse<T: DeserializeOwned>(document: Value, nulls: Nulls) -> Result<T, Faults> {
    Faults::check(nulls.faults(&document))?;
    let mut unknown = Vec::new();
    let mut track = serde_path_to_error::Track::new();
    let parsed = serde_ignored::deserialize(
        serde_path_to_error::Deserializer::new(document, &mut track),
        |path: serde_ignored::Path<'_>| unknown.push(field(&path.to_string())),
    );
    let parsed: Result<T, serde_json::Error> = parsed;
    unknown.retain(|field| !matches!(field.as_str(), "apiVersion" | "kind") && !field.starts_with("status"));
    let parsed = parsed.map_err(|error| invalid_at(&track.path().to_string(), &error))?;
    Faults::check(unknown.into_iter().map(|field| Fault {
        field,
        reason: "UnknownField",
        message: "this field is not known; correct its name or remove it".to_owned(),
    }))?;
    Ok(parsed)
}

/// `spec.rules.0.?.matches.1` as `spec.rules[0].matches[1]`; `?` stands for an Option on the way.
fn field(path: &str) -> String {
    let mut field = String::new();
    for part in path.split('.').filter(|part| !matches!(*part, "?" | "")) {
        if part.bytes().all(|byte| byte.is_ascii_digit()) {
            field.push_str(&format!("[{part}]"));
        } else {
            if !field.is_empty() {
                field.push('.');
            }
            field.push_str(part);
        }
    }
    field
}
