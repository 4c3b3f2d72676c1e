//! Hides what looks like a secret in a command. Shows nothing else differently.

use std::{borrow::Cow, sync::LazyLock};

use regex::Regex;

use self::rules::{ALL, NAME, PROGRAMS, RULES, USERS, pattern};

mod positional;
mod rules;
#[cfg(test)]
mod tests;
mod word;

/// What stands for a secret.
pub const MASK: &str = "***";

/// A whole argument that is one assignment, a name, or a flag alone.
static ASSIGNMENT: LazyLock<Regex> =
    LazyLock::new(|| pattern(&format!("(?is)^(?:-*{NAME}=)(?<hidden>.+)$")));
static FLAG: LazyLock<Regex> = LazyLock::new(|| pattern(&format!("(?i)^--?{NAME}$")));
static SETTING: LazyLock<Regex> = LazyLock::new(|| pattern(&format!(r"(?i)^(?:.*[:._])?{NAME}$")));
/// What may be a secret by itself.
static WORD: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?<hidden>[A-Za-z0-9+/_=-]{16,})"));
/// `user:password`.
static USER: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?s)^[^:/]*:(?<hidden>.+)$"));

/// Programs with a flag of their own, as the end of an argument.
static KNOWN: LazyLock<Vec<(Regex, &str, bool)>> = LazyLock::new(|| {
    let known = PROGRAMS.iter().map(|(it, flag, apart)| (program(it), *flag, *apart));
    known.collect()
});
static KNOWN_USERS: LazyLock<(Regex, Regex)> = LazyLock::new(|| {
    let (programs, flags) = USERS;
    (program(programs), pattern(&format!("(?s)^(?:{flags})(?<value>=?.*)$")))
});

fn program(names: &str) -> Regex {
    pattern(&format!("^(?:.*/)?(?:{names})$"))
}

/// The command with every value that looks like a secret hidden; as many arguments as before.
pub fn mask(command: &[String]) -> Vec<String> {
    let mut walk = Walk::default();
    let mut shown: Vec<String> = command.iter().map(|it| walk.next(it)).collect();
    let mut positional = positional::hidden(command);
    positional.sort_unstable();
    positional.dedup();
    for (at, from, to) in positional {
        let (argument, secret) = (&command[at], &command[at][from..to]);
        // What is hidden already stays as it is.
        if shown[at] == *argument && secret != MASK && !is_substituted(secret) {
            shown[at] = format!("{}{MASK}{}", &argument[..from], &argument[to..]);
        }
    }
    shown
}

/// Whether a name says that its value is a secret, such as `DB_PASSWORD` or `token`.
pub fn is_secret_name(name: &str) -> bool {
    SECRET_NAME.is_match(name)
}

static SECRET_NAME: LazyLock<Regex> = LazyLock::new(|| pattern(&format!("(?i)^{NAME}$")));

/// What the arguments so far say about the next one.
#[derive(Default)]
struct Walk<'a> {
    /// The program's flag for a password, and whether the value may be the next argument.
    flag: Option<(&'static str, bool)>,
    has_user: bool,
    next: Next,
    /// The two arguments before.
    before: [&'a str; 2],
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Next {
    #[default]
    Anything,
    /// The value of a flag that says it is a secret, unless it is a flag itself.
    Value,
    /// Behind `-p`: whatever it is.
    Secret,
    /// `user:password`.
    User,
    /// Behind `-c`: a script, not one assignment.
    Script,
}

impl<'a> Walk<'a> {
    fn next(&mut self, argument: &'a str) -> String {
        let shown = match self.next {
            Next::Secret => MASK.to_owned(),
            Next::Value if !argument.starts_with('-') && !is_substituted(argument) => {
                MASK.to_owned()
            }
            Next::User => hide(&USER, argument, &|_| true).into_owned(),
            Next::Script => mask_text(argument, true),
            _ => self.flagged(argument).unwrap_or_else(|| mask_word(argument)),
        };
        self.learn(argument);
        shown
    }

    /// An argument that holds a flag of the program and its value.
    fn flagged(&self, argument: &str) -> Option<String> {
        if let Some((flag, _)) = self.flag
            && argument.strip_prefix(flag).is_some_and(|it| !it.is_empty())
        {
            return Some(format!("{flag}{MASK}"));
        }
        let value = KNOWN_USERS.1.captures(argument).filter(|_| self.has_user)?.name("value")?;
        let at = value.start() + usize::from(value.as_str().starts_with('='));
        let shown = hide(&USER, &argument[at..], &|_| true);
        (shown != argument[at..]).then(|| format!("{}{shown}", &argument[..at]))
    }

    fn learn(&mut self, argument: &'a str) {
        self.next = match self.flag {
            Some((flag, true)) if argument == flag => Next::Secret,
            _ if self.has_user
                && KNOWN_USERS.1.captures(argument).is_some_and(|it| it["value"].is_empty()) =>
            {
                Next::User
            }
            // The value is here: `-psecret` is no flag that is called so.
            Some((flag, _)) if argument.len() > flag.len() && argument.starts_with(flag) => {
                Next::Anything
            }
            _ if FLAG.is_match(argument) => Next::Value,
            _ if self.before[1].eq_ignore_ascii_case("set") && SETTING.is_match(argument) => {
                Next::Value
            }
            _ if argument.starts_with('-') && argument.ends_with('c') => Next::Script,
            _ => Next::Anything,
        };
        if let Some((_, flag, apart)) = KNOWN.iter().find(|it| it.0.is_match(argument)) {
            self.flag = Some((flag, *apart));
        }
        self.has_user |= KNOWN_USERS.0.is_match(argument);
        self.before = [self.before[1], argument];
    }
}

/// One word that no shell reads any more: a `$` in it is a letter.
fn mask_word(argument: &str) -> String {
    match hide(&ASSIGNMENT, argument, &|it| !is_substituted(it)) {
        Cow::Owned(hidden) => hidden,
        Cow::Borrowed(_) => mask_text(argument, argument.contains(char::is_whitespace)),
    }
}

fn mask_text(text: &str, is_script: bool) -> String {
    let is_secret = |it: &str| if is_script { !is_reference(it) } else { !is_substituted(it) };
    let rules = if ALL.is_match(text) { RULES.as_slice() } else { &[] };
    let positional = if is_script && positional::ANY.is_match(text) {
        positional::POSITIONAL.as_slice()
    } else {
        &[]
    };
    let hidden = rules.iter().chain(positional).fold(Cow::Borrowed(text), |text, rule| {
        Cow::Owned(hide(rule, &text, &is_secret).into_owned())
    });
    let is_secret =
        |it: &str| word::is_random(it) || word::decode(it).is_some_and(|it| has_secret(&it));
    hide(&WORD, &hidden, &is_secret).into_owned()
}

/// Whether something in a text that was base64 is a secret.
fn has_secret(text: &str) -> bool {
    ALL.is_match(text) || WORD.find_iter(text).any(|it| word::is_random(it.as_str()))
}

/// The text without what the pattern finds and somebody says is a secret.
fn hide<'t>(pattern: &Regex, text: &'t str, is_secret: &dyn Fn(&str) -> bool) -> Cow<'t, str> {
    let mut shown = String::new();
    let mut at = 0;
    for found in pattern.captures_iter(text) {
        let Some(secret) = found.name("hidden") else { continue };
        if is_secret(secret.as_str()) && secret.as_str() != MASK {
            shown += &text[at..secret.start()];
            shown += MASK;
            at = secret.end();
        }
    }
    if at == 0 { Cow::Borrowed(text) } else { Cow::Owned(shown + &text[at..]) }
}

/// A variable or a substitution of a shell names a secret and is none; a default in it may be.
fn is_reference(value: &str) -> bool {
    let inner = value.trim_start_matches(['"', '\\']);
    let has_default = inner.starts_with("${") && (inner.contains(":-") || inner.contains(":="));
    (inner.starts_with('$') || inner.starts_with('`')) && !has_default
}

/// What is filled in also without a shell: `$(NAME)` of a pod's command.
fn is_substituted(value: &str) -> bool {
    value.starts_with("$(") && value.ends_with(')')
}
