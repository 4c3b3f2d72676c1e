//! One JSON value as its bytes: read only as far as somebody asks.

use std::borrow::Cow;

/// The bytes of one JSON value, without blanks around it. Always UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Json<'a>(&'a [u8]);

/// What kind of value the first byte tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Null,
    Bool,
    Number,
    Text,
    List,
    Object,
}

impl<'a> Json<'a> {
    /// `raw` must be one JSON value in UTF-8; what is wrong with it shows only to those who look.
    pub fn new(raw: &'a [u8]) -> Json<'a> {
        Json(raw)
    }

    /// The bytes as they stand in the event.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// The same as text.
    pub fn raw(self) -> &'a str {
        std::str::from_utf8(self.0).unwrap_or_default()
    }

    /// The bytes of a string that holds no escapes: what [`text`](Json::text) gives, without a copy
    /// or a check. `None` for any other value.
    pub fn plain_text(self) -> Option<&'a [u8]> {
        let inner = self.0.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        (!has_backslash(inner)).then_some(inner)
    }

    pub fn kind(self) -> Kind {
        match self.0.first() {
            Some(b'"') => Kind::Text,
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::List,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') | None => Kind::Null,
            Some(_) => Kind::Number,
        }
    }

    /// The text of a string, unescaped. A lone surrogate reads as U+FFFD.
    pub fn as_text(self) -> Option<Cow<'a, str>> {
        let inner = self.raw().strip_prefix('"')?.strip_suffix('"')?;
        Some(if memchr::memchr(b'\\', inner.as_bytes()).is_some() {
            Cow::Owned(unescape(inner))
        } else {
            Cow::Borrowed(inner)
        })
    }

    /// What a count or a comparison shows: the text of a string, a list or object as compact JSON,
    /// anything else as written.
    pub fn text(self) -> Cow<'a, str> {
        match self.kind() {
            Kind::Text => self.as_text().unwrap_or(Cow::Borrowed(self.raw())),
            Kind::List | Kind::Object => self.compact(),
            _ => Cow::Borrowed(self.raw()),
        }
    }

    /// As [`Self::text`], faster for the words that verbs and decisions are: they are compared, not
    /// checked.
    pub fn word(self) -> Cow<'a, str> {
        Cow::Borrowed(match self.0 {
            b"\"allow\"" => "allow",
            b"\"forbid\"" => "forbid",
            b"\"get\"" => "get",
            b"\"list\"" => "list",
            b"\"watch\"" => "watch",
            b"\"create\"" => "create",
            b"\"update\"" => "update",
            b"\"patch\"" => "patch",
            b"\"delete\"" => "delete",
            _ => return self.text(),
        })
    }

    /// The same value without blanks and with every string escaped the one usual way; numbers keep
    /// their digits.
    pub fn compact(self) -> Cow<'a, str> {
        let (bytes, raw) = (self.0, self.raw());
        if !bytes.iter().any(|it| matches!(it, b' ' | b'\t' | b'\r' | b'\n' | b'\\')) {
            return Cow::Borrowed(raw);
        }
        let mut compact = String::with_capacity(bytes.len());
        let mut at = 0;
        while at < bytes.len() {
            let start = at;
            if bytes[at] == b'"' {
                at = string_end(bytes, at);
                let text = Json(&bytes[start..at]).as_text().unwrap_or_default();
                compact.push_str(&serde_json::Value::from(text).to_string());
            } else {
                at += memchr::memchr(b'"', &bytes[at..]).unwrap_or(bytes.len() - at);
                compact.extend(raw[start..at].split_ascii_whitespace());
            }
        }
        Cow::Owned(compact)
    }

    /// The elements of a list; nothing for anything else.
    pub fn elements(self) -> Vec<Json<'a>> {
        let raws: Result<Vec<&'a serde_json::value::RawValue>, _> = serde_json::from_slice(self.0);
        raws.unwrap_or_default().into_iter().map(|it| Json(it.get().as_bytes())).collect()
    }

    /// Returns the fields of an object in order, names unescaped. Empty for any other value, and for
    /// an object that cannot be read.
    pub fn fields(self) -> super::Object<'a> {
        serde_json::from_slice(self.0).unwrap_or_default()
    }

    /// The value at a path of `parts` below this one. A name on a list stands for that name in each
    /// of its elements, so there may be several. `null` is left out.
    pub fn at(self, parts: &[super::Part]) -> Vec<Json<'a>> {
        let mut found = Vec::new();
        self.collect(parts, &mut found);
        found
    }

    fn collect(self, parts: &[super::Part], found: &mut Vec<Json<'a>>) {
        use super::Part;
        match (parts.split_first(), self.kind()) {
            (None, Kind::Null) => {}
            (None, _) => found.push(self),
            (Some((Part::Index(index), rest)), Kind::List) => {
                if let Some(element) = self.elements().get(*index) {
                    element.collect(rest, found);
                }
            }
            (Some((Part::Name(_), _)), Kind::List) => {
                for element in self.elements() {
                    if element.kind() == Kind::Object {
                        element.collect(parts, found);
                    }
                }
            }
            (Some((Part::Name(name), rest)), Kind::Object) => {
                if let Some(value) = self.field(name) {
                    value.collect(rest, found);
                }
            }
            _ => {}
        }
    }

    /// The first field of this name of an object.
    pub fn field(self, name: &str) -> Option<Json<'a>> {
        struct Find<'n>(&'n str);
        impl<'de> serde::de::Visitor<'de> for Find<'_> {
            type Value = Option<&'de serde_json::value::RawValue>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Self::Value, A::Error> {
                let mut found = None;
                while let Some(key) = map.next_key::<super::Text<'de>>()? {
                    if found.is_none() && key.0 == self.0 {
                        found = Some(map.next_value()?);
                    } else {
                        map.next_value::<serde::de::IgnoredAny>()?;
                    }
                }
                Ok(found)
            }
        }
        let mut reader = serde_json::Deserializer::from_slice(self.0);
        let found = serde::Deserializer::deserialize_map(&mut reader, Find(name)).ok()??;
        Some(Json(found.get().as_bytes()))
    }
}

/// The end of the string that begins at `start`, behind its closing quote.
/// Most texts are too short for a search by vectors to pay: eight bytes at a time.
#[inline(always)]
fn has_backslash(text: &[u8]) -> bool {
    let Some(last) = text.last_chunk::<8>() else { return text.contains(&b'\\') };
    // A zero byte is where a backslash was; it alone borrows from its highest bit.
    let zeros = |word: &[u8; 8]| {
        let it = u64::from_le_bytes(*word) ^ u64::from_le_bytes([b'\\'; 8]);
        it.wrapping_sub(u64::from_le_bytes([1; 8])) & !it & u64::from_le_bytes([0x80; 8])
    };
    let (words, _) = text.as_chunks::<8>();
    words.iter().fold(zeros(last), |found, word| found | zeros(word)) != 0
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(offset) = memchr::memchr2(b'"', b'\\', &bytes[at.min(bytes.len())..]) {
        at += offset;
        if bytes[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    bytes.len()
}

/// JSON escapes undone; what is no valid escape reads as U+FFFD.
fn unescape(inner: &str) -> String {
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(escape) = rest.chars().next() else {
            text.push(char::REPLACEMENT_CHARACTER);
            break;
        };
        rest = &rest[escape.len_utf8()..];
        text.push(match escape {
            '"' | '\\' | '/' => escape,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let (c, used) = unicode_escape(rest);
                rest = &rest[used..];
                c
            }
            _ => char::REPLACEMENT_CHARACTER,
        });
    }
    text.push_str(rest);
    text
}

/// The character of `XXXX` or `XXXX\uXXXX` (a surrogate pair), and how much of `rest` it took.
fn unicode_escape(rest: &str) -> (char, usize) {
    let unit = |at: usize| rest.get(at..at + 4).and_then(|it| u32::from_str_radix(it, 16).ok());
    let Some(first) = unit(0) else { return (char::REPLACEMENT_CHARACTER, 0) };
    if let Some(c) = char::from_u32(first) {
        return (c, 4);
    }
    let second = if rest.get(4..6) == Some("\\u") { unit(6) } else { None };
    match second {
        Some(second @ 0xDC00..=0xDFFF) if first < 0xDC00 => {
            let code = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
            (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 10)
        }
        _ => (char::REPLACEMENT_CHARACTER, 4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Key;

    #[track_caller]
    fn text(raw: &str, expected: &str) {
        assert_eq!(Json::new(raw.as_bytes()).text(), expected, "{raw}");
    }

    #[test]
    fn words() {
        for raw in [
            "allow",
            "forbid",
            "get",
            "list",
            "watch",
            "create",
            "update",
            "patch",
            "delete",
            "deletecollection",
            "w\\u0061tch",
            "",
        ] {
            let raw = format!("\"{raw}\"");
            let json = Json::new(raw.as_bytes());
            assert_eq!(json.word(), json.text());
        }
        assert_eq!(Json::new(b"7").word(), "7");
    }
    #[test]
    fn plain() {
        text(r#""watch""#, "watch");
    }
    #[test]
    fn escaped() {
        text(r#""w\u0061tch\u0026\n\"\\\/""#, "watch&\n\"\\/");
    }
    #[test]
    fn surrogate_pair() {
        text(r#""\ud83d\ude00""#, "😀");
    }
    #[test]
    fn lone_surrogates() {
        text(r#""a\ud83db\ude00""#, "a\u{fffd}b\u{fffd}");
        text(r#""\ud83d\u0041""#, "\u{fffd}A");
    }
    #[test]
    fn numbers_keep_their_digits() {
        text("1.50", "1.50");
        text("18446744073709551617", "18446744073709551617");
    }
    #[test]
    fn list_is_compact() {
        text(r#"[ "a b" , {"x" : 1.0, "\u0079": "\u003c"} ]"#, r#"["a b",{"x":1.0,"y":"<"}]"#);
    }

    #[test]
    fn fields() {
        let names = |raw: &str| {
            let fields = Json::new(raw.as_bytes()).fields().into_iter();
            fields.map(|(name, it)| format!("{name}={}", it.raw())).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(r#"{"a":1, "\u0062" : "\ud800","c":1e999}"#), r#"a=1 b="\ud800" c=1e999"#);
        assert_eq!(names("[1]"), "");
        assert_eq!(names("{"), "");
    }

    #[track_caller]
    fn at(raw: &str, key: &str, expected: &str) {
        let key: Key = key.parse().expect(key);
        let found: Vec<_> =
            Json::new(raw.as_bytes()).at(key.parts()).into_iter().map(|it| it.text()).collect();
        assert_eq!(found.join(" "), expected, "{key} in {raw}");
    }

    #[test]
    fn paths() {
        at(r#"{"a":{"b":1}}"#, "a.b", "1");
        at(r#"{"a":[{"b":1},{"b":2},{"c":3},4]}"#, "a.b", "1 2");
        at(r#"{"a":[[1,2],[3]]}"#, "a[1][0]", "3");
        at(r#"{"a":null}"#, "a", "");
        at(r#"{"a":[1]}"#, "a[7]", "");
        at(r#"{"\u0061":5}"#, "a", "5");
    }
}
