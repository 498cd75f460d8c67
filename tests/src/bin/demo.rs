//! `make demo`: the main job before your eyes. Everything in it is real: MCP server and clients, Envoy, `toolward`.

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use toolward_tests::client::Session;
use toolward_tests::examples::Quickstart;
use toolward_tests::http::{self, call, request};
use toolward_tests::process::eventually;
use toolward_tests::tools::tools;
use toolward_tests::toolward::Issuer;

/// What callers ask for, in the table's order.
const ASKED: [&str; 3] = ["list", "add", "multiply"];

/// A row of the table: a caller, and what each call is to answer.
struct Caller {
    name: &'static str,
    /// Arguments of `toolward token`; none for who has no token.
    token: Option<&'static [&'static str]>,
    promised: [&'static str; 3],
}

const CALLERS: [Caller; 4] = [
    Caller { name: "anonymous", token: None, promised: ["401", "401", "401"] },
    Caller {
        name: "expired (bob, yesterday)",
        token: Some(&["--subject", "bob", "--claim", "team=ops", "--expires-in", "-86400"]),
        promised: ["401", "401", "401"],
    },
    Caller {
        name: "bob of team ops",
        token: Some(&["--subject", "bob", "--claim", "team=ops"]),
        promised: ["add, multiply", "13", "42"],
    },
    Caller {
        name: "alice of team sales",
        token: Some(&["--subject", "alice", "--claim", "team=sales"]),
        promised: ["add", "13", "Unknown tool: multiply"],
    },
];

/// Everything that runs.
struct Demo {
    issuer: Issuer,
    running: Quickstart,
}

fn main() -> ExitCode {
    let demo = Demo::start();
    let mut surprises = Vec::new();
    let mut sessions = demo.show_callers(&mut surprises);
    let alice = sessions.last_mut().expect("the table has rows");
    demo.show_change(alice, &mut surprises);
    for surprise in &surprises {
        println!("NOT AS PROMISED: {surprise}");
    }
    if surprises.is_empty() {
        println!("Every answer was as promised.");
    }
    if std::env::var_os("ONCE").is_none() {
        demo.stay_up();
    }
    ExitCode::from(u8::from(!surprises.is_empty()))
}

impl Demo {
    fn start() -> Self {
        let issuer = Issuer::new("ES256");
        let running = Quickstart::start(&issuer);
        if let Some(elapsed) = since_make() {
            println!("The first answer, a refusal, came {:.1} s after `make demo`.", elapsed.as_secs_f64());
        }
        println!();
        let Quickstart { folder, server, toolward, envoy, url } = &running;
        println!("  MCP endpoint   {url}  (Envoy; its admin socket is {})", envoy.admin.display());
        println!("  MCP server     http://127.0.0.1:{}/mcp  (Python SDK, nobody asks for a token here)", server.port);
        println!("  toolward       http://127.0.0.1:{}  (admin port; xDS is on {})", toolward.admin, toolward.xds);
        println!("  manifests      {}", folder.path().display());
        Self { issuer, running }
    }

    fn token(&self, caller: &Caller) -> String {
        caller.token.map_or_else(String::new, |arguments| self.issuer.token(arguments))
    }

    /// Prints the table callers x tools, and gives the callers' sessions, which stay open.
    fn show_callers(&self, surprises: &mut Vec<String>) -> Vec<Session> {
        println!("\nWhat real clients (Python SDK) were answered:\n");
        println!("  {:26}{:16}{:10}multiply(6, 7)", "", "tools/list", "add(6, 7)");
        let mut sessions: Vec<Session> =
            CALLERS.iter().map(|caller| Session::open(&self.running.url, &self.token(caller))).collect();
        for (caller, session) in CALLERS.iter().zip(&mut sessions) {
            let answers = ASKED.map(|what| brief(&session.ask(what)));
            println!("  {:26}{:16}{:10}{}", caller.name, answers[0], answers[1], answers[2]);
            for ((what, answer), promised) in ASKED.iter().zip(&answers).zip(caller.promised) {
                if answer != promised {
                    surprises.push(format!("{}, {what}: {answer}, not {promised}", caller.name));
                }
            }
        }
        sessions
    }

    /// Grants alice's team one more tool while she is connected.
    fn show_change(&self, alice: &mut Session, surprises: &mut Vec<String>) {
        let before = std::fs::read_to_string(self.running.folder.path().join("policy.yaml")).expect("the policy");
        let after = before.replace("tools: [add]", "tools: [add, multiply]");
        let client = http::client();
        let token = self.token(&CALLERS[3]);
        let saved = Instant::now();
        self.running.folder.write("policy.yaml", &after);
        eventually("enforced", || {
            let answer = http::send(http::post(&client, &self.running.url, call("multiply")).bearer_auth(&token));
            answer.code().is_none()
        });
        let enforced = saved.elapsed();
        println!(
            "\nEdited policy.yaml: team sales may multiply. From save to enforcement: {} ms.",
            enforced.as_millis()
        );
        let (list, product) = (alice.ask("list"), alice.ask("multiply"));
        println!("alice's session, open all the time, now: tools/list: {list}; multiply(6, 7): {product}\n");
        if (list.as_str(), product.as_str()) != ("add, multiply", "42") {
            surprises.push("alice after the change".to_owned());
        }
    }

    /// Says what to try, and waits for Ctrl-C.
    fn stay_up(&self) {
        let folder = self.running.folder.path().display();
        for (name, caller) in [("bob", &CALLERS[2]), ("alice", &CALLERS[3])] {
            std::fs::write(self.running.folder.path().join(format!("{name}.token")), self.token(caller))
                .expect("writable");
        }
        let inspector = format!("{} {}", tools().node.display(), tools().inspector.display());
        println!(
            r#"
Try it (tokens of bob and alice are valid for an hour):

  TOKEN=$(cat {folder}/alice.token)
  curl -s {url} -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \
    -H 'Accept: application/json, text/event-stream' -d '{list}'
  curl -s {url} -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \
    -H 'Accept: application/json, text/event-stream' -d '{call}'
  {inspector} --cli {url} --transport http --header "Authorization: Bearer $TOKEN" --method tools/list

  $EDITOR {folder}/policy.yaml               # saved is enforced
  {toolward} check {folder}
  curl -s 127.0.0.1:{admin}/problems                    # what toolward has to say about the manifests
  curl -s --unix-socket {envoy} 'http://envoy/stats?filter=toolward'   # what was decided, counted
  tail -f {log}                   # and line by line

Ctrl-C stops everything."#,
            url = self.running.url,
            list = request("tools/list"),
            call = call("multiply"),
            toolward = tools().toolward.display(),
            admin = self.running.toolward.admin,
            envoy = self.running.envoy.admin.display(),
            log = self.running.envoy.process.log_file().display(),
        );
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(tokio::signal::ctrl_c()).expect("signals");
        println!("\nstopping");
    }
}

/// How long ago `make demo` began, which its variable tells in milliseconds since 1970.
fn since_make() -> Option<Duration> {
    let began = std::env::var("DEMO_BEGAN").ok()?.parse().ok()?;
    SystemTime::now().duration_since(UNIX_EPOCH + Duration::from_millis(began)).ok()
}

/// The status for a client that was not let in, whose words for it are long.
fn brief(answer: &str) -> String {
    if answer.starts_with("401 ") { "401".to_owned() } else { answer.to_owned() }
}
