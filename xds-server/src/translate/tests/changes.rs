//! A world that changes step by step means at each step what it would mean if it were read for the first time, and is rendered
//! alike. The objects are those of all golden cases, each in every version that a case has of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use toolward_policy::config::{Algorithm, Key, KeyMaterial, KeySet, Mode};

use super::cases;
use crate::key_sets::{Failing, KeySets, Known};
use crate::model::{Gateway, GatewayName, Model};
use crate::names::{Names, Resolved};
use crate::networks::BackendNetworks;
use crate::render::{RenderOptions, render_after, render_gateway};
use crate::resources::mcp::{AnonymousSpec, AuthenticationSpec, ProtocolSpec};
use crate::resources::{Deleted, Name, ObjectRef, Protects, Resources};
use crate::snapshot::GatewaySnapshot;
use crate::source::documents::{self, File};
use crate::translate::{Quotas, TranslateOptions, Translator, UnprotectedRoutes, host_names, places, translate};

fn key() -> Key {
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".to_owned();
    Key { kid: None, algorithms: vec![Algorithm::EdDSA], material: KeyMaterial::Ed25519 { x } }
}

/// Walks from each case.
const WALKS: u64 = 3;

/// Steps of a walk.
const STEPS: usize = 24;

#[test]
fn step_by_step_a_world_means_what_it_means_at_once() {
    let versions = versions();
    let mut meanings = 0;
    for (case, manifests) in cases() {
        for walk in 0..WALKS {
            meanings += Walk::new(&case, &manifests, walk, &versions).run();
        }
    }
    assert!(meanings > 2000, "only {meanings} steps changed what the world means");
}

#[test]
fn where_endpoints_move_listeners_stay_what_they_are() {
    let mut moved = 0;
    // What leads to pods of others is closed until they are gone.
    for (case, manifests) in cases().into_iter().filter(|(case, _)| !case.starts_with("public-")) {
        let mut world = super::resources(&case, &manifests);
        let mut translator = Translator::default();
        let last = translator.translate(&world, &super::options(&case));
        let slices: Vec<Name> = world.endpoint_slices.keys().cloned().collect();
        for slice in slices {
            world.endpoint_slices.get_mut(&slice).unwrap().endpoints.clear();
        }
        let next = translator.translate(&world, &super::options(&case));
        for (name, gateway) in &next.model.gateways {
            let last = last.model.gateways.get(name).unwrap();
            let listeners = gateway.listeners.iter().zip(&last.listeners);
            assert!(listeners.into_iter().all(|((_, next), (_, last))| Arc::ptr_eq(next, last)), "{case}: {name:?}");
            moved += usize::from(gateway.clusters != last.clusters);
        }
    }
    assert!(moved > 10, "only {moved} Gateways have endpoints that moved");
}

/// Every object by itself, as it stands in the cases.
fn versions() -> BTreeMap<ObjectRef, Vec<Resources>> {
    let mut versions: BTreeMap<ObjectRef, Vec<Resources>> = BTreeMap::new();
    for (case, manifests) in cases() {
        for resources in objects(&case, &manifests) {
            let object = resources.origins.keys().next().unwrap().clone();
            versions.entry(object).or_default().push(resources);
        }
    }
    versions
}

fn objects(case: &str, manifests: &str) -> Vec<Resources> {
    let file = |document: &str| File { path: PathBuf::from(format!("{case}.yaml")), content: document.into() };
    // Those that are of no concern leave an empty world.
    manifests.split("\n---\n").filter_map(|document| documents::read(&[file(document)]).ok()).collect()
}

struct Walk<'v> {
    name: String,
    random: u64,
    turn: u64,
    versions: &'v BTreeMap<ObjectRef, Vec<Resources>>,
    there: BTreeMap<ObjectRef, Resources>,
    world: Resources,
    options: TranslateOptions,
    translator: Translator,
    rendered: BTreeMap<GatewayName, (Arc<Gateway>, GatewaySnapshot)>,
}

impl<'v> Walk<'v> {
    fn new(case: &str, manifests: &str, walk: u64, versions: &'v BTreeMap<ObjectRef, Vec<Resources>>) -> Self {
        let name = format!("{case}, walk {walk}");
        let random = name.bytes().fold(walk, |random, byte| random.wrapping_mul(31).wrapping_add(byte.into()));
        use UnprotectedRoutes::{Allow, ByKind, Deny};
        let unprotected_routes = [ByKind, Allow, Deny][(random % 3) as usize];
        let is_restricted = case.starts_with("public-") || walk == 2;
        let backend_networks = if is_restricted { BackendNetworks::only(&[]) } else { BackendNetworks::Any };
        // Some have more than they may.
        let quotas = match walk {
            1 => Quotas { route: 3, namespace_routes: 6, gateway_routes: 9 },
            _ => Quotas::default(),
        };
        let options = TranslateOptions { unprotected_routes, backend_networks, quotas, ..TranslateOptions::default() };
        let (world, there) = (Resources::default(), BTreeMap::new());
        let (translator, rendered) = (Translator::default(), BTreeMap::new());
        let mut walk = Self { name, random, turn: 0, versions, there, world, options, translator, rendered };
        for object in objects(case, manifests) {
            walk.put(object);
        }
        walk
    }

    /// Gives how often the meaning changed.
    fn run(mut self) -> usize {
        let mut last = self.translator.translate(&self.world, &self.options);
        self.render(&last.model, "at first");
        let mut changes = 0;
        for step in 0..STEPS {
            let done = self.step();
            let next = self.translator.translate(&self.world, &self.options);
            assert_eq!(next, translate(&self.world, &self.options), "{}, step {step}: {done}", self.name);
            self.render(&next.model, &done);
            changes += usize::from(next != last);
            last = next;
        }
        changes
    }

    fn render(&mut self, model: &Model, done: &str) {
        let options = RenderOptions {
            wasm_file: "/toolward.wasm".to_owned(),
            listener_address: "0.0.0.0".to_owned(),
            system_ca_file: "/ca.pem".to_owned(),
        };
        let mut last = std::mem::take(&mut self.rendered);
        for (name, gateway) in &model.gateways {
            let (last, rendered) = last.remove(name).unwrap_or_default();
            let next = render_after(&last, &rendered, gateway, &options);
            assert_eq!(next, render_gateway(gateway, &options), "{}: {done}", self.name);
            self.rendered.insert(name.clone(), (Arc::clone(gateway), next));
        }
    }

    /// Changes one thing or several at once; gives what.
    fn step(&mut self) -> String {
        let count = 1 + self.below(3);
        let done: Vec<String> = (0..count).map(|_| self.change()).collect();
        done.join(", ")
    }

    fn change(&mut self) -> String {
        match self.below(16) {
            0..3 => {
                let Some(object) = self.one_of_there() else { return "nothing".to_owned() };
                self.remove(&object);
                format!("{object} removed")
            }
            // One that is there, in another version or just told again.
            3..6 => {
                let Some(object) = self.one_of_there() else { return "nothing".to_owned() };
                self.put_version(&object);
                format!("{object} changed")
            }
            6..9 => {
                let number = self.below(self.versions.len());
                let object = self.versions.keys().nth(number).unwrap().clone();
                self.put_version(&object);
                format!("{object} put in")
            }
            9..11 => self.bend(),
            11 => {
                let known = Resources { vouched: None, ..self.world.clone() };
                self.world.vouched = (self.below(2) == 0).then(|| Arc::new(known));
                format!("a kind can't be read: {}", self.world.vouched.is_some())
            }
            12 => self.forget_policy(),
            13..15 => {
                let wanted = host_names(&self.world, &self.options.backend_networks, 3);
                let names = wanted.names.into_keys().filter_map(|name| {
                    let at = |address: &str| Resolved::At(vec![address.parse().unwrap()]);
                    let resolved = match self.below(5) {
                        0 => return None,
                        1 => Resolved::Failed("no such name".to_owned()),
                        2 => at("127.0.0.1"),
                        3 => at("2600::5"),
                        _ => at("93.184.216.34"),
                    };
                    Some((name, resolved))
                });
                self.options.names = Arc::new(Names(names.collect()));
                "names resolved".to_owned()
            }
            _ => {
                let known = places(&self.world).into_iter().filter_map(|place| {
                    let failing = || Failing { last_good: 1, error: "down".to_owned() };
                    let known = match self.below(4) {
                        0 => return None,
                        1 => Known::Unfetched("down".to_owned()),
                        2 => Known::Expired(failing()),
                        _ => Known::Good {
                            keys: KeySet {
                                keys: if self.below(4) == 0 { Vec::new() } else { vec![key()] },
                                place: None,
                            },
                            left_out: Vec::new(),
                            removed: Vec::new(),
                            metadata: None,
                            failing: Some(failing()),
                        },
                    };
                    Some((place, known))
                });
                self.options.key_sets = Arc::new(KeySets(known.collect()));
                "key sets fetched".to_owned()
            }
        }
    }

    /// Deletes a policy as an API server tells it, or writes a route again.
    fn forget_policy(&mut self) -> String {
        self.turn += 1;
        let turn = self.turn;
        let routes: Vec<Name> = self.world.http_routes.keys().cloned().collect();
        let policies: Vec<ObjectRef> = self.world.policies.keys().cloned().collect();
        if self.below(3) == 0 && !routes.is_empty() {
            let route = routes[self.below(routes.len())].clone();
            self.world.written.insert(route.clone(), turn);
            return format!("{route} written");
        }
        if policies.is_empty() {
            return "nothing".to_owned();
        }
        let policy = policies[self.below(policies.len())].clone();
        let targets = self.world.policies.get(&policy).unwrap().spec.target_refs.clone();
        let protected = if self.below(4) == 0 { Protects::Namespace } else { Protects::Targets(targets) };
        self.remove(&policy);
        self.world.deleted.insert(policy.clone(), Deleted { protected, turn });
        format!("{policy} deleted")
    }

    /// Makes a policy ask for nothing, or for something that is not there.
    fn bend(&mut self) -> String {
        let policies: Vec<ObjectRef> = self.world.policies.keys().cloned().collect();
        if policies.is_empty() {
            return "nothing".to_owned();
        }
        let policy = policies[self.below(policies.len())].clone();
        let kind = self.below(6);
        let spec = &mut self.world.policies.get_mut(&policy).unwrap().spec;
        match kind {
            0 => spec.target_refs.iter_mut().for_each(|target| target.name.push('s')),
            1 => spec.target_refs.iter_mut().for_each(|target| target.kind = target.kind.to_lowercase()),
            2 => spec.target_refs.clear(),
            3 => {
                spec.authentication = None;
                spec.protocol = Some(ProtocolSpec::default());
                spec.authorization.iter_mut().for_each(|section| section.mode = Mode::DryRun);
            }
            4 => spec.authentication = None,
            _ => {
                let anonymous = Some(AnonymousSpec {});
                spec.authentication = Some(AuthenticationSpec { anonymous, ..AuthenticationSpec::default() });
            }
        }
        // What is removed is what is there now.
        if let Some(object) = self.there.get_mut(&policy) {
            object.policies.share(policy.clone(), self.world.policies.get(&policy).unwrap().clone());
        }
        format!("{policy} bent in way {kind}")
    }

    fn one_of_there(&mut self) -> Option<ObjectRef> {
        let count = self.there.len();
        if count == 0 {
            return None;
        }
        let number = self.below(count);
        self.there.keys().nth(number).cloned()
    }

    fn put_version(&mut self, object: &ObjectRef) {
        let versions = &self.versions[object];
        let number = self.below(versions.len());
        self.put(versions[number].clone());
    }

    fn put(&mut self, object: Resources) {
        let name = object.origins.keys().next().unwrap().clone();
        self.remove(&name);
        self.world.deleted.remove(&name);
        self.world.replace(&Resources::default(), &object);
        self.there.insert(name, object);
    }

    fn remove(&mut self, object: &ObjectRef) {
        if let Some(last) = self.there.remove(object) {
            self.world.replace(&last, &Resources::default());
        }
    }

    /// A number below this one, by a generator that gives the same ones each time.
    fn below(&mut self, limit: usize) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) as usize % limit
    }
}
