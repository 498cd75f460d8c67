//! One policy's rules, and what they are asked.

use std::collections::{HashMap, HashSet};

use super::{ConfigError, ConfigFault, at};
use crate::arguments::Given;
use crate::claims::Caller;
use crate::condition::{ArgumentCondition, ClaimCondition};
use crate::config::{Denial, Gate as GateConfig, Mode, Rule as RuleConfig, StepUp, ValueMatch};
use crate::expression::{Expression, Fit, Scope};
use crate::glob::Glob;
use crate::mcp::message::Request;

/// One policy's rules, of which one must match.
#[derive(Debug)]
pub struct Gate {
    /// Name of the policy.
    pub policy: String,
    /// Whether a denial is carried out.
    pub mode: Mode,
    /// What a denied caller is told.
    pub denial: Denial,
    /// Whether a caller is asked for more scopes.
    pub step_up: StepUp,
    tools: Names,
    prompts: Names,
    resources: Names,
    methods: Names,
    rules: Vec<Rule>,
}

/// What a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of MCP")]
pub enum Item<'a> {
    Tool(&'a str),
    Prompt(&'a str),
    Resource(&'a str),
    Method(&'a str),
}

impl Gate {
    pub(super) fn new(config: &GateConfig) -> Result<Self, ConfigError> {
        let mut rules: Vec<Rule> = Vec::with_capacity(config.rules.len());
        let mut seen = HashSet::new();
        for (index, rule) in config.rules.iter().enumerate() {
            let path = format!("rules[{index}]");
            if !seen.insert(rule.name.as_str()) {
                return Err(at(&path, ConfigFault::RuleTwice(rule.name.clone())));
            }
            rules.push(Rule::new(rule).map_err(|fault| at(&path, fault))?);
        }
        Ok(Self {
            policy: config.policy.clone(),
            mode: config.mode,
            denial: config.denial,
            step_up: config.step_up,
            tools: Names::new(config.rules.iter().map(|rule| &rule.tools)),
            prompts: Names::new(config.rules.iter().map(|rule| &rule.prompts)),
            resources: Names::new(config.rules.iter().map(|rule| &rule.resources)),
            methods: Names::new(config.rules.iter().map(|rule| &rule.methods)),
            rules,
        })
    }

    /// The name of a rule that grants this.
    #[must_use]
    pub fn granting_rule(&self, call: &Call<'_, '_>, item: Item<'_>) -> Option<&str> {
        let granting = |rule: &&Rule| rule.has_scopes(call.caller) && rule.fits(call, item);
        self.rules(item).find(granting).map(|rule| rule.name.as_str())
    }

    /// The scopes of a rule that would grant this to a token which had them: those of the rule that asks for the fewest
    /// more.
    #[must_use]
    pub fn sufficient_scopes(&self, call: &Call<'_, '_>, item: Item<'_>) -> Option<&[String]> {
        let fitting = self.rules(item).filter(|rule| rule.fits(call, item));
        let missing = |rule: &&Rule| rule.scopes.iter().filter(|scope| !call.caller.has_scope(scope)).count();
        fitting.min_by_key(missing).map(|rule| rule.scopes.as_slice())
    }

    /// The rules that name this.
    fn rules<'g>(&'g self, item: Item<'_>) -> impl Iterator<Item = &'g Rule> {
        let (names, name) = match item {
            Item::Tool(name) => (&self.tools, name),
            Item::Prompt(name) => (&self.prompts, name),
            Item::Resource(name) => (&self.resources, name),
            Item::Method(name) => (&self.methods, name),
        };
        names.rules(name).filter_map(|index| self.rules.get(index))
    }
}

/// Who asks, and how.
#[derive(Clone, Copy, Debug)]
pub struct Call<'c, 'm> {
    /// Who.
    pub caller: &'c Caller,
    /// By which HTTP request.
    pub http: &'c HttpRequest,
    /// With which message; none: that is not known yet, and what could be granted is.
    pub request: Option<&'c Request<'m>>,
}

/// What rules can ask of an HTTP request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpRequest {
    /// Path without query.
    pub path: String,
    /// Authority, as the client named it.
    pub host: String,
}

/// Which rules name what: exact names by hash, patterns one by one after them.
#[derive(Debug, Default)]
struct Names {
    /// With the places of the rules.
    exact: HashMap<Box<str>, Vec<usize>>,
    patterns: Vec<(Glob, usize)>,
}

impl Names {
    /// The names of these rules.
    fn new<'r>(rules: impl Iterator<Item = &'r Vec<String>>) -> Self {
        let mut names = Self::default();
        for (rule, name) in rules.enumerate().flat_map(|(rule, names)| names.iter().map(move |name| (rule, name))) {
            if Glob::is_literal(name) {
                names.exact.entry(name.as_str().into()).or_default().push(rule);
            } else {
                names.patterns.push((Glob::new(name), rule));
            }
        }
        names
    }

    fn rules(&self, name: &str) -> impl Iterator<Item = usize> {
        let exact = self.exact.get(name).into_iter().flatten();
        let patterns = self.patterns.iter().filter(move |(glob, _)| glob.matches_callers(name));
        exact.copied().chain(patterns.map(|(_, rule)| *rule))
    }
}

/// Whom a rule is for.
#[derive(Debug)]
struct Rule {
    name: String,
    claims: Vec<ClaimCondition>,
    arguments: Vec<ArgumentCondition>,
    scopes: Vec<String>,
    when: Option<Expression>,
}

impl Rule {
    fn new(config: &RuleConfig) -> Result<Self, ConfigFault> {
        if config.name.is_empty() {
            return Err(ConfigFault::RuleWithoutName);
        }
        let mut conditions = config.claims.iter().chain(&config.arguments);
        if conditions.any(|condition| condition.test.is_empty()) {
            return Err(ConfigFault::EmptyCondition);
        }
        let has_others = !config.resources.is_empty() || !config.methods.is_empty();
        if has_others && !config.arguments.is_empty() {
            return Err(ConfigFault::ArgumentsOfOthers);
        }
        let path = |path: &str| {
            let path = path.to_owned();
            move |fault| ConfigFault::Path { path, fault }
        };
        let claim = |written: &ValueMatch| ClaimCondition::new(written).map_err(path(&written.path));
        let argument = |written: &ValueMatch| ArgumentCondition::new(written).map_err(path(&written.path));
        if let Some(when) = &config.when {
            when.check().map_err(ConfigFault::Expression)?;
        }
        Ok(Self {
            name: config.name.clone(),
            claims: config.claims.iter().map(claim).collect::<Result<_, _>>()?,
            arguments: config.arguments.iter().map(argument).collect::<Result<_, _>>()?,
            scopes: config.scopes.clone(),
            when: config.when.clone(),
        })
    }

    /// Whether all holds but for the scopes.
    fn fits(&self, call: &Call<'_, '_>, item: Item<'_>) -> bool {
        let Call { caller, http, request } = call;
        self.claims.iter().all(|claim| claim.fits(caller.claims()))
            && (self.arguments.is_empty() || request.is_none_or(|request| self.fits_arguments(request)))
            && self.when.as_ref().is_none_or(|when| match when.fit(&scope(caller, http, *request, item)) {
                Fit::Yes => true,
                Fit::No => false,
                Fit::Unknown => request.is_none(),
            })
    }

    fn has_scopes(&self, caller: &Caller) -> bool {
        self.scopes.iter().all(|scope| caller.has_scope(scope))
    }

    fn fits_arguments(&self, request: &Request<'_>) -> bool {
        match request.arguments() {
            Given::Arguments(arguments) => self.arguments.iter().all(|each| each.fits(arguments)),
            Given::None | Given::Unclear => false,
        }
    }
}

fn scope<'s>(caller: &'s Caller, http: &'s HttpRequest, request: Option<&'s Request<'_>>, item: Item<'s>) -> Scope<'s> {
    let (mut tool, mut prompt, mut resource) = (None, None, None);
    match item {
        Item::Tool(name) => tool = Some(name),
        Item::Prompt(name) => prompt = Some(name),
        Item::Resource(uri) => resource = Some(uri),
        Item::Method(_) => {}
    }
    let call = request.map(|request| (request.method_name.as_ref(), request.arguments()));
    Scope { jwt: caller.claims(), path: &http.path, host: &http.host, tool, prompt, resource, call }
}
