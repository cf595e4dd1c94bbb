//! The repository's own rules, as tests: sizes, headers, who may name whom.
//!
//! Each failure lists every offender, so that one run is enough to mend them all.

use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 800;
/// The aim is 70.
const FUNCTION_LINES_MAX: usize = 80;
/// The aim is 100, which rustfmt keeps where it can: not in comments and texts.
const LINE_CHARS_MAX: usize = 120;

/// Directories that hold no source of ours.
const SKIPPED: [&str; 9] = [
    "target",
    "node_modules",
    "dist",
    "dist-demo",
    "generated",
    "corpus",
    "artifacts",
    "data",
    ".git",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("repository root")
}

struct File {
    /// Relative to the root, with forward slashes.
    path: String,
    text: String,
}

impl File {
    fn under(&self, folder: &str) -> bool {
        self.path.starts_with(folder)
    }

    /// Without the unit tests at its end.
    fn without_tests(mut self) -> Self {
        let end = self.text.find("#[cfg(test)]").unwrap_or(self.text.len());
        self.text.truncate(end);
        self
    }

    /// Tests and examples hold data, too: long texts and long tables.
    fn is_test(&self) -> bool {
        let folder = ["/tests/", "/examples/", "/benches/"].iter().any(|f| self.path.contains(f));
        folder || self.path.ends_with("/tests.rs")
    }
}

/// All files below the root with one of these extensions.
fn files(extensions: &[&str]) -> Vec<File> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("readable folder") {
            let path = entry.expect("readable entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && !path.is_symlink() && !SKIPPED.contains(&name.as_str()) {
                walk(&path, found);
            } else if path.is_file() {
                found.push(path);
            }
        }
    }
    let root = root();
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    paths.sort();
    let wanted = |path: &&PathBuf| {
        path.extension().is_some_and(|e| extensions.iter().any(|wanted| e == *wanted))
    };
    let read = |path: &PathBuf| File {
        path: path
            .strip_prefix(&root)
            .expect("below the root")
            .to_string_lossy()
            .replace('\\', "/"),
        text: fs::read_to_string(path).unwrap_or_default(),
    };
    let files: Vec<File> = paths.iter().filter(wanted).map(read).collect();
    assert!(!files.is_empty(), "no files with {extensions:?} below {}", root.display());
    files
}

fn rust() -> Vec<File> {
    files(&["rs"])
}

#[track_caller]
fn nothing(offenders: &[String], rule: &str) {
    assert!(offenders.is_empty(), "{rule}:\n  {}", offenders.join("\n  "));
}

/// `path:line` of every line that `wrong` says is wrong.
fn lines(files: &[File], wrong: impl Fn(&str) -> bool) -> Vec<String> {
    let of = |file: &File| -> Vec<String> {
        let numbered = file.text.lines().enumerate();
        numbered
            .filter(|(_, line)| wrong(line))
            .map(|(index, line)| format!("{}:{}: {}", file.path, index + 1, line.trim()))
            .collect()
    };
    files.iter().flat_map(of).collect()
}

#[test]
fn files_are_short() {
    let offenders: Vec<_> = files(&["rs", "ts", "tsx", "mjs", "css"])
        .iter()
        .map(|file| (file.text.lines().count(), &file.path))
        .filter(|(count, _)| *count > FILE_LINES_MAX)
        .map(|(count, path)| format!("{path}: {count} lines"))
        .collect();
    nothing(&offenders, "a file has at most 800 lines");
}

#[test]
fn lines_are_short() {
    let files: Vec<File> = rust().into_iter().filter(|file| !file.is_test()).collect();
    let offenders = lines(&files, |line| line.chars().count() > LINE_CHARS_MAX);
    nothing(&offenders, "a line of Rust has at most 120 characters");
}

/// Relies on rustfmt: a function ends at the first closing brace of its own indentation.
#[test]
fn functions_are_short() {
    let mut offenders = Vec::new();
    for file in rust().iter().filter(|file| !file.is_test()) {
        let lines: Vec<&str> = file.text.lines().collect();
        for (start, line) in lines.iter().enumerate() {
            let code = line.trim_start();
            let indent = &line[..line.len() - code.len()];
            let is_function = code
                .split('(')
                .next()
                .is_some_and(|head| head.split_whitespace().any(|word| word == "fn"))
                && !code.starts_with("//");
            if !is_function || line.trim_end().ends_with(['}', ';']) {
                continue;
            }
            let end = format!("{indent}}}");
            let length = lines[start..].iter().position(|l| *l == end).unwrap_or_default();
            if length > FUNCTION_LINES_MAX {
                offenders.push(format!("{}:{}: {length} lines: {code}", file.path, start + 1));
            }
        }
    }
    nothing(&offenders, "a function has at most 80 lines");
}

#[test]
fn nothing_is_left_for_later() {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];
    let files = files(&["rs", "ts", "tsx", "mjs", "css", "html", "toml", "md", "sh"]);
    let offenders = lines(&files, |line| marks.iter().any(|mark| line.contains(mark)));
    nothing(&offenders, "what is to be done is an issue, not a mark in the code");
}

#[test]
fn no_paths_of_one_machine() {
    let homes = [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/wo", "rk/")];
    let files = files(&["rs", "ts", "mjs", "json", "toml", "md", "sh", "yml", "yaml"]);
    let offenders = lines(&files, |line| homes.iter().any(|home| line.contains(home)));
    nothing(&offenders, "no paths of one machine");
}

#[test]
fn every_module_has_a_header() {
    let offenders: Vec<_> = rust()
        .into_iter()
        .filter(|file| file.under("crates/") && !file.is_test())
        .filter(|file| !file.text.trim_start().starts_with("//!"))
        .map(|file| file.path)
        .collect();
    nothing(&offenders, "a module begins with //!: what it owns and what it must never do");
}

/// Where the one system call is that has no safe wrapper, and the crate that it is of.
const UNSAFE: (&str, &str) = ("crates/convoke-node/src/mmsg.rs", "crates/convoke-node/src/lib.rs");

#[test]
fn no_crate_has_unsafe_code_but_for_one_module() {
    let (module, its_crate) = UNSAFE;
    let is_crate_root = |file: &&File| {
        file.path.matches('/').count() == 3
            && (file.path.ends_with("/src/lib.rs") || file.path.ends_with("/src/main.rs"))
    };
    let level = |file: &File| if file.path == its_crate { "deny" } else { "forbid" };
    let offenders: Vec<_> = rust()
        .iter()
        .filter(|file| file.under("crates/"))
        .filter(is_crate_root)
        .filter(|file| !file.text.contains(&format!("#![{}(unsafe_code)]", level(file))))
        .map(|file| file.path.clone())
        .collect();
    nothing(&offenders, "a crate begins with #![forbid(unsafe_code)]");
    let others: Vec<_> = rust().into_iter().filter(|file| file.path != module).collect();
    let is_unsafe = |line: &str| {
        let expects = line.contains("unsafe_code") && !line.contains("#![");
        line.contains(concat!("unsafe", " {")) || line.contains(concat!("unsafe", " fn")) || expects
    };
    let others: Vec<File> =
        others.into_iter().filter(|file| !file.path.ends_with("tests/tidy.rs")).collect();
    nothing(&code_lines(&others, is_unsafe), "unsafe code is in mmsg.rs alone");
}

/// Code lines only: comments and strings of documentation may talk about anything.
fn code_lines(files: &[File], wrong: impl Fn(&str) -> bool) -> Vec<String> {
    lines(files, |line| !line.trim_start().starts_with("//") && wrong(line))
}

#[test]
fn the_core_has_no_clock_no_socket_no_runtime() {
    let core: Vec<File> = rust()
        .into_iter()
        .filter(|file| file.under("crates/convoke-core/src/") && !file.is_test())
        .map(File::without_tests)
        .collect();
    let banned = [
        "Instant::now",
        "SystemTime::now",
        "tokio",
        "thread::spawn",
        "thread::sleep",
        "UdpSocket",
        "TcpStream",
        "Mutex",
        "RwLock",
        "serde",
        "axum",
        "async fn",
    ];
    let offenders = code_lines(&core, |line| banned.iter().any(|word| line.contains(word)));
    nothing(&offenders, "convoke-core reads no clock, opens no socket, spawns and locks nothing");
}

#[test]
fn only_the_transport_names_str0m() {
    let core: Vec<File> = rust()
        .into_iter()
        .filter(|file| file.under("crates/convoke-core/src/"))
        .filter(|file| !file.path.contains("/src/transport"))
        .collect();
    let offenders = code_lines(&core, |line| line.contains("str0m"));
    nothing(&offenders, "in convoke-core only `transport` names str0m");
}

#[test]
fn only_the_control_plane_knows_http() {
    let others: Vec<File> = rust()
        .into_iter()
        .filter(|file| {
            ["convoke-core", "convoke-node", "convoke-protocol", "convoke-sim"]
                .iter()
                .any(|name| file.under(&format!("crates/{name}/src/")))
        })
        .collect();
    let offenders = code_lines(&others, |line| line.contains("axum") || line.contains("hyper"));
    nothing(&offenders, "only convoke-control and the facade know HTTP");
}

/// What each crate may use of the others; arrows point down only.
const ARROWS: [(&str, &[&str]); 9] = [
    ("convoke-core", &[]),
    ("convoke-protocol", &[]),
    ("convoke-node", &["convoke-core"]),
    ("convoke-store", &[]),
    ("convoke-control", &["convoke-node", "convoke-protocol", "convoke-store"]),
    ("convoke-client", &["convoke-protocol"]),
    ("convoke-fuzz", &["convoke-core", "convoke-client", "convoke-node", "convoke-protocol"]),
    ("convoke-sim", &["convoke-core", "convoke-client", "convoke-protocol"]),
    ("convoke", &["convoke-control", "convoke-node", "convoke-protocol"]),
];

#[test]
fn arrows_point_down_only() {
    let mut offenders = Vec::new();
    for (name, allowed) in ARROWS {
        let manifest = manifest(name);
        let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table);
        let ours = dependencies.into_iter().flatten().map(|(key, _)| key.as_str());
        for used in ours.filter(|key| key.starts_with("convoke")) {
            if !allowed.contains(&used) {
                offenders.push(format!("{name} uses {used}"));
            }
        }
    }
    nothing(&offenders, "crates depend downward only");
}

#[test]
fn every_crate_takes_the_workspace_s_lints() {
    let offenders: Vec<_> = ARROWS
        .iter()
        .filter(|(name, _)| {
            let manifest = manifest(name);
            let lints = manifest.get("lints").and_then(|lints| lints.get("workspace"));
            lints.and_then(toml::Value::as_bool) != Some(true)
        })
        .map(|(name, _)| (*name).to_owned())
        .collect();
    nothing(&offenders, "a crate has `[lints] workspace = true`");
    let crates = fs::read_dir(root().join("crates")).expect("crates").count();
    assert_eq!(crates, ARROWS.len(), "a new crate belongs into the table of arrows");
}

fn manifest(name: &str) -> toml::Table {
    let path = root().join("crates").join(name).join("Cargo.toml");
    fs::read_to_string(path).expect("manifest").parse().expect("valid manifest")
}

#[test]
fn lock_files_name_no_registry_host() {
    let locks: Vec<File> =
        files(&["json"]).into_iter().filter(|f| f.path.ends_with("package-lock.json")).collect();
    assert!(!locks.is_empty());
    nothing(
        &lines(&locks, |line| line.contains("\"resolved\"")),
        "no registry hosts in lock files",
    );
}

#[test]
fn tests_are_neither_ignored_nor_alone() {
    let marks = [concat!("#[ig", "nore"), concat!(".on", "ly("), concat!(".sk", "ip(\"")];
    let mut tests = files(&["rs", "ts", "mjs"]);
    tests.retain(|file| !file.under("crates/") || file.text.contains("#[test]"));
    let offenders = code_lines(&tests, |line| {
        let rust = line.contains(marks[0]);
        let script = ["test", "it", "describe"]
            .iter()
            .any(|word| marks[1..].iter().any(|mark| line.contains(&format!("{word}{mark}"))));
        rust || script
    });
    nothing(&offenders, "no test is switched off");
}

#[test]
fn the_readme_shows_the_example_as_it_is() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    let example = root().join("crates/convoke/examples/embed.rs");
    let example = fs::read_to_string(example).expect("embed.rs");
    let shown = readme.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next());
    let shown: Vec<_> = shown.expect("Rust code").lines().map(str::trim).collect();
    let code: Vec<_> = example.lines().map(str::trim).collect();
    let found = code.windows(shown.len()).any(|window| window == shown);
    assert!(found, "README.md does not show what is in examples/embed.rs");
}

#[test]
fn continuous_integration_is_make_test() {
    let run = fs::read_to_string(root().join(".ci/run")).expect(".ci/run");
    assert!(run.contains("set -euo pipefail") && run.contains("make test"));
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    for command in ["make run", "make test"] {
        assert!(readme.contains(command), "README.md says `{command}`");
    }
}
