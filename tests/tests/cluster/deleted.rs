//! A policy that is deleted before its route opens nothing: the route must be written after it, or another policy says that it
//! is meant.

use toolward_tests::process::eventually;
use toolward_tests::upstream::OK;

use crate::world::{World, open_route, policy_of_route};

impl World {
    /// For a while, no call without a token comes through.
    fn stays_closed(&self, path: &str) {
        for _ in 0..20 {
            let answer = self.ask_anonymously(path);
            assert_ne!(answer.text, OK, "{path}");
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }
}

#[test]
fn what_a_deleted_policy_protected_stays_closed() {
    let world = World::start();
    let cluster = &world.cluster;
    cluster.apply(&policy_of_route("math", "math"));
    for name in ["touched", "spoken", "again"] {
        cluster.apply(&policy_of_route(name, name));
        cluster.apply(&open_route(name));
        eventually(name, || world.ask_anonymously(&format!("/{name}")).status == 401);
    }
    cluster.kubectl(&["delete", "mcpaccesspolicy", "touched", "spoken", "again"]);
    for name in ["touched", "spoken", "again"] {
        let path = format!("/{name}");
        eventually(name, || world.is_closed(&path, "PolicyDeleted"));
        world.stays_closed(&path);
    }
    eventually("it is said what to do", || {
        let route = cluster.kubectl(&["get", "httproute", "touched", "-o", "json"]);
        route.contains("PolicyDeleted") && route.contains("toolward.dev/") && route.contains("anonymous: {}")
    });

    // Somebody else's annotation says nothing, ours does.
    cluster.kubectl(&["annotate", "httproute", "touched", "example.com/synced=now"]);
    world.stays_closed("/touched");
    cluster.kubectl(&["annotate", "httproute", "touched", "toolward.dev/without-policy=yes"]);
    eventually("written again", || world.ask_anonymously("/touched").text == OK);
    // A policy that opens it on purpose.
    let authentication = "authentication: { anonymous: {} }\n";
    let spoken = policy_of_route("opening", "spoken");
    let (head, _) = spoken.split_once("authentication:").expect("a section");
    cluster.apply(&format!("{head}{authentication}"));
    eventually("opened", || world.ask_anonymously("/spoken").text == OK);
    // The policy is back.
    cluster.apply(&policy_of_route("again", "again"));
    eventually("protected again", || world.ask_anonymously("/again").status == 401);

    // The kind itself goes: its policies are deleted with it, and what is new is not known to be without any.
    cluster.kubectl(&["delete", "crd", "mcpaccesspolicies.toolward.dev"]);
    eventually("closed", || world.ask_anonymously("/again").status == 503);
    world.stays_closed("/again");
    eventually("it is noticed", || world.toolward.metric("toolward_unknown_kinds") == 1.0);
    cluster.apply(&open_route("later"));
    eventually("what is new is closed", || world.is_closed("/later", "PoliciesUnknown"));
    eventually("it is said", || world.toolward.get("/problems").text.contains("KindNotInstalled"));
}
