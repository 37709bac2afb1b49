//! The house rules that a machine can check: walks the tree and names every violation.
//!
//! Each rule is a pure function of a path and its text, with a test that sees it fail.

mod circles;
mod crates;
mod documents;
mod parts;
mod readme;
mod source;

use std::fs;
use std::path::{Path, PathBuf};

/// Directories that are not part of the source.
const SKIPPED: [&str; 4] = ["target", ".git", "filmroom-data", "filmroom-data-demo"];
/// Kinds of files that are read.
const KINDS: [&str; 8] = ["rs", "toml", "md", "sql", "sh", "py", "yml", "yaml"];
/// Files without an extension that are read.
const NAMES: [&str; 5] = [".ci/run", "scripts/map", "scripts/test", "scripts/try-bare", "scripts/wrap-comments"];

/// One file of the repository: its path from the root, with slashes, and its text.
#[derive(Debug, Clone)]
struct SourceFile {
    path: String,
    text: String,
}

#[test]
fn the_tree_follows_the_house_rules() {
    let files = read_tree(&root());
    assert!(files.len() > 30, "found only {} files", files.len());
    let mut violations: Vec<String> = files.iter().flat_map(|file| source::check(&file.path, &file.text)).collect();
    violations.extend(source::check_layout(&files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>()));
    violations.extend(crates::check(&files));
    violations.extend(circles::check(&files));
    violations.extend(documents::check(&files, &|path| root().join(path).exists()));
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

/// Prints how many comments are longer than they should be: one day this is a rule above.
#[test]
fn long_comments() {
    let long =
        read_tree(&root()).iter().map(|file| documents::long_comments(&file.path, &file.text).len()).sum::<usize>();
    println!("{long} comments beyond 100 columns");
}

/// Prints the map: files, lines and circles of each crate, and what the parts of the archive take. `FILMROOM_TREE` names another tree than this one.
#[test]
fn map() {
    let root = std::env::var_os("FILMROOM_TREE").map_or_else(root, PathBuf::from);
    let tree = read_tree(&root);
    let sizes = circles::sizes(&tree);
    assert!(sizes.len() > 5, "found only {} crates in {}", sizes.len(), root.display());
    println!("{:<12} {:>6} {:>7} {:>17}", "crate", "files", "lines", "files in circles");
    for (name, size) in &sizes {
        println!("{name:<12} {:>6} {:>7} {:>17}", size.files, size.lines, size.files_in_circles);
    }
    let sum = |of: fn(&circles::CrateSize) -> usize| sizes.values().map(of).sum::<usize>();
    let (files, lines) = (sum(|size| size.files), sum(|size| size.lines));
    println!("{:<12} {files:>6} {lines:>7} {:>17}", "all", sum(|size| size.files_in_circles));
    for (name, size) in &sizes {
        for circle in &size.circles {
            println!("\n{name}: {circle}");
        }
    }
    println!("\nWhat the parts of the archive take:");
    for part in parts::parts(&tree) {
        println!("{part}");
    }
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

/// Reads every text file of a repository.
fn read_tree(root: &Path) -> Vec<SourceFile> {
    let (mut open, mut files) = (vec![root.to_owned()], Vec::new());
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let relative = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
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
