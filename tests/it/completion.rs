//! Completion in real shells: what a person gets who presses the key.

use std::{
    env, fs,
    io::Write,
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_kubectl-audit");

/// A shell that finds the program, and nothing of the person's own.
fn shell(program: &str) -> Command {
    let folder = Path::new(PROGRAM).parent().unwrap();
    let path = format!("{}:{}", folder.display(), env::var("PATH").unwrap());
    let mut command = Command::new(program);
    command.env("PATH", path).env("KUBECONFIG", "/nowhere").env("TERM", "dumb");
    command
}

/// What a shell prints that gets `input` as if it were typed; `None` if it is not installed.
fn typed(command: &mut Command, input: &str) -> Option<String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    Some(String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap())
}

/// The words that are left on the line when keys were pressed there; `\t` is the key.
const LINES: &[(&str, &str)] = &[
    ("vers\t", "<version>"),
    ("stats -o jsonl\t", "<stats><-o><jsonl>"),
    ("stats --output=ya\t", "<stats><--output=yaml>"),
    ("stats examples/aud\t", "<stats><examples/audit.log>"),
    ("stats --kubeconfig examples/aud\t", "<stats><--kubeconfig><examples/audit.log>"),
    ("fetch -o tests/dat\tX", "<fetch><-o><tests/data/X>"),
    ("stats -k verb,user.usern\t", "<stats><-k><verb,user.username>"),
    ("events -F verb=deletec\t", "<events><-F><verb=deletecollection>"),
    ("events -F responseStatus.cod\t403", "<events><-F><responseStatus.code=403>"),
    ("events -r pods/portf\t", "<events><-r><pods/portforward>"),
];

#[test]
fn bash() {
    let mut input = "source <(kubectl-audit completion bash)\n\
        show() { printf '<%s>' \"$@\"; echo; }; complete -F _kubectl_audit show\n"
        .to_owned();
    LINES.iter().for_each(|(line, _)| input += &format!("show {line}\n"));
    let out = typed(shell("bash").args(["--norc", "--noprofile", "-i"]), &input);
    let shown: Vec<String> = out.into_iter().flat_map(words).collect();
    let expected: Vec<&str> = LINES.iter().map(|it| it.1).collect();
    assert!(shown.is_empty() || shown == expected, "{shown:#?}");
    assert!(!shown.is_empty() || cfg!(not(target_os = "linux")), "bash is everywhere");
}

#[test]
fn zsh() {
    let folder = tempfile::tempdir().unwrap();
    let mut input = format!(
        "zmodload zsh/zpty; zpty z zsh -f -i\n\
         zpty -w z 'autoload -Uz compinit; compinit -u -d {}/dump; \
         source <(kubectl-audit completion zsh); PS1=; show() {{ printf \"<%s>\" \"$@\"; echo; }}; \
         compdef _kubectl_audit show'\n",
        folder.path().display()
    );
    LINES.iter().for_each(|(line, _)| {
        input += &format!("zpty -w z $'show {}'\n", line.replace('\t', "\\t"));
    });
    input += "zpty -w z 'echo \"<end>\"'\nwhile zpty -r z line; do print -r -- $line; \
              [[ $line == '<end>'* ]] && break; done\n";
    let script = folder.path().join("script");
    fs::write(&script, input).unwrap();
    let out = typed(shell("zsh").arg("-f").arg(script), "");
    let shown: Vec<String> = out.into_iter().flat_map(words).filter(|it| it != "<end>").collect();
    let expected: Vec<&str> = LINES.iter().map(|it| it.1).collect();
    assert!(shown.is_empty() || shown == expected, "{shown:#?}");
}

#[test]
fn fish() {
    let check = |line: &str, expected: &str| {
        let script =
            format!("kubectl-audit completion fish | source; complete -C 'kubectl-audit {line}'");
        if let Some(out) = typed(shell("fish").args(["--no-config", "-c", &script]), "") {
            let values: Vec<_> =
                out.lines().map(|it| it.split('\t').next().unwrap_or_default()).collect();
            assert_eq!(values.join(" "), expected, "{line}");
        }
    };
    check("po", "policy");
    check("stats -o j", "json jsonl");
    check("stats --output=j", "--output=json --output=jsonl");
    check("stats examples/aud", "examples/audit.log");
    check("fetch -o exa", "examples/");
}

/// The lines that `show` printed.
fn words(out: String) -> Vec<String> {
    out.lines().map(str::trim).filter(|it| it.starts_with('<')).map(str::to_owned).collect()
}

#[test]
fn kubectl_asks_a_file_that_install_writes() {
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new(PROGRAM).args(["completion", "install"]).arg(folder.path()).output();
    assert!(made.unwrap().status.success());
    let file = folder.path().join("kubectl_complete-audit");
    let out = shell(file.to_str().unwrap()).args(["stats", "-o", "jsonl"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout), "jsonl\tOne object a line\n:4\n");
    assert!(out.status.success() && out.stderr.is_empty());
}

#[test]
fn names_come_from_the_kubeconfig() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    let text = "contexts: [{name: prod}, {name: preview}, {name: test}]\n\
                clusters: [{name: p1}]\nusers: [{name: ann}]\n";
    fs::write(&config, text).unwrap();
    let ask = |words: &[&str]| {
        let mut command = Command::new(PROGRAM);
        let out = command.arg("__complete").args(words).env("KUBECONFIG", &config).output();
        String::from_utf8(out.unwrap().stdout).unwrap()
    };
    assert_eq!(ask(&["stats", "--context", "pr"]), "prod\npreview\n:4\n");
    assert_eq!(ask(&["doctor", "--cluster="]), "--cluster=p1\n:4\n");
    assert_eq!(ask(&["doctor", "--user", ""]), "ann\n:4\n");
    fs::write(&config, "contexts: [}").unwrap();
    assert_eq!(ask(&["stats", "--context", ""]), ":4\n");
}

#[test]
fn a_cluster_that_does_not_answer_is_not_waited_for() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("--server=http://{}", silent.local_addr().unwrap());
    let start = Instant::now();
    let mut command = Command::new(PROGRAM);
    let out = command.args(["__complete", "stats", &server, "--node", ""]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout), ":4\n");
    assert!(out.stderr.is_empty());
    // 300 ms in a release build on an idle machine.
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}
