//! Rules of documents: links lead somewhere, cited items are listed, journeys name files that are there.

use std::collections::BTreeSet;

use super::SourceFile;
use super::source::has_kind;

/// Where the cited items are listed.
const ITEMS_FILE: &str = "docs/conformance-items.md";
/// The page with the journeys.
const JOURNEYS_FILE: &str = "ARCHITECTURE.md";
/// Letters of conformance items.
const ITEM_LETTERS: [&str; 8] = ["DI", "IH", "QR", "RE", "SE", "ST", "UL", "WE"];
/// Most columns of a line that is a comment.
const COMMENT_COLUMNS_MAX: usize = 100;

/// Checks every document; `exists` tells whether a path from the root is there.
pub(super) fn check(files: &[SourceFile], exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| has_kind(&file.path, "md")) {
        found.extend(links(&file.path, &file.text, exists));
    }
    let text = |path: &str| files.iter().find(|file| file.path == path).map_or("", |file| file.text.as_str());
    found.extend(items(files, text(ITEMS_FILE)));
    found.extend(journeys(text(JOURNEYS_FILE), exists));
    found
}

/// Names links to files that are not there.
fn links(path: &str, text: &str, exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    let targets = targets.filter(|target| !target.contains("://") && !target.starts_with(['#', '<']));
    let mut found = Vec::new();
    for target in targets {
        let file = target.split('#').next().unwrap_or(target);
        let mut whole: Vec<&str> = path.split('/').collect();
        whole.pop();
        for part in file.split('/').filter(|part| *part != ".") {
            if part == ".." {
                whole.pop();
            } else {
                whole.push(part);
            }
        }
        if !exists(&whole.join("/")) {
            found.push(format!("{path}: the link to {target} leads nowhere"));
        }
    }
    found
}

/// Names items that sources cite and that are not listed.
fn items(files: &[SourceFile], list: &str) -> Vec<String> {
    let listed: BTreeSet<String> = list
        .lines()
        .filter_map(|line| line.strip_prefix("- **"))
        .flat_map(|line| cited(line.split("**").next().unwrap_or_default()))
        .collect();
    let sources = files.iter().filter(|file| ["rs", "py", "sql"].iter().any(|kind| has_kind(&file.path, kind)));
    let mut found = Vec::new();
    for file in sources {
        let missing = cited(&file.text).into_iter().filter(|item| !listed.contains(item));
        found.extend(missing.map(|item| format!("{}: {item} is not listed in {ITEMS_FILE}", file.path)));
    }
    found
}

/// Returns the numbers of items in a text.
fn cited(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let number = |word: &&str| {
        word.split_once('-').is_some_and(|(letters, digits)| {
            ITEM_LETTERS.contains(&letters) && digits.len() == 3 && digits.bytes().all(|b| b.is_ascii_digit())
        })
    };
    words.filter(number).map(str::to_owned).collect()
}

/// Names files of journeys that are not there, and those that come twice in one. A journey is a numbered list below a
/// heading that begins with "Journey of"; each line begins with its file.
fn journeys(text: &str, exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut count = 0;
    for section in text.split("\n#").skip(1).map(|section| section.trim_start_matches(['#', ' '])) {
        let Some(name) = section.lines().next().filter(|line| line.starts_with("Journey of")) else {
            continue;
        };
        let mut seen = BTreeSet::new();
        let numbered = section.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit()));
        for line in numbered {
            let Some(file) = line.split('`').nth(1) else {
                found.push(format!("{JOURNEYS_FILE}: {name}: a step without a file: {line}"));
                continue;
            };
            if !exists(file) {
                found.push(format!("{JOURNEYS_FILE}: {name}: there is no {file}"));
            }
            if !seen.insert(file) {
                found.push(format!("{JOURNEYS_FILE}: {name}: {file} comes twice"));
            }
        }
        count += usize::from(seen.len() > 2);
    }
    if count < 3 {
        found.push(format!("{JOURNEYS_FILE}: {count} journeys, three at least"));
    }
    found
}

/// Names comments that are too long; single words and tables may be. `scripts/wrap-comments` mends them.
pub(super) fn long_comments(path: &str, text: &str) -> Vec<String> {
    let long = |line: &str| {
        let comment = line.trim_start();
        let words = comment.trim_start_matches(['/', '!']).trim();
        let fixed = words.starts_with(['|', '#', '[']);
        comment.starts_with("//") && line.chars().count() > COMMENT_COLUMNS_MAX && words.contains(' ') && !fixed
    };
    let numbered = text.lines().enumerate().filter(|(_, line)| long(line));
    numbered.map(|(number, _)| format!("{path}:{}: wrap at {COMMENT_COLUMNS_MAX} columns", number + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn links_are_followed_from_their_own_file() {
        let exists = |path: &str| ["docs/x.md", "README.md"].contains(&path);
        let text = "[a](../README.md) [b](x.md#part) [c](https://example.org) [d](#here) [e](gone.md)";
        assert_eq!(links("docs/y.md", text, &exists), ["docs/y.md: the link to gone.md leads nowhere"]);
        assert_eq!(links("y.md", "[a](./README.md) [b](x.md)", &exists).len(), 1);
    }

    #[test]
    fn cited_items_must_be_listed() {
        let known = ["ST", "-041"].concat();
        let unknown = ["QR", "-999"].concat();
        let text = format!("//! {known}, {unknown}; CP-246, X{known} and UL-1 are no items\n");
        let list = format!("- **{known}** `!` **done**. As {unknown} says.\n");
        let expected = [format!("a/src/x.rs: {unknown} is not listed in {ITEMS_FILE}")];
        assert_eq!(items(&[file("a/src/x.rs", &text)], &list), expected);
    }

    #[test]
    fn journeys_name_each_file_once() {
        let exists = |path: &str| path != "gone.rs";
        let journey = |steps: &str| format!("\n### Journey of x\n\n{steps}\n");
        let good = journey("1. `a.rs`: `b`\n2. `b.rs`\n3. `c.rs`").repeat(3);
        assert_eq!(journeys(&good, &exists), [""; 0]);
        assert_eq!(
            journeys(&format!("{good}{}", journey("1. `a.rs`\n2. `gone.rs`\n3. `a.rs`\n4. x")), &exists).len(),
            3
        );
        assert_eq!(journeys("# Page\n", &exists).len(), 1);
    }

    #[test]
    fn long_comments_are_found_but_not_long_code() {
        let long = "word ".repeat(20);
        let text = format!("/// {long}\nlet x = \"{long}\";\n    // {long}\n//! | {long}|\n// {}\n", "x".repeat(100));
        assert_eq!(long_comments("x.rs", &text).len(), 2);
        assert!(long_comments("x.rs", &format!("// {}\n", &long[..96])).is_empty());
    }
}
