//! A more specific authentication section may narrow the less specific ones on a way, and not replace them.
//!
//! Whoever writes the policy of a route could otherwise let in callers of their own at the gate of the platform. INVARIANT:
//! whom the section that applies admits, every less specific one admits as well, with the same claims and no fewer scopes,
//! unless it says `override: Allow`. What does not narrow closes the way: to apply the outer section in its place would
//! admit callers whom the inner one was meant to keep out.

use std::collections::BTreeSet;

use toolward_policy::config::{Algorithm, Audience, Gate, Issuer, Protocol, Rule, TokenType};

use crate::resources::ObjectRef;
use crate::resources::mcp::Override;

use super::policies::{Attached, Content};
use super::problems::Fault;
use super::sections::{self, Asked, IssuerTable, Sections, Voice};

/// The section of a more specific policy accepts callers that a less specific one does not.
pub const NOT_NARROWER: &str = "AuthenticationNotNarrower";

/// Rules judge callers, and only a more specific policy says who those are.
pub const TOO_SPECIFIC: &str = "AuthenticationTooSpecific";

/// The policies on the way to one server: of the Gateway, the listener, the backend, the route and the rule.
#[derive(Debug)]
pub(super) struct Chain<'l, 'p>(pub(super) [&'l [&'p Attached]; LEVELS]);

/// How many levels a way has.
pub(super) const LEVELS: usize = 5;

/// Which levels are parts of one object.
const OWNERS: [u8; LEVELS] = [0, 0, 1, 2, 2];

/// An authentication section on a way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section<'p> {
    attached: &'p Attached,
    pub(super) asked: &'p Asked,
    overriding: Override,
}

/// What is wrong with a policy where it meets others, with the field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) policy: ObjectRef,
    pub(super) field: String,
    pub(super) fault: Fault,
}

impl<'p> Section<'p> {
    pub(super) fn policy(&self) -> &'p ObjectRef {
        &self.attached.policy
    }

    /// What it accepts and a less specific one does not.
    fn exceeds(&self, outer: &Self) -> Option<String> {
        if outer.overriding == Override::Allow { None } else { wider(self.asked, outer.asked) }
    }

    fn complaint(&self, reason: &'static str, message: String) -> Complaint {
        Complaint { policy: self.policy().clone(), field: self.attached.field(), fault: Fault::new(reason, message) }
    }
}

impl<'p> Chain<'_, 'p> {
    /// The section that applies: the most specific one.
    pub(super) fn applying(&self) -> Option<Section<'p>> {
        self.sections().pop()
    }

    /// What is wrong with the sections together.
    pub(super) fn complaints(&self) -> Vec<Complaint> {
        let sections = self.sections();
        let mut complaints = Vec::new();
        for (index, inner) in sections.iter().enumerate() {
            let mut outer = sections.iter().take(index);
            let found = outer.find_map(|outer| Some((outer, inner.exceeds(outer)?)));
            complaints.extend(found.map(|(outer, what)| {
                let (inner_name, outer_name) = (inner.policy(), outer.policy());
                let message = format!(
                    "{inner_name} accepts what {outer_name} does not: {what}; a more specific policy may only narrow, so this \
                     is closed until {inner_name} accepts no more, or {outer_name} has authentication.override: Allow"
                );
                inner.complaint(NOT_NARROWER, message)
            }));
        }
        complaints.extend(self.too_specific(&sections));
        complaints
    }

    /// Rules that judge callers trust those who say who the callers are: these stand beside them, or further outside. Whoever is
    /// further inside may narrow that, or replace it where the owner of the rules permits it.
    fn too_specific(&self, sections: &[Section<'p>]) -> Option<Complaint> {
        let applying = sections.last().filter(|section| matches!(section.asked, Asked::Token(_)))?;
        let gates = self.owned().filter_map(|(owner, attached)| Some((owner, working(attached)?.gate.as_ref()?)));
        let (_, gate) = gates
            .filter(|(_, gate)| judges_callers(gate))
            .find(|(owner, _)| !self.may_say_who_calls(applying.asked, *owner))?;
        let message = format!(
            "the rules of {} ask for claims or scopes, and no policy as general as that one accepts the tokens that {} \
             accepts: it would decide who passes them; this is closed until {} has an authentication section that it \
             narrows, or one with override: Allow",
            gate.policy,
            applying.policy(),
            gate.policy
        );
        Some(applying.complaint(TOO_SPECIFIC, message))
    }

    /// Whether the rules of an owner trust what this section says of callers.
    fn may_say_who_calls(&self, asked: &Asked, of: u8) -> bool {
        self.owned().any(|(owner, attached)| {
            let Some(Sections { authentication: Some(said), overriding, .. }) = working(attached) else { return false };
            let narrowed = || matches!(said, Asked::Token(_)) && wider(asked, said).is_none();
            (owner == of && *overriding == Override::Allow) || (owner <= of && narrowed())
        })
    }

    /// The policies with the owners of what they are for: policies for one object are in one hand, for a Gateway and its
    /// listeners, for a route and its rules.
    fn owned(&self) -> impl Iterator<Item = (u8, &'p Attached)> {
        OWNERS.into_iter().zip(self.0).flat_map(|(owner, level)| level.iter().map(move |attached| (owner, *attached)))
    }

    /// What the policies of the outermost levels, so many, ask for of the protocol.
    pub(super) fn protocol(&self, levels: usize) -> Protocol {
        let voice = |Sections { authentication, overriding, protocol, .. }: &'p Sections| Voice {
            said: protocol,
            keeps_defaults: matches!(authentication, Some(Asked::Token(_))) && *overriding == Override::Narrow,
        };
        let voices = |level: &&[&'p Attached]| level.iter().filter_map(|one| working(one)).map(voice).collect();
        let levels: Vec<Vec<Voice<'_>>> = self.0.iter().take(levels).map(voices).collect();
        sections::protocol(&levels)
    }

    /// Which of several sections applies, in words; none: there are not several.
    pub(super) fn told(&self) -> Option<String> {
        let sections = self.sections();
        let (applying, outer) = sections.split_last()?;
        let (mut narrowed, mut replaced) = (BTreeSet::new(), BTreeSet::new());
        for section in outer.iter().filter(|section| section.policy() != applying.policy()) {
            let kind = if wider(applying.asked, section.asked).is_none() { &mut narrowed } else { &mut replaced };
            kind.insert(section.policy().to_string());
        }
        let list = |names: BTreeSet<String>| names.into_iter().collect::<Vec<_>>().join(" and ");
        let does = match (narrowed.is_empty(), replaced.is_empty()) {
            (true, true) => return None,
            (false, true) => format!("it narrows {}", list(narrowed)),
            (true, false) => format!("it replaces {}, as override: Allow permits", list(replaced)),
            (false, false) => {
                format!("it narrows {} and replaces {}, as override: Allow permits", list(narrowed), list(replaced))
            }
        };
        Some(format!("the authentication of {} applies: {does}", applying.policy()))
    }

    /// INVARIANT: of one level at most one policy has a section, or the level is closed before.
    fn sections(&self) -> Vec<Section<'p>> {
        let section = |attached: &'p Attached| {
            let Sections { authentication, overriding, .. } = working(attached)?;
            Some(Section { attached, asked: authentication.as_ref()?, overriding: *overriding })
        };
        self.0.iter().copied().flatten().filter_map(|attached| section(attached)).collect()
    }
}

pub(super) fn working(attached: &Attached) -> Option<&Sections> {
    match &*attached.content {
        Content::Working(sections) => Some(sections),
        Content::Broken { .. } => None,
    }
}

/// Whether rules ask who calls.
pub(super) fn judges_callers(gate: &Gate) -> bool {
    gate.rules.iter().any(|rule| !rule.claims.is_empty() || !rule.scopes.is_empty() || names_claims(rule))
}

fn names_claims(rule: &Rule) -> bool {
    rule.when.as_ref().is_some_and(|when| when.names("jwt"))
}

/// What one section accepts and another one does not; nothing: it narrows that one.
fn wider(inner: &Asked, outer: &Asked) -> Option<String> {
    match (inner, outer) {
        (Asked::Token(inner), Asked::Token(outer)) => wider_table(inner, outer),
        (Asked::Passthrough { .. }, Asked::Passthrough { .. }) => None,
        (Asked::Passthrough { .. }, Asked::Token(_)) => Some("with passthrough it asks for no token".to_owned()),
        // The server's own tokens would count no more.
        (Asked::Token(_), Asked::Passthrough { .. }) => {
            Some("tokens of its issuers, where the server is to judge its own".to_owned())
        }
    }
}

fn wider_table(inner: &IssuerTable, outer: &IssuerTable) -> Option<String> {
    let accepts = |issuer: &Issuer| {
        let name = &issuer.issuer;
        let Some(other) = outer.issuers.iter().find(|other| other.issuer == *name) else {
            return Some(format!("the issuer {name}"));
        };
        wider_issuer((issuer, inner), (other, outer)).map(|what| format!("of the issuer {name} {what}"))
    };
    let implied = || {
        let mut pairs = inner.scope_implies.iter().flat_map(|(scope, all)| all.iter().map(move |one| (scope, one)));
        let is_known = |scope: &String, one| outer.scope_implies.get(scope).is_some_and(|all| all.contains(one));
        let (scope, one) = pairs.find(|(scope, one)| !is_known(scope, one))?;
        Some(format!("the scope {scope:?} as {one:?} (scopeImplies)"))
    };
    inner.issuers.iter().find_map(accepts).or_else(implied)
}

fn wider_issuer(
    (inner, inner_table): (&Issuer, &IssuerTable),
    (outer, outer_table): (&Issuer, &IssuerTable),
) -> Option<String> {
    // Key sets are named by their keys, and by the place where they are fetched.
    if inner.key_set != outer.key_set {
        return Some("what other keys sign (jwks)".to_owned());
    }
    let known = algorithms(outer, outer_table);
    if let Some(other) = algorithms(inner, inner_table).into_iter().find(|one| !known.contains(one)) {
        return Some(format!("the algorithm {other:?}"));
    }
    if let Some(audience) = wider_audience((inner, inner_table), (outer, outer_table)) {
        return Some(audience);
    }
    if inner.clock_skew_seconds > outer.clock_skew_seconds {
        return Some(format!("a clock skew of {}s", inner.clock_skew_seconds));
    }
    let any_type = inner.token_type != TokenType::AccessToken && outer.token_type == TokenType::AccessToken;
    any_type.then(|| "other types of tokens (tokenType)".to_owned())
}

/// Those that a policy and its keys allow.
fn algorithms(issuer: &Issuer, table: &IssuerTable) -> Vec<Algorithm> {
    let keys = table.key_sets.get(&issuer.key_set);
    let of_keys = keys.into_iter().flat_map(|set| &set.keys).flat_map(|key| key.algorithms.iter().copied());
    of_keys.filter(|one| issuer.algorithms.is_empty() || issuer.algorithms.contains(one)).collect()
}

fn wider_audience(
    (inner, inner_table): (&Issuer, &IssuerTable),
    (outer, outer_table): (&Issuer, &IssuerTable),
) -> Option<String> {
    let public_url = |table: &IssuerTable| table.resource.as_ref().and_then(|resource| resource.public_url.clone());
    match (&inner.audience, &outer.audience) {
        (_, Audience::Any {}) => None,
        (Audience::Any {}, _) => Some("tokens for any audience".to_owned()),
        (Audience::OneOf(inner), Audience::OneOf(outer)) => {
            let other = inner.iter().find(|audience| !outer.contains(audience))?;
            Some(format!("the audience {other:?}"))
        }
        (Audience::Resource {}, Audience::Resource {}) => (public_url(inner_table) != public_url(outer_table))
            .then(|| "tokens for another URL of the endpoint (resource.publicURL)".to_owned()),
        // In doubt not narrower: which URL an endpoint has is known for each request alone.
        (Audience::OneOf(_), Audience::Resource {}) => {
            Some("audiences that it names, instead of the URL of the endpoint alone".to_owned())
        }
        (Audience::Resource {}, Audience::OneOf(_)) => {
            Some("tokens for the URL of the endpoint, which is none of the audiences".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::resources::mcp::MCPAccessPolicySpec;
    use crate::resources::{Name, Resources};
    use crate::translate::TranslateOptions;
    use crate::translate::view::View;

    /// The section of a policy.
    fn asked(authentication: &Value) -> Asked {
        let spec = json!({ "targetRefs": [], "authentication": authentication });
        let spec: MCPAccessPolicySpec = serde_json::from_value(spec).unwrap();
        let (resources, options) = (Resources::default(), TranslateOptions::default());
        let view = View::new(&resources, &options);
        let sections = sections::check(&Name::new("apps", "p"), &spec, &view);
        sections.unwrap_or_else(|faults| panic!("{authentication}: {faults:?}")).authentication.unwrap()
    }

    fn keys(kid: &str) -> Value {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        json!({ "inline": json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x }] }).to_string() })
    }

    /// RSA keys allow six algorithms.
    fn rsa() -> Value {
        let n = "zXuGYWu5BsnvufLGqmHkiIQ2aCaUskcA76xt5sfGb1Od5VLdK_zWhmqofAm6-HExq71elLg9X3sULqTNsQFEakhpZQ56LFSg2pY6\
                 Re_4PwRcre1B1iy_JTLa758qiknw-u60DIeC1NUkUNHDhKTJP1WXQef03kOPXUEbDfnjJN5zJQxgsDbZ3d3x15_esoDmLCcxBdfG\
                 9OLsHgfXWZyPHGiRbQjUBCw28AD-sLziQMZYeA0KpOFRWEYctuBZDvWUW0g2jswxNtisc4yMpb5ta4AW4U3REes3SfCI1HaDK2JG\
                 EDorq_DKaVNugWtALV67xhJRkIwHmFt5a_oAAvbzPQ";
        json!({ "inline": json!({ "keys": [{ "kty": "RSA", "kid": "r", "n": n, "e": "AQAB" }] }).to_string() })
    }

    /// An issuer with some fields changed; null takes one away.
    fn issuer(changes: Value) -> Value {
        let mut issuer =
            json!({ "issuer": "https://a", "audiences": ["x", "y"], "jwks": keys("k"), "clockSkew": "30s" });
        let members = issuer.as_object_mut().unwrap();
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => drop(members.remove(name)),
                value => drop(members.insert(name.clone(), value.clone())),
            }
        }
        issuer
    }

    fn issuers(all: &[Value]) -> Value {
        json!({ "issuers": all })
    }

    fn with(mut section: Value, name: &str, value: Value) -> Value {
        section[name] = value;
        section
    }

    #[test]
    fn a_section_narrows_or_what_it_accepts_beyond_is_named() {
        let plain = || issuers(&[issuer(json!({}))]);
        let one = |changes: Value| issuers(&[issuer(changes)]);
        let other = || issuer(json!({ "issuer": "https://b" }));
        let resource = |url: Option<&str>| {
            let section = one(json!({ "audiences": null }));
            url.map_or(section.clone(), |url| with(section, "resource", json!({ "publicURL": url })))
        };
        let implies = |all: &[&str]| with(plain(), "scopeImplies", json!([{ "scope": "s", "implies": all }]));
        let strict = |changes: Value| {
            let mut all = json!({ "jwks": rsa() });
            all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            one(all)
        };
        let through = || json!({ "passthrough": {} });
        let rows: Vec<(&str, Value, Value, Option<&str>)> = vec![
            ("the same", plain(), plain(), None),
            ("fewer issuers", plain(), issuers(&[issuer(json!({})), other()]), None),
            ("another issuer", issuers(&[other()]), plain(), Some("the issuer https://b")),
            ("one more issuer", issuers(&[issuer(json!({})), other()]), plain(), Some("the issuer https://b")),
            ("an issuer in another case", one(json!({ "issuer": "https://A" })), plain(), Some("https://A")),
            ("an issuer with a slash", one(json!({ "issuer": "https://a/" })), plain(), Some("https://a/")),
            ("other keys", one(json!({ "jwks": keys("l") })), plain(), Some("jwks")),
            ("keys that are fetched somewhere", plain(), one(json!({ "jwks": rsa() })), Some("jwks")),
            ("fewer audiences", one(json!({ "audiences": ["y"] })), plain(), None),
            ("another audience", one(json!({ "audiences": ["y", "z"] })), plain(), Some("the audience \"z\"")),
            ("any audience", one(json!({ "audiences": ["*"] })), plain(), Some("any audience")),
            ("audiences instead of any", plain(), one(json!({ "audiences": ["*"] })), None),
            ("the endpoint instead of any", resource(None), one(json!({ "audiences": ["*"] })), None),
            ("the endpoint instead of audiences", resource(None), plain(), Some("URL of the endpoint")),
            ("audiences instead of the endpoint", plain(), resource(None), Some("audiences that it names")),
            ("the endpoint in both", resource(None), resource(None), None),
            ("the endpoint by one URL", resource(Some("https://g")), resource(Some("https://g")), None),
            (
                "the endpoint by another URL",
                resource(Some("https://h")),
                resource(Some("https://g")),
                Some("publicURL"),
            ),
            ("the endpoint by a URL alone", resource(Some("https://h")), resource(None), Some("publicURL")),
            ("the endpoint without the URL", resource(None), resource(Some("https://g")), Some("publicURL")),
            ("fewer algorithms", strict(json!({ "algorithms": ["PS256"] })), strict(json!({})), None),
            (
                "all algorithms",
                strict(json!({})),
                strict(json!({ "algorithms": ["PS256"] })),
                Some("the algorithm RS256"),
            ),
            (
                "another algorithm",
                strict(json!({ "algorithms": ["PS256", "RS512"] })),
                strict(json!({ "algorithms": ["PS256"] })),
                Some("the algorithm RS512"),
            ),
            ("all that the keys allow", plain(), one(json!({ "algorithms": ["EdDSA"] })), None),
            ("one that no key allows", one(json!({ "algorithms": ["EdDSA", "RS256"] })), plain(), None),
            ("a longer clock skew", one(json!({ "clockSkew": "31s" })), plain(), Some("31s")),
            ("no clock skew", one(json!({ "clockSkew": "0s" })), plain(), None),
            (
                "the default clock skew",
                one(json!({ "clockSkew": null })),
                one(json!({ "clockSkew": "29s" })),
                Some("30s"),
            ),
            ("access tokens alone", one(json!({ "tokenType": "AccessToken" })), plain(), None),
            ("all tokens", plain(), one(json!({ "tokenType": "AccessToken" })), Some("tokenType")),
            ("fewer scopes held", implies(&["a"]), implies(&["a", "b"]), None),
            ("more scopes held", implies(&["a", "c"]), implies(&["a"]), Some("\"c\"")),
            ("scopes held", implies(&["a"]), plain(), Some("scopeImplies")),
            ("passthrough twice", through(), through(), None),
            ("passthrough instead of tokens", through(), plain(), Some("no token")),
            ("tokens instead of passthrough", plain(), through(), Some("the server")),
        ];
        for (row, inner, outer, expected) in rows {
            let found = wider(&asked(&inner), &asked(&outer));
            match expected {
                None => assert_eq!(found, None, "{row}"),
                Some(part) => assert!(found.as_ref().is_some_and(|what| what.contains(part)), "{row}: {found:?}"),
            }
        }
    }

    #[test]
    fn rules_that_judge_callers() {
        let rows = [
            ("names alone", json!({}), false),
            ("claims", json!({ "claims": [{ "path": "team", "in": ["ops"] }] }), true),
            ("scopes", json!({ "scopes": ["a"] }), true),
            ("arguments", json!({ "arguments": [{ "path": "team", "in": ["ops"] }] }), false),
            ("an expression over claims", json!({ "when": "jwt.team == mcp.arguments.team" }), true),
            ("over an index of them", json!({ "when": "jwt[\"a.b\"] == 1" }), true),
            ("over their absence", json!({ "when": "!has(jwt.admin)" }), true),
            ("over arguments", json!({ "when": "mcp.arguments.force == false" }), false),
            (
                "over a text that looks like claims",
                json!({ "when": r#"mcp.arguments.a == '"variable":"jwt"'"# }),
                false,
            ),
        ];
        for (row, changes, expected) in rows {
            let mut rule = json!({ "name": "r", "tools": ["t"] });
            rule.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            let spec = json!({ "targetRefs": [], "authorization": { "rules": [rule] } });
            let spec: MCPAccessPolicySpec = serde_json::from_value(spec).unwrap();
            let (resources, options) = (Resources::default(), TranslateOptions::default());
            let view = View::new(&resources, &options);
            let sections = sections::check(&Name::new("apps", "p"), &spec, &view);
            assert_eq!(judges_callers(&sections.unwrap().gate.unwrap()), expected, "{row}");
        }
    }
}
