//! Store requests (STOW-RS) of many instances each.

use std::net::SocketAddr;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::JSON;
use super::connection::{Connection, Request};
use crate::http::Answer;
use crate::measure::times::Times;

/// Between the parts of a request; no generated instance holds it.
const BOUNDARY: &str = "filmroom-bench-7e1b5a42";

/// What storing came to. Every instance was filed.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Filed {
    /// Instances.
    pub instances: usize,
    /// From the first request to the last answer.
    pub seconds: f64,
    /// From a request to its answer.
    pub times: Times,
}

/// Returns the body of a request that stores these Part 10 files.
pub fn store_body<'a>(files: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut body = Vec::new();
    for file in files {
        body.extend_from_slice(format!("--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n").as_bytes());
        body.extend_from_slice(file);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

/// Sends requests, each client its own, one after the other. `clients` holds bodies with `instances` files each.
pub fn store(address: SocketAddr, path: &str, clients: &[Vec<Vec<u8>>], instances: usize) -> anyhow::Result<Filed> {
    let barrier = Barrier::new(clients.len() + 1);
    let (outcomes, seconds) = thread::scope(|scope| {
        let barrier = &barrier;
        let client = |bodies| scope.spawn(move || send(address, path, bodies, instances, barrier));
        let running: Vec<_> = clients.iter().map(Vec::as_slice).map(client).collect();
        barrier.wait();
        let begun = Instant::now();
        let outcomes: Vec<_> = running.into_iter().map(thread::ScopedJoinHandle::join).collect();
        (outcomes, begun.elapsed().as_secs_f64())
    });
    let mut times = Vec::new();
    for outcome in outcomes {
        times.extend(outcome.expect("a client does not panic")?);
    }
    Ok(Filed { instances: times.len() * instances, seconds, times: Times::of(&mut times) })
}

fn send(
    address: SocketAddr,
    path: &str,
    bodies: &[Vec<u8>],
    instances: usize,
    barrier: &Barrier,
) -> anyhow::Result<Vec<Duration>> {
    let connection = Connection::open(address);
    barrier.wait(); // also without a connection: the others wait for it
    let mut connection = connection?;
    let kind = format!("multipart/related; type=\"application/dicom\"; boundary={BOUNDARY}");
    let mut times = Vec::with_capacity(bodies.len());
    for body in bodies {
        let begun = Instant::now();
        let answer = connection.whole(Request { path, accept: JSON, content: Some((&kind, body)) })?;
        times.push(begun.elapsed());
        check(&answer, instances)?;
    }
    Ok(times)
}

/// Fails unless every instance was filed (PS3.18 §10.5.3).
fn check(answer: &Answer, instances: usize) -> anyhow::Result<()> {
    let said: serde_json::Value = serde_json::from_slice(&answer.body).context("read the answer to a store request")?;
    let items =
        |tag: &str| said.pointer(&format!("/{tag}/Value")).and_then(|items| items.as_array()).map_or(0, Vec::len);
    let (filed, failed) = (items("00081199"), items("00081198"));
    ensure!(
        answer.status == 200 && filed == instances && failed == 0,
        "stored {filed} of {instances} instances, {failed} failed, status {}",
        answer.status
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_taken_apart_again() {
        let content_type = format!("multipart/related; boundary={BOUNDARY}");
        let body = store_body([&b"one"[..], b"", b"three\r\n"]);
        let answer = Answer { status: 200, headers: vec![("content-type".to_owned(), content_type)], body };
        assert_eq!(answer.parts().unwrap(), [&b"one"[..], b"", b"three\r\n"]);
    }

    #[test]
    fn only_complete_stores_count() {
        let answer = |status, body: &str| Answer { status, headers: Vec::new(), body: body.as_bytes().to_vec() };
        let two = r#"{"00081199":{"vr":"SQ","Value":[{},{}]}}"#;
        assert!(check(&answer(200, two), 2).is_ok());
        assert!(check(&answer(200, two), 3).is_err());
        assert!(check(&answer(202, two), 2).is_err());
        assert!(check(&answer(200, "<html>"), 2).is_err());
        let failed = r#"{"00081199":{"Value":[{},{}]},"00081198":{"Value":[{}]}}"#;
        assert!(check(&answer(200, failed), 2).is_err());
    }
}
