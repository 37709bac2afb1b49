//! What must hold between keys; what must hold of one value is checked where it is read.

use std::path::PathBuf;

use super::values::first_repeated;
use super::{Config, InvalidConfig, Pool};

/// Smallest and largest container: below, the trailer outweighs the data; above, a repair takes too long.
const CONTAINER_BYTES: std::ops::RangeInclusive<u64> = (1 << 20)..=(16 << 30);
/// Smallest and largest PDU; PS3.8 §D.1 names no limit, peers in the field break outside of these.
const PDU_BYTES: std::ops::RangeInclusive<u64> = (4 << 10)..=(1 << 20);
/// Smallest and largest memory for the cluster of our own.
const CACHE_BYTES: std::ops::RangeInclusive<u64> = (1 << 20)..=(1 << 40);

/// The journal writes whole pages.
const PAGE_BYTES: u64 = 4096;

/// Checks the whole; the message names the key and what to write instead.
pub(super) fn check(config: &Config) -> Result<(), InvalidConfig> {
    check_services(config)?;
    check_journal(config)?;
    ensure(CONTAINER_BYTES.contains(&config.pack.container.0), || "pack.container: use 1MiB to 16GiB".to_owned())?;
    ensure(!config.pack.quiet.0.is_zero(), || "pack.quiet: use at least 1ms".to_owned())?;
    ensure((1..=100).contains(&config.pack.pressure_percent), || "pack.pressure_percent: use 1 to 100".to_owned())?;
    ensure(config.store.instance_max.0 > 0, || "store.instance_max: use at least 1B".to_owned())?;
    ensure(config.index.connections_max > 1, || "index.connections_max: use at least 2".to_owned())?;
    ensure(config.index.cache.is_none_or(|cache| CACHE_BYTES.contains(&cache.0)), || {
        "index.cache: use 1MiB to 1TiB".to_owned()
    })?;
    config.pool.iter().try_for_each(check_pool)?;
    if let Some(name) = first_repeated(config.pool.iter().map(|pool| &pool.name)) {
        return Err(InvalidConfig(format!("pool `{name}`: the name is used twice; every pool needs its own")));
    }
    let devices = config.pool.iter().flat_map(|pool| &pool.devices).map(|device| normal(&device.0));
    if let Some(path) = first_repeated(devices) {
        return Err(InvalidConfig(format!(
            "device {}: it is listed twice; a device belongs to one pool, once",
            path.display()
        )));
    }
    Ok(())
}

fn check_services(config: &Config) -> Result<(), InvalidConfig> {
    let (dicom, http) = (&config.dicom, &config.http);
    ensure(!dicom.listen.is_empty(), || "dicom.listen: name at least one address".to_owned())?;
    ensure(!dicom.ae_title.is_empty(), || "dicom.ae_title: name at least one title".to_owned())?;
    ensure(dicom.associations_max > 0, || "dicom.associations_max: use at least 1".to_owned())?;
    ensure(dicom.associations_per_calling_ae_max > 0, || {
        "dicom.associations_per_calling_ae_max: use at least 1".to_owned()
    })?;
    ensure(PDU_BYTES.contains(&dicom.pdu_max.0), || "dicom.pdu_max: use 4KiB to 1MiB".to_owned())?;
    ensure(!http.listen.is_empty(), || "http.listen: name at least one address".to_owned())?;
    ensure(http.connections_max > 0, || "http.connections_max: use at least 1".to_owned())?;
    ensure(http.page_max > 0, || "http.page_max: use at least 1".to_owned())?;
    let url = http.public_url.as_deref();
    ensure(url.is_none_or(|url| url.starts_with("http://") || url.starts_with("https://")), || {
        "http.public_url: it must begin with http:// or https://".to_owned()
    })?;
    let addresses = dicom.listen.iter().chain(&http.listen).filter(|address| address.port() != 0);
    match first_repeated(addresses) {
        Some(address) => {
            Err(InvalidConfig(format!("address {address}: it is listed twice; give each service its own")))
        }
        None => Ok(()),
    }
}

fn check_journal(config: &Config) -> Result<(), InvalidConfig> {
    let journal = &config.journal;
    if let Some(path) = first_repeated(journal.copies.iter().map(|path| normal(path))) {
        return Err(InvalidConfig(format!(
            "journal.copies: {} is listed twice; copies need places of their own",
            path.display()
        )));
    }
    let required = journal.copies_required.unwrap_or(journal.copies.len());
    ensure((1..=journal.copies.len()).contains(&required), || {
        format!("journal.copies_required: use 1 to {}, the number of copies", journal.copies.len())
    })?;
    let whole_pages = journal.segment.0.is_multiple_of(PAGE_BYTES);
    ensure(journal.segment.0 >= 1 << 20 && whole_pages, || {
        "journal.segment: use at least 1MiB and whole MiB or KiB in steps of 4".to_owned()
    })?;
    ensure(journal.size_max.0 / 4 >= journal.segment.0, || {
        format!(
            "journal.size_max: {} is too little for segments of {}; use four times as much or more",
            journal.size_max, journal.segment
        )
    })
}

fn check_pool(pool: &Pool) -> Result<(), InvalidConfig> {
    let name = &pool.name;
    let valid = (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
    ensure(valid, || format!("pool `{name}`: use 1 to 64 lower case letters, digits, hyphens and underscores"))?;
    let needed = usize::from(pool.code.data_shards) + usize::from(pool.code.parity_shards);
    ensure(pool.devices.len() >= needed, || {
        format!(
            "pool `{name}`: the code {} needs {needed} devices, {} are listed; add devices or use a smaller code",
            pool.code,
            pool.devices.len()
        )
    })
}

fn ensure(holds: bool, message: impl FnOnce() -> String) -> Result<(), InvalidConfig> {
    if holds { Ok(()) } else { Err(InvalidConfig(message())) }
}

/// Returns the path without `.` parts and trailing slashes, so that two spellings of one path are equal.
fn normal(path: &std::path::Path) -> PathBuf {
    path.components().filter(|part| *part != std::path::Component::CurDir).collect()
}
