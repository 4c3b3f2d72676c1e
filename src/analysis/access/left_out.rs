//! Requests that say nothing of an account's own rights, and are left out of an answer about it.

use std::collections::BTreeMap;

/// Which of them are taken nevertheless.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Include {
    /// Requests that somebody else made as the account.
    pub impersonated: bool,
    /// Requests that were refused.
    pub denied: bool,
}

/// How many were left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    pub denied: u64,
    /// By who acted as the account.
    pub impersonated: BTreeMap<String, u64>,
}

/// Impersonators that are told apart; an attacker may make up more.
const MAX: usize = 1_000;

impl LeftOut {
    pub fn add_impersonated(&mut self, by: &str) {
        if let Some(n) = self.impersonated.get_mut(by) {
            *n += 1;
        } else if self.impersonated.len() < MAX {
            self.impersonated.insert(by.to_owned(), 1);
        }
    }

    pub fn merge(&mut self, other: LeftOut) {
        self.denied += other.denied;
        for (by, n) in other.impersonated {
            *self.impersonated.entry(by).or_default() += n;
        }
    }

    /// What to say of each kind, with the flag that takes it.
    pub fn notes(&self) -> Vec<String> {
        let requests = |n: u64, what: &str| match n {
            1 => format!("1 {what} was"),
            n => format!("{n} {} were", what.replacen("request", "requests", 1)),
        };
        let mut notes = Vec::new();
        if self.denied > 0 {
            let refused = requests(self.denied, "refused request");
            notes.push(format!("{refused} left out; --include-denied covers them"));
        }
        let n_impersonated = self.impersonated.values().sum();
        if n_impersonated > 0 {
            let mut by: Vec<_> = self.impersonated.iter().collect();
            by.sort_by(|a, b| (b.1, a.0).cmp(&(a.1, b.0)));
            let by: Vec<String> = by.iter().take(5).map(|(by, n)| format!("{by} {n}")).collect();
            let more = if self.impersonated.len() > 5 { ", …" } else { "" };
            notes.push(format!(
                "{} left out (by {}{more}); --include-impersonated takes them",
                requests(n_impersonated, "request through impersonation"),
                by.join(", "),
            ));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_name_the_number_and_the_flag() {
        let mut left_out = LeftOut { denied: 1, ..LeftOut::default() };
        assert_eq!(
            left_out.notes(),
            ["1 refused request was left out; --include-denied covers them"]
        );
        left_out.denied = 2;
        ["dave", "bob", "dave"].iter().for_each(|by| left_out.add_impersonated(by));
        assert_eq!(
            left_out.notes(),
            [
                "2 refused requests were left out; --include-denied covers them",
                "3 requests through impersonation were left out (by dave 2, bob 1); --include-impersonated takes them",
            ]
        );
        assert!(LeftOut::default().notes().is_empty());
    }
}
