//! The house rules that a machine can check: walks the tree and names every violation.
//!
//! Each rule is a pure function of a path and its text, with a test that sees it fail.

mod crates;
mod readme;
mod source;

use std::fs;
use std::path::{Path, PathBuf};

/// Directories that are not part of the source.
const SKIPPED: [&str; 4] = ["target", ".git", "filmroom-data", "filmroom-data-demo"];
/// Kinds of files that are read.
const KINDS: [&str; 8] = ["rs", "toml", "md", "sql", "sh", "py", "yml", "yaml"];
/// Files without an extension that are read.
const NAMES: [&str; 2] = [".ci/run", "scripts/test"];

/// One file of the repository: its path from the root, with slashes, and its text.
#[derive(Debug, Clone)]
struct SourceFile {
    path: String,
    text: String,
}

#[test]
fn the_tree_follows_the_house_rules() {
    let files = tree();
    assert!(files.len() > 30, "found only {} files", files.len());
    let mut violations: Vec<String> = files.iter().flat_map(|file| source::check(&file.path, &file.text)).collect();
    violations.extend(source::check_layout(&files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>()));
    violations.extend(crates::check(&files));
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

#[test]
fn readme_names_commands_and_files_that_exist() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let mut violations = Vec::new();
    for command in readme::filmroom_commands(&readme) {
        let arguments: Vec<&str> = command.split_whitespace().collect();
        let help =
            std::process::Command::new(env!("CARGO_BIN_EXE_filmroom")).args(&arguments).arg("--help").output().unwrap();
        if !help.status.success() {
            violations.push(format!("filmroom {command}: {}", String::from_utf8_lossy(&help.stderr)));
        }
    }
    for path in readme::local_paths(&readme) {
        if !root().join(&path).exists() {
            violations.push(format!("{path}: there is no such file"));
        }
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Reads every text file of the repository.
fn tree() -> Vec<SourceFile> {
    let root = root();
    let (mut open, mut files) = (vec![root.clone()], Vec::new());
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let relative = path.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
            if path.is_dir() && !SKIPPED.contains(&name.as_str()) {
                open.push(path);
            } else if path.is_file() && is_text(&relative) {
                files.push(SourceFile { path: relative, text: fs::read_to_string(&path).unwrap() });
            }
        }
    }
    files
}

fn is_text(path: &str) -> bool {
    NAMES.contains(&path) || Path::new(path).extension().is_some_and(|kind| KINDS.iter().any(|known| kind == *known))
}
