//! Every hostile request to every real server: asked directly, through Toolward, and through Envoy's own filters that
//! grant the same. A bypass is a tool that ran though it is forbidden, or with arguments that are, or that ran and was not
//! logged.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use toolward_tests::envoy::{Envoy, shipped};
use toolward_tests::hostile::{Case, Ending, Target, cases, exchange, good_call, open};
use toolward_tests::http::decoded;
use toolward_tests::mcp_server::McpServer;
use toolward_tests::ports;
use toolward_tests::process::eventually;
use toolward_tests::servers::{Era, Server};
use toolward_tests::stack::Stack;
use toolward_tests::tools::root;
use toolward_tests::toolward::{AUDIENCE, ISSUER};

const GRANTED: &str = "add";
const FORBIDDEN: &str = "multiply";
/// What servers tell when they complete an argument of the prompt that is granted.
const COMPLETION: &str = "completion";
const RULES: &str = "
    - name: ops-may-add
      tools: [add]
      claims: [{ path: team, in: [ops] }]
    - name: ops-may-greet
      prompts: [greeting]
      claims: [{ path: team, in: [ops] }]
      arguments: [{ path: name, matches: \"a*\" }]
    - name: ops-may-act
      tools: [act]
      claims: [{ path: team, in: [ops] }]
      arguments: [{ path: repo.owner, in: [acme] }, { path: to, matches: \"team/*\" }]
      when: >-
        (!has(mcp.arguments.force) || mcp.arguments.force != true) &&
        (!has(mcp.arguments.amount) || !(mcp.arguments.amount > 1000) && !(mcp.arguments.amount in [13, 14])) &&
        (!has(mcp.arguments.labels) || !('evil' in mcp.arguments.labels) && size(mcp.arguments.labels) <= 3)";

/// How often it is made sure that a good request still gets through, in cases: else nothing would be tested.
const CONTROL_EVERY: usize = 20;

#[test]
fn nothing_forbidden_runs() {
    let common = cases(&root().join("tests/hostile"));
    let of_arguments = cases(&root().join("tests/hostile/arguments"));
    assert!(of_arguments.len() >= 100, "{}", of_arguments.len());
    let rows: Vec<Row> = thread::scope(|scope| {
        let own = |server: Server| {
            let more = if Server::ACT.contains(&server) { of_arguments.as_slice() } else { &[] };
            [common.as_slice(), more].concat()
        };
        let threads = Server::ALIKE.map(|server| {
            let cases = own(server);
            scope.spawn(move || of_server(server, &cases))
        });
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    let pairs: BTreeSet<(Server, Era)> = rows.iter().map(|row| (row.server, row.era)).collect();
    assert!(pairs.len() >= 9, "{pairs:?}");
    let totals = Totals::of(&rows);
    let file = root().join("target/reports/differential.json");
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("writable");
    let report = json!({ "cases": rows.iter().map(Row::json).collect::<Vec<_>>(), "totals": totals.json() });
    std::fs::write(&file, serde_json::to_vec_pretty(&report).expect("JSON")).expect("writable");
    println!("{}", totals.table(&rows));
    let bypasses: Vec<Value> = rows.iter().filter(|row| row.is_bypass(Way::Toolward)).map(Row::json).collect();
    assert!(bypasses.is_empty(), "{bypasses:#?}");
    assert!(rows.iter().any(|row| row.is_bypass(Way::Direct)), "the servers themselves forbid nothing");
    let by_arguments =
        |row: &Row| row.outcomes[&Way::Direct].ran.iter().any(|ran| acted(ran).is_some_and(is_forbidden));
    let coerced: BTreeSet<Server> = rows.iter().filter(|row| by_arguments(row)).map(|row| row.server).collect();
    assert_eq!(coerced.into_iter().collect::<Vec<_>>(), Server::ACT, "nor arguments");
    // Some servers know no members but their own.
    let is_refused = |row: &&Row| row.must_run && row.ran(Way::Direct) && !row.ran(Way::Toolward);
    let refused: Vec<Value> = rows.iter().filter(is_refused).map(Row::json).collect();
    assert!(refused.is_empty(), "what is granted runs: {refused:#?}");
}

/// How a server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Direct,
    Toolward,
    Native,
}

impl Way {
    const ALL: [Self; 3] = [Self::Direct, Self::Toolward, Self::Native];
}

/// What became of one case at one server.
struct Row {
    family: String,
    case: String,
    nothing_runs: bool,
    must_run: bool,
    server: Server,
    era: Era,
    outcomes: BTreeMap<Way, Outcome>,
}

#[derive(Clone, Debug)]
struct Outcome {
    status: Option<u16>,
    ran: Vec<String>,
}

impl Row {
    fn is_bypass(&self, way: Way) -> bool {
        let ran = &self.outcomes[&way].ran;
        let is_granted = |ran: &String| {
            ran == GRANTED || (ran == COMPLETION && self.must_run) || acted(ran).is_some_and(|did| !is_forbidden(did))
        };
        !ran.iter().all(is_granted) || (self.nothing_runs && !ran.is_empty())
    }

    fn ran(&self, way: Way) -> bool {
        !self.outcomes[&way].ran.is_empty()
    }

    fn json(&self) -> Value {
        let outcome = |way: Way| json!({ "status": self.outcomes[&way].status, "ran": self.outcomes[&way].ran });
        let word = |way: Way| match (self.is_bypass(way), self.outcomes[&way].ran.is_empty()) {
            (true, _) => "bypass",
            (false, true) => "nothing ran",
            (false, false) => "only what is granted ran",
        };
        json!({
            "family": self.family, "case": self.case, "server": self.server.to_string(), "era": self.era.word(),
            "direct": outcome(Way::Direct), "through": outcome(Way::Toolward), "native": outcome(Way::Native),
            "verdict": word(Way::Toolward), "nativeVerdict": word(Way::Native),
        })
    }
}

/// With which arguments the tool `act` ran, if it was that one.
fn acted(ran: &str) -> Option<Value> {
    serde_json::from_str(ran.strip_prefix("act ")?).ok()
}

/// What [`RULES`] do not grant, as the server understood it.
fn is_forbidden(did: Value) -> bool {
    let labels = did["labels"].as_array().cloned().unwrap_or_default();
    let amount = did["amount"].as_f64();
    let to = did["to"].as_str().unwrap_or_default();
    let leaves = |to: &str| to.split(['/', '\\']).any(|segment| segment == ".." || segment.is_empty());
    did["owner"] != "acme"
        || did["force"] != false
        || amount.is_none_or(|amount| amount > 1000.0 || amount == 13.0 || amount == 14.0)
        || labels.contains(&json!("evil"))
        || labels.len() > 3
        || !to.starts_with("team/")
        || leaves(&String::from_utf8_lossy(&decoded(&decoded(to.as_bytes()))))
}

struct Totals {
    requests: usize,
    bypasses: BTreeMap<Way, usize>,
}

impl Totals {
    fn of(rows: &[Row]) -> Self {
        let bypasses = Way::ALL.map(|way| (way, rows.iter().filter(|row| row.is_bypass(way)).count()));
        Self { requests: rows.len() * Way::ALL.len(), bypasses: bypasses.into() }
    }

    fn json(&self) -> Value {
        json!({
            "requests": self.requests, "bypasses": self.bypasses[&Way::Toolward],
            "nativeBypasses": self.bypasses[&Way::Native], "directRuns": self.bypasses[&Way::Direct],
        })
    }

    fn table(&self, rows: &[Row]) -> String {
        let mut groups: BTreeMap<(Server, Era), Vec<&Row>> = BTreeMap::new();
        for row in rows {
            groups.entry((row.server, row.era)).or_default().push(row);
        }
        let mut lines =
            vec!["server, era: cases; forbidden tools that ran directly, through Toolward, natively".to_owned()];
        lines.extend(groups.iter().map(|((server, era), rows)| {
            let counts = Way::ALL.map(|way| rows.iter().filter(|row| row.is_bypass(way)).count());
            let [direct, through, native] = counts;
            format!("{:<16} {:<7} {:4} {direct:4} {through:4} {native:4}", server.to_string(), era.word(), rows.len())
        }));
        lines.push(format!("{}", self.json()));
        lines.join("\n")
    }
}

/// One server with its three ways.
fn of_server(kind: Server, cases: &[Case]) -> Vec<Row> {
    let server = kind.start();
    let stack = Stack::start(server.port, RULES);
    let native_port = ports::free();
    let config = shipped("tests/hostile/envoy/native.yaml")
        .replace("port_value: 10000", &format!("port_value: {native_port}"))
        .replace("port_value: 8000", &format!("port_value: {}", server.port))
        .replace("ISSUER", ISSUER)
        .replace("AUDIENCE", AUDIENCE)
        .replace("JWKS", &stack.issuer.jwks());
    let native = Envoy::with_config(&config);
    let token = stack.issuer.of_team("ops");
    let mut rows = Vec::new();
    for era in kind.eras() {
        if !speaks(&server, &token, *era) {
            println!("{kind} does not speak {}", era.revision());
            continue;
        }
        let own: Vec<&Case> = cases.iter().filter(|case| case.is_of(*era)).collect();
        let outcomes = Way::ALL.map(|way| {
            let port = match way {
                Way::Direct => server.port,
                Way::Toolward => stack.port,
                Way::Native => native_port,
            };
            let mut client = Client::new(&server, target(port, &token, *era), format!("{kind} {} {way:?}", era.word()));
            own.iter().enumerate().map(|(index, case)| client.try_case(index, case)).collect::<Vec<_>>()
        });
        for (index, case) in own.iter().enumerate() {
            let outcomes = Way::ALL.iter().zip(&outcomes).map(|(way, of_way)| (*way, of_way[index].clone()));
            rows.push(Row {
                family: case.family.clone(),
                case: case.name.clone(),
                nothing_runs: case.nothing_runs,
                must_run: case.must_run,
                server: kind,
                era: *era,
                outcomes: outcomes.collect(),
            });
        }
    }
    check_log(&stack, &rows);
    drop(native);
    rows
}

/// Whether the server itself says that it knows the era's revision.
fn speaks(server: &McpServer, token: &str, era: Era) -> bool {
    let target = target(server.port, token, era);
    let answer = exchange(&target.host, &good_call().render(&target), Ending::Sure);
    !answer.body.contains("-32022")
}

/// Whatever ran through Toolward stands in the log as allowed.
fn check_log(stack: &Stack, rows: &[Row]) {
    let ran = rows.iter().flat_map(|row| &row.outcomes[&Way::Toolward].ran);
    let mut expected: BTreeMap<&str, usize> = BTreeMap::new();
    let name = |ran: &String| match ran.as_str() {
        COMPLETION => "greeting",
        ran if ran.starts_with("act ") => "act",
        _ => GRANTED,
    };
    ran.for_each(|ran| *expected.entry(name(ran)).or_default() += 1);
    let logged = |tool: &str| {
        let log = stack.envoy.access_log();
        log.iter().filter(|entry| entry["decision"] == "allowed" && entry["name"] == tool).count()
    };
    for (tool, count) in expected {
        eventually(&format!("{count} runs of {tool} are logged"), || logged(tool) >= count);
    }
    assert_eq!(logged(FORBIDDEN), 0, "nothing forbidden is allowed");
}

fn target(port: u16, token: &str, era: Era) -> Target {
    Target {
        host: format!("127.0.0.1:{port}"),
        path: "/mcp".to_owned(),
        token: token.to_owned(),
        granted: GRANTED.to_owned(),
        forbidden: FORBIDDEN.to_owned(),
        arguments: r#"{"a":6,"b":7}"#.to_owned(),
        era,
        session: None,
    }
}

/// Sends cases one after the other, and sees what runs meanwhile.
struct Client<'s> {
    server: &'s McpServer,
    target: Target,
    what: String,
    seen: usize,
}

impl<'s> Client<'s> {
    fn new(server: &'s McpServer, target: Target, what: String) -> Self {
        let mut client = Self { server, target, what, seen: 0 };
        let _ = client.ran();
        client.open();
        client
    }

    fn try_case(&mut self, index: usize, case: &Case) -> Outcome {
        if index.is_multiple_of(CONTROL_EVERY) {
            self.control();
        }
        let answer = exchange(&self.target.host, &case.render(&self.target), case.ending());
        if answer.status.is_none() || case.ending() == Ending::Unsure {
            // Nobody says when it is over.
            thread::sleep(Duration::from_millis(30));
        }
        let ran = self.ran();
        if answer.status == Some(404) || case.name.contains("DELETE") {
            self.open();
        }
        Outcome { status: answer.status, ran }
    }

    fn open(&mut self) {
        if let Some(answer) = open(&mut self.target) {
            assert_eq!(answer.status, Some(200), "{}: {answer:?}", self.what);
        }
    }

    /// What is granted runs: the way is open, and the session alive.
    fn control(&mut self) {
        for _ in 0..2 {
            let answer = exchange(&self.target.host, &good_call().render(&self.target), Ending::Sure);
            if self.ran() == [GRANTED] {
                return;
            }
            println!("{}: a new session after {:?}", self.what, answer.status);
            self.open();
        }
        panic!("{}: a good request does not get through", self.what);
    }

    /// The tools that ran since the last time.
    fn ran(&mut self) -> Vec<String> {
        let log = self.server.process.log();
        let complete = log.rfind('\n').map_or(0, |end| end + 1);
        let new = log.get(self.seen..complete).unwrap_or_default();
        let ran = new.lines().filter_map(|line| line.strip_prefix("RAN ")).map(str::to_owned).collect();
        self.seen = complete;
        ran
    }
}
