//! Rust's text as words and marks, without comments, and without texts that are not paths.

/// Returns the words, `::` and single marks of a Rust source.
///
/// A text behind `=` that looks like a path is returned as its words: attributes name functions so.
pub(super) fn tokens(text: &str) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    let (mut tokens, mut at) = (Vec::new(), 0);
    while at < characters.len() {
        at = token(&characters, at, &mut tokens);
    }
    tokens
}

/// Reads what begins at `at` and returns where it ends.
fn token(text: &[char], at: usize, tokens: &mut Vec<String>) -> usize {
    let next = text.get(at + 1).copied().unwrap_or(' ');
    match text[at] {
        '/' if next == '/' => position(text, at, |c| c == '\n'),
        '/' if next == '*' => comment(text, at),
        '"' => string(text, at, tokens),
        '\'' => quote(text, at),
        ':' if next == ':' => {
            tokens.push("::".to_owned());
            at + 2
        }
        c if c.is_alphanumeric() || c == '_' => {
            let end = position(text, at, |c| !c.is_alphanumeric() && c != '_');
            let word: String = text[at..end].iter().collect();
            let hashes = text[end..].iter().take_while(|c| **c == '#').count();
            match text.get(end + hashes) {
                Some('"') if ["r", "br", "cr"].contains(&word.as_str()) => raw(text, end + hashes, hashes),
                Some('"') if hashes == 0 && ["b", "c"].contains(&word.as_str()) => string(text, end, &mut Vec::new()),
                Some('\'') if hashes == 0 && word == "b" => quote(text, end),
                Some(_) if hashes == 1 && word == "r" => end + 1,
                Some(_) | None => {
                    tokens.push(word);
                    end
                }
            }
        }
        c => {
            if !c.is_whitespace() {
                tokens.push(c.to_string());
            }
            at + 1
        }
    }
}

/// Returns where a comment ends; comments lie within comments.
fn comment(text: &[char], mut at: usize) -> usize {
    let mut depth = 0_u32;
    while at < text.len() {
        match text[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] if depth == 1 => return at + 2,
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    at
}

/// Returns where a text ends whose quotation mark is at `at`.
fn string(text: &[char], at: usize, tokens: &mut Vec<String>) -> usize {
    let mut end = at + 1;
    while end < text.len() && text[end] != '"' {
        end += if text[end] == '\\' { 2 } else { 1 };
    }
    let inside: String = text[at + 1..end.min(text.len())].iter().collect();
    let behind_equals = tokens.last().is_some_and(|token| token == "=");
    let word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || c == '_');
    if behind_equals && inside.contains("::") && inside.split("::").all(word) {
        tokens.extend(self::tokens(&inside));
    }
    end + 1
}

/// Returns where a raw text ends.
fn raw(text: &[char], at: usize, hashes: usize) -> usize {
    let mut end = at + 1;
    while end < text.len() {
        if text[end] == '"' && text[end + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes {
            return end + 1 + hashes;
        }
        end += 1;
    }
    end
}

/// Returns where a character or the name of a lifetime ends.
fn quote(text: &[char], at: usize) -> usize {
    match text[at + 1..] {
        ['\\', _, ..] => position(text, at + 3, |c| c == '\'') + 1,
        [_, '\'', ..] => at + 3,
        _ => position(text, at + 1, |c| !c.is_alphanumeric() && c != '_'),
    }
}

/// Returns the first position from `at` whose character is meant, or the end.
fn position(text: &[char], at: usize, meant: impl Fn(char) -> bool) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    rest.iter().position(|c| meant(*c)).map_or(text.len(), |offset| at + offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_marks_are_told_from_texts() {
        let check = |text: &str, expected: &str| assert_eq!(tokens(text).join(" "), expected, "{text}");
        check("use a::b_1::{C, self};", "use a :: b_1 :: { C , self } ;");
        check("f(\"a\\\"b\", r#\"c\"d\"#, br\"e\", b\"f\", 'g', '\\'', b'h', '\\u{41}') i", "f ( , , , , , , , ) i");
        check("fn f<'a>(x: &'a str) -> r#type {}", "fn f < > ( x : & str ) - > type { }");
        check("a // b\n/* c /* d */ e */ f /// g", "a f");
        check("#[serde(with = \"a::b\", rename = \"a b\")]", "# [ serde ( with = a :: b , rename = ) ]");
    }
}
