//! The ready-made metadata of a series: one object a line, zstd, inflated as far as it is wanted.

use std::collections::VecDeque;
use std::io::{self, Cursor, Read, Take, Write};

use bytes::Bytes;
use zstd::stream::raw::{CParameter, Encoder, Operation};
use zstd::stream::zio::Writer;

use crate::Error;

/// Text inflated at a time: about a tenth of a millisecond, so that the first objects are soon there.
const STEP_BYTES: u64 = 128 * 1024;
/// Longest metadata block after inflation: 10,000 instances of 100 KiB.
const BLOCK_BYTES_MAX: u64 = 1 << 30;
/// Compression of blocks.
const ZSTD_LEVEL: i32 = 3;

/// A block that is read from its beginning on. Objects that were passed are let go: one that is asked for later costs a
/// second inflation, and from then on all are kept.
pub(crate) struct Block {
    packed: Bytes,
    text: Take<zstd::Decoder<'static, Cursor<Bytes>>>,
    /// Objects inflated and not let go; the first is number `first`.
    lines: VecDeque<Bytes>,
    first: usize,
    /// Beginning of an object whose end is not inflated yet.
    rest: Vec<u8>,
    keeps_all: bool,
    ended: bool,
}

impl Block {
    /// Begins to read a block.
    pub(crate) fn new(packed: Bytes) -> io::Result<Self> {
        Ok(Self {
            text: zstd::Decoder::with_buffer(Cursor::new(packed.clone()))?.take(BLOCK_BYTES_MAX),
            packed,
            lines: VecDeque::new(),
            first: 0,
            rest: Vec::new(),
            keeps_all: false,
            ended: false,
        })
    }

    /// Returns the object at a position if it is inflated.
    pub(crate) fn ready_line(&self, position: usize) -> Option<Bytes> {
        self.lines.get(position.checked_sub(self.first)?).cloned()
    }

    /// Returns the object at a position; `None` when there are not so many.
    pub(crate) fn line(&mut self, position: usize) -> io::Result<Option<Bytes>> {
        if position < self.first {
            *self = Self { keeps_all: true, ..Self::new(self.packed.clone())? };
        }
        while position - self.first >= self.lines.len() && !self.ended {
            if !self.keeps_all {
                self.first += self.lines.len();
                self.lines.clear();
            }
            self.inflate_step()?;
        }
        Ok(self.ready_line(position))
    }

    /// Inflates a step, and on to the end of an object.
    fn inflate_step(&mut self) -> io::Result<()> {
        let mut text = std::mem::take(&mut self.rest);
        let mut searched = 0;
        let end = loop {
            text.reserve(usize::try_from(STEP_BYTES).unwrap_or_default());
            let read = self.text.by_ref().take(STEP_BYTES).read_to_end(&mut text)?;
            if let Some(at) = memchr::memrchr(b'\n', text.get(searched..).unwrap_or_default()) {
                break searched + at + 1;
            }
            searched = text.len();
            if read == 0 {
                self.ended = true;
                return Ok(());
            }
        };
        self.rest = text.split_off(end);
        let text = Bytes::from(text);
        let mut start = 0;
        for at in memchr::memchr_iter(b'\n', &text) {
            self.lines.push_back(text.slice(start..at));
            start = at + 1;
        }
        Ok(())
    }
}

/// How far back the compression of a block looks: some fifty objects. A reader keeps as much in memory.
const WINDOW_LOG: u32 = 18;

/// Packs the objects of series into blocks, one after the other: the text of a series is never in memory as a whole.
pub(crate) struct BlockPacker(Option<Writer<Vec<u8>, Encoder<'static>>>);

impl BlockPacker {
    /// Returns a packer; keep it for many series, for it is larger than most blocks. After an error it is of no use.
    pub(crate) fn new() -> Result<Self, Error> {
        let begin = || {
            let mut encoder = Encoder::new(ZSTD_LEVEL)?;
            encoder.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
            Ok(Self(Some(Writer::new(Vec::new(), encoder))))
        };
        begin().map_err(failed)
    }

    /// Adds the next object of a series.
    pub(crate) fn push(&mut self, object: &[u8]) -> Result<(), Error> {
        let writer = self.0.as_mut().ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
        writer.write_all(object).and_then(|()| writer.write_all(b"\n")).map_err(failed)
    }

    /// Returns the block of the series; the next object begins another one.
    pub(crate) fn finish(&mut self) -> Result<Vec<u8>, Error> {
        let mut writer = self.0.take().ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
        let mut end = || {
            writer.finish()?;
            writer.operation_mut().reinit()
        };
        end().map_err(failed)?;
        let (packed, encoder) = writer.into_inner();
        self.0 = Some(Writer::new(Vec::new(), encoder));
        Ok(packed)
    }
}

fn failed(source: io::Error) -> Error {
    Error::Io { doing: "compress a metadata block", source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(count: usize, bytes: usize) -> Vec<Vec<u8>> {
        (0..count).map(|n| format!("{{\"{n}\":{{\"{}\":1}}}}", "x".repeat(bytes)).into_bytes()).collect()
    }

    fn packed(objects: &[Vec<u8>]) -> Vec<u8> {
        let mut packer = BlockPacker::new().unwrap();
        // Of an earlier series nothing may be left.
        packer.push(b"{}").unwrap();
        packer.finish().unwrap();
        for object in objects {
            packer.push(object).unwrap();
        }
        packer.finish().unwrap()
    }

    fn block(objects: &[Vec<u8>]) -> Block {
        Block::new(packed(objects).into()).unwrap()
    }

    #[test]
    fn every_line_of_a_block_comes_back() {
        // Short ones, many of them in a step; and one that takes several steps.
        for objects in [objects(5, 3), objects(2_000, 700), objects(3, 400_000)] {
            let mut block = block(&objects);
            for (n, object) in objects.iter().enumerate() {
                assert_eq!(block.line(n).unwrap().unwrap(), object);
                assert_eq!(block.ready_line(n).unwrap(), object);
            }
            assert!(block.line(objects.len()).unwrap().is_none());
        }
    }

    #[test]
    fn lines_in_any_order_come_back_with_one_more_inflation() {
        let objects = objects(2_000, 700);
        let mut block = block(&objects);
        for n in [1_999, 3, 1_000, 0, 1_998, 4] {
            assert_eq!(block.line(n).unwrap().unwrap(), objects[n]);
        }
        assert!(block.keeps_all && block.first == 0);
    }

    #[test]
    fn lines_that_were_passed_are_let_go() {
        let objects = objects(2_000, 700);
        let mut block = block(&objects);
        for n in 0..2_000 {
            block.line(n).unwrap().unwrap();
            assert!(block.lines.len() < 400, "{} lines", block.lines.len());
        }
    }

    #[test]
    fn damage_is_an_error() {
        let packed = packed(&objects(2_000, 700));
        let mut block = Block::new(packed[..packed.len() / 2].to_vec().into()).unwrap();
        assert!(block.line(1_999).is_err());
    }
}
