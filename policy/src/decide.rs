//! May this caller have this, and why.

use crate::config::{Denial, Mode, StepUp};
use crate::detours::Detours;
use crate::policy::{Call, Gate, Item};

/// An answer with its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'p> {
    /// All gates let it pass.
    Allowed(Option<Grant<'p>>),
    /// A gate in dry run would have denied it; all others let it pass.
    DryRunDenied {
        /// That gate's policy.
        policy: &'p str,
    },
    /// A gate would let it pass if the token had more scopes; no other gate denies it.
    NeedsScopes {
        /// That gate's policy.
        policy: &'p str,
    },
    /// A gate denies it.
    Denied {
        /// That gate's policy.
        policy: &'p str,
        /// What the caller is told.
        denial: Denial,
        /// Whether other arguments would let it pass.
        by_arguments: bool,
    },
}

/// The rule that let a call pass: of several gates, the last one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant<'p> {
    /// Name of the policy.
    pub policy: &'p str,
    /// Name of the rule.
    pub rule: &'p str,
}

/// Asks every gate. Without gates everything is allowed.
#[must_use]
pub fn decide<'p>(gates: &'p [Gate], call: &Call<'_, '_>, item: Item<'_>) -> Verdict<'p> {
    let mut verdict = Verdict::Allowed(None);
    for gate in gates {
        // In doubt deny: a URI that a server might resolve to another one than the rules speak of fits no rule.
        let rule = if is_ambiguous(item) { None } else { gate.granting_rule(call, item) };
        match (rule, gate.mode) {
            (None, Mode::Enforce) if may_step_up(gate, call, item) => {
                verdict = Verdict::NeedsScopes { policy: &gate.policy };
            }
            (None, Mode::Enforce) => {
                let any = Call { request: None, ..*call };
                let by_arguments = !is_ambiguous(item) && gate.granting_rule(&any, item).is_some();
                return Verdict::Denied { policy: &gate.policy, denial: gate.denial, by_arguments };
            }
            (None, Mode::DryRun) => {
                if matches!(verdict, Verdict::Allowed(_)) {
                    verdict = Verdict::DryRunDenied { policy: &gate.policy };
                }
            }
            (Some(rule), _) => {
                if matches!(verdict, Verdict::Allowed(_)) {
                    verdict = Verdict::Allowed(Some(Grant { policy: &gate.policy, rule }));
                }
            }
        }
    }
    verdict
}

/// All scopes that a call takes which [`Verdict::NeedsScopes`] is about.
#[must_use]
pub fn needed_scopes(gates: &[Gate], call: &Call<'_, '_>, item: Item<'_>) -> Vec<String> {
    let mut needed: Vec<String> = Vec::new();
    let enforced = gates.iter().filter(|gate| gate.mode == Mode::Enforce);
    for scope in enforced.filter_map(|gate| gate.sufficient_scopes(call, item)).flatten() {
        if !needed.contains(scope) {
            needed.push(scope.clone());
        }
    }
    needed
}

fn may_step_up(gate: &Gate, call: &Call<'_, '_>, item: Item<'_>) -> bool {
    gate.step_up == StepUp::Challenge && !is_ambiguous(item) && gate.sufficient_scopes(call, item).is_some()
}

/// Whether a server could resolve a resource's URI to another one.
fn is_ambiguous(item: Item<'_>) -> bool {
    matches!(item, Item::Resource(uri) if Detours::of(uri).are_in_uri())
}
