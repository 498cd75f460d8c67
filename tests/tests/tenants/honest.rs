//! What the honest team does meanwhile, and how it fares.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::sync::{Mutex, MutexGuard};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::storm::Storm;
use crate::world::{World, granting};

/// How long a change of its own may take. A bound that only a broken control plane passes, also one that is not optimized and
/// shares two cores with the API server that all of this goes to: figures are printed.
const LANDS_WITHIN: Duration = Duration::from_secs(180);

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Fared {
    pub(crate) calls: usize,
    /// Calls that did not have the tool's own answer, and changes that did not come into force.
    pub(crate) failed: Vec<String>,
    /// How long grants and revocations took.
    pub(crate) granted: Vec<Duration>,
    pub(crate) revoked: Vec<Duration>,
    /// How much of it passed after the API server had told whoever watches.
    pub(crate) after_told: Vec<Duration>,
}

/// When the API server told of each generation of the team's policy.
#[derive(Debug, Default)]
pub(crate) struct Told(Mutex<BTreeMap<i64, Instant>>);

impl Told {
    /// Watches what the API server tells.
    pub(crate) fn watch(&self, storm: &Storm) {
        while storm.goes_on() {
            for line in storm.world.honest.watch("mcpaccesspolicies", 5).into_iter().flat_map(BufRead::lines) {
                let Ok(event) = line.map(|line| serde_json::from_str::<Value>(&line).unwrap_or_default()) else {
                    break;
                };
                if let Some(generation) = event["object"]["metadata"]["generation"].as_i64() {
                    self.all().entry(generation).or_insert_with(Instant::now);
                }
            }
        }
    }

    fn last(&self) -> i64 {
        self.all().keys().next_back().copied().unwrap_or_default()
    }

    /// When it told of this generation, or of a later one.
    fn of(&self, generation: i64) -> Option<Instant> {
        self.all().range(generation..).next().map(|(_, told)| *told)
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<i64, Instant>> {
        self.0.lock().expect("no panic")
    }
}

/// Calls a tool that is always granted, on each of the team's ways.
pub(crate) fn calls(storm: &Storm, fared: &Mutex<Fared>) {
    while storm.goes_on() {
        for (port, host) in storm.world.ways() {
            let answer = storm.world.try_call(port, host, &storm.ops, "add");
            let is_good = answer.as_ref().is_some_and(|answer| answer.status == 200 && answer.text.contains(r#""13""#));
            let mut fared = fared.lock().expect("no panic");
            fared.calls += 1;
            if !is_good {
                fared.failed.push(format!("{:?} {host}: {answer:?}", storm.began.elapsed()));
            }
        }
        sleep(Duration::from_millis(20));
    }
}

/// Grants a tool and takes it back, again and again.
pub(crate) fn changes(storm: &Storm, told: &Told, fared: &Mutex<Fared>) {
    while storm.goes_on() && told.last() == 0 {
        sleep(Duration::from_millis(10));
    }
    let mut generation = told.last();
    while storm.goes_on() {
        for tools in [&["add", "multiply"][..], &["add"]] {
            let is_granted = tools.len() > 1;
            // An API server that is busy with others is not the control plane's fault.
            while !matches!(storm.world.honest.apply(&granting(tools)), 200 | 201) {
                sleep(Duration::from_millis(100));
            }
            let landed = wait_until(&storm.world, &storm.ops, is_granted);
            generation += 1;
            let after_told = told.of(generation).map(|told| told.elapsed());
            let mut fared = fared.lock().expect("no panic");
            fared.after_told.extend(after_told);
            match landed {
                Ok(took) if is_granted => fared.granted.push(took),
                Ok(took) => fared.revoked.push(took),
                Err(late) => fared.failed.push(late),
            }
        }
        sleep(Duration::from_millis(100));
    }
}

/// How long it takes until both ways say the same of the tool.
fn wait_until(world: &World, token: &str, is_granted: bool) -> Result<Duration, String> {
    let since = Instant::now();
    for (port, host) in world.ways() {
        loop {
            let answer = world.try_call(port, host, token, "multiply");
            if answer.as_ref().is_some_and(|answer| answer.text.contains(r#""42""#) == is_granted) {
                break;
            }
            let late = since.elapsed();
            if late > LANDS_WITHIN {
                return Err(format!("granted: {is_granted}; {host} says after {late:?}: {answer:?}"));
            }
            sleep(Duration::from_millis(5));
        }
    }
    Ok(since.elapsed())
}

/// The span that so many in a hundred are within.
pub(crate) fn percentile(spans: &[Duration], hundredths: usize) -> Duration {
    let mut spans = spans.to_vec();
    spans.sort();
    spans.get((spans.len() * hundredths / 100).min(spans.len().saturating_sub(1))).copied().unwrap_or_default()
}
