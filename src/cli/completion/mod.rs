//! `kubectl audit completion`, and the words that shells and kubectl ask for.
//!
//! kubectl runs `kubectl_complete-audit WORD...`, the scripts of the shells run
//! `kubectl-audit __complete WORD...`: both get cobra's answer, a candidate a line and `:DIRECTIVE`.

use std::{
    env::{current_exe, split_paths, var_os},
    ffi::OsString,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::{Error, Exit, NAME, exit};

mod candidates;
mod values;

/// Print a script that lets a shell complete commands, flags and values
///
/// `kubectl` is what kubectl itself asks, in any shell that completes kubectl; `install` puts it in place.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  # kubectl audit <TAB>, wherever kubectl completes
  kubectl audit completion install

  # kubectl-audit <TAB> in this bash
  source <(kubectl audit completion bash)

  # kubectl-audit <TAB> in every fish
  kubectl audit completion fish > ~/.config/fish/completions/kubectl-audit.fish

  # In PowerShell's profile
  kubectl audit completion powershell | Out-String | Invoke-Expression")]
pub struct Args {
    /// For which shell, or what to do
    #[arg(value_enum)]
    what: What,
    /// With `install`: a folder of PATH [default: where kubectl finds this program]
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// For `source`, or a file that bash loads
    Bash,
    /// For a file `_kubectl-audit` in a folder of $fpath
    Zsh,
    /// For a file in ~/.config/fish/completions
    Fish,
    /// For the profile
    Powershell,
    /// The file that kubectl asks
    Kubectl,
    /// Puts that file beside this program
    Install,
}

pub fn run(args: &Args, out: &mut dyn Write) -> Result<Exit, Error> {
    let script = match args.what {
        What::Bash => include_str!("scripts/bash.sh"),
        What::Zsh => include_str!("scripts/zsh.sh"),
        What::Fish => include_str!("scripts/fish.fish"),
        What::Powershell => include_str!("scripts/powershell.ps1"),
        What::Kubectl | What::Install => include_str!("scripts/kubectl.sh"),
    };
    let plugin = plugin();
    let function = plugin.replace('-', "_");
    let script = script.replace("NAME", &plugin).replace("FUNCTION", &function);
    if args.what != What::Install {
        out.write_all(script.as_bytes())?;
        return Ok(Exit::Done);
    }
    let folder = args.folder.clone().or_else(|| folder_on_path(&plugin));
    let folder = folder.ok_or_else(|| Error::NotOnPath(format!("kubectl-{plugin}")))?;
    let path = install(&folder, &plugin, &script)
        .map_err(|source| Error::Install { folder: folder.display().to_string(), source })?;
    exit::say(&format!("wrote {}", path.display()));
    Ok(Exit::Done)
}

/// Our part of the file name: `audit_log` of `kubectl-audit_log`.
fn plugin() -> String {
    let program = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    plugin_of(&program).unwrap_or_else(|| NAME.replace('-', "_"))
}

fn plugin_of(program: &Path) -> Option<String> {
    Some(stem(program)?.strip_prefix("kubectl-")?.to_owned())
}

/// The file's name without Windows' `.exe`.
fn stem(program: &Path) -> Option<&str> {
    let name = program.file_name()?.to_str()?;
    Some(name.strip_suffix(".exe").unwrap_or(name))
}

/// The folder of PATH in which kubectl finds us.
fn folder_on_path(plugin: &str) -> Option<PathBuf> {
    let file = format!("kubectl-{plugin}{}", std::env::consts::EXE_SUFFIX);
    split_paths(&var_os("PATH")?).find(|it| it.join(&file).is_file())
}

/// A script, or where no script can be run, this program under the name by which kubectl asks.
fn install(folder: &Path, plugin: &str, script: &str) -> io::Result<PathBuf> {
    let path = folder.join(format!("kubectl_complete-{plugin}{}", std::env::consts::EXE_SUFFIX));
    if cfg!(windows) {
        fs::copy(current_exe()?, &path)?;
        return Ok(path);
    }
    // A link in its place would be written through.
    let made = path.with_extension("new");
    fs::write(&made, script)?;
    make_executable(&made)?;
    fs::rename(&made, &path)?;
    Ok(path)
}

#[cfg(unix)]
fn make_executable(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn make_executable(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Answers if this is no command but a question for completion.
///
/// Nothing is ever said on standard error, and the answer does not wait for a slow cluster.
pub fn answer(args: &[OsString], out: &mut dyn Write) -> Option<io::Result<()>> {
    let program = PathBuf::from(args.first()?);
    let is_asked_by_name = stem(&program).is_some_and(|it| it.starts_with("kubectl_complete-"));
    let words = match args.get(1) {
        _ if is_asked_by_name => &args[1..],
        Some(first) if first == "__complete" => &args[2..],
        _ => return None,
    };
    Some(candidates::of(words).write(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer_to(line: &str) -> Option<String> {
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let mut out = Vec::new();
        answer(&args, &mut out)?.unwrap();
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn who_asks() {
        let expected = Some("version\tPrint the version\n:4\n");
        assert_eq!(answer_to("/x/kubectl_complete-audit vers").as_deref(), expected);
        assert_eq!(answer_to("/x/kubectl_complete-audit_log.exe vers").as_deref(), expected);
        assert_eq!(answer_to("kubectl-audit __complete vers").as_deref(), expected);
        assert_eq!(answer_to("kubectl-audit vers"), None);
        assert_eq!(answer_to("kubectl-audit"), None);
    }

    #[test]
    fn names_of_files() {
        assert_eq!(plugin_of("/x/kubectl-audit_log".as_ref()).as_deref(), Some("audit_log"));
        assert_eq!(plugin_of("kubectl-audit.exe".as_ref()).as_deref(), Some("audit"));
        assert_eq!(plugin_of("./ka".as_ref()), None);
    }
}
