//! `--where`: an expression of the Common Expression Language over `event`.

use std::{collections::HashMap, fmt, sync::Arc};

mod check;
mod plan;
#[cfg(test)]
mod tests;

use cel::{
    Context, Env, Program, Value,
    objects::{Key, Map},
};

use self::plan::{Plan, Truth};
use super::FilterError;
use crate::{
    decode::{Projection, Record},
    event::{Json, Kind},
};

/// A compiled expression.
#[derive(Clone)]
pub(super) struct Expression {
    program: Arc<Program>,
    /// The functions of the language, built once.
    env: Arc<Env>,
    plan: Plan,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Expression")
    }
}

/// Bounds on the text, since the parser goes as deep as it does.
const MAX_LEN: usize = 4096;
const MAX_SIGNS: usize = 200;
const MAX_BRACKETS: usize = 24;

/// What the parser may use: without optimization it takes over 100 KiB for a level.
const PARSER_STACK: usize = 128 << 20;

/// An event with a value of the usual type in each field, to find what an expression gives.
const SAMPLE: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Request","auditID":"a","stage":"ResponseComplete","requestURI":"/","verb":"get","user":{"username":"a","uid":"a","groups":["a"],"extra":{}},"impersonatedUser":{"username":"a","uid":"a","groups":["a"],"extra":{}},"sourceIPs":["10.0.0.1"],"userAgent":"a","objectRef":{"resource":"pods","namespace":"a","name":"a","uid":"a","apiGroup":"a","apiVersion":"v1","resourceVersion":"1","subresource":"exec"},"responseStatus":{"metadata":{},"status":"a","message":"a","reason":"a","details":{},"code":200},"requestObject":{},"responseObject":{},"requestReceivedTimestamp":"2026-01-02T03:04:05.000000Z","stageTimestamp":"2026-01-02T03:04:05.000000Z","annotations":{},"log":"a","node":"a"}"#;

impl Expression {
    /// Compiles an expression, and asks `projection` for the values that it reads.
    pub(super) fn parse(
        text: &str,
        projection: &mut Projection,
    ) -> Result<Expression, FilterError> {
        let is_sign = |it: &u8| b"([{!-+*/%<>=&|?.".contains(it);
        if text.len() > MAX_LEN
            || text.bytes().filter(is_sign).count() > MAX_SIGNS
            || brackets(text) > MAX_BRACKETS
        {
            return Err(FilterError::new(text, 0, "this expression is too long").hint(
                "at most 4096 characters, 200 operators and 24 brackets within each other; -F takes any number of simple conditions",
            ));
        }
        std::thread::scope(|scope| {
            std::thread::Builder::new()
                .stack_size(PARSER_STACK)
                .spawn_scoped(scope, || Expression::compile(text, projection))
                .ok()
                .and_then(|it| it.join().ok())
                .unwrap_or_else(|| Err(FilterError::new(text, 0, "this expression is too much")))
        })
    }

    fn compile(text: &str, projection: &mut Projection) -> Result<Expression, FilterError> {
        let program = Program::compile(text).map_err(|errors| {
            let first = errors.errors.first();
            let at = first.map_or(0, |it| place(text, it.pos));
            let reason = first.map_or_else(String::new, |it| {
                it.msg.lines().next().unwrap_or_default().to_owned()
            });
            FilterError::new(text, at, format!("not an expression of CEL: {reason}"))
                .hint("for example: event.verb == \"delete\" && event.responseStatus.code < 300")
        })?;
        check::check(text, &program)?;
        let plan = Plan::new(&program.expression().expr, projection);
        let expression =
            Expression { program: Arc::new(program), env: Arc::new(Env::stdlib()), plan };
        let sample = serde_json::from_str(SAMPLE).expect("the sample is JSON");
        match expression.evaluate(value(sample)) {
            Some(Value::Bool(_)) | None => Ok(expression),
            Some(other) => {
                let reason = format!("this gives a {}, not true or false", other.type_of());
                Err(FilterError::new(text, 0, reason))
            }
        }
    }

    /// Returns whether the expression is true of an event. It is not if it asks for what the event does
    /// not have.
    pub(super) fn holds(&self, record: &Record<'_>) -> bool {
        match self.plan.test(record) {
            Truth::True => true,
            Truth::False | Truth::Error => false,
            Truth::Open => self.interpret(record),
        }
    }

    /// Returns the same by the interpreter.
    fn interpret(&self, record: &Record<'_>) -> bool {
        let event = self.plan.event(record);
        let event =
            event.unwrap_or_else(|| with_origin(json_value(Json::new(record.line())), record));
        matches!(self.evaluate(event), Some(Value::Bool(true)))
    }

    fn evaluate(&self, event: Value) -> Option<Value> {
        let mut context = Context::with_env(self.env.clone());
        context.add_variable_from_value("event", event);
        self.program.execute(&context).ok()
    }
}

/// The event with the keys `log` and `node`, which tell where it was read. What a line has under these
/// names does not count.
fn with_origin(event: Value, record: &Record<'_>) -> Value {
    let Value::Map(Map { map }) = event else { return event };
    let mut fields = Arc::unwrap_or_clone(map);

    for (name, origin) in [("log", Some(record.log())), ("node", record.node())] {
        let key = Key::String(Arc::new(name.to_owned()));
        match origin {
            Some(origin) => fields.insert(key, Value::String(Arc::new(origin.to_owned()))),
            None => fields.remove(&key),
        };
    }
    Value::Map(Map { map: Arc::new(fields) })
}

/// How many brackets stand open at once, at most. Those in strings count as well.
fn brackets(text: &str) -> usize {
    let (mut open, mut most) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' | b'?' => open += 1,
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    most
}

/// The byte of a (line from 1, column from 0) in a text.
fn place(text: &str, (line, column): (isize, isize)) -> usize {
    let before: usize =
        text.split_inclusive('\n').take((line.max(1) - 1) as usize).map(str::len).sum();
    let rest = &text[before.min(text.len())..];
    before + rest.char_indices().nth(column.max(0) as usize).map_or(rest.len(), |(at, _)| at)
}

/// Returns a JSON value for the interpreter. What serde_json refuses is read leniently.
fn json_value(json: Json<'_>) -> Value {
    serde_json::from_slice(json.bytes()).map_or_else(|_| lenient(json, 0), value)
}

/// Integers become `int`, so that they compare with the numbers a person writes.
fn value(json: serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::Null,
        Json::Bool(it) => Value::Bool(it),
        Json::Number(it) => match (it.as_i64(), it.as_u64()) {
            (Some(it), _) => Value::Int(it),
            (None, Some(it)) => Value::UInt(it),
            _ => Value::Float(it.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(it) => Value::String(Arc::new(it)),
        Json::Array(all) => Value::List(Arc::new(all.into_iter().map(value).collect())),
        Json::Object(all) => {
            let pairs = all.into_iter().map(|(name, it)| (Key::String(Arc::new(name)), value(it)));
            Value::Map(Map { map: Arc::new(pairs.collect::<HashMap<_, _>>()) })
        }
    }
}

/// How deep [`lenient`] goes: each level is read once for every level above it.
const MAX_LENIENT_DEPTH: usize = 32;

/// The same of an event that serde_json refuses: for a lone surrogate, a number out of range, a body
/// nested too deeply. A client can put these into a body, and must not hide its request by it.
fn lenient(json: Json<'_>, depth: usize) -> Value {
    if depth > MAX_LENIENT_DEPTH {
        return Value::Null;
    }
    let text = |it: &str| Value::String(Arc::new(it.to_owned()));
    match json.kind() {
        Kind::Null => Value::Null,
        Kind::Bool => Value::Bool(json.bytes() == b"true"),
        Kind::Text => text(&json.text()),
        Kind::Number => {
            let raw = json.raw();
            let real = || raw.parse().map_or_else(|_| text(raw), Value::Float);
            let unsigned = || raw.parse().map_or_else(|_| real(), Value::UInt);
            raw.parse().map_or_else(|_| unsigned(), Value::Int)
        }
        Kind::List => Value::List(Arc::new(
            json.elements().into_iter().map(|it| lenient(it, depth + 1)).collect(),
        )),
        Kind::Object => {
            let pairs = json.fields().into_iter().map(|(name, it)| {
                (Key::String(Arc::new(name.into_owned())), lenient(it, depth + 1))
            });
            Value::Map(Map { map: Arc::new(pairs.collect::<HashMap<_, _>>()) })
        }
    }
}
