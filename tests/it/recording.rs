//! The moving picture of the README, `docs/recording.svg`: a terminal in which real commands print what
//! the program prints today. Drawn anew by `TRYCMD=overwrite cargo test --test it recording`.

use std::{env, fs, process::Command};

/// What is typed, one after the other; each on an empty screen.
const COMMANDS: &[&str] = &[
    "stats -k user.username,verb,responseStatus.code --code 4xx --limit 6 examples/audit.log",
    "events --subject mallory --code 403 -r pods/exec examples/audit.log",
    "execs --type exec --subject bob examples/audit.log",
    "policy simulate examples/policy.yaml examples/audit.log",
    "rbac evaluate --rbac examples/rbac.json examples/audit.log --verb list",
];

const FILE: &str = "docs/recording.svg";
const PROMPT: &str = "$ kubectl audit ";
const COLUMNS: usize = 108;
const ROWS: usize = 11;
/// A character's width and a line's height, and the room around them.
const CELL: (usize, usize) = (8, 20);
const ROOM: usize = 16;
/// Seconds: before typing, for a character, before the output, and to read it.
const WAIT: f64 = 0.6;
const KEY: f64 = 0.04;
const ANSWER: f64 = 0.3;
const READ: f64 = 4.5;

/// One command with its output, and when it is on the screen.
#[derive(Debug)]
struct Scene {
    command: &'static str,
    output: Vec<String>,
    start: f64,
}

impl Scene {
    fn typing(&self) -> f64 {
        self.start + WAIT
    }
    fn typed(&self) -> f64 {
        self.typing() + KEY * self.command.len() as f64
    }
    fn answered(&self) -> f64 {
        self.typed() + ANSWER
    }
    fn end(&self) -> f64 {
        self.answered() + READ
    }
}

/// What a person would see: data first, then what was read.
fn run(command: &str) -> Vec<String> {
    let ran = Command::new(env!("CARGO_BIN_EXE_kubectl-audit"))
        .args(shlex::split(command).unwrap())
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    let text = [ran.stdout, ran.stderr].map(|it| String::from_utf8(it).unwrap()).concat();
    text.lines().map(str::to_owned).collect()
}

fn scenes() -> Vec<Scene> {
    let mut start = 0.0;
    let mut scene = |command: &&'static str| {
        let scene = Scene { command, output: run(command), start };
        start = scene.end();
        scene
    };
    COMMANDS.iter().map(&mut scene).collect()
}

/// A row of text, its characters as wide as cells whatever font is there.
fn text(row: usize, column: usize, text: &str) -> String {
    let (x, y) = (ROOM + column * CELL.0, ROOM + (row + 1) * CELL.1 - 5);
    let wide = text.chars().count() * CELL.0;
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!("<text x=\"{x}\" y=\"{y}\" textLength=\"{wide}\">{text}</text>\n")
}

/// Keyframes by which something is seen from one time to another.
fn seen(name: &str, from: f64, to: f64, whole: f64) -> String {
    let (from, to) = (from * 100.0 / whole, to * 100.0 / whole);
    let before = if from > 0.0 { "0%{visibility:hidden}" } else { "" };
    format!(
        ".{name}{{animation-name:{name}}}@keyframes {name}\
         {{{before}{from:.2}%{{visibility:visible}}{to:.2}%,100%{{visibility:hidden}}}}\n"
    )
}

fn draw(scenes: &[Scene]) -> String {
    let (width, height) = (2 * ROOM + COLUMNS * CELL.0, 2 * ROOM + ROWS * CELL.1);
    let whole = scenes.last().unwrap().end();
    let mut style = format!(
        "text{{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;\
         fill:#d6dbe4;white-space:pre}}.p{{fill:#8fd18f}}\n\
         g{{visibility:hidden;animation:{whole:.2}s step-end infinite}}\
         .s0,.o0{{visibility:visible}}\n"
    );
    let mut body = String::new();
    for (i, scene) in scenes.iter().enumerate() {
        let wide = scene.command.chars().count() * CELL.0;
        let (typing, typed) = (scene.typing() * 100.0 / whole, scene.typed() * 100.0 / whole);
        style += &seen(&format!("s{i}"), scene.start, scene.end(), whole);
        style += &seen(&format!("o{i}"), scene.answered(), scene.end(), whole);
        // A curtain of the background's colour with the cursor at its edge moves off the command.
        style += &format!(
            ".c{i}{{transform:translateX({wide}px);animation:c{i} {whole:.2}s infinite}}@keyframes c{i}\
             {{0%,{typing:.2}%{{transform:translateX(0);animation-timing-function:steps({})}}\
             {typed:.2}%,100%{{transform:translateX({wide}px)}}}}\n",
            scene.command.chars().count()
        );
        let (x, y) = (ROOM + PROMPT.len() * CELL.0, ROOM + 2);
        let prompt = text(0, 0, PROMPT.trim_end()).replace("<text", "<text class=\"p\"");
        let command = text(0, PROMPT.len(), scene.command);
        let curtain = |width: usize, color: &str| {
            format!(
                "<rect class=\"c{i}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{}\" fill=\"{color}\"/>\n",
                CELL.1 - 2
            )
        };
        let curtains = curtain(width, "#1b1f27") + &curtain(CELL.0, "#d6dbe4");
        body += &format!("<g class=\"s{i}\">{prompt}{command}{curtains}</g>\n");
        let rows = scene.output.iter().enumerate().map(|(at, line)| text(at + 1, 0, line));
        body += &format!("<g class=\"o{i}\">\n{}</g>\n", rows.collect::<String>());
    }
    style += "@media (prefers-reduced-motion:reduce){*{animation:none!important}}\n";
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\">\n\
         <title>kubectl audit in a terminal: {} commands and what they print</title>\n\
         <style>\n{style}</style>\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"#1b1f27\"/>\n{body}</svg>\n",
        scenes.len()
    )
}

#[test]
fn recording() {
    let scenes = scenes();
    for scene in &scenes {
        assert!(scene.output.len() < ROWS, "too high: {}", scene.command);
        let wide = scene.output.iter().map(|it| it.chars().count()).max().unwrap();
        assert!(wide.max(PROMPT.len() + scene.command.len()) <= COLUMNS, "{wide}: {scene:?}");
    }
    let drawn = draw(&scenes);
    assert!(drawn.len() < 60 << 10, "{} bytes", drawn.len());
    if env::var_os("TRYCMD").is_some_and(|it| it == "overwrite") {
        fs::write(FILE, &drawn).unwrap();
    }
    let there = fs::read_to_string(FILE).unwrap();
    assert!(there == drawn, "{FILE} is old: TRYCMD=overwrite cargo test --test it recording");
}
