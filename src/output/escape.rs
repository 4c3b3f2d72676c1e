//! Text from strangers on a terminal: what could move the cursor, hide or turn text is made visible.

use std::{
    borrow::Cow,
    io::{self, Write},
};

/// Control characters, bidirectional controls and line separators as `\u001b`.
///
/// Bidirectional controls: Unicode Standard Annex 9, section 2.
pub fn escape(text: &str) -> Cow<'_, str> {
    // Of all bytes, none apart: the compiler looks at many at once.
    let is_plain = text.bytes().fold(true, |all, it| all & matches!(it, b' '..=b'~'));
    if is_plain || !text.contains(is_harmful) {
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

/// JSON on its way to `0`, with what JSON itself would let through escaped: outside of strings there is
/// none of it, and inside a string `\u009b` means the same.
pub struct JsonText<'o>(pub &'o mut dyn Write);

impl Write for JsonText<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match std::str::from_utf8(bytes) {
            // serde_json writes whole pieces of text; new lines between them are its own.
            Ok(text) if !bytes.is_ascii() || bytes.contains(&0x7f) => {
                self.0.write_all(escape(text).as_bytes())?;
            }
            _ => self.0.write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
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
    fn json() {
        let mut out = Vec::new();
        let value = ["\u{9b}0m", "\u{202e}é", "\u{7f}\u{1b}"];
        serde_json::to_writer_pretty(super::JsonText(&mut out), &value).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "[\n  \"\\u009b0m\",\n  \"\\u202eé\",\n  \"\\u007f\\u001b\"\n]");
        assert_eq!(serde_json::from_str::<Vec<String>>(&text).unwrap(), value);
    }
    #[test]
    fn text_stays() {
        check("日本 é \\u001b", "日本 é \\u001b");
    }
}
