//! The rows of a container being written: units are filled, coded, and appended to the shards.

use std::io;
use std::sync::Arc;

use super::staged::{Body, Staged, on_all};
use super::unit::Unit;
use crate::device::Device;
use crate::device::io_threads::Heartbeat;
use crate::layout::Layout;
use crate::pools::Pool;
use crate::{CodeProfile, ContainerId, DeviceId, Error, Tier};

/// Where a new container goes.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) id: ContainerId,
    pub(crate) layout: Layout,
    /// Bytes that each device should expect.
    pub(crate) shard_bytes: u64,
    /// One device for each shard, in order of number.
    pub(crate) devices: Vec<(Arc<Device>, DeviceId)>,
}

/// The shards of one container and the row that is being filled.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(super) id: ContainerId,
    pub(super) pool: Arc<Pool>,
    pub(super) code: CodeProfile,
    pub(super) layout: Layout,
    pub(super) shards: Vec<Staged>,
    /// The k units of the row being filled.
    data: Vec<Unit>,
    parity: Vec<Unit>,
    pub(super) logical_bytes: u64,
}

impl Rows {
    /// Stages all shards and writes their headers.
    pub(crate) fn start(pool: Arc<Pool>, plan: Plan) -> Result<Self, Error> {
        let (code, tier) = (pool.config.code, pool.config.tier);
        assert_eq!(plan.devices.len(), usize::from(code.shards()), "the plan has a device for each shard");
        let staged = (0..code.shards()).zip(plan.devices).map(|(number, (device, device_id))| {
            device.reserve(plan.shard_bytes);
            Staged::new(plan.id, number, device, device_id, plan.shard_bytes)
        });
        let mut shards: Vec<Staged> = staged.collect();
        let opened = on_all(&mut shards, |_| {
            let (pool, layout) = (Arc::clone(&pool), plan.layout);
            move |body: &mut Body, heartbeat: &Heartbeat| body.open(&layout, &pool.erasure, heartbeat)
        });
        opened.map_err(|error| full(error, tier, plan.shard_bytes))?;
        let unit_bytes = usize::try_from(plan.layout.unit_bytes()).expect("at most 64 MiB");
        let unit = || Unit::with_room(unit_bytes);
        Ok(Self {
            id: plan.id,
            pool,
            code,
            layout: plan.layout,
            shards,
            data: (0..code.data_shards).map(|_| unit()).collect(),
            parity: (0..code.parity_shards).map(|_| unit()).collect(),
            logical_bytes: 0,
        })
    }

    /// Skips to the next unit if a run of this length would straddle; returns where the run begins.
    pub(super) fn pad(&mut self, bytes: u64) -> Result<u64, Error> {
        let padding = usize::try_from(self.layout.padding(self.logical_bytes, bytes)).expect("less than a unit");
        if padding > 0 {
            self.fill(&vec![0; padding])?;
        }
        Ok(self.logical_bytes)
    }

    pub(super) fn fill(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let room = self.layout.unit_bytes() - self.logical_bytes % self.layout.unit_bytes();
            let room = usize::try_from(room).expect("units are at most 64 MiB").min(bytes.len());
            let (head, rest) = bytes.split_at_checked(room).expect("room is at most the length");
            let unit = self.data.get_mut(usize::from(self.layout.shard_at(self.logical_bytes)));
            unit.expect("a row has k units").extend(head);
            self.logical_bytes += u64::try_from(room).expect("a usize has at most 64 bits");
            bytes = rest;
            if self.logical_bytes.is_multiple_of(self.layout.row_bytes()) {
                self.write_row(self.layout.unit_bytes())?;
            }
        }
        Ok(())
    }

    /// Codes the row and appends one unit, or the first bytes of one, to every shard.
    fn write_row(&mut self, unit_bytes: u64) -> Result<(), Error> {
        let bytes = usize::try_from(unit_bytes).expect("units are at most 64 MiB");
        self.data.iter_mut().chain(&mut self.parity).for_each(|unit| unit.resize(bytes));
        self.pool.erasure.encode(&self.data, &mut self.parity);
        let mut units = self.data.iter_mut().chain(&mut self.parity).map(std::mem::take);
        let written = on_all(&mut self.shards, |_| {
            let unit = units.next().unwrap_or_default();
            move |body: &mut Body, heartbeat: &Heartbeat| body.write_unit(unit.as_ref(), heartbeat).map(|()| unit)
        })?;
        for (place, unit) in self.data.iter_mut().chain(&mut self.parity).zip(written) {
            *place = unit;
        }
        self.data.iter_mut().for_each(Unit::clear);
        Ok(())
    }
    /// Writes what does not fill a row, spread evenly over the shards.
    pub(super) fn write_last_row(&mut self) -> Result<(), Error> {
        let rest = self.logical_bytes % self.layout.row_bytes();
        if rest == 0 {
            return Ok(());
        }
        let unit_bytes = self.layout.last_unit_bytes(rest);
        let bytes = self.data.iter().map(AsRef::as_ref).collect::<Vec<&[u8]>>().concat();
        let mut units = bytes.chunks(usize::try_from(unit_bytes).expect("units are at most 64 MiB"));
        for unit in &mut self.data {
            unit.clear();
            unit.extend(units.next().unwrap_or_default());
        }
        self.write_row(unit_bytes)
    }
}

/// A full disk is no fault of the device: room can come back, or another pool has it.
pub(super) fn full(error: Error, tier: Tier, needed_bytes: u64) -> Error {
    if let Error::Io { source, .. } = &error
        && matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    {
        return Error::NoRoom { tier, needed_bytes };
    }
    error
}
