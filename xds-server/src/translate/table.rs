//! The policy table of one port, as its routes are added.

use std::collections::BTreeMap;

use toolward_policy::config::{Authentication, FilterConfig, RoutePolicy, SessionBinding, Transport};
use toolward_policy::policy::PolicyTable;

use super::TranslateOptions;
use super::problems::{Fault, Reporter};
use super::protection::Protection;

/// The key of routes behind which there is nothing to protect. Keys of protections have a colon in them.
const HARMLESS: &str = "harmless";

/// A table that grows.
#[derive(Debug)]
pub(super) struct Table {
    config: FilterConfig,
}

impl Table {
    /// A key is there only as long as a route has it. Envoy gets the table before the routes: should it refuse the routes,
    /// what was open and is to be closed is closed by the table alone, once no route of the port is meant to be open.
    pub(super) fn new(listener: &str, options: &TranslateOptions) -> Self {
        let TranslateOptions { limits, access_log, binding_keys, .. } = options.clone();
        let listener = Some(listener.to_owned());
        Self { config: FilterConfig { listener, limits, access_log, binding_keys, ..FilterConfig::default() } }
    }

    /// Adds what protects a route, and gives the key for the route.
    pub(super) fn add(&mut self, mut protection: Protection) -> String {
        if let (RoutePolicy::Protected { protocol, .. }, []) =
            (&mut protection.policy, self.config.binding_keys.as_slice())
        {
            protocol.session_binding = SessionBinding::None;
        }
        self.config.key_sets.extend(protection.key_sets);
        // INVARIANT: a key names one policy. Should two differ under one name, both stay.
        let mut key = protection.key;
        while self.config.policies.get(&key).is_some_and(|other| *other != protection.policy) {
            key.push('\'');
        }
        self.config.policies.insert(key.clone(), protection.policy);
        key
    }

    /// Adds the metadata of an endpoint that a policy protects, and gives the key for their route. Without a path they are
    /// those of every endpoint of the policy.
    pub(super) fn add_metadata(&mut self, policy: &str, metadata: RoutePolicy, path: Option<&str>) -> String {
        // Routes with one policy may lead to different servers.
        let server = match &metadata {
            RoutePolicy::RemoteMetadata { server, .. } => server.as_deref(),
            _ => None,
        };
        let of: Vec<&str> = path.into_iter().chain(server).collect();
        let of = if of.is_empty() { String::new() } else { format!(" of {}", of.join(" at ")) };
        let mut key = format!("metadata{of}: {policy}");
        while self.config.policies.get(&key).is_some_and(|other| *other != metadata) {
            key.push('\'');
        }
        self.config.policies.insert(key.clone(), metadata);
        key
    }

    /// Adds the metadata of an issuer that a policy names, and gives the key for their route.
    pub(super) fn add_issuer_metadata(&mut self, policy: &str, document: &str) -> String {
        let key = format!("issuer: {policy}");
        let metadata = RoutePolicy::IssuerMetadata { document: document.to_owned() };
        self.config.policies.insert(key.clone(), metadata);
        key
    }

    /// Adds which client is to be whoever would register at an issuer that a policy names, and gives the key for the route.
    pub(super) fn add_registration(&mut self, policy: &str, document: &str) -> String {
        let key = format!("registration: {policy}");
        let registration = RoutePolicy::Registration { document: document.to_owned() };
        self.config.policies.insert(key.clone(), registration);
        key
    }

    /// The key for a route without any policy behind which there is nothing to protect.
    pub(super) fn add_harmless(&mut self) -> String {
        self.config.policies.insert(HARMLESS.to_owned(), RoutePolicy::Open {});
        HARMLESS.to_owned()
    }

    /// How messages travel where this key judges.
    pub(super) fn transport(&self, key: &str) -> Transport {
        match self.config.policies.get(key) {
            Some(RoutePolicy::Protected { protocol, .. }) => protocol.transport,
            _ => Transport::default(),
        }
    }

    /// Whether what the filter says on a route depends on the URL by which clients know it.
    pub(super) fn names_endpoint(&self, key: &str) -> bool {
        match self.config.policies.get(key) {
            Some(RoutePolicy::Metadata { .. } | RoutePolicy::RemoteMetadata { .. } | RoutePolicy::Remote {}) => true,
            Some(RoutePolicy::Protected { authentication, .. }) => match authentication {
                Authentication::Jwt { resource, .. } => resource.is_some(),
                Authentication::Passthrough { .. } => true,
                Authentication::Anonymous {} => false,
            },
            _ => false,
        }
    }

    /// The table, such that the filter takes it. Each policy was checked when it was read; what the filter still would
    /// not take is closed, so that it can't spoil the rest.
    pub(super) fn finish(mut self, reporter: &mut Reporter<'_, '_>) -> FilterConfig {
        if PolicyTable::new(&self.config).is_ok() {
            return self.config;
        }
        let FilterConfig { binding_keys, key_sets, policies, .. } = &mut self.config;
        for (key, policy) in policies.iter_mut() {
            let alone = FilterConfig {
                binding_keys: binding_keys.clone(),
                key_sets: key_sets.clone(),
                policies: BTreeMap::from([(key.clone(), policy.clone())]),
                ..FilterConfig::default()
            };
            if let Err(error) = PolicyTable::new(&alone) {
                let message = format!("the filter does not take the policies {key:?}: {error}");
                *policy = RoutePolicy::Closed { reason: "Invalid".to_owned(), message: message.clone() };
                reporter.report("", Fault::new("Invalid", message));
            }
        }
        self.config
    }
}
