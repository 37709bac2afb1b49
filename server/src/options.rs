//! From the configuration to the options of the parts.

use std::path::PathBuf;

use archive::{ArchiveOptions, Clock, PackOptions};
use dicom_net::{Destination, ServerOptions, Timeouts};
use dicomweb::{Cors, Forwarded, StowLimits};
use journal::JournalOptions;

use crate::config::Config;

/// Data sets up to this size stay in memory until they are in the journal; longer ones go to a file as they arrive.
const INLINE_BYTES_MAX: u64 = 1 << 20;
/// Room for preamble and file meta information before the data set of a STOW-RS part.
const FILE_META_BYTES_MAX: u64 = 1 << 20;

/// Returns the options of the archive.
pub(crate) fn archive_options(config: &Config) -> ArchiveOptions {
    let pools = config.pool.iter().map(|pool| tiering::PoolConfig {
        name: pool.name.clone(),
        tier: pool.tier,
        code: pool.code,
        devices: pool.devices.iter().map(|device| device.0.clone()).collect(),
    });
    ArchiveOptions {
        data: config.data.clone(),
        index_url: config.index.url.as_ref().map(|url| url.reveal().to_owned()),
        index_cache_bytes: config.index.cache.map(|cache| cache.0),
        index_connections_max: config.index.connections_max,
        journal: journal_options(config),
        pools: pools.collect(),
        pack: PackOptions {
            quiet: config.pack.quiet.0,
            wait_max: config.pack.wait_max.0,
            container_bytes: config.pack.container.0,
            pressure_percent: config.pack.pressure_percent,
            ..PackOptions::default()
        },
        instance_bytes_max: config.store.instance_max.0,
        barrier_wait_max: config.index.query_wait_max.0,
        clock: Clock::system(),
    }
}

/// Returns the options of the DICOM service.
pub(crate) fn dicom_options(config: &Config) -> ServerOptions {
    let dicom = &config.dicom;
    let destinations = dicom
        .destinations
        .iter()
        .map(|(title, address)| (title.0.clone(), Destination { host_port: address.as_str().to_owned() }));
    ServerOptions {
        ae_titles: dicom.ae_title.iter().map(|title| title.0.clone()).collect(),
        listen: dicom.listen.clone(),
        max_pdu_bytes: u32::try_from(dicom.pdu_max.0).expect("checked: at most 1 MiB"),
        associations_max: dicom.associations_max,
        associations_per_calling_ae_max: dicom.associations_per_calling_ae_max,
        timeouts: Timeouts {
            artim: dicom.artim.0,
            idle: dicom.idle_max.0,
            shutdown: config.stop_wait_max.0,
            ..Timeouts::default()
        },
        instance_bytes_max: config.store.instance_max.0,
        accept_any_called_ae: dicom.any_called_ae,
        calling_aes: dicom.calling_ae_titles.iter().map(|title| title.0.clone()).collect(),
        destinations: destinations.collect(),
        ..ServerOptions::default()
    }
}

/// Returns the options of the DICOMweb service.
pub(crate) fn web_options(config: &Config) -> dicomweb::Options {
    let http = &config.http;
    let cors = match http.cors_origins.as_slice() {
        [] => Cors::Off,
        [one] if one == "off" => Cors::Off,
        [one] if one == "loopback" => Cors::Loopback,
        [one] if one == "any" => Cors::Any,
        origins => Cors::Origins(origins.to_vec()),
    };
    dicomweb::Options {
        public_base: http.public_url.as_ref().map(|url| url.trim_end_matches('/').to_owned()),
        forwarded: match http.trusted_proxies.as_slice() {
            [] => Forwarded::Ignored,
            proxies => Forwarded::From(proxies.to_vec()),
        },
        cors,
        page_max: http.page_max,
        stow: StowLimits {
            part_bytes_max: config.store.instance_max.0.saturating_add(FILE_META_BYTES_MAX),
            ..StowLimits::default()
        },
        ..dicomweb::Options::default()
    }
}

/// Returns where the admin socket lies.
pub(crate) fn admin_socket(config: &Config) -> PathBuf {
    config.data.join("admin.sock")
}

fn journal_options(config: &Config) -> JournalOptions {
    let journal = &config.journal;
    JournalOptions {
        copies_required: journal.copies_required.unwrap_or(journal.copies.len()),
        segment_bytes: journal.segment.0,
        bytes_max: journal.size_max.0,
        queue_bytes_max: journal.queue_max.0,
        inline_bytes_max: INLINE_BYTES_MAX,
        ..JournalOptions::new(journal.copies.clone())
    }
}
