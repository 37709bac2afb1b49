//! Circles of files inside a crate: file a names something of file b, and b, perhaps over other files, something of a.
//!
//! The sources are read as text: which file defines a name, which names another file takes by `use` or by path. A name that
//! a parent re-exports counts as taken from the file that defines it, so a parent of nothing but `mod` and `pub use` lines is
//! in no circle. Code that only tests compile does not count. Not seen: names that macros make, fields and methods of values
//! whose type is not named.

mod names;
mod tokens;
mod tree;

use std::collections::{BTreeMap, BTreeSet};

use super::SourceFile;
use tree::Tree;

/// Crates that still have circles.
const STILL_IN_CIRCLES: [&str; 3] = ["dicom-data", "dicom-net", "tiering"];

/// What files of one crate take from each other: file, file it takes from, names.
type Arrows<'a> = BTreeMap<&'a str, BTreeMap<&'a str, BTreeSet<String>>>;

/// Size of a crate, and how much of it lies in circles.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CrateSize {
    pub(super) files: usize,
    /// Lines of its sources, their unit tests included.
    pub(super) lines: usize,
    pub(super) files_in_circles: usize,
    /// Each circle in words.
    pub(super) circles: Vec<String>,
}

/// Names every circle of the crates that are free of them.
pub(super) fn check(files: &[SourceFile]) -> Vec<String> {
    let checked = sizes(files).into_iter().filter(|(name, _)| !STILL_IN_CIRCLES.contains(&name.as_str()));
    checked.flat_map(|(name, size)| size.circles.into_iter().map(move |circle| format!("{name}: {circle}"))).collect()
}

/// Returns the size and the circles of each crate.
pub(super) fn sizes(files: &[SourceFile]) -> BTreeMap<String, CrateSize> {
    let mut crates: BTreeMap<&str, Vec<&SourceFile>> = BTreeMap::new();
    for file in files.iter().filter(|file| super::source::has_kind(&file.path, "rs")) {
        if let Some((name, _)) = file.path.split_once("/src/").filter(|(name, _)| !name.contains('/')) {
            crates.entry(name).or_default().push(file);
        }
    }
    crates.into_iter().map(|(name, files)| (name.to_owned(), size(name, &files))).collect()
}

fn size(name: &str, files: &[&SourceFile]) -> CrateSize {
    let arrows = Tree::read(name, files).arrows();
    let circles = circles(&arrows);
    CrateSize {
        files: files.len(),
        lines: files.iter().map(|file| file.text.lines().count()).sum(),
        files_in_circles: circles.iter().map(BTreeSet::len).sum(),
        circles: circles.iter().map(|circle| describe(circle, &arrows)).collect(),
    }
}

/// Returns the sets of files that all reach each other.
fn circles<'a>(arrows: &Arrows<'a>) -> Vec<BTreeSet<&'a str>> {
    let reached: BTreeMap<&str, BTreeSet<&str>> = arrows.keys().map(|file| (*file, reach(file, arrows))).collect();
    let mut found: Vec<BTreeSet<&str>> = Vec::new();
    for (file, others) in reached.iter().filter(|(file, others)| others.contains(*file)) {
        if !found.iter().any(|circle| circle.contains(file)) {
            let back = |other: &&&str| reached.get(**other).is_some_and(|reached| reached.contains(file));
            found.push(others.iter().filter(back).copied().collect());
        }
    }
    found
}

/// Returns every file that `file` reaches over one arrow or more.
fn reach<'a>(file: &str, arrows: &Arrows<'a>) -> BTreeSet<&'a str> {
    let (mut open, mut reached) = (vec![file], BTreeSet::new());
    while let Some(file) = open.pop() {
        for next in arrows.get(file).into_iter().flat_map(BTreeMap::keys) {
            if reached.insert(*next) {
                open.push(next);
            }
        }
    }
    reached
}

fn describe(circle: &BTreeSet<&str>, arrows: &Arrows<'_>) -> String {
    let mut lines = vec![format!("a circle of {} files", circle.len())];
    for file in circle {
        for (other, names) in arrows[file].iter().filter(|(other, _)| circle.contains(*other)) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            lines.push(format!("  {file} takes {} from {other}", names.join(", ")));
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the circles of a crate `a` of these files, by the names of the files.
    fn found(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        let files: Vec<SourceFile> = files
            .iter()
            .map(|(path, text)| SourceFile { path: format!("a/src/{path}"), text: (*text).to_owned() })
            .collect();
        let files: Vec<&SourceFile> = files.iter().collect();
        let arrows = Tree::read("a", &files).arrows();
        let name = |file: &&str| file.trim_start_matches("a/src/").to_owned();
        circles(&arrows).iter().map(|circle| circle.iter().map(name).collect()).collect()
    }

    #[test]
    fn two_files_that_name_each_other_are_found() {
        let lib = ("lib.rs", "mod x; mod y;");
        let one = ("x.rs", "use crate::y::Y;\npub struct X(Y);");
        assert_eq!(found(&[lib, one, ("y.rs", "pub struct Y; fn f(x: crate::x::X) {}")]), [["x.rs", "y.rs"]]);
        assert!(found(&[lib, one, ("y.rs", "pub struct Y;")]).is_empty());
    }

    #[test]
    fn circles_over_three_files_are_found_and_told_apart() {
        let files = [
            ("lib.rs", "mod x; mod y; mod z; mod u; mod v;"),
            ("x.rs", "use crate::{y::{self, Y as Other}, Missing};\npub struct X(Other);"),
            ("y.rs", "pub struct Y; fn f() { crate::z::g::<u8>() }"),
            ("z.rs", "use super::x;\npub fn g<T>() { x::X::new() }"),
            ("u.rs", "use crate::v::V; pub struct U;"),
            ("v.rs", "use crate::u::U; use crate::x::X; pub struct V;"),
        ];
        assert_eq!(found(&files), [vec!["u.rs", "v.rs"], vec!["x.rs", "y.rs", "z.rs"]]);
    }

    #[test]
    fn a_child_that_takes_from_its_parent_by_super_is_found() {
        let parent = "mod y;\nuse y::Y;\npub(crate) struct Shared;\nstruct Whole(Y);";
        let child = ("x/y.rs", "use super::Shared;\npub(super) struct Y(Shared);");
        assert_eq!(found(&[("lib.rs", "mod x;"), ("x.rs", parent), child]), [["x.rs", "x/y.rs"]]);
        // Without a name of the child in the parent's code there is no circle: it only re-exports.
        let parent = "mod y;\npub(crate) use y::Y;\npub(crate) struct Shared;";
        assert!(found(&[("lib.rs", "mod x;"), ("x.rs", parent), child]).is_empty());
        let parent = "mod y;\npub(crate) use y::Y;\npub(crate) struct Shared;\nfn f(y: Y) {}";
        assert_eq!(found(&[("lib.rs", "mod x;"), ("x.rs", parent), child]).len(), 1);
    }

    #[test]
    fn siblings_that_reach_each_other_through_their_parents_imports_are_found() {
        let parent = ("x.rs", "mod y;\nmod z;\nuse y::Y;\npub use z::{Z, Z as Zed};");
        let y = ("x/y.rs", "use super::Zed;\npub struct Y(Zed);");
        assert_eq!(
            found(&[("lib.rs", "mod x;"), parent, y, ("x/z.rs", "pub struct Z(super::Y);")]),
            [["x/y.rs", "x/z.rs"]]
        );
        assert!(found(&[("lib.rs", "mod x;"), parent, y, ("x/z.rs", "pub struct Z;")]).is_empty());
    }

    #[test]
    fn names_that_the_root_exports_count_as_their_files() {
        let lib = ("lib.rs", "mod x;\nmod y;\npub use x::{X, Lonely};\npub use y::Y;");
        let circle = [lib, ("x.rs", "use crate::Y;\npub struct X(Y);"), ("y.rs", "use crate::X;\npub struct Y;")];
        assert_eq!(found(&circle), [["x.rs", "y.rs"]]);
        let harmless = [lib, ("x.rs", "use crate::Y;\npub struct X(Y);"), ("y.rs", "pub struct Y;")];
        assert!(found(&harmless).is_empty());
    }

    #[test]
    fn what_only_tests_compile_does_not_count() {
        let one = ("x.rs", "use crate::y::Y;\npub struct X(Y);");
        let unit = "pub struct Y;\n#[cfg(test)]\nmod tests {\n    use crate::x::X;\n    fn f() { if a { } }\n}\n";
        assert!(found(&[("lib.rs", "mod x; mod y;"), one, ("y.rs", unit)]).is_empty());
        let single =
            "pub struct Y;\n#[cfg(test)]\nuse crate::x::X;\n#[cfg(test)]\npub fn f<A, B>(x: X) { crate::x::X }\n";
        assert!(found(&[("lib.rs", "mod x; mod y;"), one, ("y.rs", single)]).is_empty());
        let beside = "#[cfg(test)]\nmod tests;\npub struct Y;";
        let tests = ("y/tests.rs", "use super::Y;\nuse crate::x::X;");
        assert!(found(&[("lib.rs", "mod x; mod y;"), one, ("y.rs", beside), tests]).is_empty());
        let other = "#[cfg(unix)]\nmod more { use crate::x::X; }\npub struct Y;";
        assert_eq!(found(&[("lib.rs", "mod x; mod y;"), one, ("y.rs", other)]).len(), 1);
    }

    #[test]
    fn texts_comments_and_other_crates_are_no_references() {
        let one = ("x.rs", "use crate::y::Y;\npub struct X(Y);");
        for text in [
            "pub struct Y;\n/// See [`crate::x::X`].\n// crate::x::X\n/* crate::x::X /* */ crate::x::X */\nfn f() {}",
            "pub struct Y;\nfn f() { g(\"crate::x::X\", r#\"crate::x::X\"#, '\"', b'\\'', \"\\\" crate::x::X\") }",
            "pub struct Y<'x>(&'x u8);\nuse other::x::X;\npub(in crate::x) fn f() { other::crate_x::X }",
        ] {
            assert!(found(&[("lib.rs", "mod x; mod y;"), one, ("y.rs", text)]).is_empty(), "{text}");
        }
        let attribute = "pub struct Y { #[serde(with = \"crate::x::X\")] z: u8 }";
        assert_eq!(found(&[("lib.rs", "mod x; mod y;"), one, ("y.rs", attribute)]).len(), 1);
    }

    #[test]
    fn methods_that_another_file_adds_to_a_type_are_found_where_the_type_uses_them() {
        let added = ("y.rs", "use crate::x::X;\nimpl<T> X<T> {\n    pub fn added(&self) {}\n}");
        let lib = ("lib.rs", "mod x; mod y;");
        let uses = "pub struct X<T>(T);\nimpl<T> X<T> { fn f(&self) { self.added() } }";
        assert_eq!(found(&[lib, ("x.rs", uses), added]), [["x.rs", "y.rs"]]);
        let uses = "pub struct X<T>(T);\nimpl<T> X<T> { fn f(&self) { self.own() } fn own(&self) {} }";
        assert!(found(&[lib, ("x.rs", uses), added]).is_empty());
        let field = "pub struct X<T>(T);\nimpl<T> X<T> { fn f(&self) { self.added.len() } }";
        assert!(found(&[lib, ("x.rs", field), added]).is_empty());
    }

    #[test]
    fn a_circle_says_what_ties_it() {
        let file = |path: &str, text: &str| SourceFile { path: format!("a/src/{path}"), text: text.to_owned() };
        let files = [
            file("lib.rs", "mod x; mod y;"),
            file("x.rs", "use crate::y::{Y, f};\npub struct X(Y);"),
            file("y.rs", "pub struct Y;\npub fn f(x: crate::x::X) {}\n"),
        ];
        let sizes = sizes(&files);
        assert_eq!((sizes["a"].files, sizes["a"].lines, sizes["a"].files_in_circles), (3, 5, 2));
        let text = "a circle of 2 files\n  a/src/x.rs takes Y, f from a/src/y.rs\n  a/src/y.rs takes X from a/src/x.rs";
        assert_eq!(sizes["a"].circles, [text]);
        assert_eq!(check(&files), [format!("a: {text}")]);
    }
}
