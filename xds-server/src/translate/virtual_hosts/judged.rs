//! What protects a way, and its key in the table: once for all ways that are protected alike.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use toolward_policy::config::RoutePolicy;

use crate::model::RouteAction;
use crate::resources::ObjectRef;

use super::super::candidates::Standing;
use super::super::hostname::Hostname;
use super::super::in_place::{self, Claimant};
use super::super::keys;
use super::super::metadata::Told;
use super::super::narrowing::Complaint;
use super::super::notes;
use super::super::posture::{self, Posture};
use super::super::problems::{Fault, route_ref};
use super::super::protection::{Identity, Levels, Protection, Way};
use super::super::routes::ParsedRule;
use super::super::same_server::{ServerWay, Strictness};
use super::{AttachedRoute, Builder, World};

/// What ways have in common that are protected alike.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Alike<'b> {
    policies: Identity,
    leads_to_server: bool,
    /// Whether one of the backends is of a kind that is there to be protected.
    to_own_kind: bool,
    is_remote: bool,
    is_partly_remote: bool,
    /// Whether a backend is shown a credential.
    has_credential: bool,
    for_many_hosts: bool,
    has_several_servers: bool,
    /// Whether what restricts it may not be known.
    in_doubt: bool,
    /// Policies that protected the way and are gone.
    deleted: BTreeSet<&'b ObjectRef>,
    /// Policies that may have been meant for the way.
    lost: Rc<BTreeSet<&'b ObjectRef>>,
}

/// What protects a way, and its key in the table.
pub(super) struct Judged {
    protection: Protection,
    posture: Posture,
    key: String,
    /// How it is protected; none: it is not.
    strictness: Option<Strictness>,
    /// The policy that says which client the clients are.
    client: Option<Claimant>,
}

impl<'b> Builder<'b, '_> {
    /// The policy key of a rule, what clients are told that are to log in, the policy that says which client they are, and what
    /// the rule is to others.
    pub(super) fn policy(
        &mut self,
        listener: &str,
        attached: &AttachedRoute<'_>,
        index: usize,
        rule: &ParsedRule,
    ) -> (String, Option<Told>, Option<Claimant>, Standing) {
        let AttachedRoute { route, hostnames, vouched } = attached;
        let leads_to_server = matches!(rule.action, RouteAction::Forward(_));
        let one_by_one = hostnames.iter().all(|hostname| matches!(hostname, Hostname::Exact(_)));
        let way = Way {
            gateway: self.gateway,
            listener,
            route: &route.name,
            rule: rule.name.as_deref(),
            backends: &rule.policy_targets,
        };
        let levels = Levels::new(self.world.policies, &way, self.world.view);
        let ways = Alike {
            policies: levels.identity(),
            leads_to_server,
            to_own_kind: posture::leads_to_own_kind(&way),
            is_remote: rule.is_remote,
            is_partly_remote: rule.is_partly_remote,
            has_credential: rule.has_credential,
            for_many_hosts: leads_to_server && !one_by_one,
            has_several_servers: rule.has_several_servers(),
            in_doubt: leads_to_server && vouched.is_some_and(|vouched| !vouched.contains(rule)),
            deleted: if leads_to_server { self.deleted(&way, &rule.namespaces) } else { BTreeSet::new() },
            lost: if leads_to_server { self.lost(&way, &rule.namespaces) } else { Rc::default() },
        };
        let to_own_kind = ways.to_own_kind;
        let Some(judged) = self.judged(&levels, ways) else {
            return (self.table.add_harmless(), None, None, Standing::default());
        };
        let Judged { protection, posture, key, strictness, client } = &*judged;
        let outcome = self.protection.entry(Arc::clone(&route.name)).or_default();
        outcome.policies.extend(protection.attached.iter().cloned());
        match posture {
            Posture::Unprotected if leads_to_server => drop(outcome.unprotected.insert(index)),
            Posture::OpenedOnPurpose if leads_to_server => drop(outcome.opened.insert(index)),
            _ => {}
        }
        let is_closed = protection.is_closed();
        if leads_to_server && !is_closed {
            let strictness = strictness.clone().filter(|_| *posture == Posture::Protected);
            let (servers, guarded) = (Arc::clone(&rule.servers), levels.guards_backends());
            outcome.ways.insert(ServerWay { rule: index, servers, strictness, guarded });
        }
        if let RoutePolicy::Closed { reason, message } = &protection.policy {
            outcome.closed.insert(index, format!("{message} ({reason})"));
        }
        if let Some((field, fault)) = protection.fault(index) {
            self.problems.of(route_ref(&route.name)).report(field, fault);
        }
        for Complaint { policy, field, fault } in protection.complaints(&route.name) {
            self.problems.of(policy.clone()).report(field, fault.clone());
        }
        for Complaint { policy, field, fault } in &protection.notes {
            self.problems.of(policy.clone()).note(field, fault.clone());
        }
        if let Some(applying) = &protection.applying {
            outcome.applying.insert(index, applying.clone());
            let note = Fault::new(notes::APPLYING, applying.clone());
            self.problems.of(route_ref(&route.name)).note(format!("spec.rules[{index}]"), note);
        }
        if let Some(note) = notes::of_way(&protection.policy).filter(|_| leads_to_server) {
            self.problems.of(route_ref(&route.name)).note(format!("spec.rules[{index}]"), note);
        }
        let told = protection.told().filter(|_| leads_to_server);
        let is_protected = leads_to_server && *posture == Posture::Protected;
        let standing = Standing { is_protected, is_endpoint: is_protected || (leads_to_server && to_own_kind) };
        (key.clone(), told, client.clone().filter(|_| leads_to_server), standing)
    }

    /// The policies that may have been meant for a way: of the route's namespace, the Gateway's, and its backends'.
    /// They may be many, and are the same for all routes of a namespace.
    fn lost(&mut self, way: &Way<'_>, namespaces: &[String]) -> Rc<BTreeSet<&'b ObjectRef>> {
        let World { policies, view, .. } = *self.world;
        let found = self.lost.entry((way.route.namespace.clone(), namespaces.to_vec())).or_insert_with(|| {
            let own = [&way.route.namespace, &way.gateway.namespace];
            let all = own.into_iter().chain(namespaces);
            Rc::new(all.flat_map(|namespace| policies.lost(namespace, view)).collect())
        });
        Rc::clone(found)
    }

    /// The policies that protected a way until they were deleted, as long as its route was not written since.
    fn deleted(&self, way: &Way<'_>, namespaces: &[String]) -> BTreeSet<&'b ObjectRef> {
        let World { policies, view, .. } = *self.world;
        policies.deleted(way, namespaces, view)
    }

    /// What these policies make of ways like this one; `None`: there is neither a policy nor anything to protect.
    fn judged(&mut self, levels: &Levels<'_>, ways: Alike<'b>) -> Option<Rc<Judged>> {
        if let Some(judged) = self.judged.get(&ways) {
            return Some(Rc::clone(judged));
        }
        let protection = levels.protection();
        if protection.is_none() && !ways.leads_to_server {
            return None;
        }
        let posture = Posture::of(protection.as_ref().map(|protection| &protection.policy), levels.are_opened());
        let protection = protection.unwrap_or_else(|| Protection::none(ways.is_remote));
        let is_closed = protection.is_closed();
        let lends = ways.has_credential && !protection.verifies_callers();
        let closing =
            posture::closing(self.world.options.unprotected_routes, ways.to_own_kind, &ways.lost, &ways.deleted);
        let unprotected = closing.filter(|_| posture == Posture::Unprotected && ways.leads_to_server);
        let protection = match unprotected {
            _ if ways.in_doubt && !is_closed => protection.in_doubt(),
            _ if lends && !is_closed => protection.lent(),
            Some(fault) => protection.unprotected(fault, &ways.lost, &ways.deleted),
            None => {
                let protection = if ways.has_several_servers {
                    protection.for_several_servers(ways.is_partly_remote)
                } else {
                    protection
                };
                if ways.for_many_hosts { protection.for_many_hosts() } else { protection }
            }
        };
        // Where nobody is let in, no client is to be told who it is; but nobody takes a host over while keys are missing.
        let claims_nothing = match &protection.policy {
            RoutePolicy::Closed { reason, .. } => !keys::waits_for_keys(reason),
            _ => false,
        };
        let client = in_place::of_way(levels.inside_first(), self.world.view).filter(|_| !claims_nothing);
        let strictness = Strictness::of(&protection.policy);
        let key = self.table.add(protection.clone());
        let judged = Rc::new(Judged { key, posture, strictness, protection, client });
        self.judged.insert(ways, Rc::clone(&judged));
        Some(judged)
    }
}
