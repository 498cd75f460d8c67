//! What policies can name, and what a name of theirs means.

use crate::resources::mcp::TargetRef;
use crate::resources::{Name, ObjectRef};

use super::backends::is_mcp_kind;
use super::gateways::Gateways;
use super::problems::{Fault, GATEWAY_API, object};
use super::suggest;
use super::view::View;

/// What a policy can be attached to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Target {
    Gateway(Name),
    /// A listener by name.
    Listener(Name, String),
    Route(Name),
    /// A rule by name.
    Rule(Name, String),
    Backend(ObjectRef),
}

/// What a targetRef means.
pub(super) enum Found {
    Target(Target),
    /// The named part is not there. What it would be a part of is closed instead: in doubt deny.
    OnlyWhole(Target, Fault),
    /// It is there and can't be read, so that nothing leads to it.
    Unreadable(Fault),
    /// It is not there, or of a kind that is not understood: what was meant is not known. With a question to the reader.
    Nothing(Fault, String),
}

/// What policies can name.
pub(super) struct Targets<'v, 'r> {
    pub(super) view: &'v View<'r>,
    pub(super) gateways: &'v Gateways,
}

impl Targets<'_, '_> {
    /// Says so where a policy is for a Gateway that we have nothing to do with.
    pub(super) fn check_owner(&self, target: &Target) -> Result<(), Fault> {
        let (Target::Gateway(name) | Target::Listener(name, _)) = target else { return Ok(()) };
        if self.gateways.get(name, self.view).is_some() {
            return Ok(());
        }
        let message = format!(
            "the Gateway {name} is not of a GatewayClass that is ours and accepted: nothing is protected there"
        );
        Err(Fault::new("TargetNotFound", message))
    }

    pub(super) fn find(&self, written: &TargetRef, namespace: &str) -> Found {
        let TargetRef { group, kind, name, section_name } = written;
        let name = Name::new(namespace, name);
        let missing = || self.missing(written, namespace);
        let no_part = |part: &str, section: &str| {
            let message =
                format!("the {kind} {name} has no {part} {section:?}; all of it is closed until this is right");
            Fault::new("TargetNotFound", message)
        };
        match (group.as_str(), kind.as_str()) {
            (GATEWAY_API, "Gateway") => match (self.view.gateway(&name), section_name) {
                (None, _) => missing(),
                (Some(_), None) => Found::Target(Target::Gateway(name)),
                (Some(gateway), Some(section)) => {
                    if gateway.spec.listeners.iter().any(|listener| listener.name == *section) {
                        Found::Target(Target::Listener(name, section.clone()))
                    } else {
                        let fault = no_part("listener", section);
                        Found::OnlyWhole(Target::Gateway(name), fault)
                    }
                }
            },
            (GATEWAY_API, "HTTPRoute") => match (self.view.route(&name), section_name) {
                (None, _) => missing(),
                (Some(_), None) => Found::Target(Target::Route(name)),
                (Some(route), Some(section)) => {
                    if route.spec.rules.iter().flatten().any(|rule| rule.name.as_ref() == Some(section)) {
                        Found::Target(Target::Rule(name, section.clone()))
                    } else {
                        let fault = no_part("rule", section);
                        Found::OnlyWhole(Target::Route(name), fault)
                    }
                }
            },
            (group, kind) if is_mcp_kind(group, kind) => {
                let backend = object(group, kind, &name);
                match (self.view.backend(&backend).is_some(), section_name) {
                    (false, _) => missing(),
                    (true, None) => Found::Target(Target::Backend(backend)),
                    (true, Some(_)) => {
                        let message = "a backend has no sections; all of it is closed until sectionName is gone";
                        Found::OnlyWhole(Target::Backend(backend), Fault::unsupported(message))
                    }
                }
            }
            (group, kind) => {
                let message = format!(
                    "a policy can't be attached to a {kind} of {group:?}; name a Gateway, HTTPRoute or MCPBackend"
                );
                Found::Nothing(Fault::new("InvalidKind", message), suggest::kind(group, kind))
            }
        }
    }

    fn missing(&self, written: &TargetRef, namespace: &str) -> Found {
        let TargetRef { group, kind, name, .. } = written;
        let name = Name::new(namespace, name);
        if self.view.malformed(&object(group, kind, &name)).is_some() {
            return Found::Unreadable(Fault::new("TargetNotFound", format!("the {kind} {name} can't be read")));
        }
        let message = format!("there is no {kind} {name}, and a policy can't name what is in another namespace");
        Found::Nothing(Fault::new("TargetNotFound", message), suggest::name(written, namespace, self.view))
    }
}
