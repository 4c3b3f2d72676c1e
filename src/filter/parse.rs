//! The text of a filter: `verb=delete`, `responseStatus.code>=400`, `user.username in (ann,bob)`.

use super::{
    FilterError, Watch,
    condition::{Condition, Operator, Test},
    operand::Operand,
};
use crate::{
    decode::{Lookup, Projection},
    event::Key,
};

/// Operators of signs, the longer before those they begin with.
const SIGNS: [&str; 12] = ["==", "=~", "!=", "!~", ">=", "<=", "+=", "-=", "=", ">", "<", "~"];

/// Reads a filter of the form `KEY OPERATOR VALUE`, `KEY in (A,B)`, `KEY` or `!KEY`.
///
/// The operator is the first one behind the key, so a value may hold any of them. Around operator
/// and value blanks do not count; a value in double quotes keeps them, with `\"` and `\\` for those two.
///
/// ```
/// use kubectl_audit::{decode::Projection, filter::{self, Filter}};
///
/// let mut projection = Projection::default();
/// let refused = filter::parse("responseStatus.code in (401,403)", &mut projection)?;
/// let filter = Filter::default().and(refused);
/// let err = filter::parse("responseStatus.code >> 400", &mut projection);
/// # let _ = (filter, err);
/// # Ok::<(), filter::FilterError>(())
/// ```
///
/// # Errors
/// What was expected instead, and where.
pub fn parse(text: &str, projection: &mut Projection) -> Result<Condition, FilterError> {
    parse_watched(text, projection).map(|it| it.0)
}

/// As [`parse`], with the names in the filter that some event should have.
///
/// # Errors
/// As [`parse`].
pub fn parse_watched(
    text: &str,
    projection: &mut Projection,
) -> Result<(Condition, Vec<Watch>), FilterError> {
    let key_error = |err: crate::event::KeyError, from: usize| {
        FilterError::new(text, from + err.at, err.reason)
    };
    let blanks = |at: usize| at + text[at..].len() - text[at..].trim_start().len();
    let start = blanks(0);
    if let Some(rest) = text[start..].strip_prefix('!') {
        let from = blanks(text.len() - rest.len());
        let (key, end) = Key::parse_prefix(&text[from..]).map_err(|err| key_error(err, from))?;
        if blanks(from + end) != text.len() {
            return Err(
                FilterError::new(text, from + end, "after `!KEY` nothing may follow").hint(FORMS)
            );
        }
        return Ok((condition(&key, Test::Absent, projection), Vec::new()));
    }
    let (key, end) =
        Key::parse_prefix(&text[start..]).map_err(|err| key_error(err, start).hint(FORMS))?;
    let at = blanks(start + end);
    let rest = &text[at..];
    let test = if rest.is_empty() {
        Test::Present
    } else if let Some(sign) = SIGNS.iter().find(|it| rest.starts_with(**it)) {
        sign_test(text, sign, at + sign.len())?
    } else if let Some(list) = word(rest, "notin") {
        Test::NotIn(values(text, text.len() - list.len())?)
    } else if let Some(list) = word(rest, "in") {
        Test::In(values(text, text.len() - list.len())?)
    } else {
        return Err(FilterError::new(text, at, "an operator is expected here").hint(FORMS));
    };
    let watches = watches(&key, &test, projection);
    Ok((condition(&key, test, projection), watches))
}

fn condition(key: &Key, test: Test, projection: &mut Projection) -> Condition {
    let is_made_up = key.to_string() == "dryRun";
    let test = match test {
        // Every event has it: who asks whether it is there means whether it is true.
        Test::Present if is_made_up => Test::Is(Operand::new("true")),
        Test::Absent if is_made_up => Test::IsNot(Operand::new("true")),
        test => test,
    };
    Condition::Key(Lookup::new(key, projection), Operator(test))
}

/// The names to look for in every event.
fn watches(key: &Key, test: &Test, projection: &mut Projection) -> Vec<Watch> {
    let texts = match test {
        Test::Absent => return Vec::new(),
        Test::Is(it) | Test::IsNot(it) | Test::Compares(_, it) => std::slice::from_ref(it),
        Test::Contains(it) | Test::ContainsNot(it) => std::slice::from_ref(it),
        Test::In(all) | Test::NotIn(all) => all,
        Test::Present | Test::Matches(_) | Test::MatchesNot(_) => &[],
    };

    let name = key.to_string();
    let is_word = matches!(name.as_str(), "verb" | "objectRef.resource");
    if is_word && matches!(test, Test::Is(_) | Test::In(_)) {
        let words = texts.iter().map(Operand::text).filter(|it| !it.is_empty());
        return words
            .filter_map(|it| match name.as_str() {
                "verb" => Watch::verb(&it, projection),
                _ => Some(Watch::resource(&it, &[it.to_string()], projection)),
            })
            .collect();
    }

    let text = texts.first().map(Operand::text);
    let watch = Watch::key(key, text.as_deref(), projection);
    // A field that events may have may be absent where that is an answer.
    let may_be_absent = test.holds_for_absent() && super::unknown_field(key).is_none();
    let takes_list = matches!(test, Test::Contains(_) | Test::ContainsNot(_));
    vec![watch.with(!may_be_absent, takes_list)]
}

const FORMS: &str = "a filter is KEY, !KEY, or KEY and one of = != >= <= > < += -= =~ !~ with a value, or KEY in (A,B), KEY notin (A,B)";

/// What follows a word, if it stands here alone.
fn word<'t>(rest: &'t str, word: &str) -> Option<&'t str> {
    let after = rest.strip_prefix(word)?;
    after.starts_with(|c: char| c.is_whitespace() || c == '(').then_some(after)
}

fn sign_test(text: &str, sign: &str, from: usize) -> Result<Test, FilterError> {
    let value = value(text, from)?;
    let operand = || Operand::new(&value);
    Ok(match sign {
        "=" | "==" => Test::Is(operand()),
        "!=" => Test::IsNot(operand()),
        ">=" => Test::Compares([false, true, true], operand()),
        "<=" => Test::Compares([true, true, false], operand()),
        ">" => Test::Compares([false, false, true], operand()),
        "<" => Test::Compares([true, false, false], operand()),
        "+=" => Test::Contains(operand()),
        "-=" => Test::ContainsNot(operand()),
        "=~" => Test::Matches(regex(text, from, &value)?),
        "!~" => Test::MatchesNot(regex(text, from, &value)?),
        _ => {
            return Err(FilterError::new(
                text,
                from - sign.len(),
                format!("`{sign}` is no operator"),
            )
            .hint("a regular expression is matched by `=~`, not matched by `!~`"));
        }
    })
}

fn regex(text: &str, from: usize, pattern: &str) -> Result<regex::bytes::Regex, FilterError> {
    regex::bytes::RegexBuilder::new(pattern).size_limit(4 << 20).build().map_err(|err| {
        let reason = err.to_string();
        let reason = reason.lines().last().unwrap_or_default().trim().trim_start_matches("error: ");
        FilterError::new(text, from, format!("not a regular expression: {reason}"))
    })
}

/// The value that is the rest of the text.
fn value(text: &str, from: usize) -> Result<String, FilterError> {
    let rest = text[from..].trim();
    if !rest.starts_with('"') {
        return Ok(rest.to_owned());
    }
    let start = text.len() - text[from..].trim_start().len();
    let (value, end) = quoted(text, start)?;
    if !text[end..].trim().is_empty() {
        return Err(FilterError::new(text, end, "after the closing quote nothing may follow"));
    }
    Ok(value)
}

/// The text in quotes that starts at `start`, and where it ends.
fn quoted(text: &str, start: usize) -> Result<(String, usize), FilterError> {
    let mut value = String::new();
    let mut chars = text[start + 1..].char_indices().peekable();
    while let Some((offset, c)) = chars.next() {
        match c {
            '"' => return Ok((value, start + 1 + offset + 1)),
            '\\' => match chars.next_if(|(_, next)| matches!(next, '"' | '\\')) {
                Some((_, next)) => value.push(next),
                None => value.push('\\'),
            },
            _ => value.push(c),
        }
    }
    Err(FilterError::new(text, start, "this quote is never closed"))
}

/// The values of `(A, "B,C")`.
fn values(text: &str, from: usize) -> Result<Vec<Operand>, FilterError> {
    let blanks = |at: usize| at + text[at..].len() - text[at..].trim_start().len();
    let mut at = blanks(from);
    if !text[at..].starts_with('(') {
        return Err(FilterError::new(
            text,
            at,
            "a list in parentheses is expected here, as in `verb in (get,list)`",
        ));
    }
    let mut operands = Vec::new();
    loop {
        at = blanks(at + 1);
        let end = if text[at..].starts_with('"') {
            let (value, end) = quoted(text, at)?;
            operands.push(Operand::new(&value));
            blanks(end)
        } else {
            let end = at + text[at..].find([',', ')']).unwrap_or(text.len() - at);
            operands.push(Operand::new(text[at..end].trim()));
            end
        };
        match text[end..].chars().next() {
            Some(',') => at = end,
            Some(')') if text[end + 1..].trim().is_empty() => return Ok(operands),
            Some(')') => {
                return Err(FilterError::new(text, end + 1, "after the list nothing may follow"));
            }
            _ => return Err(FilterError::new(text, end, "`,` or `)` is expected here")),
        }
    }
}
