//! Finds files below a path.

use std::fs;
use std::path::{Path, PathBuf};

/// Deepest nesting of directories below the path; media and exports have three or four.
const DEPTH_MAX: usize = 64;

/// Passes every regular file to `found` until it returns false, and returns what could not be read, one line each.
/// Links below the path are not followed, so that the walk ends; the path itself may be a link.
pub(super) fn walk(root: &Path, found: &dyn Fn(PathBuf) -> bool) -> Vec<String> {
    let mut problems = Vec::new();
    if root.is_file() {
        found(root.to_owned());
        return problems;
    }
    let mut open = Vec::new();
    enter(root, &mut open, &mut problems);
    while let Some(directory) = open.last_mut() {
        let Some(entry) = directory.1.next() else {
            open.pop();
            continue;
        };
        let kind = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)));
        match kind {
            Ok((path, kind)) if kind.is_dir() => enter(&path, &mut open, &mut problems),
            Ok((path, kind)) if kind.is_file() => {
                if !found(path) {
                    break;
                }
            }
            Ok(_) => {} // links, sockets, devices
            Err(error) => problems.push(format!("{}: {error}", directory.0.display())),
        }
    }
    problems
}

fn enter(path: &Path, open: &mut Vec<(PathBuf, fs::ReadDir)>, problems: &mut Vec<String>) {
    if open.len() >= DEPTH_MAX {
        problems.push(format!("{}: directories are nested deeper than {DEPTH_MAX}", path.display()));
        return;
    }
    match fs::read_dir(path) {
        Ok(entries) => open.push((path.to_owned(), entries)),
        Err(error) => problems.push(format!("{}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn walked(root: &Path) -> (Vec<String>, Vec<String>) {
        let found = RefCell::new(Vec::new());
        let problems = walk(root, &|path| {
            found.borrow_mut().push(path.strip_prefix(root).unwrap().display().to_string());
            true
        });
        let mut found = found.into_inner();
        found.sort();
        (found, problems)
    }

    #[test]
    fn files_are_found_once_and_links_are_not_followed() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/b")).unwrap();
        for file in ["1", "a/2", "a/b/3"] {
            fs::write(root.path().join(file), "x").unwrap();
        }
        std::os::unix::fs::symlink(root.path(), root.path().join("a/loop")).unwrap();
        assert_eq!(walked(root.path()), (vec!["1".into(), "a/2".into(), "a/b/3".into()], vec![]));
    }

    #[test]
    fn one_file_is_a_walk_of_one_and_depth_is_bounded() {
        let root = tempfile::tempdir().unwrap();
        let deep = (0..70).fold(root.path().to_owned(), |path, _| path.join("d"));
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("x"), "x").unwrap();
        let (found, problems) = walked(root.path());
        assert!(found.is_empty() && problems.len() == 1, "{found:?} {problems:?}");
        assert_eq!(walked(&deep.join("x")).0, [""]);
    }
}
