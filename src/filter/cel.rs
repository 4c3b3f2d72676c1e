//! `--where`: an expression of the Common Expression Language over `event`.

use std::{collections::HashMap, fmt, sync::Arc};

use cel::{
    Context, Program, Value,
    objects::{Key, Map},
};

use super::FilterError;
use crate::decode::Record;

/// A compiled expression.
#[derive(Clone)]
pub(super) struct Expression {
    program: Arc<Program>,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Expression")
    }
}

/// Bounds on the text, since parser and interpreter go as deep as it does.
const MAX_LEN: usize = 4096;
const MAX_SIGNS: usize = 200;

impl Expression {
    pub(super) fn parse(text: &str) -> Result<Expression, FilterError> {
        let n_signs = text.bytes().filter(|it| b"([{!-+*/%<>=&|?.".contains(it)).count();
        if text.len() > MAX_LEN || n_signs > MAX_SIGNS {
            return Err(FilterError::new(text, 0, "this expression is too long")
                .hint("at most 4096 characters and 200 operators; -F takes any number of simple conditions"));
        }
        let program = Program::compile(text).map_err(|errors| {
            let first = errors.errors.first();
            let at = first.map_or(0, |it| place(text, it.pos));
            let reason = first.map_or_else(String::new, |it| {
                it.msg.lines().next().unwrap_or_default().to_owned()
            });
            FilterError::new(text, at, format!("not an expression of CEL: {reason}"))
                .hint("for example: event.verb == \"delete\" && event.responseStatus.code < 300")
        })?;
        if !program.references().variables().contains(&"event") {
            return Err(FilterError::new(text, 0, "this expression does not look at the event")
                .hint("the event is called `event`: write event.verb, event.user.username"));
        }
        let expression = Expression { program: Arc::new(program) };
        match expression.evaluate(Value::Map(Map { map: Arc::default() })) {
            Some(Value::Bool(_)) | None => Ok(expression),
            Some(other) => {
                let reason = format!("this gives a {}, not true or false", other.type_of());
                Err(FilterError::new(text, 0, reason))
            }
        }
    }

    /// Whether it is true of an event. An expression that asks for what an event does not have is not.
    pub(super) fn holds(&self, record: &Record<'_>) -> bool {
        let Ok(event) = serde_json::from_slice(record.line()) else { return false };
        matches!(self.evaluate(value(event)), Some(Value::Bool(true)))
    }

    fn evaluate(&self, event: Value) -> Option<Value> {
        let mut context = Context::default();
        context.add_variable_from_value("event", event);
        self.program.execute(&context).ok()
    }
}

/// The byte of a (line from 1, column from 0) in a text.
fn place(text: &str, (line, column): (isize, isize)) -> usize {
    let before: usize =
        text.split_inclusive('\n').take((line.max(1) - 1) as usize).map(str::len).sum();
    let rest = &text[before.min(text.len())..];
    before + rest.char_indices().nth(column.max(0) as usize).map_or(rest.len(), |(at, _)| at)
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
