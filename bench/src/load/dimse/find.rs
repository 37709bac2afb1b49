//! C-FIND.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};

use crate::association::{Association, Builder, FIND};
use crate::measure::times::Times;

/// A query: level, keys in the order of their tags, and how many matches there must be.
#[derive(Debug, Clone)]
pub struct Query {
    /// Value of (0008,0052).
    pub level: &'static str,
    /// Tag and value, an empty one to have it returned.
    pub keys: Vec<(u32, String)>,
    /// Number of matches that is right.
    pub matches: usize,
}

/// What is asked, and how.
#[derive(Debug, Clone, Copy)]
pub struct Find<'a> {
    /// Where.
    pub address: SocketAddr,
    /// Called application entity.
    pub ae: &'a str,
    /// What, taken in turn.
    pub queries: &'a [Query],
    /// Associations at a time.
    pub associations: usize,
    /// Queries in total.
    pub total: usize,
}

/// What was found; every query had as many matches as it should.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Found {
    /// Queries.
    pub queries: usize,
    /// Matches of all.
    pub matches: usize,
    /// Wall clock.
    pub seconds: f64,
    /// From a query to its last answer.
    pub times: Times,
}

/// Asks (study root), and fails unless every query has as many matches as it should.
pub fn find(work: &Find<'_>) -> anyhow::Result<Found> {
    ensure!(!work.queries.is_empty(), "there is no query");
    let next = AtomicUsize::new(0);
    let begun = Instant::now();
    let answered = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..work.associations).map(|_| scope.spawn(|| ask_lane(work, &next))).collect();
        let mut all = Vec::new();
        for lane in lanes {
            all.extend(lane.join().map_err(|_| anyhow!("an asker panicked"))??);
        }
        anyhow::Ok(all)
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    let matches = answered.iter().map(|(matches, _)| matches).sum();
    let mut times: Vec<Duration> = answered.into_iter().map(|(_, time)| time).collect();
    Ok(Found { queries: times.len(), matches, seconds, times: Times::of(&mut times) })
}

fn ask_lane(work: &Find<'_>, next: &AtomicUsize) -> anyhow::Result<Vec<(usize, Duration)>> {
    let mut association = Association::open(&work.address.to_string(), work.ae, &[FIND])?;
    let mut answered = Vec::new();
    loop {
        let turn = next.fetch_add(1, Ordering::Relaxed);
        let query = work.queries.get(turn % work.queries.len()).context("choose a query")?;
        if turn >= work.total {
            association.release()?;
            return Ok(answered);
        }
        let begun = Instant::now();
        let matches = ask(&mut association, query)?;
        answered.push((matches, begun.elapsed()));
        ensure!(matches == query.matches, "{matches} matches instead of {} for {:?}", query.matches, query.keys);
    }
}

/// Asks once and returns how many matches there are.
pub fn ask(association: &mut Association, query: &Query) -> anyhow::Result<usize> {
    let context = association.context(FIND)?;
    let message_id = association.next_message_id();
    let command = Builder::default().uid(0x0002, FIND.0).us(0x0100, 0x0020).us(0x0110, message_id);
    let command = command.us(0x0700, 0).us(0x0800, 1).build();
    let identifier = identifier(query.level, &query.keys);
    association.send(context, &command, [&identifier, &[]]).context("send C-FIND-RQ")?;
    let mut matches = 0;
    loop {
        let answer = association.receive().context("read C-FIND-RSP")?.context("released in a query")?.command;
        match answer.us(0x0900) {
            Some(0xFF00 | 0xFF01) => matches += 1,
            Some(0) => return Ok(matches),
            _ => bail!("C-FIND was answered by {}", answer.describe()),
        }
    }
}

/// Writes the data set of a query or a retrieval, implicit VR little endian; keys are put in the order of their tags.
pub(super) fn identifier(level: &str, keys: &[(u32, String)]) -> Vec<u8> {
    let mut sorted: Vec<(u32, &str)> = keys.iter().map(|(tag, value)| (*tag, value.as_str())).collect();
    sorted.push((0x0008_0052, level));
    sorted.sort_unstable();
    let mut bytes = Vec::new();
    for (tag, value) in sorted {
        // UIDs are padded with a null, text with a space.
        let padding = if matches!(tag, 0x0008_0018 | 0x0020_000D | 0x0020_000E) { 0 } else { b' ' };
        let padded = value.len().next_multiple_of(2);
        let ([t0, t1, t2, t3], length) = (tag.to_le_bytes(), u32::try_from(padded).expect("values are short"));
        bytes.extend_from_slice(&[t2, t3, t0, t1]);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(value.as_bytes());
        bytes.resize(bytes.len() + padded - value.len(), padding);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_in_order_and_padded() {
        let keys = [(0x0020_000D, "1.2".to_owned()), (0x0010_0020, String::new())];
        let expected = b"\x08\0\x52\0\x06\0\0\0STUDY \x10\0\x20\0\0\0\0\0\x20\0\x0d\0\x04\0\0\x001.2\0";
        assert_eq!(identifier("STUDY", &keys), expected);
    }
}
