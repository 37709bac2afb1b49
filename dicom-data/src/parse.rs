//! Reads a data set's attributes, leaving long values where they are.
//!
//! What a device got wrong does not lose what it got right: reading stops at the first error that cannot be
//! stepped over and gives what was read, if that says which instance it is.

use dicom_core::VR;
use dicom_core::dictionary::VirtualVr;
use dicom_core::header::Tag;

use super::charset::Charset;
use super::cursor::Erased;
use super::dictionary::{is_binary, may_be_bulk, unit_bytes};
use super::frames::FRAME_ATTRIBUTES;
use super::inflate::inflate;
use super::levels::{ITEMS_MAX, is_indexed};
use super::transfer_syntax::TransferSyntax;
use super::value::decode;
use super::walker::{Bounds, Element, Encoding, Token, Walker};
use super::{Attribute, Attributes, ReadError, Source, TagMap, Value};

/// Memory that each value of a list takes beside its characters.
const VALUE_BYTES: u64 = 24;

/// What reading may cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Sequences within sequences; deeper ones stop the reading.
    pub depth_max: usize,
    /// Elements and items together. One costs some 100 bytes of memory beside its value.
    pub elements_max: u64,
    /// Items alone: they are what headers can be large with for nothing, in 8 bytes each.
    pub items_max: u64,
    /// Bytes of all values that are kept inline, each value of a list counting 24 more. When
    /// half of it is used, long texts are no longer kept inline, so that contours do not use it up.
    pub header_bytes_max: u64,
    /// Longest binary or numeric value that is kept inline; longer ones become `Value::Bulk`.
    pub inline_bytes_max: u64,
    /// Longest text that is kept inline, where its value representation allows bulk data.
    pub text_bytes_max: u64,
    /// Longest data set that a deflated one may become.
    pub inflated_bytes_max: u64,
    /// Most bytes that one deflated byte may become, on the average of long data sets.
    pub inflate_ratio_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth_max: 64,
            elements_max: 1_000_000,
            items_max: 200_000,
            header_bytes_max: 16 << 20,
            inline_bytes_max: 1024,
            text_bytes_max: 64 << 10,
            inflated_bytes_max: 256 << 20,
            inflate_ratio_max: 250,
        }
    }
}

/// A data set that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The attributes, without group lengths, groups 0000 and 0002 and trailing padding.
    pub attributes: Attributes,
    /// Where the Pixel Data of the outermost data set is, if it has any.
    pub pixel_data: Option<PixelData>,
    /// False: reading stopped at an error, or Pixel Data was cut off; what was read is there.
    pub complete: bool,
}

/// Where Pixel Data, Float or Double Float Pixel Data is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PixelData {
    /// First byte of the value, counted from the first byte of the data set (of the inflated one).
    pub offset: u64,
    /// Length of the value; up to before the sequence delimiter if encapsulated.
    pub bytes: u64,
    /// Whether it is in fragments (PS3.5 §A.4).
    pub encapsulated: bool,
    /// OB, OW, OF or OD.
    pub vr: VR,
}

/// Reads a data set in a transfer syntax.
///
/// Identifiers of queries are data sets too, so none of the attributes is required. An error comes only
/// from data sets that are wrong before all four UIDs are read, or whose bytes cannot be had.
pub fn read<S: Source + ?Sized>(source: &S, syntax: &TransferSyntax, limits: &Limits) -> Result<Parsed, ReadError> {
    read_kept(source, syntax, Builder::new(limits))
}

/// Reads what the index keeps of a data set (see `is_indexed`) and steps over the rest without decoding it; else as `read`.
pub fn read_levels<S: Source + ?Sized>(
    source: &S,
    syntax: &TransferSyntax,
    limits: &Limits,
) -> Result<Attributes, ReadError> {
    Ok(read_kept(source, syntax, Builder { keeps: is_needed, sequence_items_max: ITEMS_MAX, ..Builder::new(limits) })?
        .attributes)
}

/// Reads where Pixel Data is and what says how frames lie in it, and steps over the rest without decoding it; else as `read`.
pub fn read_frame_layout<S: Source + ?Sized>(
    source: &S,
    syntax: &TransferSyntax,
    limits: &Limits,
) -> Result<Parsed, ReadError> {
    read_kept(source, syntax, Builder { keeps: is_of_frames, ..Builder::new(limits) })
}

fn read_kept<S: Source + ?Sized>(
    source: &S,
    syntax: &TransferSyntax,
    builder: Builder<'_>,
) -> Result<Parsed, ReadError> {
    if syntax.deflated {
        let inflated = inflate(source, builder.limits)?;
        return build(&Erased(inflated.as_slice()), Encoding::of(syntax), builder);
    }
    build(&Erased(source), Encoding::of(syntax), builder)
}

fn build(source: &dyn Source, encoding: Encoding, mut builder: Builder<'_>) -> Result<Parsed, ReadError> {
    let limits = builder.limits;
    let bounds = Bounds { depth_max: limits.depth_max, elements_max: limits.elements_max, flat: false };
    let mut walker = Walker::new(source, encoding, bounds)?;
    let stopped = loop {
        match walker.next() {
            Ok(Some(token)) => {
                if let Err(error) = builder.take(token, &mut walker) {
                    break Some(error);
                }
            }
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    let complete = stopped.is_none() && !walker.truncated();
    let (attributes, pixel_data) = builder.finish();
    match stopped {
        Some(error @ ReadError::Source(_)) => Err(error),
        Some(error) if !is_identified(&attributes) => Err(error),
        Some(_) | None => Ok(Parsed { attributes, pixel_data, complete }),
    }
}

/// The tags of the four UIDs that say which instance a data set is.
pub(super) const IDENTIFIERS: [Tag; 4] =
    [Tag(0x0008, 0x0016), Tag(0x0008, 0x0018), Tag(0x0020, 0x000D), Tag(0x0020, 0x000E)];

fn is_identified(attributes: &Attributes) -> bool {
    IDENTIFIERS.iter().all(|tag| attributes.text(*tag).is_some())
}

const SPECIFIC_CHARACTER_SET: Tag = Tag(0x0008, 0x0005);
const PIXEL_REPRESENTATION: Tag = Tag(0x0028, 0x0103);
const LUT_DESCRIPTOR: Tag = Tag(0x0028, 0x3002);
const PIXEL_DATA: Tag = Tag(0x7FE0, 0x0010);

/// Tells whether an element is indexed, or decides how others are read or whether the data set is identified.
fn is_needed(tag: Tag) -> bool {
    is_indexed(tag) || IDENTIFIERS.contains(&tag) || matches!(tag, SPECIFIC_CHARACTER_SET | PIXEL_REPRESENTATION)
}

/// Tells whether an element says how frames lie, or whether the data set is identified.
fn is_of_frames(tag: Tag) -> bool {
    FRAME_ATTRIBUTES.contains(&tag) || IDENTIFIERS.contains(&tag)
}

fn is_pixel_data(tag: Tag) -> bool {
    matches!(tag, PIXEL_DATA | Tag(0x7FE0, 0x0008 | 0x0009))
}

/// One data set that is being read, and the sequence in it whose items are.
#[derive(Default)]
struct Level {
    /// As they come: in any order, perhaps several with one tag.
    attributes: Vec<(Tag, Attribute)>,
    charset: Charset,
    signed: bool,
    /// Whether LUT Descriptor says that LUT Data has one entry.
    one_entry: Option<bool>,
    sequence: Option<(Tag, Vec<Attributes>)>,
}

struct Builder<'a> {
    limits: &'a Limits,
    /// The outermost data set first.
    levels: Vec<Level>,
    inline_bytes: u64,
    items: u64,
    pixel_data: Option<PixelData>,
    /// Says which elements of the outermost data set are decoded and kept.
    keeps: fn(Tag) -> bool,
    /// Items of a sequence of the outermost data set that are kept at most, nested ones counted; one with more is left out.
    sequence_items_max: usize,
    /// Whether the sequence of the outermost data set that is being read is kept, and how many items it has, nested ones too.
    sequence_kept: bool,
    sequence_items: usize,
}

impl<'a> Builder<'a> {
    fn new(limits: &'a Limits) -> Self {
        let levels = vec![Level::default()];
        Self {
            limits,
            levels,
            inline_bytes: 0,
            items: 0,
            pixel_data: None,
            keeps: |_| true,
            sequence_items_max: usize::MAX,
            sequence_kept: true,
            sequence_items: 0,
        }
    }

    fn take(&mut self, token: Token, walker: &mut Walker<'_>) -> Result<(), ReadError> {
        match token {
            Token::Element(element) => self.element(&element, walker)?,
            Token::SequenceStart { tag } => {
                if self.levels.len() == 1 {
                    self.sequence_kept = (self.keeps)(tag);
                    self.sequence_items = 0;
                }
                if let Some(level) = self.levels.last_mut() {
                    level.sequence = Some((tag, Vec::new()));
                }
            }
            Token::SequenceEnd => self.end_sequence(),
            Token::ItemStart => {
                self.count_item(walker)?;
                let outer = self.levels.last();
                let charset = outer.map(|level| level.charset).unwrap_or_default();
                let signed = outer.is_some_and(|level| level.signed);
                self.levels.push(Level { charset, signed, ..Level::default() });
            }
            Token::ItemEnd => self.end_item(),
        }
        Ok(())
    }

    fn count_item(&mut self, walker: &Walker<'_>) -> Result<(), ReadError> {
        self.sequence_items += 1;
        self.sequence_kept &= self.sequence_items <= self.sequence_items_max;
        self.items += u64::from(self.sequence_kept);
        if self.items > self.limits.items_max {
            return Err(ReadError::malformed(walker.offset(), "too many items"));
        }
        Ok(())
    }

    fn end_sequence(&mut self) {
        let sequence = self.levels.last_mut().and_then(|level| level.sequence.take());
        let Some((tag, items)) = sequence.filter(|_| self.sequence_kept) else {
            return;
        };
        let value = if items.is_empty() { Value::Empty } else { Value::Sequence(items) };
        self.insert(tag, Attribute { vr: VR::SQ, value });
    }

    fn end_item(&mut self) {
        let Some(item) = self.levels.pop().filter(|_| self.sequence_kept) else {
            return;
        };
        if let Some((_, items)) = self.levels.last_mut().and_then(|level| level.sequence.as_mut()) {
            items.push(Attributes(TagMap::keeping_first(item.attributes)));
        }
    }

    /// Closes what is still open and gives the outermost data set.
    fn finish(mut self) -> (Attributes, Option<PixelData>) {
        while self.levels.len() > 1 {
            self.end_sequence();
            self.end_item();
        }
        self.end_sequence();
        let attributes = self.levels.pop().map(|level| level.attributes).unwrap_or_default();
        (Attributes(TagMap::keeping_first(attributes)), self.pixel_data)
    }

    fn element(&mut self, element: &Element, walker: &mut Walker<'_>) -> Result<(), ReadError> {
        let tag = element.tag;
        let root = self.levels.len() == 1;
        let Some(level) = self.levels.last() else {
            return Ok(());
        };
        let dropped = (!root && !self.sequence_kept)
            || tag.element() == 0
            || matches!(tag.group(), 0x0000 | 0x0002)
            || tag == Tag(0xFFFC, 0xFFFC);
        if dropped {
            return Ok(());
        }
        let vr = resolve(element, level);
        if root && is_pixel_data(tag) {
            self.pixel_data = Some(PixelData {
                offset: element.offset,
                bytes: element.bytes,
                encapsulated: element.encapsulated,
                vr,
            });
        }
        if self.is_bulk(element, vr) {
            let Element { offset, bytes, encapsulated, .. } = *element;
            self.insert(tag, Attribute { vr, value: Value::Bulk { offset, bytes, encapsulated } });
            return Ok(());
        }
        if root && !(self.keeps)(tag) {
            return Ok(());
        }
        self.inline(element, vr, walker)
    }

    /// Decodes a value and keeps it.
    fn inline(&mut self, element: &Element, vr: VR, walker: &mut Walker<'_>) -> Result<(), ReadError> {
        let wrong = |reason| ReadError::malformed(element.offset, reason);
        let left = self.limits.header_bytes_max.saturating_sub(self.inline_bytes);
        let len = usize::try_from(element.bytes).ok().filter(|_| element.bytes <= left);
        let len = len.ok_or(wrong("the header is longer than the limit"))?;
        let bytes = walker.cursor.at(element.offset, len)?;
        if bytes.len() != len {
            return Err(wrong("a value leaves the data set"));
        }
        let values = u64::try_from(memchr::memchr_iter(b'\\', bytes).count()).unwrap_or(u64::MAX);
        let cost = values.saturating_mul(VALUE_BYTES).saturating_add(element.bytes);
        if cost > left {
            return Err(wrong("the header is longer than the limit"));
        }
        self.inline_bytes += cost;
        let charset = self.levels.last().map(|level| level.charset).unwrap_or_default();
        let attribute = decode(vr, bytes, element.big_endian, charset);
        if let Some(level) = self.levels.last_mut() {
            level.notice(element.tag, &attribute);
        }
        self.insert(element.tag, attribute);
        Ok(())
    }

    /// Of several elements with one tag the first is kept in the end, as `read_identifiers` does.
    fn insert(&mut self, tag: Tag, attribute: Attribute) {
        if let Some(level) = self.levels.last_mut() {
            level.attributes.push((tag, attribute));
        }
    }

    /// Says whether a value is left where it is.
    fn is_bulk(&self, element: &Element, vr: VR) -> bool {
        if element.bytes == 0 {
            return false;
        }
        let is_text = !is_binary(vr) && unit_bytes(vr) == 1;
        let half_full = self.inline_bytes > self.limits.header_bytes_max / 2;
        let bytes_max = if is_text && !half_full { self.limits.text_bytes_max } else { self.limits.inline_bytes_max };
        is_pixel_data(element.tag) || element.encapsulated || (may_be_bulk(vr) && element.bytes > bytes_max)
    }
}

impl Level {
    /// Remembers what decides how later elements are read.
    fn notice(&mut self, tag: Tag, attribute: &Attribute) {
        match (tag, &attribute.value) {
            (SPECIFIC_CHARACTER_SET, Value::Text(terms)) => {
                self.charset = Charset::from_terms(terms.iter().map(String::as_str));
            }
            (SPECIFIC_CHARACTER_SET, _) => self.charset = Charset::default(),
            (PIXEL_REPRESENTATION, Value::Integers(values)) => {
                self.signed = values.first() == Some(&1);
            }
            (LUT_DESCRIPTOR, Value::Integers(values)) => {
                self.one_entry.get_or_insert(values.first() == Some(&1));
            }
            _ => {}
        }
    }
}

/// Settles value representations that depend on the context (PS3.6 §6, PS3.5 §A.1).
fn resolve(element: &Element, level: &Level) -> VR {
    match element.vr {
        VirtualVr::Exact(vr) => vr,
        VirtualVr::Xs if level.signed => VR::SS,
        VirtualVr::Xs => VR::US,
        VirtualVr::Px | VirtualVr::Ox if element.encapsulated => VR::OB,
        VirtualVr::Lt if level.one_entry == Some(true) => VR::US,
        VirtualVr::Px | VirtualVr::Ox | VirtualVr::Lt => VR::OW,
        _ => VR::UN,
    }
}
