//! The sections of one policy, checked and in the form that the filter gets.

use std::collections::BTreeMap;
use std::sync::Arc;

use toolward_policy::config::{
    Audience, Authentication, Batches, FilterConfig, Gate, Issuer, KeySet, Limits, Mode, ProtectedResource, Protocol,
    RoutePolicy, Rule, SessionBinding, Transport,
};
use toolward_policy::jwt::key::RSA_BITS;
use toolward_policy::path::{ArgumentPath, ClaimPath};
use toolward_policy::policy::PolicyTable;

use crate::resources::Name;
use crate::resources::mcp::{
    AuthenticationSpec, AuthorizationSpec, IssuerSpec, MCPAccessPolicySpec, Override, PassthroughSpec, ProtocolSpec,
    ResourceSpec,
};

use super::in_place::{self, IssuerAtGateway};
use super::keys;
use super::oauth;
use super::posture;
use super::problems::Fault;
use super::syntax;
use super::view::View;
use super::when;

/// Largest accepted difference of clocks, in seconds.
const MAX_CLOCK_SKEW: u64 = 60;

/// Accepted difference of clocks where a policy does not say, in seconds.
const DEFAULT_CLOCK_SKEW: u32 = 30;

/// What a policy asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sections {
    pub(super) authentication: Option<Asked>,
    /// What more specific policies may do with the authentication section.
    pub(super) overriding: Override,
    /// Whether it opens on purpose what no policy protects.
    pub(super) opens: bool,
    pub(super) gate: Option<Gate>,
    pub(super) protocol: ProtocolSpec,
    /// What is to be said of it though it can be carried out, with the fields.
    pub(super) notes: Vec<(String, Fault)>,
}

/// What is asked of callers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// A token of an issuer.
    Token(Box<IssuerTable>),
    /// Whatever the server asks for.
    Passthrough {
        /// How clients reach the gateway.
        public_url: Option<String>,
    },
}

impl Asked {
    /// In the form that the filter gets; `policy` is whose section it is.
    pub(super) fn authentication(&self, policy: String) -> Authentication {
        match self {
            Self::Token(table) => table.authentication(policy),
            Self::Passthrough { public_url } => Authentication::Passthrough { public_url: public_url.clone() },
        }
    }

    /// The metadata of an issuer, for clients that look for them at the gateway.
    pub(super) fn issuer_at_gateway(&self) -> Option<&IssuerAtGateway> {
        match self {
            Self::Token(table) => table.issuer_at_gateway.as_ref(),
            Self::Passthrough { .. } => None,
        }
    }

    /// The key sets that it names.
    pub(super) fn key_sets(&self) -> BTreeMap<String, KeySet> {
        match self {
            Self::Token(table) => table.key_sets.clone(),
            Self::Passthrough { .. } => BTreeMap::new(),
        }
    }
}

/// Accepted issuers with the key sets that they name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct IssuerTable {
    pub(super) issuers: Vec<Issuer>,
    pub(super) key_sets: BTreeMap<String, KeySet>,
    pub(super) resource: Option<ProtectedResource>,
    pub(super) scope_implies: BTreeMap<String, Vec<String>>,
    /// The first issuer of which there are metadata.
    pub(super) issuer_at_gateway: Option<IssuerAtGateway>,
}

impl IssuerTable {
    fn authentication(&self, policy: String) -> Authentication {
        let Self { issuers, resource, scope_implies, .. } = self.clone();
        Authentication::Jwt { policy, issuers, resource, scope_implies }
    }
}

/// Checks a policy, all of it. The faults come with their fields, and there is at least one.
pub(super) fn check(
    name: &Name,
    spec: &MCPAccessPolicySpec,
    view: &View<'_>,
) -> Result<Sections, Vec<(String, Fault)>> {
    let (mut faults, mut notes) = (Vec::new(), Vec::new());
    let written = spec.authentication.as_ref();
    let opens = written.is_some_and(|authentication| authentication.anonymous.is_some());
    faults.extend(written.filter(|_| opens).into_iter().flat_map(posture::anonymous_faults));
    // What opens asks for nothing, so nothing that asks is replaced by it.
    let authentication = written.filter(|_| !opens).map(|authentication| match authentication.passthrough {
        None => {
            let table = issuers(authentication, name, view, &mut faults, &mut notes);
            Asked::Token(Box::new(table))
        }
        Some(PassthroughSpec {}) => passthrough(authentication, &mut faults),
    });
    if let Some(origins) = spec.protocol.as_ref().and_then(|protocol| protocol.allowed_origins.as_ref()) {
        faults.extend(oauth::origin_faults(origins));
    }
    let gate = spec.authorization.as_ref().map(|authorization| gate(name, authorization, &mut faults));
    if written.is_none() && gate.is_none() && spec.protocol.is_none() {
        let message = "the policy says nothing; add authentication, authorization or protocol";
        faults.push(("spec".to_owned(), invalid(message)));
    }
    let protocol = spec.protocol.clone().unwrap_or_default();
    let overriding = spec.authentication.as_ref().map(|section| section.overriding).unwrap_or_default();
    let sections = Sections { authentication, overriding, opens, gate, protocol, notes };
    if faults.is_empty()
        && let Err(error) = PolicyTable::new(&sections.probe())
    {
        faults.push(("spec".to_owned(), invalid(error.to_string())));
    }
    if faults.is_empty() { Ok(sections) } else { Err(faults) }
}

impl Sections {
    /// Whether they ask for something: a token, or that rules let a call pass.
    pub(super) fn ask(&self) -> bool {
        self.authentication.is_some() || self.gate.as_ref().is_some_and(|gate| gate.mode == Mode::Enforce)
    }

    /// A configuration with nothing but this policy, to see whether the filter would take it.
    fn probe(&self) -> FilterConfig {
        let asked = self.authentication.as_ref();
        let key_sets = asked.map(Asked::key_sets).unwrap_or_default();
        let authentication = match asked {
            Some(asked) => asked.authentication(String::new()),
            None => Authentication::Anonymous {},
        };
        // Keys for binding are none of a policy's business.
        let protocol = Protocol { session_binding: SessionBinding::None, ..Protocol::default() };
        let gates = self.gate.iter().cloned().collect();
        let policy = RoutePolicy::Protected { authentication, gates, protocol };
        let policies = BTreeMap::from([("policy".to_owned(), Arc::new(policy))]);
        // What is too large for the limit that is set was left out of the key sets already.
        let limits = Limits { rsa_bits: *RSA_BITS.end(), ..Limits::default() };
        FilterConfig { limits, key_sets, policies, ..FilterConfig::default() }
    }
}

/// What one policy says of the protocol.
#[derive(Clone, Copy, Debug)]
pub(super) struct Voice<'s> {
    pub(super) said: &'s ProtocolSpec,
    /// Whether the default is meant where it says nothing: it asks for tokens, and may not be replaced.
    pub(super) keeps_defaults: bool,
}

/// What several policies ask for together, level by level from the outside to the inside. What is looser than the default
/// needs one that says so, none that says otherwise, and none further outside that keeps to the default.
pub(super) fn protocol(levels: &[Vec<Voice<'_>>]) -> Protocol {
    let all = || levels.iter().flatten().map(|voice| voice.said);
    Protocol {
        batches: loosened(levels, |said| said.batches, Batches::Allow),
        session_binding: loosened(levels, |said| said.session_binding, SessionBinding::None),
        transport: transport(all().filter_map(|said| said.transport)),
        // Which pages a browser lets ask makes no caller of anybody: where nobody further outside says, the inside may.
        allowed_origins: oauth::common_origins(all().filter_map(|section| section.allowed_origins.as_deref())),
    }
}

/// What holds where requests may go one of several ways.
pub(super) fn strictest(ways: impl Iterator<Item = Protocol>) -> Protocol {
    let ways: Vec<Protocol> = ways.collect();
    let all_are = |is_loose: fn(&Protocol) -> bool| !ways.is_empty() && ways.iter().all(is_loose);
    Protocol {
        batches: if all_are(|way| way.batches == Batches::Allow) { Batches::Allow } else { Batches::default() },
        session_binding: if all_are(|way| way.session_binding == SessionBinding::None) {
            SessionBinding::None
        } else {
            SessionBinding::default()
        },
        transport: transport(ways.iter().map(|way| way.transport)),
        allowed_origins: oauth::common_origins(ways.iter().map(|way| way.allowed_origins.as_slice())),
    }
}

/// No transport is looser than the other, so no policy keeps to one by saying nothing.
fn transport(mut said: impl Iterator<Item = Transport>) -> Transport {
    let first = said.next().unwrap_or_default();
    if said.all(|other| other == first) { first } else { Transport::default() }
}

fn loosened<T: Copy + PartialEq + Default>(
    levels: &[Vec<Voice<'_>>],
    says: impl Fn(&ProtocolSpec) -> Option<T>,
    loose: T,
) -> T {
    if levels.iter().flatten().any(|voice| says(voice.said).is_some_and(|said| said != loose)) {
        return T::default();
    }
    let is_loose = |voice: &Voice<'_>| says(voice.said).is_some();
    let Some(first) = levels.iter().position(|level| level.iter().any(is_loose)) else { return T::default() };
    let kept = levels.iter().take(first).flatten().any(|voice| voice.keeps_defaults);
    if kept { T::default() } else { loose }
}

fn invalid(message: impl Into<String>) -> Fault {
    Fault::new("Invalid", message)
}

fn passthrough(spec: &AuthenticationSpec, faults: &mut Vec<(String, Fault)>) -> Asked {
    let mut fault = |part: &str, message: &str| faults.push((format!("spec.authentication.{part}"), invalid(message)));
    if !spec.issuers.is_empty() {
        fault("passthrough", "exactly one of issuers and passthrough must be given");
    }
    if !spec.scope_implies.is_empty() {
        fault("scopeImplies", "with passthrough there are no tokens to look into");
    }
    let ResourceSpec { public_url, scopes, name, documentation } = spec.resource.clone().unwrap_or_default();
    if !scopes.is_empty() || name.is_some() || documentation.is_some() {
        fault(
            "resource",
            "with passthrough the server says of itself what clients are told; only publicURL can be given",
        );
    }
    faults.extend(oauth::public_url_fault(public_url.as_deref()));
    Asked::Passthrough { public_url }
}

fn issuers(
    spec: &AuthenticationSpec,
    policy: &Name,
    view: &View<'_>,
    faults: &mut Vec<(String, Fault)>,
    notes: &mut Vec<(String, Fault)>,
) -> IssuerTable {
    const FIELD: &str = "spec.authentication.issuers";
    let mut table = IssuerTable::default();
    if spec.issuers.is_empty() {
        faults.push((FIELD.to_owned(), invalid("at least one issuer is needed")));
    }
    for (index, issuer) in spec.issuers.iter().enumerate() {
        let field = format!("{FIELD}[{index}]");
        let mut fault = |part: &str, fault: Fault| faults.push((format!("{field}.{part}"), fault));
        if issuer.issuer.is_empty() {
            fault("issuer", invalid("the issuer can't be empty"));
        }
        if spec.issuers.iter().take(index).any(|other| other.issuer == issuer.issuer) {
            fault("issuer", invalid(format!("the issuer {:?} stands twice", issuer.issuer)));
        }
        let audience = oauth::audience(issuer).unwrap_or_else(|found| {
            fault("audiences", found);
            Audience::Any {}
        });
        let clock_skew_seconds = clock_skew(issuer).unwrap_or_else(|found| {
            fault("clockSkew", found);
            DEFAULT_CLOCK_SKEW
        });
        match keys::resolve(issuer, policy, view) {
            Err(found) => fault("jwks", found),
            Ok(set) => {
                let at_gateway = set.metadata.map(|metadata| at_gateway(spec, issuer, metadata)).transpose();
                let at_gateway = at_gateway.unwrap_or_else(|found| {
                    fault("client", found);
                    None
                });
                table.issuer_at_gateway = table.issuer_at_gateway.take().or(at_gateway);
                notes.extend(set.notes.into_iter().map(|note| (format!("{field}.jwks"), note)));
                table.issuers.push(Issuer {
                    issuer: issuer.issuer.clone(),
                    audience,
                    algorithms: issuer.algorithms.clone(),
                    key_set: set.name.clone(),
                    key_source: Some(set.source),
                    clock_skew_seconds,
                    token_type: issuer.token_type,
                });
                table.key_sets.insert(set.name, set.keys);
            }
        }
    }
    for (part, found) in in_place::faults(spec) {
        let index = spec.issuers.iter().position(|issuer| issuer.client.is_some()).unwrap_or_default();
        faults.push((format!("{FIELD}[{index}].client{part}"), found));
    }
    table.resource = oauth::resource(spec, faults);
    table.scope_implies = oauth::scope_implies(spec, faults);
    table
}

/// What clients find at the gateway of an issuer with these metadata.
fn at_gateway(spec: &AuthenticationSpec, issuer: &IssuerSpec, metadata: String) -> Result<IssuerAtGateway, Fault> {
    match (&issuer.client, &spec.resource) {
        (Some(client), Some(ResourceSpec { public_url: Some(public_url), .. })) => {
            in_place::stand_in(&metadata, public_url, client)
        }
        _ => Ok(IssuerAtGateway { metadata, registration: None }),
    }
}

fn clock_skew(issuer: &IssuerSpec) -> Result<u32, Fault> {
    let Some(text) = &issuer.clock_skew else { return Ok(DEFAULT_CLOCK_SKEW) };
    let skew = syntax::duration(text).map_err(|fault| invalid(fault.message))?;
    match u32::try_from(skew.as_secs()) {
        Ok(seconds) if skew.subsec_nanos() == 0 && u64::from(seconds) <= MAX_CLOCK_SKEW => Ok(seconds),
        _ => Err(invalid(format!("a clock skew is of whole seconds and at most {MAX_CLOCK_SKEW}s; {text:?} is not"))),
    }
}

fn gate(name: &Name, spec: &AuthorizationSpec, faults: &mut Vec<(String, Fault)>) -> Gate {
    let mut rules = Vec::new();
    for (index, rule) in spec.rules.iter().enumerate() {
        let field = format!("spec.authorization.rules[{index}]");
        let twice = spec.rules.iter().take(index).any(|other| other.name == rule.name);
        let when = rule.when.as_deref().map(when::parse).transpose().unwrap_or_else(|fault| {
            faults.push((format!("{field}.when"), fault));
            None
        });
        let rule = rule.with(when);
        faults.extend(rule_faults(&rule, twice).into_iter().map(|(part, fault)| (format!("{field}{part}"), fault)));
        rules.push(rule);
    }
    Gate { policy: name.to_string(), mode: spec.mode, denial: spec.denial, step_up: spec.step_up, rules }
}

fn rule_faults(rule: &Rule, twice: bool) -> Vec<(String, Fault)> {
    let mut faults = Vec::new();
    if rule.name.is_empty() {
        faults.push((".name".to_owned(), invalid("a rule needs a name, by which the log tells what it granted")));
    } else if twice {
        faults.push((".name".to_owned(), invalid(format!("the rule name {:?} stands twice", rule.name))));
    }
    let lists = [
        ("tools", &rule.tools),
        ("prompts", &rule.prompts),
        ("resources", &rule.resources),
        ("methods", &rule.methods),
    ];
    for (list, names) in lists {
        if names.iter().any(String::is_empty) {
            faults.push((format!(".{list}"), invalid("a name can't be empty")));
        }
    }
    faults.extend(rule.scopes.iter().filter_map(|scope| Some((".scopes".to_owned(), oauth::scope_fault(scope)?))));
    let conditions = [("claims", &rule.claims), ("arguments", &rule.arguments)];
    let conditions =
        conditions.iter().flat_map(|(list, all)| all.iter().enumerate().map(move |(index, one)| (list, index, one)));
    for (list, index, condition) in conditions {
        let path = &condition.path;
        let read = match *list {
            "claims" => ClaimPath::parse(path).map(|_| ()),
            _ => ArgumentPath::parse(path).map(|_| ()),
        };
        if let Err(fault) = read {
            let message = format!("the path {path:?} can't be read: {fault}");
            faults.push((format!(".{list}[{index}].path"), invalid(message)));
        }
        if condition.test.is_empty() {
            faults.push((format!(".{list}[{index}].in"), invalid("a list of values to compare with can't be empty")));
        }
    }
    let has_others = !rule.resources.is_empty() || !rule.methods.is_empty();
    if has_others && !rule.arguments.is_empty() {
        let message = "only tools and prompts have arguments; give resources and methods a rule without them";
        faults.push((".arguments".to_owned(), invalid(message)));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_policies_none_may_deny_the_old_transport() {
        use Transport::{HTTPSSE, StreamableHTTP};
        let said = |transport| ProtocolSpec { transport, ..ProtocolSpec::default() };
        let rows = [
            ("nobody says", vec![said(None)], StreamableHTTP),
            ("one says", vec![said(None), said(Some(HTTPSSE)), said(None)], HTTPSSE),
            ("they differ", vec![said(Some(HTTPSSE)), said(Some(StreamableHTTP))], StreamableHTTP),
        ];
        for (row, sections, expected) in rows {
            let levels: Vec<_> = sections.iter().map(|said| vec![Voice { said, keeps_defaults: true }]).collect();
            assert_eq!(protocol(&levels).transport, expected, "{row}");
        }
    }

    #[test]
    fn of_several_ways_the_strictest_holds() {
        let loose = Protocol {
            batches: Batches::Allow,
            session_binding: SessionBinding::None,
            transport: Transport::HTTPSSE,
            allowed_origins: vec!["https://a".to_owned(), "https://b".to_owned()],
        };
        let of_b = Protocol { allowed_origins: vec!["https://b".to_owned()], ..loose.clone() };
        let rows = [
            ("none", vec![], Protocol::default()),
            ("one", vec![loose.clone()], loose.clone()),
            ("one is strict", vec![loose.clone(), Protocol::default()], Protocol::default()),
            ("the other one is", vec![Protocol::default(), loose.clone()], Protocol::default()),
            ("the origins of both", vec![loose, of_b.clone()], of_b),
        ];
        for (row, ways, expected) in rows {
            assert_eq!(strictest(ways.into_iter()), expected, "{row}");
        }
    }

    #[test]
    fn of_several_policies_the_strictest_holds() {
        use SessionBinding::{None as Unbound, Subject};
        let rows = [
            ("nobody says", vec![], Subject),
            ("nothing is said", vec![(None, false)], Subject),
            ("one is loose", vec![(None, false), (Some(Unbound), false)], Unbound),
            ("both are", vec![(Some(Unbound), true), (Some(Unbound), true)], Unbound),
            ("the inner one is strict", vec![(Some(Unbound), true), (Some(Subject), true)], Subject),
            ("the outer one is strict", vec![(Some(Subject), true), (Some(Unbound), true)], Subject),
            ("the outer one asks for tokens and says nothing", vec![(None, true), (Some(Unbound), true)], Subject),
            ("the inner one says nothing", vec![(Some(Unbound), false), (None, true)], Unbound),
            (
                "one in the middle says nothing",
                vec![(Some(Unbound), true), (None, true), (Some(Unbound), true)],
                Unbound,
            ),
        ];
        for (row, levels, expected) in rows {
            let specs: Vec<(ProtocolSpec, bool)> = levels
                .into_iter()
                .map(|(session_binding, keeps)| (ProtocolSpec { session_binding, ..ProtocolSpec::default() }, keeps))
                .collect();
            let levels: Vec<_> = specs
                .iter()
                .map(|(said, keeps_defaults)| vec![Voice { said, keeps_defaults: *keeps_defaults }])
                .collect();
            assert_eq!(protocol(&levels).session_binding, expected, "{row}");
        }
    }
}
