//! The modules of a crate, and which file each name comes from.

use std::collections::BTreeMap;

use super::super::SourceFile;
use super::Arrows;
use super::names::{self, Module};

/// Most imports that a name is followed through.
const IMPORTS_MAX: usize = 16;

/// A crate's modules, without those that only tests compile.
pub(super) struct Tree<'a> {
    /// Name of the crate in paths.
    name: String,
    /// Each module with its file.
    modules: Vec<(&'a str, Module)>,
    by_path: BTreeMap<Vec<String>, usize>,
}

impl<'a> Tree<'a> {
    /// Reads the files of `name/src`.
    pub(super) fn read(name: &str, files: &[&'a SourceFile]) -> Self {
        let mut modules: Vec<(&str, Module)> = Vec::new();
        for file in files {
            let (_, inside) = file.path.split_once("/src/").expect("a file of the crate's sources");
            let read = names::read(path_of(inside), &file.text);
            modules.extend(read.into_iter().map(|module| (file.path.as_str(), module)));
        }
        let of_tests: Vec<Vec<String>> = modules
            .iter()
            .flat_map(|(_, module)| {
                module.of_tests.iter().map(|name| [&module.path[..], std::slice::from_ref(name)].concat())
            })
            .collect();
        modules.retain(|(_, module)| !of_tests.iter().any(|path| module.path.starts_with(path)));
        let mut by_path = BTreeMap::new();
        for (number, (file, module)) in modules.iter().enumerate() {
            // Of lib.rs and main.rs the first is the root that others mean.
            if !file.ends_with("/src/main.rs") || !by_path.contains_key(&module.path) {
                by_path.insert(module.path.clone(), number);
            }
        }
        Self { name: name.replace('-', "_"), modules, by_path }
    }

    /// Returns what each file takes from others.
    pub(super) fn arrows(&self) -> Arrows<'a> {
        let mut arrows = Arrows::new();
        for (number, (file, module)) in self.modules.iter().enumerate() {
            let used = |name: &str| {
                module.words.contains(name) || module.paths.iter().any(|path| path.first().is_some_and(|w| w == name))
            };
            let imports = module.imports.iter().filter(|import| !import.public || used(&import.name));
            let taken = imports.map(|import| &import.path).chain(&module.paths);
            let taken = taken.filter_map(|path| self.resolve(number, path, 0)).chain(self.added(file, module));
            let from = arrows.entry(*file).or_default();
            for (other, name) in taken.filter(|(other, _)| other != file) {
                from.entry(other).or_default().insert(name);
            }
        }
        arrows
    }

    /// Returns the methods that other files add to the types of this one and that it calls itself.
    fn added(&self, file: &'a str, module: &Module) -> Vec<(&'a str, String)> {
        let own: Vec<&Module> = self.modules.iter().filter(|(other, _)| *other == file).map(|(_, m)| m).collect();
        let mut found = Vec::new();
        for (other, adding) in self.modules.iter().filter(|(other, _)| *other != file) {
            for (of, name) in &adding.methods {
                let calls = module.called_on_self.contains(name) && module.defines.contains(of);
                let has_one = own.iter().any(|own| own.methods.iter().any(|(_, known)| known == name));
                let number = self.by_path.get(&adding.path).copied();
                let meant = number.and_then(|number| self.resolve(number, std::slice::from_ref(of), 0));
                if calls && !has_one && meant.is_some_and(|(defined, _)| defined == file) {
                    found.push((*other, format!("{of}::{name}")));
                }
            }
        }
        found
    }

    /// Returns the file that defines what a path means in a module, and the name that it is defined under. Modules
    /// themselves and other crates' names have none.
    fn resolve(&self, module: usize, path: &[String], imports: usize) -> Option<(&'a str, String)> {
        if imports > IMPORTS_MAX {
            return None;
        }
        let (mut at, mut explicit) = (module, false);
        for (number, word) in path.iter().enumerate() {
            let (file, here) = &self.modules[at];
            let beside = |path: &[String]| self.by_path.get(path).copied();
            let next = match word.as_str() {
                "crate" => beside(&[]),
                "self" => Some(at),
                "super" => here.path.split_last().and_then(|(_, parent)| beside(parent)),
                word => beside(&[&here.path[..], &[word.to_owned()]].concat()),
            };
            if let Some(next) = next {
                (at, explicit) = (next, true);
                continue;
            }
            if here.defines.contains(word) {
                return Some((file, word.clone()));
            }
            if let Some(import) = here.imports.iter().find(|import| import.name == *word && import.path != path) {
                let path = [&import.path[..], &path[number + 1..]].concat();
                return self.resolve(at, &path, imports + 1);
            }
            if number == 0 && *word == self.name {
                (at, explicit) = (beside(&[])?, true);
                continue;
            }
            return explicit.then(|| (*file, word.clone()));
        }
        None
    }
}

/// Returns a file's module path from its path below `src`.
fn path_of(inside: &str) -> Vec<String> {
    let stem = inside.strip_suffix(".rs").unwrap_or(inside);
    let path: Vec<String> = stem.split('/').map(str::to_owned).collect();
    if path == ["lib"] || path == ["main"] { Vec::new() } else { path }
}
