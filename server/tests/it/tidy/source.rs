//! Rules of single files and of how files lie beside each other.

/// Most lines of a file, tests not counted.
const FILE_LINES_MAX: usize = 600;
/// Most lines of a function, from its signature to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;

/// Words that may stand before `fn`.
const FUNCTION_WORDS: [&str; 6] = ["pub", "const", "async", "unsafe", "extern", "\"C\""];

/// Texts that no Rust file may hold, and why. Put together here so that this file does not hold them.
fn forbidden_in_rust() -> [(String, &'static str); 5] {
    [
        (["#[ig", "nore"].concat(), "no test is switched off"),
        (["to", "do!("].concat(), "what is missing is an issue"),
        (["unimple", "mented!("].concat(), "what is missing is an issue"),
        (["db", "g!("].concat(), "left over from a search"),
        (["#![al", "low("].concat(), "use #[expect(lint, reason = ...)] on the smallest item"),
    ]
}

/// Paths of one machine that no file may name.
fn machine_paths() -> [String; 4] {
    ["wo|rk/", "ro|ot/", "fa|rm/", "ho|me/"].map(|path| format!("/{}", path.replace('|', "")))
}

/// Checks one file.
pub(super) fn check(path: &str, text: &str) -> Vec<String> {
    let mut found = machine(path, text);
    if has_kind(path, "rs") {
        found.extend(docs(path, text));
        found.extend(forbidden(path, text));
        if !is_test(path) {
            let code = without_tests(text);
            found.extend(length(path, code));
            found.extend(functions(path, code));
            found.extend(globs(path, code));
        }
    }
    found
}

/// Checks how the files lie beside each other.
pub(super) fn check_layout(paths: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for path in paths.iter().filter(|path| has_kind(path, "rs")) {
        if path.ends_with("/mod.rs") {
            found.push(format!("{path}: write foo.rs beside foo/"));
        }
        if let Some((directory, _)) = path.rsplit_once('/') {
            let root = ["src", "src/bin", "tests/it", "benches", "examples", "fuzz_targets"]
                .iter()
                .any(|root| directory.ends_with(root) || !directory.contains('/'));
            if !root && !paths.contains(&format!("{directory}.rs").as_str()) {
                found.push(format!("{path}: there is no {directory}.rs beside {directory}/"));
            }
        }
        if path.split_once("/tests/").is_some_and(|(_, rest)| !rest.starts_with("it/")) {
            found.push(format!("{path}: one test binary per crate, in tests/it"));
        }
    }
    found
}

fn length(path: &str, code: &str) -> Option<String> {
    let lines = code.lines().count();
    (lines > FILE_LINES_MAX).then(|| format!("{path}: {lines} lines without tests, {FILE_LINES_MAX} at most"))
}

/// Relies on rustfmt: a function ends at the first line that begins with a brace at its own indentation.
fn functions(path: &str, code: &str) -> Vec<String> {
    let lines: Vec<&str> = code.lines().collect();
    let mut found = Vec::new();
    for (first, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else {
            continue;
        };
        let indent = line.len() - line.trim_start().len();
        let ends = |candidate: &&str| {
            candidate.len() > indent
                && candidate.as_bytes()[indent] == b'}'
                && candidate.bytes().take(indent).all(|b| b == b' ')
        };
        let one_line = line.ends_with('}') || line.ends_with(';');
        let Some(rest) = lines[first..].iter().skip(1).position(ends).filter(|_| !one_line) else {
            continue;
        };
        if rest + 2 > FUNCTION_LINES_MAX {
            found.push(format!("{path}:{}: {name} has {} lines, {FUNCTION_LINES_MAX} at most", first + 1, rest + 2));
        }
    }
    found
}

fn function_name(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let known = |word: &str| FUNCTION_WORDS.contains(&word) || word.starts_with("pub(");
    let is_function = before.split_whitespace().all(known) && (before.is_empty() || before.ends_with(' '));
    is_function.then(|| after.split(['(', '<']).next().unwrap_or(after))
}

fn docs(path: &str, text: &str) -> Option<String> {
    (!text.starts_with("//!")).then(|| format!("{path}: begin with //! and what the file is for"))
}

fn forbidden(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (needle, why) in forbidden_in_rust() {
        for (number, _) in text.lines().enumerate().filter(|(_, line)| line.contains(&needle)) {
            found.push(format!("{path}:{}: {needle}: {why}", number + 1));
        }
    }
    found
}

fn globs(path: &str, code: &str) -> Vec<String> {
    let glob = |line: &str| {
        let line = line.trim_start();
        (line.starts_with("use ") || line.starts_with("pub use ")) && line.ends_with("::*;")
    };
    let numbered = code.lines().enumerate().filter(|(_, line)| glob(line));
    numbered.map(|(number, _)| format!("{path}:{}: name what is imported", number + 1)).collect()
}

fn machine(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for needle in machine_paths() {
        for (number, _) in text.lines().enumerate().filter(|(_, line)| line.contains(&needle)) {
            found.push(format!("{path}:{}: {needle}: a path of one machine", number + 1));
        }
    }
    found
}

/// Returns the text up to the module of tests.
fn without_tests(text: &str) -> &str {
    let marker = "#[cfg(test)]\nmod ";
    text.find(marker).and_then(|start| text.get(..start)).unwrap_or(text)
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// Tells whether the file's extension is `kind`.
pub(super) fn has_kind(path: &str, kind: &str) -> bool {
    std::path::Path::new(path).extension().is_some_and(|found| found == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_code(code: &str) -> Vec<String> {
        check("a/src/x.rs", &format!("//! Doc.\n{code}"))
    }

    #[test]
    fn long_files_are_found_and_tests_do_not_count() {
        let lines = "//\n".repeat(600);
        assert_eq!(check_code(&lines), ["a/src/x.rs: 601 lines without tests, 600 at most"]);
        assert!(check_code(&format!("#[cfg(test)]\nmod tests {{\n{lines}}}\n")).is_empty());
        assert!(check("a/tests/it/x.rs", &format!("//! Doc.\n{lines}")).is_empty());
    }

    #[test]
    fn long_functions_are_found_at_every_indentation() {
        let function =
            |lines: usize| format!("pub(crate) async fn long<T>(\n    a: T,\n) {{\n{}}}\n", "    x();\n".repeat(lines));
        assert_eq!(check_code(&function(67)), ["a/src/x.rs:2: long has 71 lines, 70 at most"]);
        assert!(check_code(&function(66)).is_empty());
        let method = format!("impl A {{\n    fn method() {{\n{}    }}\n}}\n", "        x();\n".repeat(69));
        assert_eq!(check_code(&method), ["a/src/x.rs:3: method has 71 lines, 70 at most"]);
    }

    #[test]
    fn declarations_and_words_are_no_functions() {
        assert_eq!(function_name("    const fn f<T>(a: u8) {"), Some("f"));
        assert_eq!(function_name("// the fn f"), None);
        assert_eq!(function_name("let f: fn (u8) = g;"), None);
        assert!(check_code(&format!("trait A {{\n    fn f();\n{}}}\n", "    //\n".repeat(80))).is_empty());
    }

    #[test]
    fn what_is_forbidden_is_found_everywhere() {
        for (needle, _) in forbidden_in_rust() {
            assert_eq!(check_code(&format!("\n    {needle}")).len(), 1, "{needle}");
            assert_eq!(check("a/tests/it/x.rs", &format!("//! D\n{needle}")).len(), 1, "{needle}");
        }
        for needle in machine_paths() {
            assert_eq!(check("x.md", &format!("see {needle}x")).len(), 1, "{needle}");
        }
        assert_eq!(check("a/src/x.rs", "fn f() {}\n").len(), 1, "no docs");
        assert_eq!(check_code("use a::b::*;").len(), 1);
        assert!(check_code("#[cfg(test)]\nmod tests {\n    use super::*;\n}\n").is_empty());
    }

    #[test]
    fn layout_has_no_mod_rs_and_one_test_binary() {
        assert_eq!(check_layout(&["a/src/x/mod.rs", "a/src/x.rs"]), ["a/src/x/mod.rs: write foo.rs beside foo/"]);
        assert_eq!(check_layout(&["a/src/x/y.rs"]), ["a/src/x/y.rs: there is no a/src/x.rs beside a/src/x/"]);
        assert_eq!(check_layout(&["a/tests/more.rs", "a/tests.rs"]).len(), 1);
        assert_eq!(check_layout(&["a/examples/x/y.rs", "a/examples/z.rs"]).len(), 1);
        let good = [
            "a/src/x/y.rs",
            "a/src/x.rs",
            "a/tests/it/main.rs",
            "a/tests/peers/x.py",
            "a/src/bin/b.rs",
            "a/examples/z.rs",
        ];
        assert!(check_layout(&good).is_empty());
    }
}
