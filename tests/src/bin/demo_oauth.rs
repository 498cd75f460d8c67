//! `make demo-oauth`: a login before your eyes. Everything in it is real: MCP Inspector, an OAuth authorization server, an MCP
//! server that knows nothing of either, Envoy, `toolward`. Each HTTP step is shown with what it proves.

use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;
use toolward_tests::authorization_server::AuthorizationServer;
use toolward_tests::client;
use toolward_tests::http::{self, call};
use toolward_tests::mcp_server::{McpServer, Sdk};
use toolward_tests::stack::{PUBLIC_URL, Stack};
use toolward_tests::tools::{root, tools};
use toolward_tests::toolward::Issuer;

/// Lets the control plane fetch the issuer's keys from this machine.
const FROM_LOOPBACK: [&str; 2] = ["--key-set-networks", "127.0.0.0/8"];

/// Everything that runs, and what was not as promised.
struct Demo {
    login: AuthorizationServer,
    server: McpServer,
    stack: Stack,
    steps: usize,
    surprises: Vec<String>,
}

fn main() -> ExitCode {
    let mut demo = Demo::start();
    let home = tempfile::tempdir().expect("a temporary folder");
    demo.log_in(home.path());
    demo.see_the_grant();
    demo.attack();
    demo.stand_alone();
    for surprise in &demo.surprises {
        println!("NOT AS PROMISED: {surprise}");
    }
    if demo.surprises.is_empty() {
        println!("\nAll {} steps were as promised.", demo.steps);
    }
    if std::env::var_os("ONCE").is_none() {
        demo.stay_up();
    }
    ExitCode::from(u8::from(!demo.surprises.is_empty()))
}

impl Demo {
    fn start() -> Self {
        let (login, server) = (AuthorizationServer::start(), McpServer::start(Sdk::V2));
        let policy = format!(
            "apiVersion: toolward.dev/v1alpha1
kind: MCPAccessPolicy
metadata: {{ name: math }}
spec:
  targetRefs: [{{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: math }}]
  authentication:
    issuers: [{{ issuer: '{}', jwks: {{ discovery: {{}} }} }}]
    resource: {{ publicURL: {PUBLIC_URL}, scopes: [tools.read] }}
  authorization:
    rules: [{{ name: reading, tools: [add], scopes: [tools.read] }}]
",
            login.issuer
        );
        let stack = Stack::with_arguments(server.port, Issuer::new("ES256"), &policy, &FROM_LOOPBACK);
        println!("\n  MCP endpoint           {}  (Envoy with the filter)", stack.url());
        println!("  authorization server   {}  (oidc-provider; its keys are found by discovery)", login.issuer);
        println!("  MCP server             http://127.0.0.1:{}/mcp  (knows nothing of OAuth)", server.port);
        println!("\nThe policy, all of it:\n");
        policy
            .replace(PUBLIC_URL, stack.url().trim_end_matches("/mcp"))
            .lines()
            .skip(3)
            .for_each(|line| println!("  {line}"));
        Self { login, server, stack, steps: 0, surprises: Vec::new() }
    }

    /// Inspector knows the URL and nothing else.
    fn log_in(&mut self, home: &Path) {
        println!(
            "\nMCP Inspector is pointed at the endpoint, with no token and no configuration, and is to call add(6, 7):\n"
        );
        let record = home.join("record");
        let arguments = ["--method", "tools/call", "--tool-name", "add", "--tool-arg", "a=6", "--tool-arg", "b=7"];
        let report = client::inspector_login_in(home, &self.stack.url(), &arguments, |command| {
            command.env("RECORD", &record);
            command.env("NODE_OPTIONS", format!("--require {}", root().join("tests/clients/record.cjs").display()));
        });
        let text = std::fs::read_to_string(&record).unwrap_or_default();
        let exchanges: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let (endpoint, issuer) = (self.stack.url(), self.login.issuer.clone());
        let mut seen = Vec::new();
        for exchange in &exchanges {
            let known = Kind::of(exchange, &endpoint, &issuer);
            self.step(exchange, &known);
            seen.extend(known.map(|known| known.name));
        }
        for kind in KINDS {
            if !seen.contains(&kind) {
                self.surprises.push(format!("a login without the step {kind:?}"));
            }
        }
        let said = report.to_string();
        self.show("Inspector prints the sum", said.contains("13"), &said);
    }

    /// What was granted is what the policy says.
    fn see_the_grant(&mut self) {
        println!("\nWhat else it sees, once logged in:\n");
        let (home, url) = (tempfile::tempdir().expect("a temporary folder"), self.stack.url());
        let ask = |arguments: &[&str]| client::inspector_login_in(home.path(), &url, arguments, |_| ());
        let list = ask(&["--method", "tools/list"]);
        let list = list.get("result").unwrap_or(&list);
        let names = list["tools"].as_array().into_iter().flatten().filter_map(|tool| tool["name"].as_str());
        let names = names.collect::<Vec<_>>().join(", ");
        let denied =
            ask(&["--method", "tools/call", "--tool-name", "multiply", "--tool-arg", "a=6", "--tool-arg", "b=7"]);
        self.show("tools/list shows what the scope grants, and no more", names == "add", &names);
        let ran = self.server.ran("multiply");
        self.show("multiply does not exist for it, and never reached the server", ran == 0, &denied.to_string());
    }

    fn attack(&mut self) {
        println!("\nWhat does not help:\n");
        let url = self.stack.url();
        let other = self.login.token("https://other.example.com/mcp", "tools.read");
        let answer = self.stack.ask(&other, call("add"));
        let why = answer.challenge.clone().unwrap_or_default();
        self.show("a good token of the same issuer for another resource", answer.status == 401, &why);
        let forged = self.stack.issuer.token(&["--issuer", &self.login.issuer, "--audience", &url]);
        let answer = self.stack.ask(&forged, call("add"));
        let why = answer.challenge.clone().unwrap_or_default();
        self.show("a token in the issuer's name that it has not signed", answer.status == 401, &why);
        let well_known = format!("http://127.0.0.1:{}/.well-known/oauth-protected-resource/mcp", self.stack.port);
        let poisoned =
            http::send(self.stack.client.get(well_known).header("x-forwarded-host", "evil.example.com")).json();
        self.show("a poisoned X-Forwarded-Host", poisoned["resource"] == url, &poisoned["resource"].to_string());
        self.show("the server saw nothing of this", self.server.ran("add") == 1, "add ran once, for Inspector");
    }

    /// A login that is there needs neither the issuer nor the control plane.
    fn stand_alone(&mut self) {
        println!("\nThe authorization server and the control plane are killed:\n");
        let token = self.login.token(&self.stack.url(), "tools.read");
        self.login.process.kill();
        self.stack.toolward.process.kill();
        let report = client::sdk_v2(&self.stack.url(), &token, "legacy", &["add"]);
        self.show("calls go on", report["calls"]["add"] == "13", &report.to_string());
        let none = http::send(self.stack.post(call("add")));
        self.show("and refusals as well", none.status == 401, &none.challenge.unwrap_or_default());
    }

    fn step(&mut self, exchange: &Value, known: &Option<Kind>) {
        let text = |name: &str| exchange[name].as_str().unwrap_or_default();
        let url = text("url").split('?').next().unwrap_or_default();
        let status = exchange["status"].as_u64().map_or_else(|| "->".to_owned(), |status| status.to_string());
        let rpc = exchange["sent"]["method"].as_str().map(|method| format!("  {method}")).unwrap_or_default();
        println!("  {:7} {url}{rpc}  {status}", text("method"));
        match known {
            Some(kind) => self.show(kind.proves, kind.holds, &kind.seen),
            None => {
                self.steps += 1;
                let fine = matches!(exchange["status"].as_u64(), Some(200 | 202 | 404 | 405));
                if !fine {
                    self.surprises.push(format!("an answer that nobody expected: {exchange}"));
                }
            }
        }
    }

    fn show(&mut self, proves: &str, holds: bool, seen: &str) {
        self.steps += 1;
        let seen: String = seen.chars().take(150).collect();
        println!("    {} {proves}\n      {seen}", if holds { "ok:" } else { "NO:" });
        if !holds {
            self.surprises.push(format!("{proves}: {seen}"));
        }
    }

    fn stay_up(&mut self) {
        *self = Self::start();
        let inspector = format!("{} {}", tools().node.display(), tools().inspector.display());
        println!("\nTry it:\n\n  {inspector} --cli {} --transport http --method tools/list", self.stack.url());
        println!("\nCtrl-C stops everything.");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(tokio::signal::ctrl_c()).expect("signals");
    }
}

/// The steps of a login, in their order.
const KINDS: [&str; 9] =
    ["refusal", "resource", "issuer", "registration", "consent", "token", "admission", "list or call", "call"];

/// A step of a login, and whether it was as the specifications want it.
struct Kind {
    name: &'static str,
    proves: &'static str,
    holds: bool,
    seen: String,
}

impl Kind {
    fn of(exchange: &Value, endpoint: &str, issuer: &str) -> Option<Self> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (url, method, answered) = (text(&exchange["url"]), text(&exchange["method"]), &exchange["answered"]);
        let status = exchange["status"].as_u64().unwrap_or(0);
        let kind = |name, proves, holds, seen: String| Some(Self { name, proves, holds, seen });
        if method == "BROWSER" {
            let asked = |parameter: &str| url.contains(parameter);
            let resource = endpoint.replace(':', "%3A").replace('/', "%2F");
            let holds = asked("code_challenge_method=S256") && asked(&format!("resource={resource}"));
            let seen = url.split('?').nth(1).unwrap_or_default().to_owned();
            return kind(
                "consent",
                "a person is asked, with PKCE (RFC 7636) and for this resource (RFC 8707)",
                holds,
                seen,
            );
        }
        if url == endpoint && status == 401 {
            let challenge = text(&exchange["challenge"]);
            let holds = challenge.starts_with("Bearer scope=") && challenge.contains("resource_metadata=\"");
            return kind(
                "refusal",
                "nobody comes in without a token, and is told where to ask (RFC 9728 section 5.1)",
                holds,
                challenge,
            );
        }
        if url.contains("/.well-known/oauth-protected-resource") {
            let holds = answered["resource"] == *endpoint && answered["authorization_servers"][0] == *issuer;
            let proves =
                "the resource is the very URL that was dialled, and its issuer is named (RFC 9728 section 3.3)";
            return kind("resource", proves, holds, answered.to_string());
        }
        if url.starts_with(issuer) && url.contains("/.well-known/") && status == 200 {
            let seen = format!("issuer {}, PKCE {}", answered["issuer"], answered["code_challenge_methods_supported"]);
            return kind(
                "issuer",
                "the issuer's metadata are its own (RFC 8414 section 3.3)",
                answered["issuer"] == *issuer,
                seen,
            );
        }
        if url == format!("{issuer}/reg") {
            return kind(
                "registration",
                "a client that nobody knew is registered (RFC 7591)",
                status == 201,
                answered["client_name"].to_string(),
            );
        }
        if url == format!("{issuer}/token") {
            let token = &answered["token"];
            let holds = token["aud"] == *endpoint && token["iss"] == *issuer;
            let seen = format!("aud {}, scope {}, sub {}", token["aud"], token["scope"], token["sub"]);
            return kind("token", "the token is for this resource and no other", holds, seen);
        }
        let rpc = text(&exchange["sent"]["method"]);
        match (url == endpoint, rpc.as_str()) {
            (true, "initialize" | "server/discover") => kind(
                "admission",
                "with it the client is let in",
                status == 200,
                answered["result"]["serverInfo"].to_string(),
            ),
            (true, "tools/list") => {
                kind("list or call", "lists are filtered by the policy", status == 200, answered["result"].to_string())
            }
            (true, "tools/call") => {
                kind("call", "the protected tool is called", status == 200, answered["result"].to_string())
            }
            _ => None,
        }
    }
}
