//! What a caller spells otherwise: neither a test nor its opposite holds of it. What is merely another text can be told apart.

#![expect(clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use toolward_policy::arguments::{Arguments, Given};
use toolward_policy::expression::{Expression, Fit, Scope};

/// What a test and its opposite come to of a text that is an argument, and of one that is the name of a resource.
fn fits(test: &Value, text: &str) -> [bool; 4] {
    let (jwt, arguments) = (Map::new(), json!({ "a": text }).to_string());
    let given = Given::Arguments(Arguments::parse(arguments.as_bytes()).expect("an object"));
    let argument = json!({ "member": [{ "member": [{ "variable": "mcp" }, "arguments"] }, "a"] });
    let resource = json!({ "member": [{ "variable": "mcp" }, "resource"] });
    let scope = Scope {
        jwt: &jwt,
        path: "/mcp",
        host: "h",
        tool: None,
        prompt: None,
        resource: Some(text),
        call: Some(("resources/read", &given)),
    };
    let holds = |expression: Value| {
        let expression: Expression = serde_json::from_value(expression).expect("an expression");
        expression.fit(&scope) == Fit::Yes
    };
    let of = |said: &Value| -> Value {
        serde_json::from_str(&test.to_string().replace("\"SAID\"", &said.to_string())).expect("JSON")
    };
    let [argument, resource] = [of(&argument), of(&resource)];
    [
        holds(argument.clone()),
        holds(json!({ "not": argument })),
        holds(resource.clone()),
        holds(json!({ "not": resource })),
    ]
}

fn is(comparison: &str, literal: &str) -> Value {
    json!({ "compare": [comparison, "SAID", { "literal": literal }] })
}

fn text(test: &str, literal: &str) -> Value {
    json!({ "text": [test, "SAID", { "literal": literal }] })
}

fn within(literals: &[&str]) -> Value {
    let literals: Vec<Value> = literals.iter().map(|literal| json!({ "literal": literal })).collect();
    json!({ "in": ["SAID", { "list": literals }] })
}

#[test]
fn what_is_spelled_otherwise_is_neither() {
    let envs = || within(&["prod", "stage", "key"]);
    let rows = [
        ("one letter encoded", text("startsWith", "doc://files/secret"), "doc://files/s%65cret"),
        ("the last letter encoded", is("equal", "doc://files/salaries"), "doc://files/salarie%73"),
        ("not equal", is("notEqual", "doc://files/salaries"), "doc://files/salarie%73"),
        ("the other way round", json!({ "compare": ["equal", { "literal": "salaries" }, "SAID"] }), "salarie%73"),
        ("at the start", text("startsWith", "/etc"), "/%65tc/x"),
        ("at the end", text("endsWith", ".key"), "a.%6bey"),
        ("within", text("contains", "secret"), "a/secr%65t/b"),
        ("in a list", envs(), "pro%64"),
        ("encoded twice", is("equal", "secret"), "s%2565cret"),
        ("encoded more often than anybody decodes", is("equal", "x"), "%252525252525252541"),
        ("a wide percent sign", is("equal", "secret"), "s\u{ff05}65cret"),
        ("another case, encoded", is("equal", "secret"), "S%45CRET"),
        ("long s, encoded", is("equal", "stage"), "%c5%bftage"),
        ("order", is("less", "b"), "%7a"),
        ("a tab that is dropped", text("startsWith", "doc://files/secret"), "doc://files/sec\tret"),
        ("a line feed, encoded", text("contains", "\n"), "a%0Ab"),
        ("a byte order mark", envs(), "prod\u{feff}"),
        ("long s", envs(), "\u{17f}tage"),
        ("Kelvin's sign", envs(), "\u{212a}ey"),
        ("zero width", envs(), "prod\u{200b}"),
        ("full width", envs(), "\u{ff50}rod"),
        ("a soft hyphen and a joiner", envs(), "pr\u{ad}o\u{200d}d"),
        ("an accent", envs(), "pro\u{301}d"),
        ("a wide blank", envs(), "prod\u{2003}"),
        ("a separator of Python's", envs(), "prod\u{1f}"),
        ("a mark of direction", is("equal", "prod"), "\u{202e}prod"),
        ("at the start, zero width", text("startsWith", "secret"), "\u{200b}secret/x"),
        ("within, full width", text("contains", "secret"), "a\u{ff33}ECRET"),
        ("at the end, not seen", text("endsWith", ".key"), "a.key\u{fe0f}"),
        ("in a list of the caller's", json!({ "in": [{ "literal": "evil" }, { "list": ["SAID"] }] }), "ev\u{ad}il"),
        ("nothing that is seen", is("equal", ""), "\u{200b}"),
        ("nothing that is seen, in front", json!({ "compare": ["equal", { "literal": "" }, "SAID"] }), "\u{200b}"),
        ("order, full width", is("greater", "b"), "\u{ff41}"),
        ("an accent in the rule", is("equal", "caf\u{e9}"), "cafe\u{301}"),
    ];
    for (row, test, text) in rows {
        assert_eq!(fits(&test, text), [false; 4], "{row}");
    }
}

#[test]
fn other_texts_are_told_apart() {
    let rows = [
        ("a name", is("notEqual", "prod"), "Z\u{fc}rich", true),
        ("a name in a list", within(&["prod", "stage"]), "Z\u{fc}rich", false),
        ("another script", is("notEqual", "prod"), "\u{65e5}\u{672c}", true),
        ("nothing", is("notEqual", ""), "\u{65e5}\u{672c}", true),
        ("signs of another script", is("notEqual", "a"), "\u{939}\u{93f}\u{902}\u{926}\u{940}", true),
        ("a face of several", text("contains", "x"), "\u{1f468}\u{200d}\u{1f469}", false),
        ("percents", is("notEqual", "prod"), "100% sure", true),
        ("a wide percent sign", is("notEqual", "prod"), "50\u{ff05}", true),
        ("a blank, encoded", text("startsWith", "doc://public/"), "doc://public/a%20b", true),
        ("letters behind, encoded", text("startsWith", "doc://public/"), "doc://public/Z%C3%BCrich", true),
        ("another, encoded", is("notEqual", "doc://secret"), "doc://a%20b", true),
        ("encoded in the rule too", text("startsWith", "doc://a%20b/"), "doc://a%20b/c", true),
        ("the same, encoded", is("equal", "doc://a%20b"), "doc://a%20b", true),
        ("an empty authority", text("startsWith", "file://"), "file:///a", true),
        ("a line feed", text("contains", "\n"), "ab", false),
        ("a line feed that is there", text("contains", "\n"), "a\nb", true),
        ("order", is("less", "b"), "a", true),
    ];
    for (row, test, text, holds) in rows {
        assert_eq!(fits(&test, text), [holds, !holds, holds, !holds], "{row}");
    }
}

#[test]
fn all_expressions_together_end() {
    let (jwt, arguments) = (Map::new(), json!({ "a": "x".repeat(200_000), "n": 1 }).to_string());
    let given = Given::Arguments(Arguments::parse(arguments.as_bytes()).expect("an object"));
    let call = Some(("tools/call", &given));
    let scope = Scope { jwt: &jwt, path: "/mcp", host: "h", tool: Some("t"), prompt: None, resource: None, call };
    let of = |name: &str, literal: Value| -> Expression {
        let said = json!({ "member": [{ "member": [{ "variable": "mcp" }, "arguments"] }, name] });
        serde_json::from_value(json!({ "compare": ["notEqual", said, { "literal": literal }] })).expect("an expression")
    };
    let (costly, cheap) = (of("a", json!("y")), of("n", json!(2)));
    assert_eq!((costly.fit(&scope), cheap.fit(&scope)), (Fit::Yes, Fit::Yes));
    let fits = (0..100).filter(|_| costly.fit(&scope) == Fit::Yes).count();
    assert!(fits < 50, "{fits}");
    assert_eq!(cheap.fit(&scope), Fit::No, "nor anything after it");
}

/// A letter as a caller may spell it.
fn spelled(letter: char, spelling: u8) -> String {
    match spelling {
        0 => format!("%{:02x}", u32::from(letter)),
        1 => format!("%25{:02X}", u32::from(letter)),
        2 => letter.to_ascii_uppercase().into(),
        3 => char::from_u32(u32::from(letter) + 0xfee0).expect("a full-width form").into(),
        4 => format!("{letter}\u{200b}"),
        5 => format!("{letter}\u{301}"),
        6 => format!("\u{202a}{letter}"),
        7 => format!("%ef%bb%bf{letter}"),
        8 => format!("{letter}%C2%AD"),
        9 if letter == 's' => '\u{17f}'.into(),
        9 if letter == 'k' => '\u{212a}'.into(),
        _ => letter.into(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn no_spelling_is_another_text(
        word in "[a-z]{1,6}",
        spellings in proptest::collection::vec(0..14_u8, 6),
        (before, behind) in ("[a-z/]{0,3}", "[a-z/]{0,3}"),
    ) {
        let said: String = word.chars().zip(spellings).map(|(letter, spelling)| spelled(letter, spelling)).collect();
        let [_, differs, _, differs_as_resource] = fits(&is("equal", &word), &said);
        prop_assert!(!differs && !differs_as_resource, "{said:?} is {word}");
        for (test, text) in [
            (text("startsWith", &word), format!("{said}{behind}")),
            (text("endsWith", &word), format!("{before}{said}")),
            (text("contains", &word), format!("{before}{said}{behind}")),
        ] {
            let [_, not, _, not_as_resource] = fits(&test, &text);
            prop_assert!(!not && !not_as_resource, "{text:?}: {test}");
        }
    }
}
