//! The manifest and the archives of a release, by krew's rules.
//!
//! krew and its validator ignore fields they do not know, so a typing error would go unnoticed there.

use std::{
    collections::BTreeSet,
    env, fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use flate2::read::GzDecoder;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Manifest {
    api_version: String,
    kind: String,
    metadata: Metadata,
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Spec {
    version: String,
    short_description: String,
    description: String,
    caveats: String,
    homepage: String,
    platforms: Vec<Platform>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Platform {
    selector: Selector,
    uri: String,
    sha256: String,
    bin: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Selector {
    match_labels: Labels,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Labels {
    os: String,
    arch: String,
}

/// The pairs that the checks of krew's index know.
const PAIRS: [(&str, &str); 11] = [
    ("linux", "386"),
    ("linux", "amd64"),
    ("linux", "arm"),
    ("linux", "arm64"),
    ("linux", "ppc64le"),
    ("darwin", "386"),
    ("darwin", "amd64"),
    ("darwin", "arm64"),
    ("windows", "386"),
    ("windows", "amd64"),
    ("windows", "arm64"),
];

const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));

#[track_caller]
fn check(text: &str, name: &str) -> Manifest {
    let manifest: Manifest = serde_saphyr::from_str(text).expect("every field is krew's");
    assert_eq!(manifest.api_version, "krew.googlecontainertools.github.com/v1alpha2");
    assert_eq!(manifest.kind, "Plugin");
    assert_eq!(manifest.metadata.name, name);
    assert!(name.chars().all(|it| it.is_ascii_lowercase() || it == '-'));
    let spec = &manifest.spec;
    let numbers: Vec<_> = spec.version.strip_prefix('v').expect("v").split('.').collect();
    assert!(numbers.len() == 3 && numbers.iter().all(|it| it.parse::<u32>().is_ok()));
    let short = &spec.short_description;
    assert!(!short.is_empty() && short.len() <= 50 && !short.ends_with('.'), "{short}");
    let lower = short.to_lowercase();
    assert!(!lower.contains("kubectl") && !lower.contains("kubernetes"), "{short}");
    for text in [&spec.description, &spec.caveats] {
        assert!(!text.is_empty() && text.lines().all(|it| it.len() <= 80), "{text}");
        assert!(!text.contains('@'), "{text}");
    }
    assert_eq!(spec.homepage, env!("CARGO_PKG_REPOSITORY"));
    assert!(!spec.platforms.is_empty());
    let mut seen = BTreeSet::new();
    for it in &spec.platforms {
        let Labels { os, arch } = &it.selector.match_labels;
        assert!(PAIRS.contains(&(os, arch)), "{os}/{arch}");
        assert!(seen.insert((os, arch)), "{os}/{arch} stands twice");
        let is_windows = os == "windows";
        let kind = if is_windows { "zip" } else { "tar.gz" };
        let archive = format!("kubectl-audit_{}_{os}-{arch}.{kind}", spec.version);
        let release = format!("{}/releases/download/{}", spec.homepage, spec.version);
        assert_eq!(it.uri, format!("{release}/{archive}"));
        let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        assert!(it.sha256.len() == 64 && it.sha256.chars().all(is_hex), "{}", it.sha256);
        assert_eq!(it.bin, if is_windows { "kubectl-audit.exe" } else { "kubectl-audit" });
    }
    manifest
}

/// Lets `krew/render` make a manifest, with the sums of this one or with made-up ones.
fn rendered(name: &str, sum_of: impl Fn(&str) -> Option<String>) -> String {
    let dist = tempfile::tempdir().unwrap();
    let targets = fs::read_to_string("krew/targets").unwrap();
    let mut sums = String::new();
    for line in targets.lines().filter(|it| !it.starts_with('#')) {
        let words: Vec<_> = line.split(' ').collect();
        let kind = if words[1] == "windows" { "zip" } else { "tar.gz" };
        let archive = format!("kubectl-audit_{VERSION}_{}-{}.{kind}", words[1], words[2]);
        sums += &sum_of(&archive).map(|it| format!("{it}  {archive}\n")).unwrap_or_default();
    }
    fs::write(dist.path().join("SHA256SUMS"), sums).unwrap();
    let out = Command::new("krew/render").arg(name).env("DIST", dist.path()).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn the_manifest_is_rendered_and_by_the_rules() {
    let Ok(text) = fs::read_to_string("plugin.yaml") else { return };
    let manifest = check(&text, kubectl_audit::cli::NAME);
    let sum = |archive: &str| {
        let found = manifest.spec.platforms.iter().find(|it| it.uri.ends_with(archive));
        found.map(|it| it.sha256.clone())
    };
    let again = rendered(kubectl_audit::cli::NAME, sum);
    if manifest.spec.version == VERSION {
        assert_eq!(text, again, "krew/render makes another manifest");
    }
}

#[test]
fn the_name_for_the_public_index_is_prepared() {
    let text = rendered("audit-log", |_| Some("0123456789abcdef".repeat(4)));
    let manifest = check(&text, "audit-log");
    assert_eq!(manifest.spec.platforms.len(), 5);
    assert!(text.contains("kubectl audit-log doctor") && !text.contains("kubectl audit "));
}

#[test]
fn a_field_that_krew_does_not_know_is_refused() {
    let text = rendered("audit", |_| Some("0".repeat(64)));
    for (from, to) in [("caveats:", "caveat:"), ("bin:", "binary:"), ("sha256:", "sha512:")] {
        let wrong = text.replace(from, to);
        assert!(serde_saphyr::from_str::<Manifest>(&wrong).is_err(), "{to}");
    }
}

#[test]
fn versions_agree() {
    // Before the first release there is none.
    let Ok(text) = fs::read_to_string("plugin.yaml") else { return };
    let released = check(&text, kubectl_audit::cli::NAME).spec.version;
    let changes = fs::read_to_string("CHANGELOG.md").unwrap();
    let heads: Vec<_> = changes.lines().filter_map(|it| it.strip_prefix("## ")).collect();
    let number = |it: &str| it.split(' ').next().unwrap_or_default().to_owned();
    let newest = heads.iter().map(|it| number(it)).find(|it| it != "Unreleased");
    assert_eq!(newest.map(|it| format!("v{it}")), Some(released.clone()), "CHANGELOG.md");
    assert_eq!(released, VERSION, "Cargo.toml");
    // On the commit of a release, the tag too.
    if let Ok(tag) = env::var("RELEASE_TAG") {
        assert_eq!(tag, VERSION);
    }
}

/// The names in an archive, all of them plain files or folders.
fn names_in(archive: &Path) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let file = fs::File::open(archive).unwrap();
    for entry in tar::Archive::new(GzDecoder::new(file)).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        assert!(!name.starts_with('/') && !name.contains(".."), "{name}");
        let kind = entry.header().entry_type();
        assert!(kind.is_file() || kind.is_dir(), "{name} is a {kind:?}");
        assert_eq!((entry.header().uid().unwrap(), entry.header().gid().unwrap()), (0, 0));
        if name == "kubectl-audit" {
            assert_eq!(entry.header().mode().unwrap(), 0o755);
        }
        if name == "LICENSE" {
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            assert!(text.contains("Apache License"));
        }
        names.insert(name);
    }
    names
}

#[track_caller]
fn check_names(names: &BTreeSet<String>) {
    for it in [
        "kubectl-audit",
        "LICENSE",
        "README.md",
        "completion/kubectl_complete-audit",
        "completion/kubectl-audit.bash",
        "man/man1/kubectl-audit.1",
        "man/man1/kubectl-audit-stats.1",
    ] {
        assert!(names.contains(it), "no {it} in {names:?}");
    }
}

#[test]
fn archives_hold_plain_files_and_are_the_same_each_time() {
    let target = Path::new(env!("CARGO_BIN_EXE_kubectl-audit")).parent().unwrap();
    // `cargo test` builds it, `cargo test --test it` alone does not.
    if !target.ends_with("debug") || !target.join("examples/man_pages").exists() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let pack = |dist: &str, program: &str, platform: &str| -> PathBuf {
        let dist = folder.path().join(dist);
        let program = folder.path().join(program);
        fs::write(&program, "no real program").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
        let mut command = Command::new("krew/pack");
        command.arg(program).args([platform, VERSION]).env("DIST", &dist);
        command.env("CARGO_TARGET_DIR", target.parent().unwrap());
        assert!(command.env("SOURCE_DATE_EPOCH", "1700000000").status().unwrap().success());
        let kind = if platform.starts_with("windows") { "zip" } else { "tar.gz" };
        dist.join(format!("kubectl-audit_{VERSION}_{platform}.{kind}"))
    };
    let first = pack("a", "kubectl-audit", "linux-amd64");
    check_names(&names_in(&first));
    let second = pack("b", "kubectl-audit", "linux-amd64");
    assert!(fs::read(first).unwrap() == fs::read(second).unwrap());
    let first = fs::read(pack("a", "kubectl-audit.exe", "windows-amd64")).unwrap();
    let second = fs::read(pack("b", "kubectl-audit.exe", "windows-amd64")).unwrap();
    assert!(first.starts_with(b"PK") && first == second);
}

/// Where somebody built a release, it is looked at too.
#[test]
fn archives_of_the_release() {
    let Ok(sums) = fs::read_to_string("dist/SHA256SUMS") else { return };
    for line in sums.lines() {
        let (sum, name) = line.split_once("  ").unwrap();
        let path = Path::new("dist").join(name);
        let bytes = fs::read(&path).unwrap();
        let found = ring::digest::digest(&ring::digest::SHA256, &bytes);
        let found: String = found.as_ref().iter().map(|it| format!("{it:02x}")).collect();
        assert_eq!(found, sum, "{name}");
        if name.ends_with(".tar.gz") {
            check_names(&names_in(&path));
        }
    }
}

/// What is linked in place of zig's, against the C library of this machine.
#[test]
fn comparisons_are_those_of_the_c_library() {
    let folder = tempfile::tempdir().unwrap();
    let (source, program) = (folder.path().join("try.c"), folder.path().join("try"));
    let text = r#"
        #include <string.h>
        int our_memcmp(const void *, const void *, size_t);
        int our_bcmp(const void *, const void *, size_t);
        static int sign(int it) { return (it > 0) - (it < 0); }
        int main(void) {
          static unsigned char a[64], b[64];
          for (int n = 0; n <= 40; n++)
            for (int at = 0; at <= n; at++)
              for (int from = 0; from < 8; from++)
                for (int other = 0; other < 256; other += 51) {
                  memset(a, 'm', sizeof a), memset(b, 'm', sizeof b);
                  b[from + at] = other, b[from + n - (n > 0)] ^= at == n;
                  if (sign(our_memcmp(a + from, b + from, n)) != sign(memcmp(a + from, b + from, n))) return 1;
                  if (!our_bcmp(a + from, b + from, n) != !memcmp(a + from, b + from, n)) return 2;
                }
          return 0;
        }"#;
    fs::write(&source, text).unwrap();
    let names = ["-Dmemcmp=our_memcmp", "-Dbcmp=our_bcmp"];
    let object = folder.path().join("compare.o");
    let flags = ["-O2", "-ffreestanding", "-c", "krew/compare.c", "-o"];
    let Ok(made) = Command::new("cc").args(names).args(flags).arg(&object).status() else { return };
    assert!(made.success());
    let made = Command::new("cc").arg(source).arg(object).arg("-o").arg(&program).status();
    assert!(made.unwrap().success());
    assert_eq!(Command::new(program).status().unwrap().code(), Some(0));
}
