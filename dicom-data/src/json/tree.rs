//! JSON text (RFC 8259) to a tree that borrows from it. Numbers stay text, so that no digit is lost.

use std::borrow::Cow;

use super::super::ReadError;

/// Objects and arrays within each other: three for each sequence, and sequences are nested 64 deep at most.
const DEPTH_MAX: usize = 200;

/// A value of JSON.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree<'a> {
    Null,
    Bool,
    Number(&'a str),
    String(Cow<'a, str>),
    Array(Vec<Tree<'a>>),
    Object(Vec<(Cow<'a, str>, Tree<'a>)>),
}

/// Reads one value with nothing but white space around it.
pub(super) fn parse(bytes: &[u8]) -> Result<Tree<'_>, ReadError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let offset = u64::try_from(error.valid_up_to()).unwrap_or(u64::MAX);
        ReadError::malformed(offset, "it is not UTF-8")
    })?;
    let mut parser = Parser { text, at: 0 };
    let tree = parser.value(0)?;
    parser.space();
    if parser.at == text.len() { Ok(tree) } else { Err(parser.error("more than one value")) }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    /// The recursion is bounded by `DEPTH_MAX`.
    fn value(&mut self, depth: usize) -> Result<Tree<'a>, ReadError> {
        if depth > DEPTH_MAX {
            return Err(self.error("values are nested too deeply"));
        }
        self.space();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Tree::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => Ok(Tree::Number(self.number())),
            Some(_) => self.word(),
            None => Err(self.error("a value is missing")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Tree<'a>, ReadError> {
        let mut members = Vec::new();
        self.at += 1;
        if self.takes(b'}') {
            return Ok(Tree::Object(members));
        }
        loop {
            self.space();
            let key = self.string()?;
            if !self.takes(b':') {
                return Err(self.error("a colon is missing"));
            }
            members.push((key, self.value(depth + 1)?));
            if self.takes(b'}') {
                return Ok(Tree::Object(members));
            }
            if !self.takes(b',') {
                return Err(self.error("an object does not end"));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Tree<'a>, ReadError> {
        let mut values = Vec::new();
        self.at += 1;
        if self.takes(b']') {
            return Ok(Tree::Array(values));
        }
        loop {
            values.push(self.value(depth + 1)?);
            if self.takes(b']') {
                return Ok(Tree::Array(values));
            }
            if !self.takes(b',') {
                return Err(self.error("an array does not end"));
            }
        }
    }

    fn word(&mut self) -> Result<Tree<'a>, ReadError> {
        for (word, tree) in [("null", Tree::Null), ("true", Tree::Bool), ("false", Tree::Bool)] {
            if self.rest().starts_with(word) {
                self.at += word.len();
                return Ok(tree);
            }
        }
        Err(self.error("no value begins like this"))
    }

    fn number(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest
            .bytes()
            .position(|b| !matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            .unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    fn string(&mut self) -> Result<Cow<'a, str>, ReadError> {
        if self.peek() != Some(b'"') {
            return Err(self.error("a string is missing"));
        }
        self.at += 1;
        let mut built = String::new();
        loop {
            let rest = self.rest();
            let end = rest.bytes().position(|b| b == b'"' || b == b'\\');
            let end = end.ok_or_else(|| self.error("a string does not end"))?;
            let plain = rest.get(..end).unwrap_or_default();
            let closes = rest.as_bytes().get(end) == Some(&b'"');
            self.at += end + 1;
            if closes && built.is_empty() {
                return Ok(Cow::Borrowed(plain));
            }
            built.push_str(plain);
            if closes {
                return Ok(Cow::Owned(built));
            }
            built.push(self.escape()?);
        }
    }

    /// Reads what follows a backslash.
    fn escape(&mut self) -> Result<char, ReadError> {
        let byte = self.peek();
        self.at += 1;
        Ok(match byte {
            Some(b @ (b'"' | b'\\' | b'/')) => char::from(b),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let first = self.hex4()?;
                let pair = (0xD800..0xDC00).contains(&first) && self.rest().starts_with("\\u");
                if pair {
                    self.at += 2;
                    let second = self.hex4()?;
                    let low = second.wrapping_sub(0xDC00) & 0x3FF;
                    char::from_u32(0x1_0000 + ((first - 0xD800) << 10) + low).unwrap_or('\u{fffd}')
                } else {
                    char::from_u32(first).unwrap_or('\u{fffd}')
                }
            }
            Some(_) | None => {
                self.at -= 1;
                return Err(self.error("an unknown escape"));
            }
        })
    }

    fn hex4(&mut self) -> Result<u32, ReadError> {
        let digits = self.rest().get(..4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let value = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let value = value.ok_or_else(|| self.error("an escape is cut short"))?;
        self.at += 4;
        Ok(value)
    }

    /// Takes a byte after white space, if it is there.
    fn takes(&mut self, byte: u8) -> bool {
        self.space();
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn error(&self, reason: &'static str) -> ReadError {
        ReadError::malformed(u64::try_from(self.at).unwrap_or(u64::MAX), reason)
    }
}
