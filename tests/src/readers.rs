//! What Python, Node.js and Go read in a JSON-RPC body: really asked, since their word is what a server acts on.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use toolward_policy::arguments::{Argument, Arguments, Number};

use crate::tools::{root, tools};

/// What one reader says of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// It does not take it for a call.
    Refused,
    /// Method, name and arguments, in a form of which no two values have the same.
    Read(String),
}

/// The languages that are asked.
pub const LANGUAGES: [&str; 3] = ["Python", "Node.js", "Go"];

/// What each language reads in each body, in the order of [`LANGUAGES`].
///
/// # Panics
/// When one of them can't be asked.
#[must_use]
pub fn ask(bodies: &[Vec<u8>]) -> [Vec<Reading>; 3] {
    let script = |name: &str| root().join("tests/readers").join(name);
    let mut python = Command::new("python3");
    let mut node = Command::new(&tools().node);
    let mut go = Command::new(go_reader());
    [python.arg(script("reader.py")), node.arg(script("reader.mjs")), &mut go].map(|command| readings(command, bodies))
}

/// What a body says of these, as the readers write it.
#[must_use]
pub fn reading(method: &str, name: &str, arguments: Option<&Value>) -> Reading {
    let arguments = arguments.map_or_else(|| "n".to_owned(), canonical);
    Reading::Read(format!("{} {} {arguments}", text(method), text(name)))
}

/// Whether the arguments that are judged are what the body says.
#[must_use]
pub fn are_same(judged: &Arguments, members: &Map<String, Value>) -> bool {
    let is_same = |(name, argument): (&str, &Argument)| members.get(name).is_some_and(|value| is_same(argument, value));
    judged.members().len() == members.len() && judged.members().all(is_same)
}

fn is_same(argument: &Argument, value: &Value) -> bool {
    match (argument, value) {
        (Argument::Null, Value::Null) => true,
        (Argument::Bool(own), Value::Bool(value)) => own == value,
        (Argument::Text(own), Value::String(value)) => own == value,
        (Argument::Number(own), Value::Number(value)) => match own {
            // Which is what is judged of it.
            Number::Unclear => true,
            // `-0` is one of ours, and a double to others.
            Number::Integer(own) => value.as_i64().map_or(value.as_f64() == Some(*own as f64), |value| *own == value),
            Number::Decimal(own) => value.as_f64() == Some(*own),
            Number::Between(..) => false,
        },
        (Argument::List(own), Value::Array(values)) => {
            own.len() == values.len() && own.iter().zip(values).all(|(own, value)| is_same(own, value))
        }
        (Argument::Object(own), Value::Object(members)) => are_same(own, members),
        _ => false,
    }
}

fn canonical(value: &Value) -> String {
    match value {
        Value::Null => "n".to_owned(),
        Value::Bool(true) => "t".to_owned(),
        Value::Bool(false) => "f".to_owned(),
        // No negative zero.
        Value::Number(number) => format!("d{:016x}", (number.as_f64().expect("a number") + 0.0).to_bits()),
        Value::String(value) => text(value),
        Value::Array(elements) => format!("[{}]", elements.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| format!("{}:{}", text(name), canonical(value));
            let mut members: Vec<String> = members.iter().map(member).collect();
            members.sort();
            format!("{{{}}}", members.join(","))
        }
    }
}

fn text(value: &str) -> String {
    value.bytes().fold("s".to_owned(), |hex, byte| format!("{hex}{byte:02x}"))
}

fn readings(command: &mut Command, bodies: &[Vec<u8>]) -> Vec<Reading> {
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = spawned.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut input = child.stdin.take().expect("a pipe");
    let lines: String = bodies.iter().map(|body| STANDARD.encode(body) + "\n").collect();
    let writer = thread::spawn(move || input.write_all(lines.as_bytes()).expect("it reads"));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("it wrote");
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    let reading = |line: &str| match line {
        "refused" => Reading::Refused,
        read => Reading::Read(read.to_owned()),
    };
    let readings: Vec<Reading> = said.lines().map(reading).collect();
    assert_eq!(readings.len(), bodies.len(), "{command:?}");
    readings
}

fn go_reader() -> PathBuf {
    let program = root().join("target/tests/go-reader");
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(root().join("tests/readers/reader.go"))
        .env("CGO_ENABLED", "0")
        .status();
    assert!(built.is_ok_and(|status| status.success()), "Go builds the reader");
    program
}
