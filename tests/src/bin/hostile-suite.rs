//! The hostile requests against any MCP gateway: `make hostile-suite URL=… TOKEN=… GRANTED=… FORBIDDEN=…`.
//!
//! What runs behind the gateway is not seen, so the answers are judged: one that is neither a refusal nor the answer of the
//! granted tool is taken for a bypass.

use std::collections::BTreeMap;
use std::env;
use std::process::ExitCode;

use toolward_tests::hostile::{Answer, Case, Target, cases, exchange, good_call, open};
use toolward_tests::servers::Era;
use toolward_tests::tools::root;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Refused,
    GrantedRan,
    Bypass,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::GrantedRan => "granted ran",
            Self::Bypass => "BYPASS",
        }
    }
}

fn main() -> ExitCode {
    let mut totals: BTreeMap<Verdict, usize> = BTreeMap::new();
    for era in [Era::Legacy, Era::Modern] {
        let mut target = target(era);
        let _ = open(&mut target);
        let Some(good) = text(&ask(&good_call(), &target)) else {
            println!("{}: a good call does not get through, so nothing is tried", era.word());
            continue;
        };
        let cases = cases(&root().join("tests/hostile"));
        for case in cases.iter().filter(|case| case.is_of(era)) {
            let answer = ask(case, &target);
            let verdict = judge(case, &answer, &good);
            *totals.entry(verdict).or_default() += 1;
            let status = answer.status.map_or_else(|| "closed".to_owned(), |status| status.to_string());
            println!("{:<7} {:<18} {:<50} {status:<6} {}", era.word(), case.family, case.name, verdict.word());
            if answer.status == Some(404) || verdict != Verdict::Refused {
                let _ = open(&mut target);
            }
        }
        if text(&ask(&good_call(), &target)).is_none() {
            println!("{}: in the end a good call does not get through any more", era.word());
            return ExitCode::FAILURE;
        }
    }
    let count = |verdict| totals.get(&verdict).copied().unwrap_or(0);
    let (refused, granted, bypasses) = (count(Verdict::Refused), count(Verdict::GrantedRan), count(Verdict::Bypass));
    println!("{refused} refused, {granted} ran what is granted, {bypasses} bypasses");
    println!("{} passed, {bypasses} failed", refused + granted);
    if bypasses == 0 && refused > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn target(era: Era) -> Target {
    let said = |name: &str| env::var(name).unwrap_or_else(|_| panic!("say {name}=…"));
    let url = said("URL");
    let rest = url.strip_prefix("http://").expect("URL is http://HOST:PORT/PATH; put a TLS tunnel before others");
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    Target {
        host: if host.contains(':') { host.to_owned() } else { format!("{host}:80") },
        path: format!("/{path}"),
        token: said("TOKEN"),
        granted: said("GRANTED"),
        forbidden: said("FORBIDDEN"),
        arguments: env::var("ARGUMENTS").unwrap_or_else(|_| r#"{"a":6,"b":7}"#.to_owned()),
        era,
        session: None,
    }
}

fn ask(case: &Case, target: &Target) -> Answer {
    exchange(&target.host, &case.render(target), case.ending())
}

fn judge(case: &Case, answer: &Answer, good: &str) -> Verdict {
    match text(answer) {
        None => Verdict::Refused,
        Some(_) if case.nothing_runs => Verdict::Bypass,
        Some(text) if text == good => Verdict::GrantedRan,
        Some(_) => Verdict::Bypass,
    }
}

/// What a tool answered; none: the answer is that of no tool.
fn text(answer: &Answer) -> Option<String> {
    let is_tools = answer.body.contains("\"result\"") && answer.body.contains("\"content\"");
    let failed = answer.body.contains("\"isError\":true") || answer.body.contains("\"isError\": true");
    if answer.status != Some(200) || !is_tools || failed {
        return None;
    }
    let (_, content) = answer.body.split_once("\"content\"")?;
    let (_, text) = content.split_once("\"text\":")?;
    text.trim_start().strip_prefix('"')?.split_once('"').map(|(text, _)| text.to_owned())
}
