//! `when` of a rule: CEL, parsed by the `cel` crate, checked here, and put into the form that the filter evaluates.
//!
//! What is known: literals, lists, `jwt`, `mcp` and `request` with their members, `has`, indexes, `!`, `&&`, `||`, `?:`,
//! comparisons, `in`, `size`, `startsWith`, `endsWith`, `contains`, and the macros `exists` and `all`. Everything else is
//! refused with its name.

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue, operators};
use cel::parser::PrattParser;
use toolward_policy::expression::{Comparison, Expression, Literal, ROOTS, TextTest, may_be_variable};

use super::problems::Fault;

#[cfg(test)]
mod agreement;

/// Longest text, in bytes.
const MAX_BYTES: usize = 2048;

/// Most nodes.
const MAX_NODES: usize = 256;

/// Deepest nesting.
const MAX_DEPTH: usize = 24;

/// Reads an expression that comes to true or false.
pub(super) fn parse(text: &str) -> Result<Expression, Fault> {
    if text.len() > MAX_BYTES {
        return Err(invalid(format!("the expression has {} bytes; {MAX_BYTES} are accepted", text.len())));
    }
    let parser = PrattParser::new().max_expression_node_count(MAX_NODES).max_recursion_depth(96);
    let parsed =
        parser.parse(text).map_err(|errors| invalid(format!("this is no CEL: {}", one_line(&errors.to_string()))))?;
    let (expression, kind) = Checker::default().read(&parsed)?;
    kind.must_be(Kind::Bool, "the whole expression")?;
    // What the filter asks of it as well.
    expression.check().map_err(|fault| invalid(fault.to_string()))?;
    Ok(expression)
}

fn invalid(message: impl Into<String>) -> Fault {
    Fault::new("Invalid", message)
}

/// What the parser says, without its picture of the place.
fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('|')).collect::<Vec<_>>().join(" ")
}

/// What a value is, as far as it is known beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A claim, an argument, or part of one.
    Any,
    Null,
    Bool,
    Number,
    Text,
    List,
    Map,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Any => "anything",
            Self::Null => "null",
            Self::Bool => "true or false",
            Self::Number => "a number",
            Self::Text => "a string",
            Self::List => "a list",
            Self::Map => "a map",
        }
    }

    fn must_be(self, wanted: Self, what: &str) -> Result<(), Fault> {
        if self == wanted || self == Self::Any {
            return Ok(());
        }
        Err(invalid(format!("{what} must be {}, and is {}", wanted.word(), self.word())))
    }

    fn may_equal(self, other: Self) -> bool {
        self == other || [self, other].iter().any(|kind| matches!(kind, Self::Any | Self::Null))
    }
}

#[derive(Default)]
struct Checker {
    /// Variables of the macros around.
    variables: Vec<String>,
    depth: usize,
}

type Checked = Result<(Expression, Kind), Fault>;

impl Checker {
    fn read(&mut self, node: &IdedExpr) -> Checked {
        if self.depth >= MAX_DEPTH {
            return Err(invalid(format!("the expression is nested deeper than {MAX_DEPTH} levels")));
        }
        self.depth += 1;
        let read = match &node.expr {
            Expr::Literal(literal) => literal_of(literal),
            Expr::Ident(name) => self.variable(name),
            Expr::List(list) if list.optional_indices.is_empty() => {
                let elements: Result<Vec<_>, _> = list.elements.iter().map(|each| Ok(self.read(each)?.0)).collect();
                elements.map(|elements| (Expression::List(elements), Kind::List))
            }
            Expr::Select(select) => self.member(&select.operand, &select.field, select.test),
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(comprehension) => self.each(comprehension),
            Expr::List(_) | Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => {
                Err(invalid("maps, messages and optional elements can't be written here"))
            }
        };
        self.depth -= 1;
        read
    }

    fn boxed(&mut self, node: &IdedExpr) -> Result<(Box<Expression>, Kind), Fault> {
        self.read(node).map(|(expression, kind)| (Box::new(expression), kind))
    }

    /// A part that must be of one kind.
    fn of_kind(&mut self, node: &IdedExpr, wanted: Kind, what: &str) -> Result<Box<Expression>, Fault> {
        let (expression, kind) = self.boxed(node)?;
        kind.must_be(wanted, what)?;
        Ok(expression)
    }

    fn variable(&self, name: &str) -> Checked {
        if name == "jwt" {
            return Ok((Expression::Variable(name.to_owned()), Kind::Map));
        }
        if self.variables.iter().any(|known| known == name) {
            return Ok((Expression::Variable(name.to_owned()), Kind::Any));
        }
        if let Some((_, members)) = ROOTS.iter().find(|(root, _)| *root == name) {
            return Err(invalid(format!("`{name}` is no value; its members are: {}", members.join(", "))));
        }
        Err(invalid(format!("there is no variable `{name}`; there are jwt, mcp and request")))
    }

    fn member(&mut self, of: &IdedExpr, name: &str, test: bool) -> Checked {
        let root = match &of.expr {
            Expr::Ident(root) if !self.variables.contains(root) => ROOTS.iter().find(|(known, _)| known == root),
            _ => None,
        };
        let (inner, kind) = match root {
            Some((root, members)) if !members.is_empty() => {
                if !members.contains(&name) {
                    let known = members.join(", ");
                    return Err(invalid(format!("`{root}` has no member `{name}`; its members are: {known}")));
                }
                let kind = if name == "arguments" { Kind::Map } else { Kind::Text };
                (Box::new(Expression::Variable((*root).to_owned())), kind)
            }
            _ => (self.of_kind(of, Kind::Map, &format!("what has a member `{name}`"))?, Kind::Any),
        };
        Ok(if test {
            (Expression::Has(inner, name.to_owned()), Kind::Bool)
        } else {
            (Expression::Member(inner, name.to_owned()), kind)
        })
    }

    fn call(&mut self, call: &CallExpr) -> Checked {
        let name = call.func_name.as_str();
        let boolean = |expression| Ok((expression, Kind::Bool));
        match (name, call.target.as_deref(), call.args.as_slice()) {
            (operators::LOGICAL_NOT, None, [inner]) => {
                boolean(Expression::Not(self.of_kind(inner, Kind::Bool, "what stands behind `!`")?))
            }
            (operators::LOGICAL_AND, None, [first, rest @ ..]) => {
                self.joined(first, rest, "what `&&` joins", Expression::And)
            }
            (operators::LOGICAL_OR, None, [first, rest @ ..]) => {
                self.joined(first, rest, "what `||` joins", Expression::Or)
            }
            (operators::CONDITIONAL, None, [condition, yes, no]) => {
                let condition = self.of_kind(condition, Kind::Bool, "what stands before `?`")?;
                let ((yes, kind), (no, other)) = (self.boxed(yes)?, self.boxed(no)?);
                Ok((Expression::If(condition, yes, no), if kind == other { kind } else { Kind::Any }))
            }
            (operators::INDEX, None, [of, at]) => {
                let ((of, _), (at, kind)) = (self.boxed(of)?, self.boxed(at)?);
                if !matches!(kind, Kind::Any | Kind::Number | Kind::Text) {
                    return Err(invalid(format!("an index is a number or a string, and is {}", kind.word())));
                }
                Ok((Expression::Index(of, at), Kind::Any))
            }
            (operators::IN, None, [element, of]) => {
                let ((element, _), (of, kind)) = (self.boxed(element)?, self.boxed(of)?);
                if !matches!(kind, Kind::Any | Kind::List | Kind::Map) {
                    return Err(invalid(format!("what stands behind `in` is a list or a map, and is {}", kind.word())));
                }
                boolean(Expression::In(element, of))
            }
            ("size", Some(of), []) | ("size", None, [of]) => {
                let (of, kind) = self.boxed(of)?;
                if !matches!(kind, Kind::Any | Kind::Text | Kind::List | Kind::Map) {
                    return Err(invalid(format!("{} has no size", kind.word())));
                }
                Ok((Expression::Size(of), Kind::Number))
            }
            (name, Some(of), [part]) if text_test(name).is_some() => {
                let of = self.of_kind(of, Kind::Text, &format!("what stands before `{name}`"))?;
                let part = self.of_kind(part, Kind::Text, &format!("what `{name}` is given"))?;
                text_test(name).map_or_else(|| Err(unknown(name)), |test| boolean(Expression::Text(test, of, part)))
            }
            (name, None, [left, right]) => {
                let Some(comparison) = comparison(name) else { return Err(unknown(name)) };
                let ((left, kind), (right, other)) = (self.boxed(left)?, self.boxed(right)?);
                let ordered = !matches!(comparison, Comparison::Equal | Comparison::NotEqual);
                let orderable = |kind| matches!(kind, Kind::Any | Kind::Number | Kind::Text);
                if !kind.may_equal(other) || (ordered && !(orderable(kind) && orderable(other))) {
                    return Err(invalid(format!("{} can't be compared with {}", kind.word(), other.word())));
                }
                boolean(Expression::Compare(comparison, left, right))
            }
            _ => Err(unknown(name)),
        }
    }

    /// Halves joined, so that many parts are not nested deep.
    fn joined(
        &mut self,
        first: &IdedExpr,
        rest: &[IdedExpr],
        what: &str,
        join: fn(Box<Expression>, Box<Expression>) -> Expression,
    ) -> Checked {
        let (before, from) = rest.split_at_checked(rest.len() / 2).unwrap_or_default();
        let Some((middle, behind)) = from.split_first() else {
            return Ok((*self.of_kind(first, Kind::Bool, what)?, Kind::Bool));
        };
        let (left, _) = self.joined(first, before, what, join)?;
        let (right, _) = self.joined(middle, behind, what, join)?;
        Ok((join(Box::new(left), Box::new(right)), Kind::Bool))
    }

    /// The macros `exists` and `all`, which the parser has written out.
    fn each(&mut self, macro_: &ComprehensionExpr) -> Checked {
        let unknown = || invalid("of the macros over lists only `exists` and `all` are known");
        let Expr::Call(step) = &macro_.loop_step.expr else { return Err(unknown()) };
        let [_, condition] = step.args.as_slice() else { return Err(unknown()) };
        let begins = match &macro_.accu_init.expr {
            Expr::Literal(LiteralValue::Boolean(begins)) => *begins.inner(),
            _ => return Err(unknown()),
        };
        if macro_.iter_var2.is_some() || !matches!(&macro_.result.expr, Expr::Ident(name) if *name == macro_.accu_var) {
            return Err(unknown());
        }
        if !may_be_variable(&macro_.iter_var) {
            let name = &macro_.iter_var;
            return Err(invalid(format!(
                "the variable of a macro can't be named `{name}`, which means something else; take another name"
            )));
        }
        let of = self.of_kind(&macro_.iter_range, Kind::List, "what `exists` and `all` go through")?;
        self.variables.push(macro_.iter_var.clone());
        let condition = self.of_kind(condition, Kind::Bool, "the condition of `exists` and `all`");
        self.variables.pop();
        let (condition, name) = (condition?, macro_.iter_var.clone());
        match (begins, step.func_name.as_str()) {
            (false, operators::LOGICAL_OR) => Ok((Expression::Exists(of, name, condition), Kind::Bool)),
            (true, operators::LOGICAL_AND) => Ok((Expression::All(of, name, condition), Kind::Bool)),
            _ => Err(unknown()),
        }
    }
}

fn unknown(function: &str) -> Fault {
    let name = function.trim_matches('_');
    invalid(format!(
        "`{name}` is not known here; known are !, &&, ||, ?:, comparisons, in, has, size, startsWith, endsWith, contains, exists and all"
    ))
}

fn literal_of(literal: &LiteralValue) -> Checked {
    let (literal, kind) = match literal {
        LiteralValue::Null => (Literal::Null(()), Kind::Null),
        LiteralValue::Boolean(value) => (Literal::Bool(*value.inner()), Kind::Bool),
        LiteralValue::Int(value) => (Literal::Int(*value.inner()), Kind::Number),
        LiteralValue::Double(value) => (Literal::Double(*value.inner()), Kind::Number),
        LiteralValue::String(text) => (Literal::String(text.inner().to_owned()), Kind::Text),
        LiteralValue::UInt(_) | LiteralValue::Bytes(_) => {
            return Err(invalid("unsigned numbers and bytes can't be written here"));
        }
    };
    Ok((Expression::Literal(literal), kind))
}

fn comparison(operator: &str) -> Option<Comparison> {
    Some(match operator {
        operators::EQUALS => Comparison::Equal,
        operators::NOT_EQUALS => Comparison::NotEqual,
        operators::LESS => Comparison::Less,
        operators::LESS_EQUALS => Comparison::LessOrEqual,
        operators::GREATER => Comparison::Greater,
        operators::GREATER_EQUALS => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

fn text_test(function: &str) -> Option<TextTest> {
    Some(match function {
        "startsWith" => TextTest::StartsWith,
        "endsWith" => TextTest::EndsWith,
        "contains" => TextTest::Contains,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};
    use toolward_policy::arguments::{Arguments, Given};
    use toolward_policy::expression::{Fit, Scope};

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(members) => members,
            other => panic!("{other} is no object"),
        }
    }

    fn given(arguments: &Value) -> Given {
        Given::Arguments(Arguments::parse(arguments.to_string().as_bytes()).expect("an object"))
    }

    fn fit(text: &str, known: bool) -> Fit {
        let expression = parse(text).unwrap_or_else(|fault| panic!("{text}: {}", fault.message));
        // As the filter gets it.
        let sent = serde_json::to_string(&expression).unwrap();
        let expression: Expression = serde_json::from_str(&sent).unwrap();
        let jwt = object(json!({
            "team": "ops", "level": 3, "half": 0.5, "admin": true, "none": null, "groups": ["dev", "ops"],
            "realm_access": { "roles": ["admin"] }, "https://example.com/x": "y",
        }));
        let arguments =
            given(&json!({ "team": "ops", "n": 7, "list": [1, 2, 3], "deep": { "a": 1, "A": 2 }, "gently": true }));
        let call = known.then_some(("tools/call", &arguments));
        let scope = Scope {
            jwt: &jwt,
            path: "/mcp",
            host: "mcp.example.com",
            tool: Some("add"),
            prompt: None,
            resource: None,
            call,
        };
        expression.fit(&scope)
    }

    #[test]
    fn what_expressions_come_to() {
        use Fit::{No, Unknown, Yes};
        // With the call known, and without.
        let rows = [
            ("true", Yes, Yes),
            ("jwt.team == 'ops'", Yes, Yes),
            ("jwt.team != 'ops'", No, No),
            ("jwt.team == mcp.arguments.team", Yes, Unknown),
            ("mcp.arguments.n <= 10 && mcp.arguments.n > 6.5", Yes, Unknown),
            ("mcp.arguments.n < jwt.level", No, Unknown),
            ("jwt.level == 3.0 && jwt.half < 1", Yes, Yes),
            ("jwt.level == '3'", No, No),
            ("jwt.team < 'opt'", Yes, Yes),
            ("jwt.team < 3", No, No),
            ("'dev' in jwt.groups", Yes, Yes),
            ("'sales' in jwt.groups", No, No),
            ("jwt.team in ['sre', 'ops']", Yes, Yes),
            ("'admin' in jwt", Yes, Yes),
            ("'admin' in jwt.realm_access.roles", Yes, Yes),
            ("jwt['https://example.com/x'] == 'y'", Yes, Yes),
            ("jwt.groups[1] == 'ops'", Yes, Yes),
            ("jwt.groups[2] == 'ops'", No, No),
            ("jwt.groups[-1] == 'ops'", No, No),
            ("has(jwt.team) && !has(jwt.nope)", Yes, Yes),
            ("has(mcp.tool) && !has(mcp.prompt)", Yes, Yes),
            ("jwt.none == null", Yes, Yes),
            ("jwt.nope == 'x'", No, No),
            ("jwt.nope == 'x' || jwt.admin", Yes, Yes),
            ("jwt.admin || jwt.nope == 'x'", Yes, Yes),
            ("jwt.nope == 'x' && mcp.arguments.n == 7", No, Unknown),
            ("false && mcp.arguments.n == 7", No, No),
            ("mcp.arguments.nope == 1 || mcp.tool == 'add'", Yes, Yes),
            ("jwt.admin ? mcp.tool == 'add' : false", Yes, Yes),
            ("mcp.tool.startsWith('a') && mcp.tool.endsWith('d') && mcp.tool.contains('dd')", Yes, Yes),
            ("jwt.team.contains(mcp.tool)", No, No),
            ("size(jwt.groups) == 2 && mcp.tool.size() == 3 && size('äö') == 2", Yes, Yes),
            ("mcp.arguments.list.all(x, x > 0)", Yes, Unknown),
            ("mcp.arguments.list.all(x, x > 1)", No, Unknown),
            ("mcp.arguments.list.exists(x, x == jwt.level)", Yes, Unknown),
            ("jwt.groups.exists(g, g in ['ops']) && jwt.groups.all(g, g.size() == 3)", Yes, Yes),
            ("jwt.groups.exists(g, g.nope == 1)", No, No),
            ("mcp.arguments.deep.a == 1", No, Unknown),
            ("!has(mcp.arguments.deep.a)", No, Unknown),
            ("!('a' in mcp.arguments.deep)", No, Unknown),
            ("!has(mcp.arguments.nope) && !('x' in mcp.arguments)", Yes, Unknown),
            ("mcp.arguments.list == [1, 2, 3] && mcp.arguments.list != [1, 2]", Yes, Unknown),
            ("jwt.realm_access == jwt.realm_access && jwt.realm_access != jwt", Yes, Yes),
            // What the server may take for another type, whichever sign.
            ("mcp.arguments.n == '7'", No, Unknown),
            ("mcp.arguments.n != '8'", No, Unknown),
            ("!(mcp.arguments.n in ['8', true])", No, Unknown),
            ("mcp.arguments.n != jwt.team", No, Unknown),
            ("mcp.arguments.n != null", No, Unknown),
            ("!(mcp.arguments.list.exists(x, x == '1'))", No, Unknown),
            ("mcp.arguments.list.all(x, x != '1')", No, Unknown),
            ("mcp.arguments.list.exists(x, x == '1' || x == 2)", Yes, Unknown),
            ("!('1' in mcp.arguments.list)", No, Unknown),
            ("!('x' in mcp.arguments.deep)", No, Unknown),
            ("mcp.arguments.n != '8' || mcp.tool == 'add'", Yes, Yes),
            ("mcp.arguments.n != '8' || mcp.tool == 'x'", No, Unknown),
            ("!(mcp.arguments.n == '7' && mcp.tool == 'x')", Yes, Yes),
            ("(mcp.arguments.n == '7' ? false : true)", No, Unknown),
            ("mcp.arguments.team != 'OPS'", No, Unknown),
            ("mcp.arguments.team != 'dev'", Yes, Unknown),
            ("!mcp.arguments.team.startsWith('Op')", No, Unknown),
            ("size(mcp.arguments.team) <= 3 && size(mcp.arguments.team) != 4", Yes, Unknown),
            ("size(mcp.arguments.team) == 3", No, Unknown),
            ("size(mcp.arguments.list) == 3 && size(mcp.arguments) == 5", Yes, Unknown),
            ("mcp.arguments.gently", Yes, Unknown),
            ("!mcp.arguments.gently", No, Unknown),
            ("mcp.arguments.team", No, Unknown),
            ("size(mcp.arguments.deep) == 2", No, Unknown),
            ("jwt.team != '3' && jwt.level != 'x'", Yes, Yes),
            ("mcp.method == 'tools/call'", Yes, Unknown),
            ("request.path == '/mcp' && request.host.endsWith('.example.com')", Yes, Yes),
            ("jwt.team", No, No),
            ("jwt.admin", Yes, Yes),
            ("!jwt.team", No, No),
        ];
        for (text, known, unknown) in rows {
            assert_eq!(fit(text, true), known, "{text}");
            assert_eq!(fit(text, false), unknown, "{text}, in a list");
        }
    }

    #[test]
    fn an_expression_ends_and_what_takes_too_long_does_not_hold() {
        let jwt = Map::new();
        let fit = |text: &str, length: usize| {
            let members: Map<String, Value> = (0..length).map(|n| (format!("x{n}"), n.into())).collect();
            let numbers: Vec<usize> = (0..length).collect();
            let arguments =
                given(&json!({ "l": vec![json!({ "v": vec![1; 6] }); length], "m": members, "n": numbers }));
            let call = Some(("tools/call", &arguments));
            let scope = Scope { jwt: &jwt, path: "", host: "", tool: None, prompt: None, resource: None, call };
            parse(text).unwrap().fit(&scope)
        };
        let costly = [
            "mcp.arguments.l.all(a, mcp.arguments.l.all(b, a == b))",
            "mcp.arguments.l.all(a, a == mcp.arguments.l[0])",
            "mcp.arguments.l == mcp.arguments.l",
            "mcp.arguments.m == mcp.arguments.m",
            "mcp.arguments.l.all(a, has(mcp.arguments.m.x1))",
            "!(20000 in mcp.arguments.n) && !(30000 in mcp.arguments.n)",
        ];
        for text in costly {
            assert_eq!(fit(text, 15), Fit::Yes, "{text}");
            assert_eq!(fit(text, 8_000), Fit::No, "{text}");
        }
    }

    #[test]
    fn faults_are_named() {
        let rows = [
            ("", "no CEL"),
            ("jwt.team ==", "no CEL"),
            ("jwt.team = 'x'", "no CEL"),
            ("claims.team == 'x'", "there is no variable `claims`"),
            ("mcp.name == 'x'", "`mcp` has no member `name`"),
            ("mcp == 'x'", "`mcp` is no value"),
            ("'x'", "must be true or false, and is a string"),
            ("mcp.tool", "must be true or false, and is a string"),
            ("mcp.tool == 1", "a string can't be compared with a number"),
            ("true < false", "can't be compared"),
            ("mcp.tool && true", "what `&&` joins must be true or false"),
            ("!mcp.tool", "what stands behind `!`"),
            ("mcp.tool.matches('a+')", "`matches` is not known here"),
            ("1 + 1 == 2", "`+` is not known here"),
            ("jwt.groups.map(g, g) == []", "only `exists` and `all`"),
            ("jwt.groups.exists_one(g, g == 'x')", "only `exists` and `all`"),
            ("'x'.exists(c, true)", "must be a list"),
            ("mcp.tool.startsWith(1)", "what `startsWith` is given must be a string"),
            ("mcp.tool.tool == 'x'", "must be a map"),
            ("'a' in 'abc'", "what stands behind `in`"),
            ("size(1) == 1", "a number has no size"),
            ("jwt.grants.exists(mcp, mcp.tool == 'admin')", "can't be named `mcp`"),
            ("jwt.grants.all(jwt, jwt == 'x')", "can't be named `jwt`"),
            ("jwt.grants.exists(request, request == 'x')", "can't be named `request`"),
            ("jwt.grants.exists(size, size == 'x')", "can't be named `size`"),
            ("jwt.grants.exists(__result__, __result__ == 'x')", "can't be named `__result__`"),
            ("jwt.grants.exists(g, g.exists(mcp, mcp.tool == 'x'))", "can't be named `mcp`"),
            ("jwt.grants.exists(g, g == 'x') || g == 'x'", "there is no variable `g`"),
            ("{'a': 1} == {}", "maps"),
            ("1u == 1u", "unsigned"),
        ];
        for (text, says) in rows {
            match parse(text) {
                Err(fault) => assert!(fault.message.contains(says), "{text}: {}", fault.message),
                Ok(expression) => panic!("{text}: {expression:?}"),
            }
        }
        let deep = format!("{}true{}", "!(".repeat(40), ")".repeat(40));
        assert!(parse(&deep).is_err_and(|fault| fault.message.contains("deep")), "nesting");
        let many = vec!["jwt.admin"; 100].join(" || ");
        assert_eq!(fit(&many, true), Fit::Yes, "many parts");
        let wide = vec!["true"; 300].join(" || ");
        assert!(parse(&wide).is_err(), "nodes");
        assert!(parse(&format!("'{}' == ''", "x".repeat(3000))).is_err(), "bytes");
    }
}
