//! Tests that both readers agree: on every line, the fast reader returns what the strict reader returns, or
//! leaves the line to it. The lines are recorded ones, changed as a converter or an attacker may change them.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::{Found, Projection, scan::Scanner, strict};

const RECORDED: [&str; 2] =
    [include_str!("../../../examples/audit.log"), include_str!("../../../tests/data/bodies.log")];

const KEYS: [&str; 18] = [
    "verb",
    "user",
    "user.username",
    "user.groups",
    "user.groups[0]",
    "user.extra.\"authentication.kubernetes.io/credential-id\"",
    "objectRef.resource",
    "objectRef.name",
    "objectRef",
    "responseStatus.code",
    "responseStatus.details.causes.message",
    "requestObject.metadata.name",
    "requestObject.spec.containers.image",
    "requestReceivedTimestamp",
    "annotations",
    "annotations.\"authorization.k8s.io/decision\"",
    "extra.verb",
    "impersonatedUser.username",
];

/// A small, fast source of choices from one seed. Proptest's own would take most of the run time.
struct Choice(u64);

impl Choice {
    fn below(&mut self, n: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn of<'t, T>(&mut self, all: &'t [T]) -> &'t T {
        &all[self.below(all.len())]
    }
}

/// A JSON string of this text, some characters escaped though they need not be.
fn string(text: &str, choice: &mut Choice) -> String {
    let is_wild = choice.one_in(4);
    let mut json = String::from("\"");
    for c in text.chars() {
        match c {
            _ if is_wild && choice.one_in(5) => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    json += &format!("\\u{unit:04x}");
                }
            }
            '"' | '\\' => json.extend(['\\', c]),
            c if (c as u32) < 0x20 => json += &format!("\\u{:04x}", c as u32),
            c => json.push(c),
        }
    }
    json + "\""
}

/// Any value, with what lures a careless reader: wanted names deep inside, brackets and quotes in
/// strings, backslashes up to the border of a block and over it.
fn value(depth: usize, choice: &mut Choice) -> String {
    match choice.below(if depth == 0 { 5 } else { 8 }) {
        0 => {
            ["null", "true", "false", "0", "-1.5e3", "200", "[]", "{}"][choice.below(8)].to_owned()
        }
        1 => string(&"\\".repeat([1, 2, 62, 63, 64, 65][choice.below(6)]), choice),
        2 => string("}],\"stageTimestamp\":\"2020-01-01T00:00:00Z\",\"verb\":\"x\"{[", choice),
        3 => string("é\u{7f}日本 \u{1}", choice),
        4 => string(",\"objectRef\":{\"resource\":\"decoy", choice),
        5 => format!(
            "[{}]",
            (0..choice.below(4)).map(|_| value(depth - 1, choice)).collect::<Vec<_>>().join(",")
        ),
        _ => {
            let names = [
                "verb",
                "user",
                "username",
                "objectRef",
                "stageTimestamp",
                "annotations",
                "metadata",
                "name",
            ];
            let field = |choice: &mut Choice| {
                let name = string(names[choice.below(names.len())], choice);
                format!("{name}:{}", value(depth - 1, choice))
            };
            format!(
                "{{{}}}",
                (0..choice.below(5)).map(|_| field(choice)).collect::<Vec<_>>().join(",")
            )
        }
    }
}

/// A JSON value with its strings escaped anew and blanks put in.
fn rewrite(json: &serde_json::Value, blank: &str, choice: &mut Choice) -> String {
    use serde_json::Value;
    match json {
        Value::String(text) => string(text, choice),
        Value::Array(all) => {
            let all: Vec<_> = all.iter().map(|it| rewrite(it, blank, choice)).collect();
            format!("[{blank}{}{blank}]", all.join(&format!("{blank},{blank}")))
        }
        Value::Object(all) => {
            let field = |(name, it): (&String, &Value)| {
                format!("{}{blank}:{blank}{}", string(name, choice), rewrite(it, blank, choice))
            };
            let all: Vec<_> = all.iter().map(field).collect();
            format!("{{{blank}{}{blank}}}", all.join(&format!("{blank},{blank}")))
        }
        other => other.to_string(),
    }
}

/// A line that is valid JSON, made from a recorded one.
fn line(choice: &mut Choice) -> String {
    static LINES: LazyLock<[Vec<&str>; 2]> =
        LazyLock::new(|| RECORDED.map(|it| it.lines().collect()));
    let log = choice.of(&*LINES);
    let recorded = *choice.of(log);
    if choice.one_in(8) {
        return recorded.to_owned();
    }
    let event: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(recorded).expect("recorded lines are JSON");
    let blank = *choice.of(&["", "", "", "", " ", " \t ", "\r"]);
    let mut fields: Vec<(String, String)> =
        event.iter().map(|(name, it)| (string(name, choice), rewrite(it, blank, choice))).collect();
    if choice.one_in(3) {
        for at in (1..fields.len()).rev() {
            fields.swap(at, choice.below(at + 1));
        }
    }
    for _ in 0..choice.below(3) {
        let at = choice.below(fields.len());
        match choice.below(6) {
            0 => drop(fields.remove(at)),
            1 => fields[at].1 = "null".to_owned(),
            2 => fields[at].1 = value(3, choice),
            3 => fields.insert(at, ("\"extra\"".to_owned(), value(3, choice))),
            4 => fields.insert(
                at,
                (
                    choice.of(&["\"requestObject\"", "\"responseObject\""]).to_string(),
                    value(4, choice),
                ),
            ),
            _ => {
                let from = choice.below(fields.len());
                let (name, again) = fields[from].clone();
                let again = if choice.one_in(2) { again } else { value(2, choice) };
                fields.insert(at, (name, again));
            }
        }
    }
    let fields: Vec<_> =
        fields.iter().map(|(name, it)| format!("{name}{blank}:{blank}{it}")).collect();
    format!("{{{blank}{}{blank}}}", fields.join(&format!("{blank},{blank}")))
}

/// A recorded line as it stands, with fields put between two of its own, at any depth: what is unusual
/// about it is one place. Mostly valid JSON.
fn spliced(choice: &mut Choice) -> String {
    let log = *choice.of(&RECORDED);
    let lines: Vec<&str> = log.lines().collect();
    let mut line = (*choice.of(&lines)).to_owned();
    for _ in 0..1 + choice.below(2) {
        let places: Vec<usize> = line.match_indices(",\"").map(|(at, _)| at).collect();
        let at = *choice.of(&places);
        let names = [
            "objectRef",
            "user",
            "verb",
            "stage",
            "stageTimestamp",
            "annotations",
            "requestObject",
            "x",
        ];
        let name = string(names[choice.below(names.len())], choice);
        let value = match choice.below(4) {
            0 => "{\"resource\":\"decoy\"}".to_owned(),
            1 => "{\"objectRef\":{\"resource\":\"decoy\"},\"responseStatus\":{\"metadata\":{},\"code\":200}}".to_owned(),
            2 => "\"2020-01-01T00:00:00.000000Z\"".to_owned(),
            _ => value(2, choice),
        };
        line.insert_str(at, &format!(",{name}:{value}"));
    }
    line
}

/// Compares reading the first line of a text with reading that line alone.
fn agree_first(
    text: &[u8],
    projection: &Projection,
    scanner: &Scanner,
) -> Result<(), TestCaseError> {
    let (mut fast, mut slow) = (Vec::new(), Vec::new());
    let Some((head, len)) = scanner.first(text, &mut fast) else { return Ok(()) };
    let end = memchr::memchr(b'\n', text).unwrap_or(text.len());
    prop_assert_eq!(len, end, "the line of {}", String::from_utf8_lossy(text));
    // A part that the fast reader skipped may be broken.
    let Ok(expected) = strict::read(&text[..len], projection, &mut slow) else { return Ok(()) };
    prop_assert_eq!(head, expected, "head of {}", String::from_utf8_lossy(text));
    for ((fast, slow), key) in fast.iter().zip(&slow).zip(projection.keys()) {
        prop_assert_eq!(show(fast), show(slow), "{} of {}", key, String::from_utf8_lossy(text));
    }
    Ok(())
}

fn projection(choice: &mut Choice) -> Projection {
    let mut projection = Projection::default();
    for _ in 0..choice.below(6) {
        projection.want(KEYS[choice.below(KEYS.len())]);
    }
    projection
}

/// Compares the readers. Returns whether the fast one read the line.
fn agree(line: &[u8], projection: &Projection, scanner: &Scanner) -> Result<bool, TestCaseError> {
    let (mut fast, mut slow) = (Vec::new(), Vec::new());
    let Some(head) = scanner.read(line, &mut fast) else { return Ok(false) };
    let shown = String::from_utf8_lossy(line);
    let expected = strict::read(line, projection, &mut slow);
    prop_assert_eq!(Ok(head), expected, "head of {}", shown);
    for ((fast, slow), key) in fast.iter().zip(&slow).zip(projection.keys()) {
        prop_assert_eq!(show(fast), show(slow), "{} of {}", key, shown);
    }
    Ok(true)
}

fn show(found: &Found<'_>) -> Option<(usize, String, bool)> {
    let show = |it| (found.depth, String::from_utf8_lossy(it).into_owned(), found.is_plain);
    found.raw.map(show)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_200, ..ProptestConfig::default() })]

    /// One reader reads eight lines, since it caches users.
    #[test]
    fn readers_agree_on_valid_lines(seed in any::<u64>()) {
        let choice = &mut Choice(seed);
        let projection = projection(choice);
        let scanner = Scanner::new(&projection);
        for _ in 0..8 {
            agree(line(choice).as_bytes(), &projection, &scanner)?;
        }
    }

    /// Fields are spliced into recorded lines.
    #[test]
    fn readers_agree_on_spliced_lines(seed in any::<u64>()) {
        let choice = &mut Choice(seed);
        let projection = projection(choice);
        let scanner = Scanner::new(&projection);
        for _ in 0..8 {
            let line = spliced(choice);
            if strict::read(line.as_bytes(), &projection, &mut Vec::new()).is_ok() {
                agree(line.as_bytes(), &projection, &scanner)?;
                agree_first(line.as_bytes(), &projection, &scanner)?;
            }
        }
    }

    /// The first line of several is the same as that line alone, and no longer; also where a newline
    /// stands in what would else be a string.
    #[test]
    fn readers_agree_on_first_lines(seed in any::<u64>()) {
        let choice = &mut Choice(seed);
        let projection = projection(choice);
        let scanner = Scanner::new(&projection);
        for _ in 0..8 {
            let mut text = if choice.one_in(2) { spliced(choice) } else { line(choice) };
            text += *choice.of(&["", "\n", "\r\n", " \n", "}\n"]);
            text += &spliced(choice);
            let mut text = text.into_bytes();
            if choice.one_in(2) {
                let at = choice.below(text.len());
                let byte = *choice.of(b"\n\n\n\\\"}{");
                if choice.one_in(2) { text[at] = byte } else { text.insert(at, byte) }
            }
            agree_first(&text, &projection, &scanner)?;
        }
    }

    /// A line that was cut is never taken for a whole one.
    #[test]
    fn fast_reader_never_takes_a_cut_line(seed in any::<u64>()) {
        let choice = &mut Choice(seed);
        let projection = projection(choice);
        let scanner = Scanner::new(&projection);
        for _ in 0..4 {
            let line = line(choice);
            agree(line.as_bytes(), &projection, &scanner)?;
            let cut = &line.as_bytes()[..choice.below(line.len())];
            prop_assert!(!agree(cut, &projection, &scanner)?, "took {}", String::from_utf8_lossy(cut));
        }
    }

    /// Whatever happens to a byte: no panic, and if both read it, they read the same.
    #[test]
    fn readers_agree_on_damaged_lines(seed in any::<u64>()) {
        let choice = &mut Choice(seed);
        let projection = projection(choice);
        let scanner = Scanner::new(&projection);
        for _ in 0..4 {
            let mut line = line(choice).into_bytes();
            for _ in 0..=choice.below(3) {
                let at = choice.below(line.len());
                line[at] = *choice.of(b"\"\\{}[],: x\0\xff0");
            }
            if strict::read(&line, &projection, &mut Vec::new()).is_ok() {
                agree(&line, &projection, &scanner)?;
            } else {
                scanner.read(&line, &mut Vec::new());
            }
        }
    }
}

/// Decoys stand where a jump from the user to the object could land.
#[test]
fn jumps_land_on_the_object() {
    let mut projection = Projection::default();
    for key in ["user.username", "verb", "objectRef.resource", "objectRef.name"] {
        projection.want(key);
    }
    let scanner = Scanner::new(&projection);
    let decoy = r#"{"x":"y","objectRef":{"resource":"decoy","name":"a"},"responseStatus":{"metadata":{},"code":200}}"#;
    let real = r#","objectRef":{"resource":"pods","name":"web"}"#;
    for inside in [
        "",
        r#","x":DECOY"#,
        r#","extra":{"a":DECOY}"#,
        r#","x":"DECOY\"","objectRef":{"resource":"b"}"#,
    ] {
        for between in
            ["", r#","x":DECOY"#, r#","objectRef":null"#, r#","objectR\u0065f":{"resource":"c"}"#]
        {
            for object in ["", real] {
                for after in
                    ["", r#","requestObject":{"a":DECOY}"#, r#","objectRef":{"resource":"d"}"#]
                {
                    for annotations in
                        ["", r#","annotations":{"a":"b"}"#, r#","annotations":{"a":"b"},"x":{}"#]
                    {
                        let line = format!(
                            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"86a3eba0-d077-47b7-8243-abd84eec9c4a","stage":"ResponseComplete","requestURI":"/api/v1/pods","verb":"get","user":{{"username":"ann"{inside}}}{between}{object},"responseStatus":{{"metadata":{{}},"code":200}}{after},"requestReceivedTimestamp":"2026-11-22T22:46:34.088760Z","stageTimestamp":"2026-11-22T22:46:34.090268Z"{annotations}}}"#
                        )
                        .replace("DECOY", decoy);
                        let text = format!("{line}\n{line}");
                        agree(line.as_bytes(), &projection, &scanner).expect("the readers agree");
                        agree_first(text.as_bytes(), &projection, &scanner).expect("they agree");
                    }
                }
            }
        }
    }
}

/// The fast reader reads what API servers write, so that the comparisons above mean something.
#[test]
fn recorded_lines_are_read_fast() {
    let mut projection = Projection::default();
    for key in ["user.username", "verb", "objectRef.resource"] {
        projection.want(key);
    }
    let scanner = Scanner::new(&projection);
    for line in RECORDED.iter().flat_map(|it| it.lines()) {
        let is_open = line.contains(r#""user":{}"#);
        let is_fast = agree(line.as_bytes(), &projection, &scanner).expect("the readers agree");
        assert_eq!(is_fast, !is_open, "{line}");
        let text = format!("{line}\n{line}");
        let first = scanner.first(text.as_bytes(), &mut Vec::new());
        assert_eq!(first.map(|it| it.1), is_fast.then_some(line.len()), "{line}");
    }
}
