//! What a secret looks like in a text: a rule a row.

use std::sync::LazyLock;

use regex::{Regex, RegexSet};

/// Names that say their value is a secret. They end the name: `--password-file` and `max_tokens`
/// are none.
pub(super) const NAME: &str = concat!(
    r"(?:[A-Za-z0-9_.-]*(?:password|passwd|passphrase|secret|token|api_?key|credentials?|requirepass)",
    r"|(?:[A-Za-z0-9_.-]*[_.-])?key|(?:[A-Za-z0-9_.-]+[_.-])?pass|[A-Za-z0-9_.-]+[_.-]pwd",
    r"|(?:store|key|user|root|db|admin)pass|accountkey|sharedaccesskey)",
);

/// A word of a shell, of as many quoted parts as it has; a quote that is not closed lasts to the end.
const WORD: &str = r#"(?<hidden>(?:"(?:\\.|[^"\\])*(?:"|$)|'[^']*(?:'|$)|\\.|[^\s&;|<>"'\\])+)"#;
/// A value in a document: one string, or up to what ends it.
const VALUE: &str = r#"(?<hidden>"(?:\\.|[^"\\])*(?:"|$)|'[^']*(?:'|$)|[^\s&;|,}"'{\[]+)"#;

/// Programs with a short flag for a password, and whether the value may be a word of its own.
pub(super) const PROGRAMS: [(&str, &str, bool); 7] = [
    // With a blank behind it, the program asks, and the word is a database.
    (r"mysql(?:dump|admin|import|show|check|sh)?|mariadb(?:-[a-z]+)?", "-p", false),
    ("sshpass", "-p", true),
    (r"mongo(?:sh|dump|restore|export|import|stat|top)?", "-p", true),
    ("redis-cli", "-a", true),
    (r"ldap(?:search|add|modify|delete|passwd|whoami|compare)", "-w", true),
    ("kadmin", "-w", true),
    // `docker login`, `oc login`, `az login` …
    ("login", "-p", true),
];

/// Programs with a flag for `USER:PASSWORD`.
pub(super) const USERS: (&str, &str) =
    ("curl|wget|https?|xh", "-u|--user|-U|--proxy-user|-a|--auth");

/// The group `hidden` of each is a secret; in their order.
pub(super) static RULES: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let (programs, flags) = USERS;
    let mut rules = vec![
        format!(r#"(?i)\b{NAME}["']?=["']??{WORD}"#),
        format!(r#"(?i)\b{NAME}["']?\s*:\s*{VALUE}"#),
        format!(r"(?i)(?:^|\s)--?{NAME}\s+{WORD}"),
        // `aws configure set`, `npm config set`, `CONFIG SET` of Redis.
        format!(r"(?i)\bset\s+(?:\S*[:._])?{NAME}\s+{WORD}"),
        r"(?i)\b[a-z][a-z0-9+.-]*://[^\s/?#:@]*:(?<hidden>[^\s/?#]+)@".to_owned(),
        r"(?i)\b[a-z][a-z0-9+.-]*://(?<hidden>[^\s/?#:@]{20,})@".to_owned(),
        concat!(
            r#"(?i)authorization["']?\s*[:=]\s*["']?"#,
            r"(?:(?:basic|bearer|token|digest|negotiate|apikey|aws4-hmac-sha256)\s+)?",
            r#"(?<hidden>[^"'\r\n]+)"#
        )
        .to_owned(),
        r#"(?i)\bbearer\s+(?<hidden>[^\s"']+)"#.to_owned(),
        r#"(?i)\b(?:set-)?cookie["']?:\s*(?<hidden>[^"'\r\n]+)"#.to_owned(),
        r#"(?i)[?&](?:sig|signature|x-amz-signature|code)=(?<hidden>[^\s&"']+)"#.to_owned(),
        r#"(?i)\bpass:(?<hidden>[^\s"']+)"#.to_owned(),
        concat!(
            r"(?i)\b(?:identified\s+(?:with\s+\S+\s+)?by|password)\s+",
            r#"(?<hidden>'[^']*(?:'|$)|"[^"]*(?:"|$))"#
        )
        .to_owned(),
        concat!(
            r"(?i)\b(?:echo|printf)\s+(?:-\w+\s+)?(?<hidden>[^|;&]+?)\s*\|\s*(?:[^|;&]*\s)?",
            r"(?:chpasswd|passwd|--password-stdin|--with-token|sudo\s+-S|kinit|smbpasswd|cryptsetup",
            r"|su|login\s+-|htpasswd|mkpasswd|slappasswd)(?:\s|$)"
        )
        .to_owned(),
        r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----(?<hidden>.+?)(?:-----END|$)".to_owned(),
        // A JWT; AWS; GitHub, GitLab, Slack, Stripe, Docker, npm, PyPI, Vault, Google, SendGrid.
        r"\b(?<hidden>eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*)?)".to_owned(),
        r"\b(?<hidden>(?:AKIA|ASIA)[0-9A-Z]{16})\b".to_owned(),
        concat!(
            r"\b(?<hidden>(?:gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|[sr]k_live_|sk-ant-|sk-proj-",
            r"|dckr_pat_|npm_|pypi-|hvs\.|AIza|SG\.)[A-Za-z0-9_.-]{16,})"
        )
        .to_owned(),
        format!(
            r#"\b(?:{programs})\s(?:[^|;&\n]*?\s)?(?:{flags})[ =]?["']?[^\s:"'/]*:(?<hidden>[^\s"']+)"#
        ),
    ];
    rules.extend(PROGRAMS.map(|(programs, flag, may_be_apart)| {
        let gap = if may_be_apart { r"\s*" } else { "" };
        format!(r"\b(?:{programs})\s(?:[^|;&\n]*?\s)?{flag}{gap}{WORD}")
    }));
    rules.iter().map(|it| pattern(it)).collect()
});

/// Which of them may find something: most texts hold nothing.
pub(super) static ALL: LazyLock<RegexSet> = LazyLock::new(|| {
    let patterns = RULES.iter().map(Regex::as_str);
    RegexSet::new(patterns).expect("each of them is sound")
});

pub(super) fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a pattern written in the program is sound")
}
