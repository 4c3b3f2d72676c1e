//! What a list's query says about its object, read as the API server reads its `ListOptions`.
//!
//! Source: `requestinfo.go`, and `ParseSelector` of `apimachinery/pkg/{fields,labels}`.

use std::{borrow::Cow, sync::LazyLock};

use memchr::memmem::Finder;

use super::uri;

static FIELD_SELECTOR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"fieldSelector"));

/// The name that `fieldSelector=metadata.name=X` demands. `None` if any option fails to decode:
/// the server then reads none of them.
pub fn selected_name(query: &str) -> Option<String> {
    // Most queries name none; a name may be written with escapes.
    let is_named = FIELD_SELECTOR.find(query.as_bytes()).is_some() || query.contains('%');
    if !is_named {
        return None;
    }
    let fields = uri::parameter(query, "fieldSelector")?;
    let is_number = |name| uri::parameter(query, name).is_none_or(|it| it.parse::<i64>().is_ok());
    if !is_number("timeoutSeconds") || !is_number("limit") {
        return None;
    }
    if uri::parameter(query, "labelSelector").is_some_and(|it| !is_label_selector(&it)) {
        return None;
    }
    let name = required_name(&fields)?;
    let is_segment = !matches!(&*name, "." | "..") && !name.contains(['/', '%']);
    (is_segment && !name.is_empty()).then_some(name)
}

/// The value of the first term, in sorted order, that demands a `metadata.name`.
fn required_name(selector: &str) -> Option<String> {
    let mut terms = split_terms(selector);
    terms.sort_unstable();
    let mut name = None;
    for term in terms.into_iter().filter(|it| !it.is_empty()) {
        let at = term.find(['=', '!'].as_slice()).and_then(|_| operator(term))?;
        let (field, op, value) = at;
        let value = unescape(value)?;
        if op != "!=" && field == "metadata.name" {
            name.get_or_insert(value);
        }
    }
    name
}

/// Splits at commas that no backslash escapes.
fn split_terms(selector: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, byte) in selector.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b',' => {
                terms.push(&selector[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&selector[start..]);
    terms
}

/// The first operator of a term, and what stands on its sides.
fn operator(term: &str) -> Option<(&str, &str, &str)> {
    term.char_indices().find_map(|(at, _)| {
        let rest = &term[at..];
        let op = ["!=", "==", "="].into_iter().find(|op| rest.starts_with(op))?;
        Some((&term[..at], op, &rest[op.len()..]))
    })
}

/// Undoes `\\`, `\,` and `\=`; any other escape, and a bare `,` or `=`, is an error.
fn unescape(value: &str) -> Option<String> {
    let mut text = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => text.push(chars.next().filter(|it| matches!(it, '\\' | ',' | '='))?),
            ',' | '=' => return None,
            _ => text.push(c),
        }
    }
    Some(text)
}

/// Whether a label selector would parse: each of its requirements has a sound shape.
fn is_label_selector(selector: &str) -> bool {
    let selector = selector.trim();
    selector.is_empty()
        || split_requirements(selector).is_some_and(|it| it.iter().all(|it| is_requirement(it)))
}

/// Splits at commas outside parentheses; `None` if those do not close.
fn split_requirements(selector: &str) -> Option<Vec<Cow<'_, str>>> {
    let (mut parts, mut start, mut inside) = (Vec::new(), 0, false);
    for (at, byte) in selector.bytes().enumerate() {
        match byte {
            b'(' if inside => return None,
            b'(' => inside = true,
            b')' if !inside => return None,
            b')' => inside = false,
            b',' if !inside => {
                parts.push(Cow::Borrowed(selector[start..at].trim()));
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(Cow::Borrowed(selector[start..].trim()));
    (!inside).then_some(parts)
}

fn is_requirement(text: &str) -> bool {
    if let Some(key) = text.strip_prefix('!') {
        return is_key(key.trim());
    }
    if let Some((head, values)) = text.split_once('(') {
        let words: Vec<&str> = head.split_whitespace().collect();
        let is_set = matches!(words.as_slice(), [key, "in" | "notin"] if is_key(key));
        return is_set
            && values
                .strip_suffix(')')
                .is_some_and(|it| it.split(',').all(|it| is_value(it.trim())));
    }
    let Some(at) = text.find(['=', '!', '<', '>']) else { return is_key(text) };
    let (key, rest) = (text[..at].trim(), &text[at..]);
    let Some(op) = ["!=", "==", "=", "<", ">"].into_iter().find(|op| rest.starts_with(op)) else {
        return false;
    };
    let value = rest[op.len()..].trim();
    is_key(key)
        && if matches!(op, "<" | ">") { value.parse::<i64>().is_ok() } else { is_value(value) }
}

/// `[PREFIX/]NAME`, the prefix a DNS subdomain.
fn is_key(key: &str) -> bool {
    let (prefix, name) = key.rsplit_once('/').map_or((None, key), |(it, name)| (Some(it), name));
    let is_sub = |it: &str| {
        let is_lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        it.len() <= 253
            && it.split('.').all(|label| {
                label.bytes().all(|b| is_lower(b) || b == b'-')
                    && label.bytes().next().is_some_and(is_lower)
                    && label.bytes().next_back().is_some_and(is_lower)
            })
    };
    !name.is_empty() && is_value(name) && prefix.is_none_or(is_sub)
}

/// A label's value: at most 63 letters, digits and `-_.`, beginning and ending with one of the
/// first two; or nothing.
fn is_value(value: &str) -> bool {
    let bytes = value.as_bytes();
    let is_end = |it: Option<&u8>| it.is_none_or(u8::is_ascii_alphanumeric);
    bytes.len() <= 63
        && bytes.iter().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_' | b'.'))
        && is_end(bytes.first())
        && is_end(bytes.last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: &str, expected: Option<&str>) {
        assert_eq!(selected_name(query).as_deref(), expected, "{query}");
    }

    #[test]
    fn demanded() {
        check("fieldSelector=metadata.name%3Dx&watch=true", Some("x"));
        check("fieldSelector=metadata.name==x", Some("x"));
        check("field%53elector=metadata.name%3Dx", Some("x"));
        check("fieldSelector=status.phase!%3DFailed,metadata.name=x", Some("x"));
    }
    #[test]
    fn not_demanded() {
        check("limit=5", None);
        check("fieldSelector=metadata.name!=x", None);
        check("fieldSelector=spec.nodeName=x", None);
        check("fieldSelector=metadata.name%3D", None);
    }
    #[test]
    fn no_path_segment() {
        check("fieldSelector=metadata.name=..", None);
        check("fieldSelector=metadata.name=a%2Fb", None);
        check("fieldSelector=metadata.name=a%2525", None);
    }
    #[test]
    fn escapes() {
        check(r"fieldSelector=metadata.name=a\,b", Some("a,b"));
        check(r"fieldSelector=metadata.name=a\b", None);
        check("fieldSelector=metadata.name=a=b", None);
    }
    #[test]
    fn what_fails_to_decode_leaves_no_name() {
        check("fieldSelector=metadata.name=x&limit=many", None);
        check("fieldSelector=metadata.name=x&timeoutSeconds=", None);
        check("fieldSelector=metadata.name=x&labelSelector=a%20b", None);
        check("fieldSelector=metadata.name=x,nonsense", None);
    }
    #[test]
    fn label_selectors() {
        check("fieldSelector=metadata.name=x&labelSelector=a%3Db,c%20in%20(d,e),!f,g", Some("x"));
        check("fieldSelector=metadata.name=x&labelSelector=a%20in%20(b", None);
        check("fieldSelector=metadata.name=x&labelSelector=a>1", Some("x"));
    }
    #[test]
    fn terms_are_sorted_first() {
        check("fieldSelector=metadata.name=b,metadata.name=a", Some("a"));
    }
}
