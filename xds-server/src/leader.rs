//! One of several replicas writes to the API server: the one that holds a Lease (coordination.k8s.io). All of them
//! serve Envoys, leader or not.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::{Client, Error};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

mod lease;

use lease::{Leases, Spec};

/// A leader that has not renewed its Lease for so long is one no more.
const LEASE_FOR: Duration = Duration::from_secs(10);

/// How often the leader renews its Lease, and the others look at it.
const RENEW_EVERY: Duration = Duration::from_secs(2);

/// Where there is no Lease, a leader that lost it makes it anew within two rounds; who is none waits for longer than that.
const NONE_FOR: Duration = Duration::from_secs(5);

/// A Lease may say that it holds for longer than [`LEASE_FOR`], but not for longer than this. It can't say for shorter.
const LEASE_FOR_MOST: Duration = Duration::from_secs(60);

/// Name of the Lease.
const LEASE: &str = "toolward";

/// Takes part in the election for ever; the receiver says whether this replica leads.
#[must_use]
pub fn elect(client: Client, namespace: &str, identity: String) -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    let leases = Leases::new(client, namespace);
    tokio::spawn(async move {
        let mut candidate = Candidate::new(identity);
        loop {
            // An attempt that hangs must not outlive the Lease.
            let attempt = tokio::time::timeout(RENEW_EVERY, candidate.attempt(&leases)).await;
            match attempt {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!(%error, "can't read or write the Lease {LEASE}"),
                Err(_) => warn!("no answer about the Lease {LEASE}"),
            }
            let leads = candidate.leads(Instant::now());
            if *sender.borrow() != leads {
                info!(identity = candidate.identity, "{}", if leads { "leading now" } else { "not leading any more" });
                sender.send_replace(leads);
            }
            if sender.is_closed() {
                return;
            }
            sleep(RENEW_EVERY).await;
        }
    });
    receiver
}

/// A replica that takes part.
struct Candidate {
    identity: String,
    /// The Lease as it was seen last, if there was one, and since when it has been so. Clocks of other machines are not
    /// trusted.
    seen: Option<(Option<Spec>, Instant)>,
    /// The Lease as this replica wrote it last, and when it asked for that. `None` once somebody else has it.
    held: Option<(Spec, Instant)>,
    /// What it has tried to write since, should it have been written though no answer came.
    tried: Option<(Spec, Instant)>,
}

/// What to do about a Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Take,
    Wait,
}

impl Candidate {
    fn new(identity: String) -> Self {
        Self { identity, seen: None, held: None, tried: None }
    }

    async fn attempt(&mut self, leases: &Leases) -> Result<(), Error> {
        let asked = Instant::now();
        let current = leases.read().await?;
        let spec = current.as_ref().map(|lease| lease.spec.clone());
        if self.step(spec.as_ref(), asked) == Step::Wait {
            return Ok(());
        }
        let next = self.spec(spec.as_ref());
        self.tried = Some((next.clone(), asked));
        // With the version that was read: of two that take it at once, one fails.
        match leases.write(current.and_then(|lease| lease.version), &next).await {
            Ok(written) => {
                self.seen = None;
                self.held = Some((written, asked));
                Ok(())
            }
            Err(Error::Api(answer)) if answer.code == 409 => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Looks at the Lease, or at that there is none.
    fn step(&mut self, spec: Option<&Spec>, now: Instant) -> Step {
        let holder = spec.and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default();
        if let Some(tried) = self.tried.take_if(|(tried, _)| spec == Some(tried)) {
            self.held = Some(tried);
        }
        if let Some((held, _)) = &self.held {
            // Who leads puts back what somebody has emptied or deleted: nobody else may take it that soon.
            if spec == Some(held) || (holder.is_empty() && self.leads(now)) {
                return Step::Take;
            }
            // A name alone proves nothing, not even the own one: another one may have been told to lead meanwhile.
            if !holder.is_empty() {
                self.held = None;
            }
        }
        let since = match &self.seen {
            Some((seen, since)) if seen.as_ref() == spec => *since,
            _ => now,
        };
        self.seen = Some((spec.cloned(), since));
        let wait = spec.map_or(NONE_FOR, |spec| {
            let seconds =
                spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or_default();
            Duration::from_secs(seconds).clamp(LEASE_FOR, LEASE_FOR_MOST)
        });
        if now.duration_since(since) >= wait { Step::Take } else { Step::Wait }
    }

    /// Whether the Lease that was renewed last still holds; a little less long than others wait.
    fn leads(&self, now: Instant) -> bool {
        self.held.as_ref().is_some_and(|(_, renewed)| now.duration_since(*renewed) < LEASE_FOR - RENEW_EVERY)
    }

    fn spec(&self, last: Option<&Spec>) -> Spec {
        let now = time(Timestamp::now());
        let mine = last.filter(|last| self.held.as_ref().is_some_and(|(held, _)| *last == held));
        let transitions = last.and_then(|last| last.lease_transitions).unwrap_or(0);
        Spec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i64::try_from(LEASE_FOR.as_secs()).ok(),
            acquire_time: mine.and_then(|mine| mine.acquire_time.clone()).or_else(|| now.clone()),
            renew_time: now,
            lease_transitions: Some(if last.is_some() && mine.is_none() {
                transitions.saturating_add(1)
            } else {
                transitions
            }),
        }
    }
}

/// As the API server writes it.
fn time(at: Timestamp) -> Option<String> {
    json!(MicroTime(at)).as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate() -> Candidate {
        Candidate::new("me".to_owned())
    }

    fn held_by(holder: &str, renewal: i64) -> Spec {
        Spec {
            holder_identity: (!holder.is_empty()).then(|| holder.to_owned()),
            lease_duration_seconds: Some(10),
            renew_time: Timestamp::from_second(renewal).ok().and_then(time),
            ..Default::default()
        }
    }

    #[test]
    fn a_lease_is_taken_over_when_it_has_not_moved_for_its_duration() {
        let mut candidate = candidate();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut step = |lease: Spec, seconds| candidate.step(Some(&lease), after(seconds));
        assert_eq!(step(held_by("other", 1), 0), Step::Wait, "its age is not known yet");
        assert_eq!(step(held_by("other", 1), 9), Step::Wait);
        assert_eq!(step(held_by("other", 2), 9), Step::Wait, "it was renewed");
        assert_eq!(step(held_by("other", 2), 18), Step::Wait);
        assert_eq!(step(held_by("other", 2), 19), Step::Take);
    }

    #[test]
    fn what_somebody_writes_into_a_lease_makes_no_leader() {
        let (start, short) = (Instant::now(), Spec { lease_duration_seconds: Some(0), ..held_by("other", 1) });
        let after = |seconds| start + Duration::from_secs(seconds);
        for (name, lease, wait) in [
            ("emptied", Some(Spec::default()), 10),
            ("without a holder", Some(held_by("", 1)), 10),
            ("in the own name", Some(held_by("me", 1)), 10),
            ("for no time", Some(short), 10),
            ("for ever", Some(Spec { lease_duration_seconds: Some(i64::MAX), ..held_by("other", 1) }), 60),
            ("deleted", None, 5),
        ] {
            let mut candidate = candidate();
            assert_eq!(candidate.step(Some(&held_by("other", 0)), start), Step::Wait);
            assert_eq!(candidate.step(lease.as_ref(), after(1)), Step::Wait, "{name}");
            assert_eq!(candidate.step(lease.as_ref(), after(wait)), Step::Wait, "{name}");
            assert_eq!(candidate.step(lease.as_ref(), after(wait + 1)), Step::Take, "{name}");
        }
    }

    #[test]
    fn a_leader_keeps_an_emptied_lease_and_gives_way_to_a_name() {
        let (start, own) = (Instant::now(), held_by("me", 1));
        let after = |seconds| start + Duration::from_secs(seconds);
        let leader = || Candidate { held: Some((own.clone(), start)), ..candidate() };
        for (name, lease, at, step, leads) in [
            ("as it was", Some(own.clone()), 2, Step::Take, true),
            ("as it was, late", Some(own.clone()), 20, Step::Take, false),
            ("emptied", Some(Spec::default()), 2, Step::Take, true),
            ("deleted", None, 2, Step::Take, true),
            ("emptied when it held no more", Some(Spec::default()), 8, Step::Wait, false),
            ("deleted when it held no more", None, 8, Step::Wait, false),
            ("of another one", Some(held_by("other", 2)), 2, Step::Wait, false),
            ("in the own name, by somebody else", Some(held_by("me", 2)), 2, Step::Wait, false),
        ] {
            let mut leader = leader();
            assert_eq!(leader.step(lease.as_ref(), after(at)), step, "{name}");
            assert_eq!(leader.leads(after(at)), leads, "{name}");
        }
    }

    #[test]
    fn a_renewal_without_an_answer_is_known_again() {
        let (start, own, next) = (Instant::now(), held_by("me", 1), held_by("me", 3));
        let after = |seconds| start + Duration::from_secs(seconds);
        let tried = Some((next.clone(), after(2)));
        let mut leader = Candidate { held: Some((own, start)), tried, ..candidate() };
        assert_eq!(leader.step(Some(&next), after(9)), Step::Take);
        assert!(leader.leads(after(9)));
    }

    #[test]
    fn who_can_not_renew_stops_before_another_may_start() {
        let mut candidate = candidate();
        let start = Instant::now();
        assert!(!candidate.leads(start));
        candidate.held = Some((held_by("me", 1), start));
        assert!(candidate.leads(start + Duration::from_secs(7)));
        assert!(!candidate.leads(start + Duration::from_secs(8)));
    }

    #[test]
    fn a_takeover_counts() {
        let mut candidate = candidate();
        fn transitions(candidate: &Candidate, last: Option<&Spec>) -> Option<i32> {
            candidate.spec(last).lease_transitions
        }
        assert_eq!(transitions(&candidate, None), Some(0));
        assert_eq!(transitions(&candidate, Some(&held_by("other", 1))), Some(1));
        candidate.held = Some((held_by("me", 1), Instant::now()));
        assert_eq!(transitions(&candidate, Some(&held_by("me", 1))), Some(0));
    }
}
