//! What the filter takes for a call, Python, Node.js and Go take for the same call: of all hostile bodies, and of what
//! fuzzing keeps.

use serde_json::Value;
use toolward_policy::arguments::Given;
use toolward_policy::mcp::message::{Message, Target as Named};
use toolward_tests::hostile::{Target, cases};
use toolward_tests::readers::{self, LANGUAGES, Reading};
use toolward_tests::servers::Era;
use toolward_tests::tools::root;

#[test]
fn all_languages_read_what_was_judged() {
    let target = |era| Target {
        host: String::new(),
        path: String::new(),
        token: String::new(),
        granted: "add".to_owned(),
        forbidden: "multiply".to_owned(),
        arguments: r#"{"a":6,"b":7}"#.to_owned(),
        era,
        session: None,
    };
    let all = [cases(&root().join("tests/hostile")), cases(&root().join("tests/hostile/arguments"))].concat();
    let of_era = |era| all.iter().filter_map(move |case| case.body(&target(era)));
    let mut bodies: Vec<Vec<u8>> = of_era(Era::Legacy).chain(of_era(Era::Modern)).collect();
    let kept = std::fs::read_dir(root().join("policy/fuzz/corpus/request")).expect("a corpus");
    bodies.extend(kept.map(|file| std::fs::read(file.expect("a file").path()).expect("readable").split_off(1)));
    let readings = readers::ask(&bodies);
    let mut judged = 0;
    for (index, body) in bodies.iter().enumerate() {
        let Ok(Message::Request(request)) = Message::parse(body) else { continue };
        let [Named::Tool(name)] = request.targets.as_slice() else { continue };
        let message: Value = serde_json::from_slice(body).expect("JSON");
        let arguments = message["params"].get("arguments");
        match (request.arguments(), arguments) {
            (Given::Arguments(judged), Some(Value::Object(members))) => {
                assert!(readers::are_same(judged, members), "{message}");
            }
            (Given::None, None) => {}
            (Given::Unclear, Some(other)) if !other.is_object() => {}
            (judged, _) => panic!("{judged:?}: {message}"),
        }
        let decided = readers::reading(&request.method_name, name, arguments);
        for (language, readings) in LANGUAGES.iter().zip(&readings) {
            let read = &readings[index];
            assert!(*read == decided || *read == Reading::Refused, "{language}: {}", String::from_utf8_lossy(body));
        }
        judged += 1;
    }
    println!("{judged} of {} bodies are calls, and mean the same to {}", bodies.len(), LANGUAGES.join(", "));
    assert!(judged > 100, "{judged}");
}
