//! DESIGN §8, ENOSPC: a disk that really fills up while a container is written. Needs the right to
//! mount: `scripts/test` leaves this out, and says so, where it is not root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tiering::{Error, Tier};

use crate::support::{Rig, assert_readable, make, pattern};

/// A disk of a few MiB in place of a device's directory.
struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    fn mount(path: &Path, mebibytes: usize) -> Self {
        fs::create_dir_all(path).unwrap();
        let size = format!("size={mebibytes}m");
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(path).output().unwrap();
        assert!(mounted.status.success(), "a small file system cannot be mounted here: run this test as root");
        Self { path: path.to_owned() }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(&self.path).status().ok();
    }
}

#[test]
fn a_disk_that_fills_up_while_writing_is_full_and_not_broken() {
    let rig = Rig::new("4+2", 6);
    let disk = SmallDisk::mount(rig.device(3), 4);
    let store = rig.open();
    let before = make(&store, &[900_000]);
    let files = rig.files();
    // More than was planned, and more than the disk has left.
    let mut writer = store.create(Tier::Hot, 1 << 20).unwrap();
    let failed = (0..40).find_map(|seed| writer.append(&pattern(seed, 900_000)).err()).unwrap();
    assert!(matches!(failed, Error::NoRoom { tier: Tier::Hot, .. }), "{failed:?}");
    assert!(matches!(writer.append(b"more"), Err(Error::WriterFailed { .. })));
    drop(writer);
    let mut left = rig.files();
    left.retain(|path| !files.contains(path));
    assert_eq!(left, Vec::<PathBuf>::new());
    assert!(store.pools()[0].devices.iter().all(|device| device.online));
    assert_readable(&store, &before);
    assert_readable(&store, &make(&store, &[900_000]));
    drop(disk);
}
