//! One run of the program, as audit logs show it: its user agent and what it asked nodes for.

use std::{
    collections::HashSet,
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
};

use ring::rand::{SecureRandom, SystemRandom};

/// Tells the requests of this run from those of everybody else; clones share it.
///
/// Anybody may call himself as we do. So the name has a random part that nobody knows before the run,
/// and only what was really asked for counts as ours.
#[derive(Debug, Clone)]
pub struct Run(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    user_agent: String,
    /// Whether the user agent has a random part.
    is_random: bool,
    asked: Mutex<HashSet<String>>,
}

/// How many paths are remembered. Requests for more are not recognized as ours, and so are shown.
const MAX_ASKED: usize = 1 << 16;

impl Default for Run {
    fn default() -> Run {
        let mut random = [0; 16];
        // Without random numbers anybody could guess the name: then nothing counts as ours.
        let is_random = SystemRandom::new().fill(&mut random).is_ok();
        let mut user_agent =
            concat!("kubectl-audit/", env!("CARGO_PKG_VERSION"), " run/").to_owned();
        for byte in random {
            let _ = write!(user_agent, "{byte:02x}");
        }
        Run(Arc::new(Inner { user_agent, is_random, asked: Mutex::default() }))
    }
}

impl Run {
    /// The user agent of every request of this run: `kubectl-audit/VERSION run/ID`.
    pub fn user_agent(&self) -> &str {
        &self.0.user_agent
    }

    /// Remembers that this path, without escapes, is asked for.
    pub fn ask(&self, path: &str) {
        let mut asked = self.0.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.len() < MAX_ASKED && !asked.contains(path) {
            asked.insert(path.to_owned());
        }
    }

    /// Whether this run asked for the path.
    pub fn has_asked(&self, path: &str) -> bool {
        let asked = self.0.asked.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.is_random && asked.contains(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_has_a_name_of_its_own() {
        let (a, b) = (Run::default(), Run::default());
        assert_ne!(a.user_agent(), b.user_agent());
        let (_, id) = a.user_agent().split_once(" run/").unwrap();
        assert_eq!(id.len(), 32);
    }

    #[test]
    fn remembers_only_so_many_paths() {
        let run = Run::default();
        (0..=MAX_ASKED).for_each(|n| run.ask(&n.to_string()));
        assert!(run.has_asked("0") && !run.has_asked(&MAX_ASKED.to_string()));
    }
}
