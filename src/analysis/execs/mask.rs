//! Hides what looks like a secret in a command. Shows nothing else differently.

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// What stands for a secret.
pub const MASK: &str = "***";

/// Names that say their value is a secret. They end the name: `--password-file` and `max_tokens`
/// are none.
const NAME: &str = r"(?:[A-Za-z0-9_.-]*(?:password|passwd|passphrase|secret|token|api_?key|credentials?)|(?:[A-Za-z0-9_.-]*[_.-])key|key|[A-Za-z0-9_.-]+[_.-](?:pwd|pass))";

/// A rule: group 1 stays, group 2 is hidden.
struct Rule {
    pattern: Regex,
}

/// The rules, in their order: assignments, flags, URLs with credentials, headers.
static RULES: LazyLock<[Rule; 4]> = LazyLock::new(|| {
    let value = r#"("[^"]*"|'[^']*'|[^\s&;|"']+)"#;
    [
        format!(r#"(?i)(\b{NAME}["']?\s*=\s*|\b{NAME}["']?:\s*){value}"#),
        format!(r"(?i)((?:^|\s)--?{NAME}\s+){value}"),
        r"(?i)([a-z][a-z0-9+.-]*://[^\s/:@]*:)([^\s/@]+)@".to_owned(),
        r#"(?i)((?:authorization["']?\s*[:=]\s*["']?(?:[a-z]+\s+)?|\bbearer\s+))([^\s"']+)"#
            .to_owned(),
    ]
    .map(|it| Rule { pattern: Regex::new(&it).expect("a pattern written in the program is sound") })
});

/// A whole argument that is one assignment, or a flag alone.
static ASSIGNMENT: LazyLock<Regex> = LazyLock::new(|| pattern(&format!("(?is)^(-*{NAME}=)(.+)$")));
static FLAG: LazyLock<Regex> = LazyLock::new(|| pattern(&format!("(?i)^--?{NAME}$")));
static WORD: LazyLock<Regex> = LazyLock::new(|| pattern(r"[A-Za-z0-9+/_=-]{16,}"));

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a pattern written in the program is sound")
}

/// The command with every value that looks like a secret hidden; as many arguments as before.
pub fn mask(command: &[String]) -> Vec<String> {
    let (mut is_value, mut is_script) = (false, false);
    command
        .iter()
        .map(|argument| {
            let hide = is_value && !argument.starts_with('-') && !is_reference(argument);
            let text = if hide { MASK.to_owned() } else { mask_argument(argument, is_script) };
            is_value = FLAG.is_match(argument);
            // `sh -c`, `bash -lc`: what follows is a script, not one assignment.
            is_script = argument.starts_with('-') && argument.ends_with('c');
            text
        })
        .collect()
}

fn mask_argument(argument: &str, is_script: bool) -> String {
    if !is_script
        && let Some(found) = ASSIGNMENT.captures(argument)
        && !is_reference(&found[2])
    {
        return format!("{}{MASK}", &found[1]);
    }
    let text = mask_text(argument);
    WORD.replace_all(&text, |it: &Captures<'_>| {
        let word = &it[0];
        let hides = is_random(word) || decode(word).is_some_and(|it| mask_text(&it) != it);
        if hides { MASK.to_owned() } else { word.to_owned() }
    })
    .into_owned()
}

fn mask_text(text: &str) -> String {
    RULES.iter().fold(text.to_owned(), |text, rule| {
        let hidden = |it: &Captures<'_>| {
            let end = if it[0].ends_with('@') { "@" } else { "" };
            if is_reference(&it[2]) { it[0].to_owned() } else { format!("{}{MASK}{end}", &it[1]) }
        };
        rule.pattern.replace_all(&text, hidden).into_owned()
    })
}

/// A shell variable or substitution names a secret and is none.
fn is_reference(value: &str) -> bool {
    let inner = value.trim_start_matches('"');
    inner.starts_with('$') || inner.starts_with('`') || inner == MASK
}

/// Long words without pattern: upper and lower case and digits, at least 4 bits a character.
fn is_random(word: &str) -> bool {
    let has = |kind: fn(&u8) -> bool| word.bytes().any(|it| kind(&it));
    word.len() >= 24
        && !word.starts_with('/')
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_digit)
        && entropy(word) >= 4.0
}

/// Bits a character, by the frequencies of its bytes.
fn entropy(word: &str) -> f64 {
    let mut counts = [0_u32; 256];
    word.bytes().for_each(|it| counts[usize::from(it)] += 1);
    let share = |it: u32| f64::from(it) / word.len() as f64;
    counts.into_iter().filter(|it| *it > 0).map(|it| -share(it) * share(it).log2()).sum()
}

/// What base64 of either alphabet holds, if that is text.
fn decode(word: &str) -> Option<String> {
    let (mut bytes, mut buffer, mut n_bits) = (Vec::new(), 0_u32, 0);
    for byte in word.trim_end_matches('=').bytes() {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        buffer = (buffer << 6 | u32::from(six)) & 0xffff;
        n_bits += 6;
        if n_bits >= 8 {
            n_bits -= 8;
            bytes.push((buffer >> n_bits) as u8);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(argv: &[&str], expected: &[&str]) {
        let argv: Vec<String> = argv.iter().map(|&it| it.to_owned()).collect();
        assert_eq!(mask(&argv), expected, "{argv:?}");
    }
    #[track_caller]
    fn same(argv: &[&str]) {
        check(argv, argv);
    }

    #[test]
    fn assignments() {
        check(&["env", "PGPASSWORD=a b", "psql"], &["env", "PGPASSWORD=***", "psql"]);
        check(
            &["sh", "-c", "DB_PWD=x API_KEY='y z' run"],
            &["sh", "-c", "DB_PWD=*** API_KEY=*** run"],
        );
        check(&[r#"{"password":"hunter2","a":1}"#], &[r#"{"password":***,"a":1}"#]);
    }
    #[test]
    fn flags() {
        check(&["x", "--password", "a", "b"], &["x", "--password", "***", "b"]);
        check(&["x", "--token=a"], &["x", "--token=***"]);
        check(&["sh", "-c", "x --secret abc -v"], &["sh", "-c", "x --secret *** -v"]);
    }
    #[test]
    fn urls() {
        check(&["psql", "postgres://u:p@h/db"], &["psql", "postgres://u:***@h/db"]);
    }
    #[test]
    fn headers() {
        check(
            &["curl", "-H", "Authorization: Bearer abc"],
            &["curl", "-H", "Authorization: Bearer ***"],
        );
        check(
            &["curl", "-H", "Authorization: Basic YTpi"],
            &["curl", "-H", "Authorization: Basic ***"],
        );
    }
    #[test]
    fn random_words() {
        check(&["login", "aB3dE5gH7jK9mN1pQ3sT5vX7"], &["login", "***"]);
    }
    #[test]
    fn base64_of_secrets() {
        // `password=hunter2`
        check(&["x", "cGFzc3dvcmQ9aHVudGVyMg=="], &["x", "***"]);
    }
    #[test]
    fn nothing_else() {
        same(&["sh", "-c", "echo $PASSWORD; TOKEN=$(cat /t) x --token \"$T\""]);
        same(&[
            "ls",
            "-la",
            "/data dir",
            "/usr/lib/jvm/Java-21-openjdk-amd64/lib",
            "http://h:80/x",
        ]);
        same(&[
            "x",
            "--password-file=/run/p",
            "max_tokens=5",
            "PWD=/root",
            "--password",
            "-v",
            "a=b",
        ]);
        same(&["cat", "/var/run/secrets/kubernetes.io/serviceaccount/token"]);
        same(&["echo", "0123456789abcdef0123456789abcdef", "3ae99dc8-9609-4254-b5ae-246b8848b8f9"]);
    }

    proptest! {
        #[test]
        fn counts_stay(argv in proptest::collection::vec(any::<String>(), 0..5)) {
            prop_assert_eq!(mask(&argv).len(), argv.len());
        }
    }
}
