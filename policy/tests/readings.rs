//! What a caller wrote is read by servers in many ways. Properties: what rules grant, a reading that knows levels only grants
//! as well, and so does every reading that turns values into other types.

#![expect(clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use toolward_policy::arguments::{Arguments, Given};
use toolward_policy::condition::ArgumentCondition;
use toolward_policy::expression::{Comparison, Expression, Fit, Literal, Scope, TextTest};

mod reference;

use reference::Reference;

/// Names that are members of one another, or look alike.
const NAMES: [&str; 12] = ["a", "b", "c", "a.b", "b.c", "a.b.c", "A", "a_", "a[b]", "a/b", "__proto__", "ab"];

/// Of which none could be taken for another.
const PLAIN: [&str; 3] = ["a", "b", "c"];

fn scalar() -> impl Strategy<Value = Value> {
    let texts = [
        "a",
        "A",
        " a ",
        "b",
        "1",
        "01",
        "1.0",
        "true",
        "True",
        "yes",
        "null",
        "",
        "[\"a\"]",
        "[1]",
        "{\"a\":1}",
        "a,b",
        "x/a",
        "x/../a",
        "x/%2e%2e/a",
        "%61",
        "x/%61",
        "%2541",
        "a\u{200b}",
        "\u{ff41}",
        "\u{feff}x/a",
        "%78/a",
        "2",
        "NaN",
    ];
    let numbers = ["0", "1", "2", "-0", "1.0", "1e0", "1.5", "0.5", "3", "9007199254740993", "1.00000000000000000001"];
    prop_oneof![
        3 => proptest::sample::select(texts.to_vec()).prop_map(Value::from),
        3 => proptest::sample::select(numbers.to_vec()).prop_map(|text| serde_json::from_str(text).expect("JSON")),
        1 => any::<bool>().prop_map(Value::Bool),
        1 => Just(Value::Null),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 24, 4, |inner| {
        prop_oneof![proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from), object(inner),]
    })
}

fn object(value: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Value> {
    let name =
        prop_oneof![3 => proptest::sample::select(PLAIN.to_vec()), 1 => proptest::sample::select(NAMES.to_vec())];
    let members = proptest::collection::btree_map(name.prop_map(str::to_owned), value, 0..4);
    members.prop_map(|members| Value::Object(members.into_iter().collect()))
}

fn arguments() -> impl Strategy<Value = Value> {
    object(value())
}

fn parsed(arguments: &Value) -> Arguments {
    Arguments::parse(arguments.to_string().as_bytes()).expect("an object")
}

/// A path, and how it is written.
fn path() -> impl Strategy<Value = (Vec<String>, String)> {
    let level = (proptest::sample::select(NAMES.to_vec()), any::<bool>());
    proptest::collection::vec(level, 1..4).prop_map(|levels| {
        let mut written = String::new();
        for (name, quoted) in &levels {
            if *quoted || name.contains(['.', '[']) {
                written += &format!("[{}]", json!(name));
            } else {
                written += if written.is_empty() { "" } else { "." };
                written += name;
            }
        }
        (levels.iter().map(|(name, _)| (*name).to_owned()).collect(), written)
    })
}

fn test() -> impl Strategy<Value = Value> {
    prop_oneof![
        proptest::sample::select(vec![json!("a"), json!(1), json!(true), json!("1")])
            .prop_map(|value| json!({ "in": [value] })),
        proptest::sample::select(vec![json!("a"), json!(1)]).prop_map(|value| json!({ "contains": value })),
        proptest::sample::select(vec!["*", "x/*", "a*"]).prop_map(|glob| json!({ "matches": glob })),
        (0..3_i64).prop_map(|limit| json!({ "atMost": limit })),
        (0..3_i64).prop_map(|limit| json!({ "atLeast": limit })),
    ]
}

/// What stands there for whoever knows that a path is a list of levels, and nothing else.
fn found<'v>(arguments: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(arguments, |value, name| value.as_object()?.get(name))
}

fn fits(value: &Value, test: &Value) -> bool {
    let one = |value: &Value, test: &Value| -> bool {
        if let Some(values) = test["in"].as_array() {
            return values.contains(value);
        }
        match (test["matches"].as_str(), value.as_str(), value.as_f64()) {
            (Some("*"), text, _) => text.is_some(),
            (Some(glob), text, _) => text.is_some_and(|text| text.starts_with(glob.trim_end_matches('*'))),
            (None, _, Some(number)) => {
                let (most, least) = (test["atMost"].as_f64(), test["atLeast"].as_f64());
                most.is_some_and(|most| number <= most) || least.is_some_and(|least| number >= least)
            }
            _ => false,
        }
    };
    match (value, &test["contains"]) {
        (Value::Array(items), Value::Null) => !items.is_empty() && items.iter().all(|item| one(item, test)),
        (Value::Array(items), wanted) => items.contains(wanted),
        (value, Value::Null) => one(value, test),
        (value, wanted) => value == wanted,
    }
}

/// Whether neither names nor values on the way could be read in two ways.
fn is_plain(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.iter().all(|(name, value)| PLAIN.contains(&name.as_str()) && is_plain(value)),
        Value::Array(items) => items.iter().all(is_plain),
        Value::Number(number) => number.as_i64().is_some_and(|number| number.abs() < 100),
        Value::String(text) => !text.contains("..") && !text.contains("2e"),
        Value::Bool(_) | Value::Null => true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn conditions_know_levels_only(arguments in arguments(), (names, written) in path(), test in test()) {
        let mut condition = test.clone();
        condition["path"] = json!(written);
        let condition = serde_json::from_value(condition).expect("a condition");
        let fit = ArgumentCondition::new(&condition).expect("a path").fits(&parsed(&arguments));
        let reference = found(&arguments, &names).is_some_and(|value| fits(value, &test));
        prop_assert!(!fit || reference, "what fits is there");
        if is_plain(&arguments) {
            prop_assert_eq!(fit, reference, "where nothing can be read in two ways");
        }
    }
}

fn boxed(expression: Expression) -> Box<Expression> {
    Box::new(expression)
}

/// A value of the caller's.
fn said() -> impl Strategy<Value = Expression> {
    let names = proptest::collection::vec(proptest::sample::select(PLAIN.to_vec()), 1..3);
    names.prop_map(|names| {
        let root = Expression::Member(boxed(Expression::Variable("mcp".into())), "arguments".into());
        names.iter().fold(root, |of, name| Expression::Member(boxed(of), (*name).into()))
    })
}

fn literal() -> impl Strategy<Value = Expression> {
    let texts = ["a", "b", "1", "true", "", "x/", "x/a"].map(|text| Literal::String(text.into())).to_vec();
    let literal = prop_oneof![
        3 => proptest::sample::select(texts),
        3 => (0..3_i64).prop_map(Literal::Int),
        1 => any::<bool>().prop_map(Literal::Bool),
        1 => Just(Literal::Null(())),
        1 => Just(Literal::Double(1.5)),
    ];
    literal.prop_map(Expression::Literal)
}

fn operand(variable: Option<&'static str>) -> BoxedStrategy<Expression> {
    let list = proptest::collection::vec(literal(), 0..3).prop_map(Expression::List);
    let any = prop_oneof![4 => said(), 3 => literal(), 1 => list];
    match variable {
        None => any.boxed(),
        Some(name) => prop_oneof![1 => any, 2 => Just(Expression::Variable(name.into()))].boxed(),
    }
}

fn comparison() -> impl Strategy<Value = Comparison> {
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
    proptest::sample::select(vec![Equal, NotEqual, NotEqual, Less, LessOrEqual, Greater, GreaterOrEqual])
}

fn atom(variable: Option<&'static str>) -> BoxedStrategy<Expression> {
    let operand = || operand(variable);
    let test = proptest::sample::select(vec![TextTest::StartsWith, TextTest::EndsWith, TextTest::Contains]);
    prop_oneof![
        4 => (comparison(), operand(), operand()).prop_map(|(by, left, right)| Expression::Compare(by, boxed(left), boxed(right))),
        3 => (operand(), operand()).prop_map(|(left, right)| Expression::In(boxed(left), boxed(right))),
        2 => (test, operand(), operand()).prop_map(|(test, of, part)| Expression::Text(test, boxed(of), boxed(part))),
        2 => (comparison(), operand(), 0..4_i64).prop_map(|(by, of, size)| {
            let size = Expression::Literal(Literal::Int(size));
            Expression::Compare(by, boxed(Expression::Size(boxed(of))), boxed(size))
        }),
        2 => (said(), proptest::sample::select(PLAIN.to_vec())).prop_map(|(of, name)| Expression::Has(boxed(of), name.into())),
        1 => operand(),
        1 => (operand(), operand(), operand()).prop_map(|(of, at, other)| {
            Expression::Compare(Comparison::NotEqual, boxed(Expression::Index(boxed(of), boxed(at))), boxed(other))
        }),
    ]
    .boxed()
}

fn expression() -> impl Strategy<Value = Expression> {
    let leaf = prop_oneof![
        4 => atom(None),
        1 => (said(), atom(Some("x"))).prop_map(|(of, each)| Expression::Exists(boxed(of), "x".into(), boxed(each))),
        1 => (said(), atom(Some("x"))).prop_map(|(of, each)| Expression::All(boxed(of), "x".into(), boxed(each))),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            3 => inner.clone().prop_map(|one| Expression::Not(boxed(one))),
            2 => (inner.clone(), inner.clone()).prop_map(|(left, right)| Expression::And(boxed(left), boxed(right))),
            2 => (inner.clone(), inner.clone()).prop_map(|(left, right)| Expression::Or(boxed(left), boxed(right))),
            1 => (inner.clone(), inner.clone(), inner)
                .prop_map(|(condition, yes, no)| Expression::If(boxed(condition), boxed(yes), boxed(no))),
        ]
    })
}

fn fit(expression: &Expression, arguments: &Value) -> Fit {
    let (jwt, given) = (Map::new(), Given::Arguments(parsed(arguments)));
    let call = Some(("tools/call", &given));
    let scope = Scope { jwt: &jwt, path: "/mcp", host: "h", tool: Some("t"), prompt: None, resource: None, call };
    expression.fit(&scope)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8192))]

    /// The other reading turns what it is told to by `turns`; [`reference::read_otherwise`] says how.
    #[test]
    fn what_holds_does_so_in_every_reading(
        expression in expression(),
        arguments in arguments(),
        turns in proptest::collection::vec(any::<u8>(), 0..24),
    ) {
        prop_assert_eq!(expression.check(), Ok(()));
        if fit(&expression, &arguments) == Fit::Yes {
            let other = reference::read_otherwise(&arguments, &turns, reference::asks_for_size(&expression));
            for reading in [&arguments, &other] {
                let comes_to = Reference { arguments: reading }.bool(&expression, &[]);
                prop_assert_ne!(comes_to, Some(false), "read as {}", reading);
            }
        }
    }

    /// Else everything could come to an error.
    #[test]
    fn values_of_one_type_and_spelling_are_compared(
        comparison in comparison(),
        (own, other) in prop_oneof![
            ("[ab]{0,2}", "[ab]{0,2}").prop_map(|(own, other)| (json!(own), json!(other))),
            (-3..3_i64, -3..3_i64).prop_map(|(own, other)| (json!(own), json!(other))),
            any::<(bool, bool)>().prop_map(|(own, other)| (json!(own), json!(other))),
        ],
        is_listed in any::<bool>(),
    ) {
        let literal: Literal = serde_json::from_value(other).expect("a literal");
        let literal = Expression::Literal(literal);
        let said = ["arguments", "a"].into_iter().fold(Expression::Variable("mcp".into()), |of, name| {
            Expression::Member(boxed(of), name.into())
        });
        let one = if is_listed {
            Expression::In(boxed(literal), boxed(Expression::List(vec![said])))
        } else {
            Expression::Compare(comparison, boxed(said), boxed(literal))
        };
        let arguments = json!({ "a": own });
        let reference = Reference { arguments: &arguments };
        for expression in [one.clone(), Expression::Not(boxed(one))] {
            prop_assert_eq!(fit(&expression, &arguments) == Fit::Yes, reference.bool(&expression, &[]) == Some(true));
        }
    }
}
