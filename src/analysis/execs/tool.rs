//! The tool a user agent names. Clients choose it freely: a hint, no proof.

use serde::Serialize;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tool {
    pub name: String,
    pub version: Option<String>,
}

impl Tool {
    /// `kubectl/v1.36.2 (linux/amd64) kubernetes/…` is kubectl, v1.36.2; a browser is `browser`.
    pub fn of(user_agent: &str) -> Option<Tool> {
        let product = user_agent.split_ascii_whitespace().next()?;
        if product.starts_with("Mozilla/") {
            return Some(Tool { name: "browser".to_owned(), version: None });
        }
        let (name, version) = product.split_once('/').unwrap_or((product, ""));
        // A program built without a version says `v0.0.0`.
        let is_known = !version.is_empty() && !version.starts_with("v0.0.0");
        Some(Tool { name: name.to_owned(), version: is_known.then(|| version.to_owned()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(agent: &str, expected: &str) {
        let shown = Tool::of(agent).map_or("none".to_owned(), |it| {
            format!("{} {}", it.name, it.version.unwrap_or("-".to_owned()))
        });
        assert_eq!(shown, expected, "{agent}");
    }

    #[test]
    fn tools() {
        check("kubectl/v1.36.2 (linux/amd64) kubernetes/98b3519", "kubectl v1.36.2");
        check("k9s/v0.0.0 (linux/amd64) kubernetes/$Format", "k9s -");
        check("curl/8.5.0", "curl 8.5.0");
        check("Mozilla/5.0 (X11; Linux x86_64)", "browser -");
        check("Go-http-client/1.1", "Go-http-client 1.1");
        check("python", "python -");
        check("", "none");
        check(" /", " -");
    }
}
