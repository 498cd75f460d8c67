//! Other controllers have entries of their own in the same statuses: theirs stay, and ours as well.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use toolward_tests::process::eventually;

use crate::world::{World, keys, policy};

const THEM: &str = "example.com/other";
const US: &str = "toolward.dev/gateway-controller";

/// Changes of the world during which the others write.
const ROUNDS: usize = 15;

#[test]
fn two_controllers_write_at_once() {
    let world = World::start();
    let cluster = &world.cluster;
    let ours = || ours_are_there(&world, "ResolvedRefs");
    eventually("ours are written", ours);
    let runtime = Runtime::new().expect("a runtime");
    let done = Arc::new(AtomicBool::new(false));
    let others: Vec<_> = [Shared::route(&world), Shared::policy(&world)]
        .into_iter()
        .map(|shared| runtime.spawn(shared.write_until(Arc::clone(&done))))
        .collect();
    // Another policy on the Gateway, and another key set: what route and policy say of themselves changes each time,
    // though neither is touched.
    let extra = policy("[add]").replace("name: math", "name: extra");
    for _ in 0..ROUNDS {
        cluster.apply(&extra);
        cluster.apply(&keys(r#"{"keys":[]}"#));
        eventually("said", || ours_are_there(&world, "InvalidKeySet"));
        cluster.kubectl(&["delete", "mcpaccesspolicy", "extra"]);
        cluster.apply(&keys(&world.issuer.jwks()));
        eventually("said", || ours_are_there(&world, "ResolvedRefs"));
    }
    done.store(true, Ordering::Relaxed);
    for other in others {
        let (shared, last) = runtime.block_on(other).expect("theirs were never lost");
        println!("{} writes by the other controller to {}", last, shared.list);
        assert!(last > ROUNDS, "{last}");
        let entries = runtime.block_on(shared.read()).1;
        assert_eq!(of(&entries, THEM), [shared.entry(last)], "{}", shared.list);
        assert_eq!(of(&entries, US).len(), 1, "{}", shared.list);
    }

    // Somebody leaves ours out: they come back, and nothing else changes.
    for shared in [Shared::route(&world), Shared::policy(&world)] {
        let (object, entries) = runtime.block_on(shared.read());
        let theirs = of(&entries, THEM);
        let written = runtime.block_on(shared.replace(object, Value::Array(theirs.clone())));
        assert_eq!(written, StatusCode::OK);
        eventually("ours are back", || {
            let back = runtime.block_on(shared.read()).1;
            of(&back, THEM) == theirs && timeless(of(&back, US)) == timeless(of(&entries, US))
        });
    }
}

/// Whether the route and the policy say what they should, the policy with this reason.
fn ours_are_there(world: &World, reason: &str) -> bool {
    let said = |kind: &str, list: &str, condition: &str| {
        let object = world.cluster.get(kind, "default", "math");
        let entries = of(&object["status"][list], US);
        let conditions = entries.iter().flat_map(|entry| entry["conditions"].as_array().cloned().unwrap_or_default());
        let mut found = conditions.filter(|found| found["type"] == condition);
        found.next().unwrap_or_default()
    };
    let protected = said("httproute", "parents", "toolward.dev/Protected")["message"].to_string();
    let has_extra = reason == "InvalidKeySet";
    // What is closed says so, until it is not.
    let is_settled = has_extra || !protected.contains("answers 503");
    said("mcpaccesspolicy", "ancestors", "ResolvedRefs")["reason"] == reason
        && protected.contains("default/extra") == has_extra
        && is_settled
}

fn of(entries: &Value, controller: &str) -> Vec<Value> {
    let entries = entries.as_array().into_iter().flatten();
    entries.filter(|entry| entry["controllerName"] == controller).cloned().collect()
}

/// Without the times, which are new where an entry is.
fn timeless(mut entries: Vec<Value>) -> Vec<Value> {
    for condition in entries.iter_mut().flat_map(|entry| entry["conditions"].as_array_mut().into_iter().flatten()) {
        condition["lastTransitionTime"].take();
    }
    entries
}

/// A list of a status that belongs to several.
struct Shared {
    client: Client,
    url: String,
    list: &'static str,
    subject: Value,
}

impl Shared {
    fn route(world: &World) -> Self {
        let subject =
            json!({ "parentRef": { "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "theirs" } });
        Self::new(world, "gateway.networking.k8s.io/v1", "httproutes", "parents", subject)
    }

    fn policy(world: &World) -> Self {
        let reference = json!({ "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "theirs" });
        let subject = json!({ "ancestorRef": reference });
        Self::new(world, "toolward.dev/v1alpha1", "mcpaccesspolicies", "ancestors", subject)
    }

    fn new(world: &World, version: &str, plural: &str, list: &'static str, subject: Value) -> Self {
        let url = world.cluster.url(&format!("/apis/{version}/namespaces/default/{plural}/math/status"));
        Self { client: world.cluster.client(), url, list, subject }
    }

    /// What the others say the nth time.
    fn entry(&self, number: usize) -> Value {
        let condition = json!({ "type": "Accepted", "status": "True", "reason": "Accepted",
            "message": number.to_string(), "lastTransitionTime": "2026-01-01T00:00:00Z" });
        let mut entry = self.subject.clone();
        entry["controllerName"] = THEM.into();
        entry["conditions"] = json!([condition]);
        entry
    }

    /// The object, and the list.
    async fn read(&self) -> (Value, Value) {
        let answer = self.client.get(&self.url).send().await.expect("an answer");
        let object: Value = serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
        let entries = object["status"][self.list].clone();
        (object, entries)
    }

    /// Writes the list as a careful controller does: to the version that was read.
    async fn replace(&self, mut object: Value, entries: Value) -> StatusCode {
        object["status"][self.list] = entries;
        let request = self.client.put(&self.url).header("content-type", "application/json").body(object.to_string());
        let answer = request.send().await.expect("an answer");
        let status = answer.status();
        let text = answer.text().await.expect("a body");
        assert!(status.is_success() || status == StatusCode::CONFLICT, "{status} {text}");
        status
    }

    /// Writes again and again, and looks each time whether what was written last is still there. Gives the last number.
    async fn write_until(self, done: Arc<AtomicBool>) -> (Self, usize) {
        let mut last = 0;
        while !done.load(Ordering::Relaxed) {
            let (object, entries) = self.read().await;
            let there = of(&entries, THEM);
            let expected: Vec<Value> = (last > 0).then(|| self.entry(last)).into_iter().collect();
            assert_eq!(there, expected, "{}", self.list);
            let mut next = entries.as_array().cloned().unwrap_or_default();
            next.retain(|entry| entry["controllerName"] != THEM);
            next.push(self.entry(last + 1));
            if self.replace(object, Value::Array(next)).await == StatusCode::OK {
                last += 1;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        (self, last)
    }
}
