//! Which devices take a new container: a pure function of the container's name and the devices' free space.
//!
//! Weighted rendezvous hashing: each device draws a number from the hash of both names, divided by its free space, and
//! the lowest draws win. So a device with twice the room takes twice the shards, and a container's choice needs no state.
//! The order of the draws is the order of the shard numbers, which spreads data and parity evenly too.

use crate::{ContainerId, DeviceId};

/// Returns the indexes of `count` devices in shard order; fewer if there are not as many.
pub(crate) fn choose(container: ContainerId, devices: &[(DeviceId, u64)], count: usize) -> Vec<usize> {
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
