//! What one file defines, imports and names.

use std::collections::BTreeSet;

use super::tokens::tokens;

/// Words behind which an item's name comes.
const ITEMS: [&str; 8] = ["fn", "struct", "enum", "trait", "type", "const", "static", "mod"];
/// Words that may begin an item, or stand before one of the above.
const BEFORE_ITEMS: [&str; 6] = ["impl", "unsafe", "async", "extern", "use", "macro_rules"];

/// A module: a file, or a module within it.
#[derive(Debug, Default)]
pub(super) struct Module {
    /// Its path from the crate's root.
    pub(super) path: Vec<String>,
    pub(super) defines: BTreeSet<String>,
    pub(super) imports: Vec<Import>,
    /// Paths of two words or more outside of `use`.
    pub(super) paths: Vec<Vec<String>>,
    /// Single words outside of `use` that are no fields or methods.
    pub(super) words: BTreeSet<String>,
    /// Methods that it adds to types: type, name.
    pub(super) methods: BTreeSet<(String, String)>,
    /// Methods that it calls on `self` or `Self`.
    pub(super) called_on_self: BTreeSet<String>,
    /// Modules below it that only tests compile.
    pub(super) of_tests: Vec<String>,
}

/// A name that `use` brings in.
#[derive(Debug)]
pub(super) struct Import {
    pub(super) name: String,
    pub(super) path: Vec<String>,
    /// Whether it is exported, too.
    pub(super) public: bool,
}

/// Reads a file: its own module, then those within it.
pub(super) fn read(path: Vec<String>, text: &str) -> Vec<Module> {
    let mut reader = Reader {
        tokens: tokens(text),
        at: 0,
        depth: 0,
        open: vec![0],
        modules: vec![Module { path, ..Module::default() }],
        implements: None,
    };
    while reader.at < reader.tokens.len() {
        reader.step();
    }
    reader.modules
}

/// Goes through a file's tokens.
struct Reader {
    tokens: Vec<String>,
    at: usize,
    /// Braces that are open.
    depth: usize,
    /// Numbers of the modules that are open; each opened one brace.
    open: Vec<usize>,
    modules: Vec<Module>,
    /// Type whose inherent methods are open, and the depth within.
    implements: Option<(String, usize)>,
}

impl Reader {
    fn peek(&self, ahead: usize) -> &str {
        self.tokens.get(self.at + ahead).map_or("", String::as_str)
    }

    fn module(&mut self) -> &mut Module {
        let number = *self.open.last().expect("the file's own module stays open");
        &mut self.modules[number]
    }

    /// Tells whether the next token is an item of a module, not of a function or type.
    fn at_item(&self) -> bool {
        self.depth + 1 == self.open.len()
    }

    fn step(&mut self) {
        match self.peek(0) {
            "#" => self.attribute(),
            "{" => (self.depth, self.at) = (self.depth + 1, self.at + 1),
            "}" => self.close(),
            "pub" => self.skip_visibility(),
            "use" if self.peek(1) != "<" => self.import(),
            "mod" if self.at_item() && self.peek(2) == "{" => {
                let name = self.peek(1).to_owned();
                let path = [&self.module().path[..], &[name]].concat();
                self.open.push(self.modules.len());
                self.modules.push(Module { path, ..Module::default() });
                (self.depth, self.at) = (self.depth + 1, self.at + 3);
            }
            "impl" if self.at_item() => self.implement(),
            "macro_rules" => {
                let name = self.peek(2).to_owned();
                self.module().defines.insert(name);
                self.at += 3;
            }
            word if ITEMS.contains(&word) => self.item(),
            word if is_word(word) => self.path(),
            _ => self.at += 1,
        }
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        if self.depth + 1 < self.open.len() {
            self.open.pop();
        }
        if self.implements.as_ref().is_some_and(|(_, depth)| self.depth < *depth) {
            self.implements = None;
        }
        self.at += 1;
    }

    fn skip_visibility(&mut self) {
        self.at += 1;
        if self.peek(0) == "(" && ["crate", "super", "self", "in"].contains(&self.peek(1)) {
            self.at = self.closing(self.at);
        }
    }

    /// Skips an attribute, and what it leaves to tests.
    fn attribute(&mut self) {
        let bracket = self.at + if self.peek(1) == "!" { 2 } else { 1 };
        if self.tokens.get(bracket).is_none_or(|token| token != "[") {
            self.at += 1;
            return;
        }
        let end = self.closing(bracket);
        let inside = self.tokens[bracket + 1..end - 1].to_vec();
        self.at = end;
        if inside == ["cfg", "(", "test", ")"] {
            self.skip_item();
        } else {
            self.module().paths.extend(paths(&inside).into_iter().filter(|path| path.len() > 1));
        }
    }

    /// Skips what follows an attribute that leaves it to tests: further attributes and an item, a field or a statement.
    fn skip_item(&mut self) {
        while self.peek(0) == "#" {
            self.at = self.closing(self.at + 1);
        }
        if self.peek(0) == "pub" {
            self.skip_visibility();
        }
        if self.peek(0) == "mod" && self.peek(2) == ";" {
            let name = self.peek(1).to_owned();
            self.module().of_tests.push(name);
        }
        let item = ITEMS.contains(&self.peek(0)) || BEFORE_ITEMS.contains(&self.peek(0));
        let import = self.peek(0) == "use";
        loop {
            match self.peek(0) {
                "" | "}" => return,
                ";" => break,
                "," if !item => break,
                "{" if !import => {
                    self.at = self.closing(self.at);
                    return;
                }
                "(" | "[" | "{" => self.at = self.closing(self.at),
                _ => self.at += 1,
            }
        }
        self.at += 1;
    }

    /// Returns the position behind the bracket that closes the one at `open`.
    fn closing(&self, open: usize) -> usize {
        let mut depth = 0_usize;
        for (at, token) in self.tokens.iter().enumerate().skip(open) {
            match token.as_str() {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return at + 1;
            }
        }
        self.tokens.len()
    }

    fn import(&mut self) {
        let behind = |token: &str| self.at.checked_sub(1).is_some_and(|at| self.tokens[at] == token);
        let public = behind("pub") || behind(")");
        self.at += 1;
        let end = self.tokens.iter().skip(self.at).position(|token| token == ";");
        let end = end.map_or(self.tokens.len(), |offset| self.at + offset);
        let tree = self.tokens[self.at..end].to_vec();
        let mut imports = Vec::new();
        spread(&tree, &[], &mut imports);
        self.at = end + 1;
        self.module().imports.extend(imports.into_iter().map(|(path, name)| Import { name, path, public }));
    }

    /// Notes an item's name.
    fn item(&mut self) {
        let name = self.peek(if self.peek(1) == "mut" { 2 } else { 1 }).to_owned();
        if is_word(&name) && !ITEMS.contains(&name.as_str()) {
            if self.at_item() {
                self.module().defines.insert(name);
            } else if let Some((of, depth)) = self.implements.clone()
                && depth == self.depth
                && self.peek(0) == "fn"
            {
                self.module().methods.insert((of, name));
            }
            self.at += 1;
        }
        self.at += 1;
    }

    /// Notes the type of an inherent `impl`.
    fn implement(&mut self) {
        self.at += 1;
        if self.peek(0) == "<" {
            self.skip_generics();
        }
        let end = self.tokens.iter().skip(self.at).position(|token| token == "{").unwrap_or(0);
        let head = &self.tokens[self.at..self.at + end];
        if !head.iter().any(|token| token == "for")
            && let Some(path) = paths(head).into_iter().next()
        {
            self.implements = path.last().map(|name| (name.clone(), self.depth + 1));
        }
    }

    fn skip_generics(&mut self) {
        let mut depth = 0_usize;
        while self.at < self.tokens.len() {
            match self.peek(0) {
                "<" => depth += 1,
                ">" if self.tokens[self.at - 1] != "-" => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return;
            }
        }
    }

    /// Notes a path or a single word.
    fn path(&mut self) {
        let mut path = vec![self.peek(0).to_owned()];
        while self.peek(1) == "::" && is_word(self.peek(2)) {
            path.push(self.peek(2).to_owned());
            self.at += 2;
        }
        let first = self.at + 1 - (2 * path.len() - 1);
        let before = |ahead: usize| first.checked_sub(ahead).map_or("", |at| self.tokens[at].as_str());
        let called = match (before(2), before(1)) {
            ("self", ".") if self.peek(1) == "(" || self.peek(1) == "::" => path.first().cloned(),
            _ if path[0] == "Self" => path.get(1).cloned(),
            _ => None,
        };
        let is_path = before(1) != "." && before(1) != "::";
        self.module().called_on_self.extend(called);
        if path.len() > 1 {
            self.module().paths.push(path);
        } else if is_path {
            self.module().words.extend(path);
        }
        self.at += 1;
    }
}

/// Returns the paths of a few tokens.
fn paths(tokens: &[String]) -> Vec<Vec<String>> {
    let mut found: Vec<Vec<String>> = Vec::new();
    for (at, token) in tokens.iter().enumerate().filter(|(_, token)| is_word(token)) {
        match found.last_mut() {
            Some(path) if at > 0 && tokens[at - 1] == "::" => path.push(token.clone()),
            Some(_) | None => found.push(vec![token.clone()]),
        }
    }
    found
}

/// Spreads the tree of a `use`: each path with the name that it gets.
fn spread(tree: &[String], before: &[String], found: &mut Vec<(Vec<String>, String)>) {
    let mut path = before.to_vec();
    let mut at = 0;
    while let Some(token) = tree.get(at) {
        match token.as_str() {
            "{" => return branches(&tree[at + 1..tree.len() - 1], &path, found),
            "as" => {
                let name = tree.get(at + 1).cloned().unwrap_or_default();
                return found.push((path, name));
            }
            "self" if !path.is_empty() => {}
            "::" => {}
            word => path.push(word.to_owned()),
        }
        at += 1;
    }
    if let Some(name) = path.last().cloned().filter(|name| is_word(name)) {
        found.push((path, name));
    }
}

/// Spreads each branch between commas.
fn branches(inside: &[String], path: &[String], found: &mut Vec<(Vec<String>, String)>) {
    let (mut depth, mut first) = (0_usize, 0);
    for (at, token) in inside.iter().enumerate() {
        match token.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            "," if depth == 0 => {
                spread(&inside[first..at], path, found);
                first = at + 1;
            }
            _ => {}
        }
    }
    if first < inside.len() {
        spread(&inside[first..], path, found);
    }
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}
