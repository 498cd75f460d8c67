//! Property: what the check accepts, the filter evaluates as a reader does that knows nothing but scopes: the innermost
//! variable of a name counts, and a root only where there is none. What has a name that is nothing, or two things, is refused.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use toolward_policy::expression::{Comparison, Expression, Fit, Literal, ROOTS, Scope, TextTest};

use super::parse;

/// Names that macros give their variables.
const VARIABLES: [&str; 9] = ["x", "y", "x", "y", "jwt", "mcp", "request", "size", "startsWith"];

fn claims() -> Map<String, Value> {
    let claims = json!({
        "team": "ops", "level": 3, "admin": true, "none": null, "groups": ["dev", "ops"], "grants": [["a"], ["b", "ops"]],
        "nested": { "tool": "x", "team": "sales" }, "half": 0.5,
    });
    claims.as_object().cloned().expect("an object")
}

fn boxed(expression: Expression) -> Box<Expression> {
    Box::new(expression)
}

fn variable(name: &str) -> Expression {
    Expression::Variable(name.to_owned())
}

fn name() -> impl Strategy<Value = String> {
    let names = ["team", "level", "admin", "none", "groups", "grants", "nested", "tool", "nope"];
    proptest::sample::select(names.to_vec()).prop_map(str::to_owned)
}

fn operand() -> impl Strategy<Value = Expression> {
    let literals = [
        Literal::Null(()),
        Literal::Bool(true),
        Literal::Int(3),
        Literal::Double(0.5),
        Literal::String("ops".to_owned()),
        Literal::String("a".to_owned()),
    ];
    let root = proptest::sample::select(VARIABLES.to_vec());
    prop_oneof![
        2 => proptest::sample::select(literals.to_vec()).prop_map(Expression::Literal),
        2 => root.clone().prop_map(variable),
        3 => name().prop_map(|name| Expression::Member(boxed(variable("jwt")), name)),
        2 => (root, name()).prop_map(|(root, name)| Expression::Member(boxed(variable(root)), name)),
        1 => (name(), name()).prop_map(|(name, inner)| {
            Expression::Member(boxed(Expression::Member(boxed(variable("jwt")), name)), inner)
        }),
        1 => (operand_list(), 0..3_i64)
            .prop_map(|(of, at)| Expression::Index(boxed(of), boxed(Expression::Literal(Literal::Int(at))))),
        1 => operand_list(),
    ]
}

fn operand_list() -> impl Strategy<Value = Expression> {
    let text = |text: &str| Expression::Literal(Literal::String(text.to_owned()));
    let listed = Expression::List(vec![text("ops"), text("a")]);
    let claim = |name: &str| Expression::Member(boxed(variable("jwt")), name.to_owned());
    let of = vec![listed, claim("groups"), claim("grants"), variable("x"), variable("mcp")];
    proptest::sample::select(of)
}

fn expression() -> impl Strategy<Value = Expression> {
    use Comparison::{Equal, Greater, LessOrEqual, NotEqual};
    let comparison = proptest::sample::select(vec![Equal, NotEqual, LessOrEqual, Greater]);
    let tool = Expression::Member(boxed(variable("mcp")), "tool".to_owned());
    let part = Expression::Literal(Literal::String("a".to_owned()));
    let leaf = prop_oneof![
        4 => (comparison.clone(), operand(), operand())
            .prop_map(|(by, left, right)| Expression::Compare(by, boxed(left), boxed(right))),
        2 => (operand(), operand()).prop_map(|(element, of)| Expression::In(boxed(element), boxed(of))),
        1 => Just(Expression::Text(TextTest::StartsWith, boxed(tool), boxed(part))),
        1 => (proptest::sample::select(VARIABLES.to_vec()), name())
            .prop_map(|(root, name)| Expression::Has(boxed(variable(root)), name)),
        1 => (comparison, operand()).prop_map(|(by, of)| {
            Expression::Compare(by, boxed(Expression::Size(boxed(of))), boxed(Expression::Literal(Literal::Int(2))))
        }),
        1 => operand(),
    ];
    leaf.prop_recursive(4, 20, 3, |inner| {
        let each = (operand_list(), proptest::sample::select(VARIABLES.to_vec()), inner.clone()).boxed();
        prop_oneof![
            2 => inner.clone().prop_map(|one| Expression::Not(boxed(one))),
            2 => (inner.clone(), inner.clone()).prop_map(|(left, right)| Expression::And(boxed(left), boxed(right))),
            2 => (inner.clone(), inner.clone()).prop_map(|(left, right)| Expression::Or(boxed(left), boxed(right))),
            1 => (inner.clone(), inner.clone(), inner)
                .prop_map(|(condition, yes, no)| Expression::If(boxed(condition), boxed(yes), boxed(no))),
            3 => each.clone().prop_map(|(of, name, each)| Expression::Exists(boxed(of), name.to_owned(), boxed(each))),
            3 => each.prop_map(|(of, name, each)| Expression::All(boxed(of), name.to_owned(), boxed(each))),
        ]
    })
}

/// As it is written.
fn text(expression: &Expression) -> String {
    match expression {
        Expression::Literal(literal) => match literal {
            Literal::Null(()) => "null".to_owned(),
            Literal::Bool(value) => value.to_string(),
            Literal::Int(value) => value.to_string(),
            Literal::Double(value) => value.to_string(),
            Literal::String(value) => format!("'{value}'"),
        },
        Expression::Variable(name) => name.clone(),
        Expression::List(elements) => format!("[{}]", elements.iter().map(text).collect::<Vec<_>>().join(", ")),
        Expression::Member(of, name) => format!("{}.{name}", text(of)),
        Expression::Has(of, name) => format!("has({}.{name})", text(of)),
        Expression::Index(of, at) => format!("{}[{}]", text(of), text(at)),
        Expression::Not(inner) => format!("!({})", text(inner)),
        Expression::And(left, right) => format!("({}) && ({})", text(left), text(right)),
        Expression::Or(left, right) => format!("({}) || ({})", text(left), text(right)),
        Expression::If(condition, yes, no) => format!("({}) ? ({}) : ({})", text(condition), text(yes), text(no)),
        Expression::Compare(comparison, left, right) => {
            let sign = match comparison {
                Comparison::Equal => "==",
                Comparison::NotEqual => "!=",
                Comparison::Less => "<",
                Comparison::LessOrEqual => "<=",
                Comparison::Greater => ">",
                Comparison::GreaterOrEqual => ">=",
            };
            format!("({}) {sign} ({})", text(left), text(right))
        }
        Expression::In(element, of) => format!("({}) in ({})", text(element), text(of)),
        Expression::Text(test, of, part) => {
            let name = match test {
                TextTest::StartsWith => "startsWith",
                TextTest::EndsWith => "endsWith",
                TextTest::Contains => "contains",
            };
            format!("{}.{name}({})", text(of), text(part))
        }
        Expression::Size(of) => format!("size({})", text(of)),
        Expression::Exists(of, name, each) => format!("{}.exists({name}, {})", text(of), text(each)),
        Expression::All(of, name, each) => format!("{}.all({name}, {})", text(of), text(each)),
    }
}

/// A name that is nothing where it stands, or that would be two things.
#[derive(Debug)]
struct OutOfScope;

/// What an expression comes to; none: nothing.
fn value(expression: &Expression, around: &[(&str, Value)]) -> Result<Option<Value>, OutOfScope> {
    let value_of = |expression: &Expression| value(expression, around);
    let bool_of = |expression: &Expression| Ok(value_of(expression)?.and_then(|value| value.as_bool()));
    let bound = |name: &str| around.iter().rev().find(|(own, _)| *own == name).map(|(_, value)| value.clone());
    let root = |of: &Expression| match of {
        Expression::Variable(name) if bound(name).is_none() && name != "jwt" => {
            ROOTS.iter().find(|(root, _)| root == name)
        }
        _ => None,
    };
    let of_root = |members: &[&str], name: &str| {
        if !members.contains(&name) {
            return Err(OutOfScope);
        }
        Ok((name == "tool").then(|| json!("add")))
    };
    Ok(match expression {
        Expression::Literal(literal) => Some(serde_json::to_value(literal).expect("JSON")),
        Expression::Variable(name) => match bound(name) {
            Some(value) => Some(value),
            None if name == "jwt" => Some(claims().into()),
            None => return Err(OutOfScope),
        },
        Expression::List(elements) => {
            let elements: Vec<_> = elements.iter().map(value_of).collect::<Result<_, _>>()?;
            elements.into_iter().collect::<Option<Vec<_>>>().map(Value::from)
        }
        Expression::Member(of, name) => match root(of) {
            Some((_, members)) => of_root(members, name)?,
            None => value_of(of)?.and_then(|of| of.as_object()?.get(name).cloned()),
        },
        Expression::Has(of, name) => match root(of) {
            Some((_, members)) => Some(of_root(members, name)?.is_some().into()),
            None => value_of(of)?.and_then(|of| Some(of.as_object()?.contains_key(name).into())),
        },
        Expression::Index(of, at) => match (value_of(of)?, value_of(at)?) {
            (Some(of), Some(at)) => at.as_u64().and_then(|at| of.as_array()?.get(usize::try_from(at).ok()?).cloned()),
            _ => None,
        },
        Expression::Not(inner) => bool_of(inner)?.map(|value| (!value).into()),
        Expression::And(left, right) => joined([bool_of(left)?, bool_of(right)?], false),
        Expression::Or(left, right) => joined([bool_of(left)?, bool_of(right)?], true),
        Expression::If(condition, yes, no) => {
            let (condition, yes, no) = (bool_of(condition)?, value_of(yes)?, value_of(no)?);
            condition.and_then(|condition| if condition { yes } else { no })
        }
        Expression::Compare(comparison, left, right) => match (value_of(left)?, value_of(right)?) {
            (Some(left), Some(right)) => compared(*comparison, &left, &right).map(Value::from),
            _ => None,
        },
        Expression::In(element, of) => match (value_of(element)?, value_of(of)?) {
            (Some(element), Some(Value::Array(of))) => Some(of.iter().any(|other| same(&element, other)).into()),
            (Some(Value::String(name)), Some(Value::Object(of))) => Some(of.contains_key(&name).into()),
            _ => None,
        },
        // The one that is made.
        Expression::Text(..) => Some(true.into()),
        Expression::Size(of) => value_of(of)?.and_then(|of| match of {
            Value::String(text) => Some(text.len().into()),
            Value::Array(elements) => Some(elements.len().into()),
            Value::Object(members) => Some(members.len().into()),
            _ => None,
        }),
        Expression::Exists(of, name, each) => {
            every(value_of(of)?, name, each, around)?.and_then(|all| joined(all, true))
        }
        Expression::All(of, name, each) => every(value_of(of)?, name, each, around)?.and_then(|all| joined(all, false)),
    })
}

fn every(
    of: Option<Value>,
    name: &str,
    each: &Expression,
    around: &[(&str, Value)],
) -> Result<Option<Vec<Option<bool>>>, OutOfScope> {
    // Names that mean something else are no variables.
    if name != "x" && name != "y" {
        return Err(OutOfScope);
    }
    let within = |element: &Value| [around, &[(name, element.clone())]].concat();
    // What is never looked at must be in scope as well.
    value(each, &within(&Value::Null))?;
    let Some(Value::Array(elements)) = of else { return Ok(None) };
    let all = elements.iter().map(|element| Ok(value(each, &within(element))?.and_then(|value| value.as_bool())));
    all.collect::<Result<_, _>>().map(Some)
}

/// One answer decides, else one that is none.
fn joined(all: impl IntoIterator<Item = Option<bool>>, decisive: bool) -> Option<Value> {
    let all: Vec<_> = all.into_iter().collect();
    if all.contains(&Some(decisive)) {
        return Some(decisive.into());
    }
    (!all.contains(&None)).then(|| (!decisive).into())
}

fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        _ => left == right,
    }
}

fn compared(comparison: Comparison, left: &Value, right: &Value) -> Option<bool> {
    let order = match (left, right) {
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (Value::Number(left), Value::Number(right)) => left.as_f64()?.partial_cmp(&right.as_f64()?),
        _ => None,
    };
    match comparison {
        Comparison::Equal => Some(same(left, right)),
        Comparison::NotEqual => Some(!same(left, right)),
        Comparison::Less => order.map(std::cmp::Ordering::is_lt),
        Comparison::LessOrEqual => order.map(std::cmp::Ordering::is_le),
        Comparison::Greater => order.map(std::cmp::Ordering::is_gt),
        Comparison::GreaterOrEqual => order.map(std::cmp::Ordering::is_ge),
    }
}

/// Whether the only texts of callers that are made are where they are texts for all.
fn compares_callers(expression: &str) -> bool {
    expression.replace("mcp.tool.startsWith('a')", "").replace("has(mcp.tool)", "").contains("mcp.tool")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn scopes_of_check_and_evaluator_are_the_same(expression in expression()) {
        let text = text(&expression);
        let reference = value(&expression, &[]);
        let Ok(parsed) = parse(&text) else { return Ok(()) };
        let Ok(reference) = reference else {
            return Err(TestCaseError::fail(format!("{text} has a name that is nothing, or two things")));
        };
        prop_assert_eq!(parsed.check(), Ok(()), "{}", text);
        let sent: Expression = serde_json::from_str(&serde_json::to_string(&parsed).expect("JSON")).expect("read");
        prop_assert_eq!(&sent, &parsed, "{}", text);
        // What callers write compares otherwise, which is tested elsewhere.
        if compares_callers(&text) {
            return Ok(());
        }
        let jwt = claims();
        let scope =
            Scope { jwt: &jwt, path: "/mcp", host: "h", tool: Some("add"), prompt: None, resource: None, call: None };
        let expected = match reference.as_ref().and_then(Value::as_bool) {
            Some(true) => Fit::Yes,
            _ => Fit::No,
        };
        prop_assert_eq!(sent.fit(&scope), expected, "{}: {:?}", text, reference);
    }
}

#[test]
fn some_are_accepted_and_some_refused() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = expression();
    let made = (0..2000).map(|_| text(&strategy.new_tree(&mut runner).expect("made").current()));
    let made: Vec<String> = made.collect();
    let accepted = made.iter().filter(|text| parse(text).is_ok()).count();
    let with_macros = made.iter().filter(|text| text.contains("exists(") && parse(text).is_ok()).count();
    assert!(accepted > 200 && accepted < 1900 && with_macros > 20, "{accepted}, {with_macros} with macros");
}
