//! The policy table of one port, as its routes are added.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use toolward_policy::config::{Authentication, BindingKey, FilterConfig, RoutePolicy, SessionBinding, Transport};
use toolward_policy::policy::PolicyTable;

use super::TranslateOptions;
use super::problems::{Fault, Reporter};
use super::protection::Protection;
use crate::resources::Name;

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
    pub(super) fn new(listener: &str, gateway: &Name, options: &TranslateOptions) -> Self {
        let TranslateOptions { limits, access_log, .. } = options.clone();
        let listener = Some(listener.to_owned());
        let binding_key_ids = options.binding_keys_of(gateway).iter().map(BindingKey::id).collect();
        Self { config: FilterConfig { listener, limits, access_log, binding_key_ids, ..FilterConfig::default() } }
    }

    /// Adds what protects a route, and gives the key for the route.
    pub(super) fn add(&mut self, mut protection: Protection) -> String {
        if let (RoutePolicy::Protected { protocol, .. }, []) =
            (&mut protection.policy, self.config.binding_key_ids.as_slice())
        {
            protocol.session_binding = SessionBinding::None;
        }
        self.config.key_sets.extend(protection.key_sets);
        // INVARIANT: a key names one policy. Should two differ under one name, both stay.
        let mut key = protection.key;
        while self.config.policies.get(&key).is_some_and(|other| **other != protection.policy) {
            key.push('\'');
        }
        self.put(key.clone(), protection.policy);
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
        while self.config.policies.get(&key).is_some_and(|other| **other != metadata) {
            key.push('\'');
        }
        self.put(key.clone(), metadata);
        key
    }

    /// Adds the metadata of an issuer that a policy names, and gives the key for their route.
    pub(super) fn add_issuer_metadata(&mut self, policy: &str, document: &str) -> String {
        let key = format!("issuer: {policy}");
        let metadata = RoutePolicy::IssuerMetadata { document: document.to_owned() };
        self.put(key.clone(), metadata);
        key
    }

    /// Adds which client is to be whoever would register at an issuer that a policy names, and gives the key for the route.
    pub(super) fn add_registration(&mut self, policy: &str, document: &str) -> String {
        let key = format!("registration: {policy}");
        let registration = RoutePolicy::Registration { document: document.to_owned() };
        self.put(key.clone(), registration);
        key
    }

    /// Adds what closes a route, and gives the key for it.
    pub(super) fn add_closed(&mut self, key: &str, fault: &Fault) -> String {
        let policy = RoutePolicy::Closed { reason: fault.reason.to_owned(), message: fault.message.clone() };
        self.add(Protection::new(key.to_owned(), BTreeSet::new(), policy))
    }

    /// What a key stands for.
    pub(super) fn policy(&self, key: &str) -> Option<&RoutePolicy> {
        self.config.policies.get(key).map(|policy| &**policy)
    }

    fn put(&mut self, key: String, policy: RoutePolicy) {
        self.config.policies.insert(key, Arc::new(policy));
    }

    /// The key for a route without any policy behind which there is nothing to protect.
    pub(super) fn add_harmless(&mut self) -> String {
        self.put(HARMLESS.to_owned(), RoutePolicy::Open {});
        HARMLESS.to_owned()
    }

    /// How messages travel where this key judges.
    pub(super) fn transport(&self, key: &str) -> Transport {
        match self.policy(key) {
            Some(RoutePolicy::Protected { protocol, .. }) => protocol.transport,
            _ => Transport::default(),
        }
    }

    /// Whether what the filter says on a route depends on the URL by which clients know it.
    pub(super) fn names_endpoint(&self, key: &str) -> bool {
        match self.policy(key) {
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
        let FilterConfig { limits, binding_key_ids, key_sets, policies, .. } = &mut self.config;
        let mut named = BTreeSet::new();
        for (key, policy) in policies.iter_mut() {
            let own: BTreeSet<String> = names(policy).map(str::to_owned).collect();
            let of_own = key_sets.iter().filter(|(name, _)| own.contains(*name));
            let alone = FilterConfig {
                limits: limits.clone(),
                binding_key_ids: binding_key_ids.clone(),
                key_sets: of_own.map(|(name, set)| (name.clone(), set.clone())).collect(),
                policies: BTreeMap::from([(key.clone(), policy.clone())]),
                ..FilterConfig::default()
            };
            if let Err(error) = PolicyTable::new(&alone) {
                let message = format!("the filter does not take the policies {key:?}: {error}");
                *policy = Arc::new(RoutePolicy::Closed { reason: "Invalid".to_owned(), message: message.clone() });
                reporter.report("", Fault::new("Invalid", message));
            } else {
                named.extend(own);
            }
        }
        key_sets.retain(|name, _| named.contains(name));
        self.config
    }
}

/// The key sets that a policy names.
fn names(policy: &RoutePolicy) -> impl Iterator<Item = &str> {
    let issuers = match policy {
        RoutePolicy::Protected { authentication: Authentication::Jwt { issuers, .. }, .. } => issuers.as_slice(),
        _ => &[],
    };
    issuers.iter().map(|issuer| issuer.key_set.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use toolward_policy::config::{KeySet, Limits};

    use super::*;
    use crate::objects::Objects;
    use crate::translate::problems::{Problems, gateway_ref};

    #[test]
    fn a_key_set_that_the_filter_does_not_take_closes_its_own_policies_alone() {
        let key_set = |n: &str| -> KeySet {
            let material = json!({ "kty": "RSA", "n": n, "e": "AQAB" });
            serde_json::from_value(json!({ "keys": [{ "algorithms": ["RS256"], "material": material }] })).unwrap()
        };
        // Past the limit that holds where none is set.
        let large = format!("{}AAAB", "v".repeat(1020));
        let limits = Limits { rsa_bits: 8192, ..Limits::default() };
        let mut table = Table::new(
            "apps/gw/80",
            &Name::new("apps", "gw"),
            &TranslateOptions { limits, ..TranslateOptions::default() },
        );
        for (name, set) in [("good", key_set(&large)), ("bad", key_set("AQAB"))] {
            let issuer = json!({ "issuer": "https://a", "audience": { "oneOf": ["x"] }, "keySet": name });
            let authentication = json!({ "jwt": { "policy": name, "issuers": [issuer] } });
            let policy = serde_json::from_value(json!({ "protected": { "authentication": authentication } })).unwrap();
            let mut protection = Protection::new(format!("route: {name}"), BTreeSet::new(), policy);
            protection.key_sets.insert(name.to_owned(), set);
            table.add(protection);
        }
        let (origins, name) = (Objects::default(), Name::new("apps", "gw"));
        let mut problems = Problems::new(&origins);
        let config = table.finish(&mut problems.of(gateway_ref(&name)));
        assert!(PolicyTable::new(&config).is_ok());
        let is_closed = |key: &str| matches!(*config.policies[key], RoutePolicy::Closed { .. });
        assert_eq!((is_closed("route: good"), is_closed("route: bad")), (false, true));
        assert_eq!(config.key_sets.keys().collect::<Vec<_>>(), ["good"]);
        assert_eq!(problems.into_sorted().len(), 1);
    }
}
