//! The suite for any gateway, run as its users run it.

use std::process::Command;

use toolward_tests::servers::Server;
use toolward_tests::stack::{OPS_MAY_ADD, Stack};
use toolward_tests::tools::tools;

#[test]
fn the_suite_runs_against_a_gateway() {
    let server = Server::PythonV2.start();
    let stack = Stack::start(server.port, OPS_MAY_ADD);
    let suite = |url: &str| {
        let output = Command::new(tools().toolward.with_file_name("hostile-suite"))
            .envs([
                ("URL", url),
                ("TOKEN", &stack.issuer.of_team("ops")),
                ("GRANTED", "add"),
                ("FORBIDDEN", "multiply"),
            ])
            .output()
            .expect("built");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (passed, said) = suite(&stack.url());
    assert!(passed && said.contains(" 0 bypasses\n"), "{said}");
    assert!(said.lines().count() > 600, "both eras: {said}");
    // A server without a gateway forbids nothing, and the suite says so.
    let (passed, said) = suite(&format!("http://127.0.0.1:{}/mcp", server.port));
    assert!(!passed && said.contains("BYPASS"), "{said}");
}
