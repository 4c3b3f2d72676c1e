//! Text from strangers on a terminal: what could move the cursor, hide or turn text is made visible.

use std::borrow::Cow;

/// Control characters, bidirectional controls and line separators as `\u001b`.
///
/// Bidirectional controls: Unicode Standard Annex 9, section 2.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_harmful(c) {
            escaped += &format!("\\u{:04x}", c as u32);
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            | '\u{2028}' | '\u{2029}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(escape(text), expected);
    }

    #[test]
    fn controls() {
        check("a\u{1b}[31mb", "a\\u001b[31mb");
        check("a\nb\tc\r", "a\\u000ab\\u0009c\\u000d");
        check("\u{7f}\u{9b}0m", "\\u007f\\u009b0m");
    }
    #[test]
    fn direction() {
        check("\u{202e}gnp.exe\u{2066}", "\\u202egnp.exe\\u2066");
    }
    #[test]
    fn text_stays() {
        check("日本 é \\u001b", "日本 é \\u001b");
    }
}
