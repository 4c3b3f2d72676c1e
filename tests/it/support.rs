//! What several tests of the whole need.

use clap::Command;

/// Every command that does something, with the words that lead to it.
pub fn leaves() -> Vec<(String, Command)> {
    let mut all = Vec::new();
    let mut open = vec![("kubectl audit".to_owned(), kubectl_audit::cli::command("kubectl audit"))];
    while let Some((path, command)) = open.pop() {
        let below = command.get_subcommands().filter(|it| it.get_name() != "help");
        let n = open.len();
        open.extend(below.map(|it| (format!("{path} {}", it.get_name()), it.clone())));
        if open.len() == n {
            all.push((path, command));
        }
    }
    all
}
