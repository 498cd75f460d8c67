//! A section whose content is commented out closes, in whichever way it is applied: an API server keeps the null, and what
//! `kubectl apply` does not send stands in its annotation.

use toolward_tests::process::eventually;
use toolward_tests::upstream::OK;

use crate::world::{World, policy};

#[test]
fn a_null_closes_in_whichever_way_it_is_applied() {
    let world = World::start();
    let ops = world.issuer.of_team("ops");
    let good = policy("[add]");
    let (head, _) = good.split_once("  authorization:").expect("a section");
    let no_rules = format!("{head}  authorization:\n");
    let no_claims = good.replace("claims: [{ path: team, in: [ops] }]", "claims:");
    let rows: [(&str, &[&str], &str); 4] = [
        ("authorization, by kubectl apply", &["apply", "-f", "-"], &no_rules),
        ("claims, by kubectl apply", &["apply", "-f", "-"], &no_claims),
        ("authorization, by kubectl replace", &["replace", "-f", "-"], &no_rules),
        ("claims, by server-side apply", &["apply", "--server-side", "--force-conflicts", "-f", "-"], &no_claims),
    ];
    for (row, arguments, bent) in rows {
        assert_eq!(world.ask(&ops, "add").text, OK, "{row}: before");
        world.cluster.try_kubectl(arguments, bent).unwrap_or_else(|error| panic!("{row}: {error}"));
        eventually(row, || {
            let answer = world.ask(&ops, "add");
            answer.status == 503 && answer.reason().as_deref() == Some("NullValue")
        });
        eventually(row, || world.has_condition("mcpaccesspolicy", "math", "Accepted", "False", "Invalid"));
        world.cluster.apply(&good);
        eventually("mended", || world.ask(&ops, "add").text == OK);
    }
}
