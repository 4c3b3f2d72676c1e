//! What an expression needs of an event, and which parts of it are decided on the bytes of a line.
//!
//! An expression holds exactly if every operand of its outermost `&&` does. Operands that compare a path
//! with a literal are decided without the interpreter; it sees only the events that pass them, and of
//! these only the values at the paths that the expression names.

use std::{collections::HashMap, sync::Arc};

use cel::{
    Value,
    common::ast::{CallExpr, Expr, LiteralValue, operators},
    objects::{Key, Map},
};

use super::json_value;
use crate::{
    decode::{Projection, Record, Slot},
    event::{self, Json, Kind, Part},
};

/// How to decide about a record.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// All must hold.
    tests: Vec<Test>,
    /// Whether the interpreter must decide about what the tests leave open.
    pub needs_interpreter: bool,
    /// The paths of all values that the expression reads; `None` if it may read any.
    paths: Option<Vec<Path>>,
}

/// A path below `event`, all names.
#[derive(Debug, Clone)]
struct Path {
    key: event::Key,
    slot: Slot,
    /// Whether the expression asks if the last name is there: then the object around it matters, too.
    is_tested: bool,
}

/// A part of an expression that is decided without the interpreter.
#[derive(Debug, Clone)]
enum Test {
    And(Vec<Test>),
    Or(Vec<Test>),
    Not(Box<Test>),
    Has(Path),
    Value(Path, ValueTest),
}

/// What is asked of the value at a path.
#[derive(Debug, Clone)]
enum ValueTest {
    Is(Literal),
    IsNot(Literal),
    /// Whether less, equal and greater hold.
    Order([bool; 3], Literal),
    In(Vec<String>),
    HasElement(String),
    StartsWith(String),
    EndsWith(String),
    Contains(String),
    Matches(regex::Regex),
}

#[derive(Debug, Clone)]
enum Literal {
    Text(String),
    Int(i64),
}

/// What a test gives, as the interpreter would.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Truth {
    True,
    False,
    /// The expression asks for a value that is absent, or of another type.
    Error,
    /// The interpreter must decide.
    Open,
}

impl Plan {
    /// Plans an expression and asks `projection` for what it reads.
    pub(super) fn new(expression: &Expr, projection: &mut Projection) -> Plan {
        let mut operands = Vec::new();
        conjunction(expression, &mut operands);
        let n_operands = operands.len();
        let tests: Vec<Test> =
            operands.into_iter().filter_map(|operand| test(operand, projection)).collect();

        let needs_interpreter = tests.len() < n_operands;
        let mut paths = Some(Vec::new());
        // Any test may have to be left to the interpreter.
        collect_paths(expression, projection, &mut paths);
        Plan { tests, needs_interpreter, paths }
    }

    /// Decides about a record as far as the tests go. [`Truth::Error`] counts as false.
    pub(super) fn test(&self, record: &Record<'_>) -> Truth {
        let mut truth = if self.needs_interpreter { Truth::Open } else { Truth::True };
        for test in &self.tests {
            match test.of(record) {
                Truth::True => {}
                Truth::False | Truth::Error => return Truth::False,
                Truth::Open => truth = Truth::Open,
            }
        }
        truth
    }

    /// Returns the part of the event that the expression reads; `None` if that may be all of it.
    pub(super) fn event(&self, record: &Record<'_>) -> Option<Value> {
        let mut root = Branch::default();
        for path in self.paths.as_ref()? {
            let parts = path.key.parts();
            match record.found(path.slot) {
                (Some(raw), depth) => root.insert(&parts[..depth], json_value(raw)),
                (None, _) if path.is_tested => path.insert_parent(record, &mut root),
                // Selecting it is an error, whether the object around it is there or not.
                (None, _) => {}
            }
        }
        Some(root.into_value())
    }
}

impl Path {
    /// Inserts the object around an absent value, if there is one.
    fn insert_parent(&self, record: &Record<'_>, root: &mut Branch) {
        let Some((_, parents)) = self.key.parts().split_last() else { return };

        match self.parent(record) {
            Some(parent) if parent.kind() == Kind::Object => {
                root.insert(parents, Value::Map(Map { map: Arc::default() }));
            }
            Some(parent) => root.insert(parents, json_value(parent)),
            None => {}
        }
    }

    /// Returns the value around the last name.
    fn parent<'a>(&self, record: &Record<'a>) -> Option<Json<'a>> {
        let (_, parents) = self.key.parts().split_last()?;
        let event = serde_json::from_slice::<event::Object<'a>>(record.line()).ok()?;
        let (first, rest) = parents.split_first()?;

        let mut value = event.get(name(first))?;
        for part in rest {
            value = value.field(name(part))?;
        }
        Some(value)
    }
}

fn name(part: &Part) -> &str {
    match part {
        Part::Name(name) => name,
        Part::Index(_) => "",
    }
}

/// The values of an event by name.
#[derive(Default)]
struct Branch {
    children: HashMap<String, Branch>,
    value: Option<Value>,
}

impl Branch {
    fn insert(&mut self, parts: &[Part], value: Value) {
        let mut branch = self;
        for part in parts {
            branch = branch.children.entry(name(part).to_owned()).or_default();
        }

        // An empty object says only that there is one.
        let is_empty = matches!(&value, Value::Map(map) if map.map.is_empty());
        if !is_empty || branch.value.is_none() {
            branch.value = Some(value);
        }
    }

    /// A value that was read whole has all that is below it.
    fn into_value(self) -> Value {
        match self.value {
            Some(Value::Map(map)) if map.map.is_empty() => {}
            Some(value) => return value,
            None => {}
        }
        let pair =
            |(name, branch): (String, Branch)| (Key::String(Arc::new(name)), branch.into_value());
        let map: HashMap<Key, Value> = self.children.into_iter().map(pair).collect();
        Value::Map(Map { map: Arc::new(map) })
    }
}

/// Collects the operands of the outermost `&&`.
fn conjunction<'e>(expression: &'e Expr, operands: &mut Vec<&'e Expr>) {
    match binary(expression, operators::LOGICAL_AND) {
        Some((left, right)) => {
            conjunction(left, operands);
            conjunction(right, operands);
        }
        None => operands.push(expression),
    }
}

/// Returns the operands of a binary operator.
fn binary<'e>(expression: &'e Expr, operator: &str) -> Option<(&'e Expr, &'e Expr)> {
    match call(expression, operator)? {
        CallExpr { target: None, args, .. } => match args.as_slice() {
            [left, right] => Some((&left.expr, &right.expr)),
            _ => None,
        },
        _ => None,
    }
}

fn call<'e>(expression: &'e Expr, function: &str) -> Option<&'e CallExpr> {
    match expression {
        Expr::Call(call) if call.func_name == function => Some(call),
        _ => None,
    }
}

/// Returns the names of a path below `event`: `event.a.b`, `event.a["b"]`.
fn path_names(expression: &Expr) -> Option<Vec<&str>> {
    let (operand, name) = match expression {
        Expr::Ident(name) => return (name == "event").then(Vec::new),
        Expr::Select(select) if !select.test => (&select.operand.expr, select.field.as_str()),
        _ => {
            let (operand, index) = binary(expression, operators::INDEX)?;
            (operand, text_literal(index)?)
        }
    };
    let mut names = path_names(operand)?;
    names.push(name);
    Some(names)
}

/// Asks for the value at a path of at least one name.
fn path(names: Vec<&str>, is_tested: bool, projection: &mut Projection) -> Option<Path> {
    // These tell where the line was read: they are not in it, whatever it says.
    if matches!(names.first(), Some(&("log" | "node"))) {
        return None;
    }
    let key = event::Key::from_names(&names)?;
    let slot = projection.slot(&key);
    Some(Path { key, slot, is_tested })
}

fn value_path(expression: &Expr, projection: &mut Projection) -> Option<Path> {
    path(path_names(expression)?, false, projection)
}

fn text_literal(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

fn literal(expression: &Expr) -> Option<Literal> {
    match expression {
        Expr::Literal(LiteralValue::String(text)) => Some(Literal::Text(text.inner().to_owned())),
        Expr::Literal(LiteralValue::Int(int)) => Some(Literal::Int(*int.inner())),
        _ => None,
    }
}

/// Returns the test that an expression is, if it is one.
fn test(expression: &Expr, projection: &mut Projection) -> Option<Test> {
    if let Expr::Select(select) = expression {
        let mut names = path_names(&select.operand.expr).filter(|_| select.test)?;
        names.push(&select.field);
        return path(names, true, projection).map(Test::Has);
    }
    if let Some((left, right)) = binary(expression, operators::LOGICAL_OR) {
        return Some(Test::Or(vec![test(left, projection)?, test(right, projection)?]));
    }
    if let Some((left, right)) = binary(expression, operators::LOGICAL_AND) {
        return Some(Test::And(vec![test(left, projection)?, test(right, projection)?]));
    }
    if let Some(CallExpr { target: None, args, .. }) = call(expression, operators::LOGICAL_NOT)
        && let [operand] = args.as_slice()
    {
        return test(&operand.expr, projection).map(|test| Test::Not(Box::new(test)));
    }
    comparison(expression, projection)
        .or_else(|| membership(expression, projection))
        .or_else(|| method(expression, projection))
}

/// `event.verb == "get"`, also with the literal first.
fn comparison(expression: &Expr, projection: &mut Projection) -> Option<Test> {
    const OPERATORS: [(&str, [bool; 3]); 4] = [
        (operators::LESS, [true, false, false]),
        (operators::LESS_EQUALS, [true, true, false]),
        (operators::GREATER, [false, false, true]),
        (operators::GREATER_EQUALS, [false, true, true]),
    ];
    let mut operands = |operator: &str| {
        let (left, right) = binary(expression, operator)?;
        match (literal(left), literal(right)) {
            (None, Some(literal)) => Some((value_path(left, projection)?, literal, false)),
            (Some(literal), None) => Some((value_path(right, projection)?, literal, true)),
            _ => None,
        }
    };

    if let Some((path, literal, _)) = operands(operators::EQUALS) {
        return Some(Test::Value(path, ValueTest::Is(literal)));
    }
    if let Some((path, literal, _)) = operands(operators::NOT_EQUALS) {
        return Some(Test::Value(path, ValueTest::IsNot(literal)));
    }
    for (operator, [less, equal, greater]) in OPERATORS {
        if let Some((path, literal, is_swapped)) = operands(operator) {
            let ways = if is_swapped { [greater, equal, less] } else { [less, equal, greater] };
            return Some(Test::Value(path, ValueTest::Order(ways, literal)));
        }
    }
    None
}

/// `event.verb in ["get", "list"]`, `"ops" in event.user.groups`.
fn membership(expression: &Expr, projection: &mut Projection) -> Option<Test> {
    let (left, right) = binary(expression, operators::IN)?;
    if let Some(text) = text_literal(left) {
        let path = value_path(right, projection)?;
        return Some(Test::Value(path, ValueTest::HasElement(text.to_owned())));
    }

    let Expr::List(list) = right else { return None };
    let texts: Option<Vec<String>> = list
        .elements
        .iter()
        .map(|element| text_literal(&element.expr).map(str::to_owned))
        .collect();
    Some(Test::Value(value_path(left, projection)?, ValueTest::In(texts?)))
}

/// `event.requestURI.startsWith("/api")`.
fn method(expression: &Expr, projection: &mut Projection) -> Option<Test> {
    let Expr::Call(CallExpr { func_name, target: Some(target), args }) = expression else {
        return None;
    };
    let [argument] = args.as_slice() else { return None };
    let text = text_literal(&argument.expr)?.to_owned();

    let test = match func_name.as_str() {
        "startsWith" => ValueTest::StartsWith(text),
        "endsWith" => ValueTest::EndsWith(text),
        "contains" => ValueTest::Contains(text),
        // One that cannot be compiled is left to the interpreter.
        "matches" => ValueTest::Matches(regex::Regex::new(&text).ok()?),
        _ => return None,
    };
    Some(Test::Value(value_path(&target.expr, projection)?, test))
}

/// Collects the paths that an expression reads; `paths` becomes `None` if it uses `event` in another way.
fn collect_paths(expression: &Expr, projection: &mut Projection, paths: &mut Option<Vec<Path>>) {
    let mut add = |names: Vec<&str>, is_tested: bool, projection: &mut Projection| match (
        path(names, is_tested, projection),
        paths.as_mut(),
    ) {
        (Some(path), Some(paths)) => paths.push(path),
        _ => *paths = None,
    };
    if let Some(names) = path_names(expression) {
        add(names, false, projection);
        return;
    }
    if let Expr::Select(select) = expression
        && let Some(mut names) = path_names(&select.operand.expr)
    {
        names.push(&select.field);
        add(names, true, projection);
        return;
    }

    let mut below = |expression: &Expr| collect_paths(expression, projection, paths);
    match expression {
        Expr::Unspecified | Expr::Literal(_) | Expr::Ident(_) => {}
        Expr::Select(select) => below(&select.operand.expr),
        // `a?.b` and `a[?b]` tell an absent object from an absent field.
        Expr::Call(call)
            if [operators::OPT_SELECT, operators::OPT_INDEX].contains(&&*call.func_name) =>
        {
            *paths = None;
        }
        Expr::Call(call) => {
            call.target.iter().for_each(|target| below(&target.expr));
            call.args.iter().for_each(|argument| below(&argument.expr));
        }
        Expr::List(list) => list.elements.iter().for_each(|element| below(&element.expr)),
        Expr::Comprehension(loops) => {
            // A variable of this name would hide the event.
            let variables =
                [Some(&loops.iter_var), loops.iter_var2.as_ref(), Some(&loops.accu_var)];
            if variables.into_iter().flatten().any(|variable| variable == "event") {
                *paths = None;
                return;
            }
            for part in [
                &loops.iter_range,
                &loops.accu_init,
                &loops.loop_cond,
                &loops.loop_step,
                &loops.result,
            ] {
                below(&part.expr);
            }
        }
        Expr::Map(_) | Expr::Struct(_) => *paths = None,
    }
}

impl Test {
    fn of(&self, record: &Record<'_>) -> Truth {
        match self {
            Test::And(tests) => {
                tests.iter().map(|test| test.of(record)).fold(Truth::True, Truth::and)
            }
            Test::Or(tests) => {
                tests.iter().map(|test| test.of(record)).fold(Truth::False, Truth::or)
            }
            Test::Not(test) => test.of(record).not(),
            Test::Has(path) => match record.found(path.slot) {
                (Some(_), depth) if depth == path.key.parts().len() => Truth::True,
                (None, _) if path.key.parts().len() == 1 => Truth::False,
                _ => match path.parent(record).map(Json::kind) {
                    Some(Kind::Object) => Truth::False,
                    Some(_) => Truth::Open,
                    None => Truth::Error,
                },
            },
            Test::Value(path, test) => match record.found(path.slot) {
                (Some(json), depth) if depth == path.key.parts().len() => test.of(json),
                _ => Truth::Error,
            },
        }
    }
}

impl ValueTest {
    fn of(&self, json: Json<'_>) -> Truth {
        // A lone surrogate is read leniently only by the interpreter's own reader.
        let text = || json.as_text().filter(|text| !text.contains(char::REPLACEMENT_CHARACTER));
        let of_text = |is_true: &dyn Fn(&str) -> bool| match text() {
            Some(text) => Truth::from(is_true(&text)),
            None => Truth::Open,
        };

        match self {
            ValueTest::Is(literal) => literal.equals(json),
            ValueTest::IsNot(literal) => literal.equals(json).not(),
            ValueTest::Order([less, equal, greater], literal) => match literal.order(json) {
                Some(std::cmp::Ordering::Less) => Truth::from(*less),
                Some(std::cmp::Ordering::Equal) => Truth::from(*equal),
                Some(std::cmp::Ordering::Greater) => Truth::from(*greater),
                None => Truth::Open,
            },
            ValueTest::In(texts) => of_text(&|text| texts.iter().any(|it| it == text)),
            ValueTest::HasElement(wanted) if json.kind() == Kind::List => Truth::from(
                json.elements()
                    .into_iter()
                    .any(|element| element.as_text().is_some_and(|text| text == wanted.as_str())),
            ),
            ValueTest::HasElement(_) => Truth::Open,
            ValueTest::StartsWith(start) => of_text(&|text| text.starts_with(start)),
            ValueTest::EndsWith(end) => of_text(&|text| text.ends_with(end)),
            ValueTest::Contains(part) => of_text(&|text| text.contains(part)),
            ValueTest::Matches(regex) => of_text(&|text| regex.is_match(text)),
        }
    }
}

impl Literal {
    fn equals(&self, json: Json<'_>) -> Truth {
        match (self, json.kind()) {
            (Literal::Text(text), Kind::Text) => match json.plain_text() {
                Some(plain) => Truth::from(plain == text.as_bytes()),
                None => Truth::from(json.as_text().is_some_and(|it| it == text.as_str())),
            },
            (Literal::Int(int), Kind::Number) => match json.raw().parse::<i64>() {
                Ok(number) => Truth::from(number == *int),
                Err(_) => Truth::Open,
            },
            _ => Truth::False,
        }
    }

    /// Returns how the value compares with the literal; `None` if the types differ.
    fn order(&self, json: Json<'_>) -> Option<std::cmp::Ordering> {
        match (self, json.kind()) {
            (Literal::Text(text), Kind::Text) => Some(json.as_text()?.as_ref().cmp(text.as_str())),
            (Literal::Int(int), Kind::Number) => Some(json.raw().parse::<i64>().ok()?.cmp(int)),
            _ => None,
        }
    }
}

impl Truth {
    fn from(is_true: bool) -> Truth {
        if is_true { Truth::True } else { Truth::False }
    }

    fn not(self) -> Truth {
        match self {
            Truth::True => Truth::False,
            Truth::False => Truth::True,
            other => other,
        }
    }

    fn and(self, other: Truth) -> Truth {
        match (self, other) {
            (Truth::False, _) | (_, Truth::False) => Truth::False,
            (Truth::Open, _) | (_, Truth::Open) => Truth::Open,
            (Truth::Error, _) | (_, Truth::Error) => Truth::Error,
            _ => Truth::True,
        }
    }

    fn or(self, other: Truth) -> Truth {
        self.not().and(other.not()).not()
    }
}
