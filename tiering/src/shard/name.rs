//! Names of shard files.

use std::path::{Path, PathBuf};

use crate::ContainerId;

/// Directory of a device that holds its shards.
pub(crate) const CONTAINERS_DIRECTORY: &str = "containers";
/// End of the name of a file that is being written.
pub(crate) const TMP_SUFFIX: &str = ".tmp";

/// Returns the directory of a container's shards on a device: 256 of them keep directories short.
pub(crate) fn directory(device: &Path, container: ContainerId) -> PathBuf {
    let [.., last] = *container.0.as_bytes();
    device.join(CONTAINERS_DIRECTORY).join(format!("{last:02x}"))
}

/// Returns the path of a shard on a device.
pub(crate) fn path(device: &Path, container: ContainerId, shard: u8) -> PathBuf {
    directory(device, container).join(format!("{container}.{shard:03}.fshard"))
}

/// Returns the path of a shard while it is being written.
pub(crate) fn tmp_path(device: &Path, container: ContainerId, shard: u8) -> PathBuf {
    directory(device, container).join(format!("{container}.{shard:03}.fshard{TMP_SUFFIX}"))
}

/// Reads container and shard number from a file name; `None` if it is not the name of a shard.
pub(crate) fn parse(name: &str) -> Option<(ContainerId, u8)> {
    let (container, shard) = name.strip_suffix(".fshard")?.split_once('.')?;
    let number = shard.parse().ok()?;
    let container: ContainerId = container.parse().ok()?;
    (name == format!("{container}.{number:03}.fshard")).then_some((container, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_others_are_refused() {
        let id: ContainerId = "01927e6c-1111-7abc-8def-0123456789ab".parse().unwrap();
        let path = path(Path::new("/d"), id, 7);
        assert_eq!(path, Path::new("/d/containers/ab/01927e6c-1111-7abc-8def-0123456789ab.007.fshard"));
        assert_eq!(parse(path.file_name().unwrap().to_str().unwrap()), Some((id, 7)));
        for name in [
            "x.007.fshard",
            "01927e6c-1111-7abc-8def-0123456789ab.7.fshard",
            "01927e6c-1111-7abc-8def-0123456789ab.007.fshard.tmp",
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
