//! Byte ranges of a single body (RFC 9110 §14), one range a request.

use std::ops::Range;

use futures_util::{StreamExt as _, future};

use super::Chunks;

/// What a `Range` header asks of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// All of it: there is no range, several or one that cannot be read.
    Whole,
    /// These bytes.
    Part(Range<u64>),
    /// Nothing that is there.
    Unsatisfiable,
}

/// Reads a `Range` header for a body of this length.
pub(super) fn asked(header: Option<&str>, bytes: u64) -> Asked {
    let spec = header.and_then(|header| header.trim().strip_prefix("bytes="));
    let Some((from, to)) = spec.and_then(|spec| spec.trim().split_once('-')) else {
        return Asked::Whole;
    };
    let range = match (from.trim(), to.trim()) {
        ("", "") => return Asked::Whole,
        ("", last) => last.parse().ok().map(|last: u64| bytes.saturating_sub(last)..bytes),
        (from, "") => from.parse().ok().map(|from| from..bytes),
        (from, to) => {
            from.parse().ok().zip(to.parse().ok()).map(|(from, to): (u64, u64)| from..to.saturating_add(1).min(bytes))
        }
    };
    match range {
        None => Asked::Whole,
        Some(range) if range.is_empty() => Asked::Unsatisfiable,
        Some(range) => Asked::Part(range),
    }
}

/// Returns the bytes of a range out of all; what lies before it is read and dropped.
pub(super) fn slice(chunks: Chunks, range: Range<u64>) -> Chunks {
    let mut at = 0;
    let end = range.end;
    let sliced = chunks.map(move |chunk| {
        let mut chunk = chunk?;
        let skip = range.start.saturating_sub(at);
        let keep = range.end.saturating_sub(at);
        at += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        chunk.truncate(usize::try_from(keep).unwrap_or(usize::MAX));
        let skip = usize::try_from(skip).unwrap_or(usize::MAX).min(chunk.len());
        Ok((at, chunk.split_off(skip)))
    });
    let mut complete = false;
    let sliced = sliced.take_while(move |chunk: &Result<_, _>| {
        let go_on = !complete;
        complete = matches!(chunk, Ok((at, _)) if *at >= end);
        future::ready(go_on)
    });
    Box::pin(
        sliced.filter_map(|chunk| {
            future::ready(chunk.map(|(_, chunk)| (!chunk.is_empty()).then_some(chunk)).transpose())
        }),
    )
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::TryStreamExt as _;

    use super::*;

    #[test]
    fn ranges_as_they_are_asked() {
        // WE-036
        let table = [
            (None, Asked::Whole),
            (Some("bytes=0-0"), Asked::Part(0..1)),
            (Some("bytes=2-"), Asked::Part(2..10)),
            (Some("bytes=-3"), Asked::Part(7..10)),
            (Some("bytes=-30"), Asked::Part(0..10)),
            (Some("bytes=5-99"), Asked::Part(5..10)),
            (Some("bytes=10-"), Asked::Unsatisfiable),
            (Some("bytes=5-4"), Asked::Unsatisfiable),
            (Some("bytes=0-1,3-4"), Asked::Whole),
            (Some("lines=1-2"), Asked::Whole),
        ];
        for (header, expected) in table {
            assert_eq!(asked(header, 10), expected, "{header:?}");
        }
    }

    #[tokio::test]
    async fn every_range_of_every_chunking() {
        for chunk in 1..11 {
            for from in 0..10_u64 {
                for to in from + 1..11 {
                    let all: Vec<_> = (0..10).collect();
                    let chunks: Vec<_> = all.chunks(chunk).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
                    let chunks: Chunks = Box::pin(futures_util::stream::iter(chunks));
                    let got: Vec<Bytes> = slice(chunks, from..to).try_collect().await.unwrap();
                    let expected: Vec<u8> = (u8::try_from(from).unwrap()..u8::try_from(to).unwrap()).collect();
                    assert_eq!(got.concat(), expected, "{from}..{to} in {chunk}");
                }
            }
        }
    }
}
