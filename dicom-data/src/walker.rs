//! Walks the elements of a data set (PS3.5 §7) without recursion, tolerating what devices in the field get wrong.
//!
//! Tolerated: undefined-length UN as an implicit VR sequence (CP-246), unknown value representations, implicit
//! data in an explicit transfer syntax and the reverse, missing and stray delimiters, trailing zeros, lengths
//! that leave their item. Not tolerated: values that leave the data set, and nesting beyond the limit.

mod header;

use dicom_core::VR;
use dicom_core::dictionary::VirtualVr;
use dicom_core::header::Tag;

use header::{Header, UNDEFINED};

use super::cursor::Cursor;
use super::dictionary::{ITEM, ITEM_DELIMITER, SEQUENCE_DELIMITER, is_binary, vr_of};
use super::transfer_syntax::{ByteOrder, TransferSyntax};
use super::{ReadError, Source};

/// Bytes of a tag and a 32-bit length: what every item starts with.
const ITEM_HEADER_BYTES: u64 = 8;

/// Read-ahead while jumping from fragment to fragment, each of which may be long.
const FRAGMENT_WINDOW_BYTES: usize = 512;

/// How the elements of one data set are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Encoding {
    pub(super) explicit: bool,
    pub(super) big_endian: bool,
}

impl Encoding {
    pub(super) fn of(syntax: &TransferSyntax) -> Self {
        Self { explicit: syntax.explicit_vr, big_endian: syntax.byte_order == ByteOrder::Big }
    }
}

/// Implicit VR Little Endian: how the items of UN sequences are encoded (PS3.5 §6.2.2).
const IMPLICIT: Encoding = Encoding { explicit: false, big_endian: false };

/// An element that is no sequence.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element {
    pub(super) tag: Tag,
    /// What the encoding or the dictionary says.
    pub(super) vr: VirtualVr,
    /// First byte of the value.
    pub(super) offset: u64,
    /// Length of the value, cut at the end of the data set.
    pub(super) bytes: u64,
    pub(super) big_endian: bool,
    /// Whether the value is a sequence of fragments.
    pub(super) encapsulated: bool,
}

/// What the walker found.
#[derive(Debug, Clone, Copy)]
pub(super) enum Token {
    Element(Element),
    SequenceStart { tag: Tag },
    SequenceEnd,
    ItemStart,
    ItemEnd,
}

/// Bounds of a walk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Sequences within sequences.
    pub(super) depth_max: usize,
    /// Elements and items.
    pub(super) elements_max: u64,
    /// Whether sequences of defined length are stepped over like any value.
    pub(super) flat: bool,
}

#[derive(Debug, Clone, Copy)]
struct Level {
    kind: Kind,
    /// First byte after it; `None` when a delimiter ends it.
    end: Option<u64>,
    encoding: Encoding,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sequence,
    DataSet,
}

/// Gives the tokens of a data set one by one.
pub(super) struct Walker<'a> {
    pub(super) cursor: Cursor<'a>,
    offset: u64,
    end: u64,
    levels: Vec<Level>,
    bounds: Bounds,
    elements: u64,
    truncated: bool,
}

impl<'a> Walker<'a> {
    /// Starts at the first byte of the data set, which must not be deflated.
    pub(super) fn new(source: &'a dyn Source, encoding: Encoding, bounds: Bounds) -> Result<Self, ReadError> {
        let cursor = Cursor::new(source);
        let end = cursor.source_bytes();
        let mut walker = Self { cursor, offset: 0, end, levels: Vec::new(), bounds, elements: 0, truncated: false };
        let encoding = walker.detect(encoding, end)?;
        walker.levels.push(Level { kind: Kind::DataSet, end: Some(end), encoding });
        Ok(walker)
    }

    /// Says whether Pixel Data or a sequence was cut off by the end of the data set.
    pub(super) fn truncated(&self) -> bool {
        self.truncated
    }

    /// Returns where the next token begins.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns how many sequences are open.
    pub(super) fn depth(&self) -> usize {
        self.levels.len() / 2
    }

    /// Returns the next token, `None` at the end of the data set.
    pub(super) fn next(&mut self) -> Result<Option<Token>, ReadError> {
        loop {
            let Some(level) = self.levels.last().copied() else {
                return Ok(None);
            };
            let token = match level.kind {
                Kind::DataSet => self.in_data_set(level)?,
                Kind::Sequence => self.in_sequence(level)?,
            };
            if token.is_some() {
                return Ok(token);
            }
        }
    }

    fn in_sequence(&mut self, level: Level) -> Result<Option<Token>, ReadError> {
        let end = level.end.unwrap_or(self.end);
        let header = self.cursor.at(self.offset, 8)?;
        let Some(header) = Header::item(header, level.encoding).filter(|_| self.offset < end) else {
            self.offset = self.offset.max(end);
            return Ok(self.close());
        };
        match header.tag {
            ITEM => self.open_item(header, level).map(Some),
            SEQUENCE_DELIMITER => {
                self.offset += ITEM_HEADER_BYTES;
                Ok(self.close())
            }
            ITEM_DELIMITER => {
                self.offset += ITEM_HEADER_BYTES;
                Ok(None)
            }
            _ => {
                // A missing delimiter: what follows belongs to the data set outside.
                self.offset = level.end.unwrap_or(self.offset);
                Ok(self.close())
            }
        }
    }

    fn open_item(&mut self, header: Header, level: Level) -> Result<Token, ReadError> {
        self.count()?;
        self.offset += ITEM_HEADER_BYTES;
        let end = (header.length != UNDEFINED).then(|| self.offset.saturating_add(u64::from(header.length)));
        self.truncated |= end.is_some_and(|end| end > self.end);
        let end = end.map(|end| end.min(self.end));
        let encoding = self.detect(level.encoding, end.unwrap_or(self.end))?;
        self.levels.push(Level { kind: Kind::DataSet, end, encoding });
        Ok(Token::ItemStart)
    }

    fn in_data_set(&mut self, level: Level) -> Result<Option<Token>, ReadError> {
        let end = level.end.unwrap_or(self.end);
        let root = self.levels.len() == 1;
        let bytes = self.cursor.at(self.offset, 12)?;
        if self.offset >= end || bytes.len() < 8 {
            return Ok(self.close());
        }
        let Some(tag) = header::tag(bytes, level.encoding) else {
            return Ok(self.close());
        };
        match tag {
            ITEM_DELIMITER | SEQUENCE_DELIMITER if root || level.end.is_some() => {
                self.offset += ITEM_HEADER_BYTES; // stray
                return Ok(None);
            }
            ITEM_DELIMITER => {
                self.offset += ITEM_HEADER_BYTES;
                return Ok(self.close());
            }
            // The item's delimiter is missing: the sequence goes on or ends here.
            ITEM | SEQUENCE_DELIMITER if !root => return Ok(self.close()),
            ITEM => {
                return Err(ReadError::malformed(self.offset, "an item outside a sequence"));
            }
            Tag(0, 0) if root && bytes.first_chunk::<8>() == Some(&[0; 8]) => {
                self.offset = end; // trailing zeros
                return Ok(self.close());
            }
            _ => {}
        }
        let header = match header::of(bytes, level.encoding) {
            Some(header) => header,
            None => header::unusual(&mut self.cursor, self.offset, self.end, level.encoding)?,
        };
        self.element(header, level.encoding).map(Some)
    }

    fn element(&mut self, header: Header, encoding: Encoding) -> Result<Token, ReadError> {
        self.count()?;
        let start = self.offset.saturating_add(header.bytes);
        let vr = self.vr(&header);
        if header.length == UNDEFINED {
            return self.undefined(&header, vr, start, encoding);
        }
        let mut bytes = u64::from(header.length);
        let sequence = vr == VirtualVr::Exact(VR::SQ);
        if start.saturating_add(bytes) > self.end {
            let pixels = header.tag.group() == 0x7FE0 && !sequence;
            if !pixels && !sequence {
                return Err(ReadError::malformed(self.offset, "a value leaves the data set"));
            }
            self.truncated = true;
            bytes = self.end.saturating_sub(start);
        }
        if sequence && bytes > 0 && !self.bounds.flat {
            // A sequence behind UN is in implicit VR, as all UN is.
            let items = if header.vr == Some(VR::UN) { IMPLICIT } else { encoding };
            return self.open_sequence(header.tag, start, Some(start.saturating_add(bytes)), items);
        }
        self.offset = start.saturating_add(bytes);
        let big_endian = encoding.big_endian && header.vr != Some(VR::UN);
        Ok(Token::Element(Element { tag: header.tag, vr, offset: start, bytes, big_endian, encapsulated: false }))
    }

    fn undefined(
        &mut self,
        header: &Header,
        vr: VirtualVr,
        start: u64,
        encoding: Encoding,
    ) -> Result<Token, ReadError> {
        let pixels = header.tag == Tag(0x7FE0, 0x0010);
        let sequence = !pixels
            && match header.vr {
                Some(VR::UN | VR::SQ) => true,
                Some(_) => false,
                None => matches!(vr, VirtualVr::Exact(VR::SQ | VR::UN)),
            };
        if sequence {
            let items = if header.vr == Some(VR::UN) { IMPLICIT } else { encoding };
            return self.open_sequence(header.tag, start, None, items);
        }
        let fragments = pixels || vr.exact().is_none_or(is_binary);
        if !fragments {
            return Err(ReadError::malformed(self.offset, "a text or number of undefined length"));
        }
        let end = self.fragments_end(start, encoding)?;
        Ok(Token::Element(Element {
            tag: header.tag,
            vr,
            offset: start,
            bytes: end.saturating_sub(start),
            big_endian: encoding.big_endian,
            encapsulated: true,
        }))
    }

    /// Steps over fragments (PS3.5 §A.4) and returns where the last one ends.
    fn fragments_end(&mut self, start: u64, encoding: Encoding) -> Result<u64, ReadError> {
        let mut at = start;
        loop {
            let bytes = self.cursor.at_least(at, 8, FRAGMENT_WINDOW_BYTES)?;
            let header = Header::item(bytes, encoding);
            let next = match header.map(|h| (h.tag, h.length)) {
                Some((SEQUENCE_DELIMITER, _)) => {
                    self.offset = at.saturating_add(ITEM_HEADER_BYTES);
                    return Ok(at);
                }
                Some((ITEM, length)) if length != UNDEFINED => {
                    at.saturating_add(ITEM_HEADER_BYTES).saturating_add(u64::from(length))
                }
                // The delimiter is missing, or the stream was cut off.
                Some(_) | None => {
                    self.truncated = true;
                    self.offset = self.end;
                    return Ok(at);
                }
            };
            if next > self.end {
                self.truncated = true;
                self.offset = self.end;
                return Ok(self.end);
            }
            at = next;
        }
    }

    fn open_sequence(
        &mut self,
        tag: Tag,
        start: u64,
        end: Option<u64>,
        encoding: Encoding,
    ) -> Result<Token, ReadError> {
        if self.depth() >= self.bounds.depth_max {
            return Err(ReadError::malformed(self.offset, "sequences are nested too deeply"));
        }
        self.offset = start;
        self.levels.push(Level { kind: Kind::Sequence, end, encoding });
        Ok(Token::SequenceStart { tag })
    }

    /// Ends the innermost level; the root ends without a token.
    fn close(&mut self) -> Option<Token> {
        let level = self.levels.pop()?;
        match level.kind {
            Kind::Sequence => Some(Token::SequenceEnd),
            Kind::DataSet if self.levels.is_empty() => None,
            Kind::DataSet => Some(Token::ItemEnd),
        }
    }

    /// The value representation in effect. UN of a known tag becomes what the dictionary says.
    fn vr(&self, header: &Header) -> VirtualVr {
        match header.vr {
            Some(VR::UN) if !self.bounds.flat && header.tag.group().is_multiple_of(2) => {
                vr_of(header.tag).unwrap_or(VirtualVr::Exact(VR::UN))
            }
            Some(vr) => VirtualVr::Exact(vr),
            // Flat walks want lengths only, unless the length is undefined.
            None if self.bounds.flat && header.length != UNDEFINED => VirtualVr::Exact(VR::UN),
            None => vr_of(header.tag).unwrap_or(VirtualVr::Exact(VR::UN)),
        }
    }

    fn detect(&mut self, encoding: Encoding, end: u64) -> Result<Encoding, ReadError> {
        let bytes = self.cursor.at(self.offset, 8)?;
        let room = end.saturating_sub(self.offset);
        Ok(header::detect(bytes, encoding, room))
    }

    fn count(&mut self) -> Result<(), ReadError> {
        self.elements += 1;
        if self.elements > self.bounds.elements_max {
            return Err(ReadError::malformed(self.offset, "too many elements"));
        }
        Ok(())
    }
}
