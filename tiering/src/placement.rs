//! Where a new container goes: a pure function of its name and of what each pool and device offers.
//!
//! Weighted rendezvous hashing: each device draws a number from the hash of both names, divided by its free space, and
//! the lowest draws win. So a device with twice the room takes twice the shards, and a container's choice needs no state.
//! The order of the draws is the order of the shard numbers, which spreads data and parity evenly too.

use crate::layout::Layout;
use crate::shard::HEADER_BYTES;
use crate::{CodeProfile, ContainerId, DeviceId, Error, Tier};

/// Room for checksum table, hashes, table of contents and footer of one shard.
const TAIL_BYTES_PLANNED: u64 = 1 << 20;

/// A container that is to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) id: ContainerId,
    pub(crate) tier: Tier,
    /// Logical bytes that are expected.
    pub(crate) planned_bytes: u64,
    /// Largest unit.
    pub(crate) unit_bytes_max: u32,
    /// Bytes of each device that stay free.
    pub(crate) free_bytes_min: u64,
}

/// What one pool of the tier has.
#[derive(Debug)]
pub(crate) struct Offer {
    /// Index of the pool.
    pub(crate) pool: usize,
    pub(crate) name: String,
    pub(crate) code: CodeProfile,
    /// The devices that answer, and their free bytes.
    pub(crate) devices: Vec<(DeviceId, u64)>,
}

/// Where a container goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Index of the pool.
    pub(crate) pool: usize,
    pub(crate) layout: Layout,
    /// Bytes that each device should expect.
    pub(crate) shard_bytes: u64,
    /// One device for each shard, in order of number.
    pub(crate) devices: Vec<DeviceId>,
}

/// Decides on pool and devices: the pool whose devices with room have most of it; the first of equals.
pub(crate) fn decide(wanted: &Wanted, offers: &[Offer]) -> Result<Place, Error> {
    let mut best: Option<(u64, Place)> = None;
    let mut refusal = Error::NoPool { tier: wanted.tier };
    for offer in offers {
        match consider(wanted, offer) {
            Ok((free, place)) if best.as_ref().is_none_or(|(most, _)| free > *most) => best = Some((free, place)),
            Ok(_) => {}
            Err(error) => refusal = error,
        }
    }
    best.map(|(_, place)| place).ok_or(refusal)
}

/// Returns the room and the place that a pool has for a container.
fn consider(wanted: &Wanted, offer: &Offer) -> Result<(u64, Place), Error> {
    let needed = usize::from(offer.code.shards());
    let layout = Layout::plan(offer.code, wanted.planned_bytes, wanted.unit_bytes_max);
    let padded = wanted.planned_bytes.saturating_add(wanted.planned_bytes / 16);
    let shard_bytes = layout.region_bytes(padded).saturating_add(HEADER_BYTES + TAIL_BYTES_PLANNED);
    let least = shard_bytes.saturating_add(wanted.free_bytes_min);
    let online = offer.devices.len();
    let roomy: Vec<(DeviceId, u64)> = offer.devices.iter().copied().filter(|(_, free)| *free >= least).collect();
    if online < needed {
        return Err(Error::TooFewDevices { pool: offer.name.clone(), online, needed });
    }
    if roomy.len() < needed {
        return Err(Error::NoRoom { tier: wanted.tier, needed_bytes: wanted.planned_bytes });
    }
    let free_bytes = roomy.iter().map(|(_, free)| *free).fold(0, u64::saturating_add);
    let chosen = choose(wanted.id, &roomy, needed).into_iter();
    let devices = chosen.filter_map(|index| roomy.get(index).map(|(id, _)| *id)).collect();
    Ok((free_bytes, Place { pool: offer.pool, layout, shard_bytes, devices }))
}

/// Returns the indexes of `count` devices in shard order; fewer if there are not as many.
fn choose(container: ContainerId, devices: &[(DeviceId, u64)], count: usize) -> Vec<usize> {
    let mut draws: Vec<(f64, usize)> =
        devices.iter().enumerate().map(|(index, (device, free))| (draw(container, *device, *free), index)).collect();
    draws.sort_by(|left, right| left.0.total_cmp(&right.0));
    draws.into_iter().take(count).map(|(_, index)| index).collect()
}

/// Draws from the exponential distribution whose rate is the free space in MiB.
fn draw(container: ContainerId, device: DeviceId, free_bytes: u64) -> f64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(container.0.as_bytes()).update(device.0.as_bytes());
    let [a, b, c, d, ..] = *hasher.finalize().as_bytes();
    let uniform = (f64::from(u32::from_le_bytes([a, b, c, d])) + 0.5) / 4_294_967_296.0;
    let weight = u32::try_from(free_bytes >> 20).unwrap_or(u32::MAX).max(1);
    -uniform.ln() / f64::from(weight)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn shares(free: &[u64], count: usize) -> Vec<usize> {
        let devices: Vec<_> =
            free.iter().zip(1..).map(|(free, id)| (DeviceId(Uuid::from_u128(id)), *free << 30)).collect();
        let mut shares = vec![0; free.len()];
        for id in 0..6_000 {
            let chosen = choose(ContainerId(Uuid::from_u128(id)), &devices, count);
            assert_eq!(chosen.len(), count.min(free.len()));
            for index in chosen {
                shares[index] += 1;
            }
        }
        shares
    }

    /// Offers of pools of 1+1 whose devices have this many MiB.
    fn decided(pools: &[&[u64]], planned_bytes: u64) -> Result<Place, Error> {
        let id = ContainerId(Uuid::from_u128(7));
        let wanted = Wanted { id, tier: Tier::Hot, planned_bytes, unit_bytes_max: 65_536, free_bytes_min: 1 << 20 };
        let offers = pools.iter().enumerate().map(|(pool, devices)| Offer {
            pool,
            name: format!("pool {pool}"),
            code: "1+1".parse().unwrap(),
            devices: (1..).zip(*devices).map(|(id, free)| (DeviceId(Uuid::from_u128(id)), *free << 20)).collect(),
        });
        decide(&wanted, &offers.collect::<Vec<_>>())
    }

    #[test]
    fn the_pool_with_most_room_takes_a_container() {
        let place = decided(&[&[100, 100], &[300, 300], &[300, 300]], 1 << 20).unwrap();
        assert_eq!((place.pool, place.devices.len()), (1, 2));
        // One device with much room is no place for two shards.
        assert_eq!(decided(&[&[9_000, 1], &[20, 20]], 1 << 20).unwrap().pool, 1);
    }

    #[test]
    fn why_there_is_no_place_is_told() {
        assert!(matches!(decided(&[], 1), Err(Error::NoPool { tier: Tier::Hot })));
        assert!(matches!(decided(&[&[100]], 1), Err(Error::TooFewDevices { online: 1, needed: 2, .. })));
        assert!(matches!(decided(&[&[100, 2]], 1), Err(Error::NoRoom { needed_bytes: 1, .. })));
    }

    #[test]
    fn equal_devices_share_equally() {
        for share in shares(&[10; 6], 2) {
            assert!((1_850..2_150).contains(&share), "{share}");
        }
    }

    #[test]
    fn twice_the_room_takes_twice_the_shards() {
        let shares = shares(&[10, 10, 20], 1);
        assert!((2_850..3_150).contains(&shares[2]), "{shares:?}");
    }

    #[test]
    fn each_device_is_chosen_once() {
        assert_eq!(shares(&[1, 1_000, 5], 3), [6_000; 3]);
        assert_eq!(shares(&[1, 1], 3), [6_000; 2]);
    }
}
