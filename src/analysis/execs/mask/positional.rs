//! Secrets that stand at a place of a known command, without a name that says so: a rule a row.

use std::sync::LazyLock;

use regex::{Regex, RegexSet};

use super::rules::pattern;

/// Programs, and what leads to the secret: `{W}` is a word that is no flag, `{V}` any word, `{R}` the words
/// before a flag of the same command, `{H}` the secret, `{HH}` the secret and all words after it.
#[rustfmt::skip]
const ROWS: &[(&str, &str)] = &[
    // Hashes of passwords.
    ("openssl", r"\s+passwd(?:\s+(?:-(?:salt|in|rand|writerand|provider|provider-path|propquery)\s+{V}|-\S+))*\s+{HH}"),
    ("htpasswd", r"(?:\s+(?:-C\s+\d+|-\S+))*?\s+-\w*n\w*(?:\s+(?:-C\s+\d+|-\S+))*\s+{W}\s+{H}"),
    ("htpasswd", r"(?:\s+(?:-C\s+\d+|-\S+))*?\s+-[a-mo-zA-Z]*b[a-mo-zA-Z]*(?:\s+(?:-C\s+\d+|-[a-mo-zA-Z]+))*\s+{W}\s+{W}\s+{H}"),
    ("mkpasswd", r"(?:\s+(?:-[mSRP]\s+{V}|-[^mSRP\s]\S*))*\s+{HH}"),
    ("wpa_passphrase", r"\s+{V}\s+{H}"),
    ("slappasswd", r"\s{R}-s\s*{H}"),
    ("caddy", r"\s+hash-password\s{R}(?:-p|--plaintext)[=\s]\s*{H}"),
    // Accounts.
    ("useradd|usermod|groupadd|groupmod", r"\s{R}-p\s*{H}"),
    ("net", r#"\s+user\s+{W}\s+(?<hidden>"[^"]*"|'[^']*'|[^\s&;|<>/][^\s&;|<>]*)"#),
    ("rabbitmqctl", r"\s{R}(?:add_user|change_password|authenticate_user)\s+{V}\s+{H}"),
    ("grafana-cli|grafana", r"\s{R}reset-admin-password\s+{H}"),
    ("etcdctl", r"\s{R}(?:user\s+(?:add|passwd)\s+|--user[=\s])[^\s:]+:{H}"),
    (r"zkCli\.sh", r"\s{R}addauth\s+digest\s+[^\s:]+:{H}"),
    ("drush", r"\s+(?:upwd|user:password)\s+{W}\s+{H}"),
    // Databases.
    ("redis-cli|valkey-cli|keydb-cli", r"\s{R}(?i:auth)\s+{HH}"),
    ("valkey-cli|keydb-cli", r"\s{R}-a\s*{H}"),
    ("mysqladmin|mariadb-admin", r"\s{R}(?:old-)?password\s+{H}"),
    ("sqlcmd|bcp|osql", r"\s{R}-P\s*{H}"),
    ("isql|iusql", r"\s+{W}\s+{W}\s+{H}"),
    ("sqlplus|rman|expdp|impdp|sqlldr", r"\s{R}[^\s/@=-][^\s/@=]*/(?<hidden>[^\s@&;|<>/]+)"),
    ("cqlsh|cypher-shell|elasticsearch-users|influx|evil-winrm|rdesktop", r"\s{R}-p[=\s]\s*{H}"),
    ("nodetool|plink|pscp|psftp|kadmin|kadmin.local", r"\s{R}-pw\s+{H}"),
    // Secret stores and clouds.
    ("vault|bao", r#"\s+login(?:\s+-\S+)*\s+(?<hidden>"[^"]*"|'[^']*'|[^\s=&;|<>"'-][^\s=&;|<>]*)(?:\s|$)"#),
    ("vault|bao", r"\s+(?:operator\s+)?unseal(?:\s+-\S+)*\s+{H}"),
    ("vault|bao", r"\s+(?:token\s+(?:lookup|revoke|renew)|unwrap)(?:\s+-\S+)*\s+{H}"),
    ("vault|bao", r"\s+kv\s+(?:put|patch)(?:\s+-\S+)*\s+{W}\s+[^\s=]+={HH}"),
    ("mc", r"\s+(?:alias\s+set|config\s+host\s+add)\s+{V}\s+{V}\s+{HH}"),
    ("mc", r"\s+admin\s+user\s+(?:svcacct\s+)?add\s+{V}\s+{V}\s+{H}"),
    ("kubectl|oc", r"\s{R}create\s+secret\s{R}--from-literal[=\s]\s*[^\s=]+=(?<hidden>{V}(?:\s+--from-literal[=\s]\s*{V})*)"),
    ("doctl", r"\s{R}-t\s+{H}"),
    ("gh", r"\s+secret\s+set\s{R}(?:-b|--body)[=\s]\s*{H}"),
    // Shares, registries and remote hosts.
    ("smbclient", r#"\s+[/\\\x01]{2}[^\s]+\s+(?<hidden>"[^"]*"|'[^']*'|[^\s&;|<>"'-][^\s&;|<>]*)"#),
    (r"smbclient|rpcclient|smbget|smbcacls|net|winexe|wbinfo", r#"\s{R}(?:-[Ua]|--user|--authenticate)[=\s]?\s*["']?[^\s%]+%{H}"#),
    ("skopeo|podman|buildah|crane|nerdctl", r#"\s{R}--(?:src-|dest-)?creds[=\s]\s*["']?[^\s:]+:{H}"#),
    ("ctr", r#"\s{R}(?:--user|-u)[=\s]\s*["']?[^\s:]+:{H}"#),
    ("lftp|ncftp", r#"\s{R}-u\s*["']?[^\s,]+,{H}"#),
    ("curl", r"\s{R}--(?:pass|oauth2-bearer)[=\s]\s*{H}"),
    ("curl", r#"\s{R}(?:-E|--cert)[=\s]?\s*["']?[^\s:]+:{H}"#),
    ("nmcli", r"\s{R}password\s+{H}"),
    ("ipmitool", r"\s{R}-P\s*{H}"),
    ("xfreerdp3?|wfreerdp", r"\s{R}/p:{H}"),
    ("snmp(?:get|walk|set|bulkget|bulkwalk|getnext|table|trap)", r"\s{R}-[cAX]\s*{H}"),
    ("ldappasswd", r"\s{R}-[as]\s*{H}"),
    // Archives and keys.
    ("zip|unzip|zipcloak", r"\s{R}-P\s*{H}"),
    ("7za?|7zr|7zz", r"\s{R}-p(?<hidden>[^\s&;|<>]+)"),
    ("ssh-keygen", r"\s{R}-[NP]\s*{H}"),
    // What a shell passes on as standard input.
    (r"chpasswd|passwd|kinit|sudo\s+-S|smbpasswd|cryptsetup|su", r"\b[^|;&<\n]*<<<\s*{H}"),
    (r"docker|podman|helm|skopeo|nerdctl|crane|gh|vault|az", r"\s+[^|;&<\n]*login[^|;&<\n]*<<<\s*{H}"),
];

/// The rules as patterns; the group `hidden` of each is a secret.
pub(super) static POSITIONAL: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let word = r#"(?:"(?:\\.|[^"\\])*(?:"|$)|'[^']*(?:'|$)|[^\s&;|<>"'\\-][^\s&;|<>"'\\]*)"#;
    let value = r#"(?:"(?:\\.|[^"\\])*(?:"|$)|'[^']*(?:'|$)|[^\s&;|<>"'\\]+)"#;
    let rule = |(programs, rest): &(&str, &str)| {
        let rest = rest
            .replace("{HH}", "(?<hidden>{W}(?:[ \\t]+{V})*)")
            .replace("{H}", "(?<hidden>{V})")
            .replace("{R}", r"(?:[^|;&\n]*?\s)?")
            .replace("{W}", word)
            .replace("{V}", value);
        pattern(&format!(r#"(?:^|[\s/;&|(`"'])(?:{programs}){rest}"#))
    };
    ROWS.iter().map(rule).collect()
});

/// Which of them may find something: most texts hold nothing.
pub(super) static ANY: LazyLock<RegexSet> = LazyLock::new(|| {
    RegexSet::new(POSITIONAL.iter().map(Regex::as_str)).expect("each of them is sound")
});

/// The bytes of each argument that a rule hides: `(argument, from, to)`.
///
/// The arguments are joined by blanks. What would end a word in one of them is replaced by a control
/// character of the same length, so that a rule sees as many words as there are arguments.
pub(super) fn hidden(command: &[String]) -> Vec<(usize, usize, usize)> {
    let mut text = String::new();
    let mut starts = Vec::with_capacity(command.len());
    for argument in command {
        starts.push(text.len());
        text.extend(argument.chars().map(|letter| match letter {
            '&' | ';' | '|' | '<' | '>' | '"' | '\'' | '\\' => '\x01',
            _ if letter.is_ascii_whitespace() || letter == '\x0b' => '\x01',
            // Other blanks would be seen as such by a pattern; all of them have this length or less.
            _ if letter.is_whitespace() => replacement(letter),
            _ => letter,
        }));
        text.push(' ');
    }

    let text = text.trim_end_matches(' ');
    let mut found = Vec::new();
    for rule in ANY.matches(text) {
        for captures in POSITIONAL[rule].captures_iter(text) {
            let Some(secret) = captures.name("hidden") else { continue };
            for (at, &start) in starts.iter().enumerate() {
                let end = start + command[at].len();
                let (from, to) = (secret.start().max(start), secret.end().min(end));
                if from < to {
                    found.push((at, from - start, to - start));
                }
            }
        }
    }
    found
}

/// A letter that is no blank, as long as this one in UTF-8.
fn replacement(blank: char) -> char {
    match blank.len_utf8() {
        1 => '\x01',
        2 => '\u{80}',
        _ => '\u{e000}',
    }
}
