//! What each part of the archive may touch: the fields of its structs whose types are other parts.

use super::SourceFile;
use super::source::has_kind;

/// Returns a line for each struct of `archive/src` that keeps others behind an `Arc`: its file, its name, their types.
pub(super) fn parts(files: &[SourceFile]) -> Vec<String> {
    let mut found = Vec::new();
    let of_archive = |file: &&SourceFile| file.path.starts_with("archive/src/") && has_kind(&file.path, "rs");
    for file in files.iter().filter(of_archive) {
        for (name, fields) in structs(&file.text) {
            let shared: Vec<&str> = fields.lines().filter_map(shared).collect();
            if !shared.is_empty() {
                found.push(format!("{}: {name} takes {}", file.path, shared.join(", ")));
            }
        }
    }
    found.sort();
    found
}

/// Returns the structs with named fields: name and fields.
fn structs(text: &str) -> Vec<(&str, &str)> {
    let blocks = text.split("struct ").skip(1);
    let block = |block: &'_ str| -> Option<(usize, usize)> { Some((block.find(" {\n")?, block.find("\n}")?)) };
    blocks
        .filter_map(|text| block(text).filter(|(open, close)| open < close).map(|(open, close)| (text, open, close)))
        .filter(|(text, open, _)| !text[..*open].contains([';', '(']))
        .map(|(text, open, close)| (&text[..open], &text[open + 3..close]))
        .collect()
}

/// Returns the type that a field shares with other parts.
fn shared(field: &str) -> Option<&str> {
    let (_, kind) = field.split_once(": ").filter(|_| !field.trim_start().starts_with('/'))?;
    let inside = kind.strip_prefix("Arc<")?.trim_end_matches([',', '>']);
    inside.starts_with(char::is_uppercase).then_some(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_fields_are_the_parts_that_a_struct_takes() {
        let text = "struct Unit;\nstruct Pair(Arc<One>);\n/// A: b.\npub(crate) struct Reader {\n    /// One: Arc<No>,\n    \
                    one: Arc<One>,\n    pub(crate) two: Arc<Two>,\n    three: u8,\n}\n";
        let files = [SourceFile { path: "archive/src/x.rs".to_owned(), text: text.to_owned() }];
        assert_eq!(parts(&files), ["archive/src/x.rs: Reader takes One, Two"]);
    }
}
