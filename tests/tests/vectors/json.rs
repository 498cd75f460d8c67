//! JSONTestSuite: each text as a request's body, and as an argument in one. What is forwarded must mean to Python, Node.js
//! and Go what was decided, or nothing.

use std::path::Path;

use serde_json::Value;
use toolward_policy::arguments::Given;
use toolward_policy::mcp::message::{Message, Target};
use toolward_tests::readers::{self, LANGUAGES, Reading};
use toolward_tests::stack::{OPS_MAY_ADD, Stack};
use toolward_tests::upstream::Upstream;

use super::Tally;

struct Case {
    name: String,
    group: String,
    body: Vec<u8>,
    must_be_refused: bool,
}

pub(crate) fn run(folder: &Path, tally: &mut Tally) {
    let cases = cases(folder);
    assert!(cases.len() > 600, "the suite has more than 300 texts");
    let upstream = Upstream::start();
    let stack = Stack::start(upstream.port, OPS_MAY_ADD);
    let token = stack.issuer.of_team("ops");
    let bodies: Vec<Vec<u8>> = cases.iter().map(|case| case.body.clone()).collect();
    let readings = readers::ask(&bodies);
    for (index, case) in cases.iter().enumerate() {
        let answer = stack.ask(&token, case.body.clone());
        let forwarded = upstream.take_recorded();
        let result = match (forwarded.as_slice(), case.must_be_refused) {
            ([], _) if (400..500).contains(&answer.status) => Ok("refused"),
            ([], _) => Err(format!("neither refused nor forwarded: {answer:?}")),
            ([_], true) => Err("forwarded, though it is no JSON".to_owned()),
            ([one], false) if one.body == case.body => agree(case, &readings, index).map(|()| "forwarded"),
            _ => Err("not forwarded as it is, once".to_owned()),
        };
        tally.count(&case.group, &case.name, result);
    }
}

/// The text as a body of its own, and as an argument of a call.
fn cases(folder: &Path) -> Vec<Case> {
    let files = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    files.sort();
    let case = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str()).expect("UTF-8").to_owned();
        let text = std::fs::read(path).expect("readable");
        let kind = name.get(..2).expect("a kind").to_owned();
        let call = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","arguments":{"v":"#;
        let argument = [call.as_slice(), &text, b"}}}"].concat();
        let must_be_refused = kind == "n_";
        [("as the body", text), ("as an argument", argument)].map(|(place, body)| Case {
            name: name.clone(),
            group: format!("JSONTestSuite {kind} {place}"),
            body,
            must_be_refused,
        })
    };
    files.iter().flat_map(|path| case(path)).collect()
}

fn agree(case: &Case, readings: &[Vec<Reading>; 3], index: usize) -> Result<(), String> {
    let Ok(Message::Request(request)) = Message::parse(&case.body) else { return Err("it is no request".to_owned()) };
    let [Target::Tool(name)] = request.targets.as_slice() else { return Err("it names no tool".to_owned()) };
    // What rules ask of numbers is less than what they are: those are read once more, and must be the same wherever both know.
    let whole: Value = serde_json::from_slice(&case.body).map_err(|error| error.to_string())?;
    let arguments = whole.pointer("/params/arguments").filter(|arguments| arguments.is_object()).cloned();
    let is_same = match (request.arguments(), &arguments) {
        (Given::Arguments(own), Some(Value::Object(other))) => readers::are_same(own, other),
        (Given::None, None) => true,
        _ => false,
    };
    if !is_same {
        return Err(format!("we read {:?} in {arguments:?}", request.arguments()));
    }
    let decided = readers::reading(&request.method_name, name, arguments.as_ref());
    for (language, readings) in LANGUAGES.iter().zip(readings) {
        match &readings[index] {
            Reading::Refused => {}
            read if *read == decided => {}
            read => return Err(format!("{language} reads {read:?}, and we {decided:?}")),
        }
    }
    Ok(())
}
