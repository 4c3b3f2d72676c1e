//! What an expression may be: neither so deep nor so nested that it could exhaust a thread, and of
//! names that exist. An unknown name would silently hold of nothing.

use std::collections::HashSet;

use cel::{
    Context, ExecutionError, Program,
    common::ast::{EntryExpr, Expr, IdedExpr, SourceInfo},
};

use crate::filter::FilterError;

/// `cel` recurses once for each level, on whatever thread evaluates.
const MAX_DEPTH: usize = 24;
/// Each level of macros (`all`, `exists`, `map`, `filter`) multiplies the work.
const MAX_LOOPS: usize = 3;

/// Names of types, which are values too: `type(event.verb) == string`.
const TYPES: [&str; 12] = [
    "bool",
    "bytes",
    "double",
    "duration",
    "google",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "timestamp",
    "type",
];

/// Whether an expression may be evaluated.
///
/// # Errors
/// Why not, and where.
pub(super) fn check(text: &str, program: &Program) -> Result<(), FilterError> {
    let mut names = Names::default();
    if !names.walk(program.expression(), 0, 0) {
        return Err(FilterError::new(text, 0, "this expression is nested too deeply")
            .hint("more conditions can stand in several --where or -F; all must hold"));
    }
    let source = Source { text, info: program.source_info() };
    let unknown = names.used.iter().find(|(name, _)| {
        *name != "event"
            && !name.starts_with('@')
            && !TYPES.contains(name)
            && !names.bound.contains(name)
    });
    if let Some((name, id)) = unknown {
        return Err(source
            .error(*id, format!("there is no `{name}`"))
            .hint("the event is called `event`: write event.verb, event.user.username"));
    }
    if let Some((name, id)) = names.called.iter().find(|(name, _)| !is_function(name)) {
        return Err(source
            .error(*id, format!("there is no function `{name}`"))
            .hint("there are has, size, matches, contains, startsWith, endsWith, timestamp, duration, int, string, and the macros all, exists, exists_one, map, filter"));
    }
    if !names.used.iter().any(|(name, _)| *name == "event") {
        return Err(FilterError::new(text, 0, "this expression does not look at the event")
            .hint("the event is called `event`: write event.verb, event.user.username"));
    }
    Ok(())
}

struct Source<'t> {
    text: &'t str,
    info: &'t SourceInfo,
}

impl Source<'_> {
    /// An error at a node of the expression. Its offset counts characters.
    fn error(&self, id: u64, reason: String) -> FilterError {
        let offset = self.info.offset_for(id).map_or(0, |(start, _)| start as usize);
        let at = self.text.char_indices().nth(offset).map_or(0, |(at, _)| at);
        FilterError::new(self.text, at, reason)
    }
}

/// Whether `cel` knows a function or method of this name. It tells only when one is called.
fn is_function(name: &str) -> bool {
    let is_word = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_');
    // Operators have names such as `_==_` and `@in`, and cannot be misspelt.
    if !is_word || (name.starts_with('_') && name.ends_with('_')) {
        return true;
    }
    let is_unknown = |call: String| {
        let result = Program::compile(&call).map(|it| it.execute(&Context::default()));
        matches!(result, Ok(Err(ExecutionError::UndeclaredReference(_))))
    };
    !(is_unknown(format!("{name}('')")) && is_unknown(format!("''.{name}()")))
}

/// The names in an expression, each with its node.
#[derive(Default)]
struct Names<'e> {
    used: Vec<(&'e str, u64)>,
    called: Vec<(&'e str, u64)>,
    /// By macros.
    bound: HashSet<&'e str>,
}

impl<'e> Names<'e> {
    /// Collects the names of a node and those below it; `false` if it goes too deep.
    fn walk(&mut self, node: &'e IdedExpr, depth: usize, loops: usize) -> bool {
        if depth > MAX_DEPTH || loops > MAX_LOOPS {
            return false;
        }
        let down = |this: &mut Self, it: &'e IdedExpr| this.walk(it, depth + 1, loops);
        match &node.expr {
            Expr::Unspecified | Expr::Literal(_) => true,
            Expr::Ident(name) => {
                self.used.push((name, node.id));
                true
            }
            Expr::Select(select) => down(self, &select.operand),
            Expr::Call(call) => {
                self.called.push((&call.func_name, node.id));
                call.target.iter().all(|it| down(self, it))
                    && call.args.iter().all(|it| down(self, it))
            }
            Expr::List(list) => list.elements.iter().all(|it| down(self, it)),
            Expr::Map(map) => map.entries.iter().all(|it| self.entry(&it.expr, depth, loops)),
            Expr::Struct(it) => it.entries.iter().all(|it| self.entry(&it.expr, depth, loops)),
            Expr::Comprehension(it) => {
                self.bound.extend([it.iter_var.as_str(), it.accu_var.as_str()]);
                self.bound.extend(it.iter_var2.as_deref());
                down(self, &it.iter_range)
                    && [&it.accu_init, &it.loop_cond, &it.loop_step, &it.result]
                        .into_iter()
                        .all(|it| self.walk(it, depth + 1, loops + 1))
            }
        }
    }

    fn entry(&mut self, entry: &'e EntryExpr, depth: usize, loops: usize) -> bool {
        match entry {
            EntryExpr::StructField(it) => self.walk(&it.value, depth + 1, loops),
            EntryExpr::MapEntry(it) => {
                self.walk(&it.key, depth + 1, loops) && self.walk(&it.value, depth + 1, loops)
            }
        }
    }
}
