//! DESIGN §8 at the real boundary: disks that are full. Needs the right to mount: `scripts/test` leaves
//! these out, and says so, where it is not root.

use std::path::{Path, PathBuf};
use std::process::Command;

use bench::association::{Association, ECHO, Kind};
use testdata::{Instance, StudySpec};

use crate::filmroom::{Place, stderr};

const CT: Kind = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1");
/// Refused: out of resources (PS3.4 §B.2.3).
const OUT_OF_RESOURCES: u16 = 0xA700;

/// A disk of a few MiB.
struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    fn mount(path: &Path, mebibytes: usize) -> Self {
        std::fs::create_dir_all(path).unwrap();
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

/// Sends instances until one is refused; returns how many were taken, and that status.
fn fill(association: &mut Association, instances: &[Instance]) -> (usize, u16) {
    for (taken, instance) in instances.iter().enumerate() {
        let status = association.store(CT, &instance.sop_instance_uid, &instance.data_set).unwrap();
        if status != 0 {
            return (taken, status);
        }
    }
    (instances.len(), 0)
}

/// Promise 7: a journal without room refuses for now, and everything else goes on.
#[test]
fn a_full_journal_disk_refuses_and_takes_again_after_packing() {
    let place = Place::new("");
    let _disk = SmallDisk::mount(&place.path("data/journal"), 20);
    let server = place.serve();
    let small = StudySpec { instances_per_series: 120, rows: 400, columns: 400, ..StudySpec::default() };
    let instances: Vec<Instance> = testdata::study(small).collect();
    let long = StudySpec { seed: 2, instances_per_series: 1, rows: 4000, columns: 4000, ..StudySpec::default() };
    let long = testdata::study(long).next().unwrap();
    let mut association = Association::open(&server.dicom, "FILMROOM", &[CT, ECHO]).unwrap();

    // 32 MB do not fit into 20 MiB: refused, and nothing of it stays.
    let status = association.store(CT, &long.sop_instance_uid, &long.data_set).unwrap();
    assert_eq!(status, OUT_OF_RESOURCES);
    let (taken, status) = fill(&mut association, &instances);
    assert!((10..100).contains(&taken), "{taken}");
    assert_eq!(status, OUT_OF_RESOURCES);
    association.echo().unwrap();
    assert!(server.get("/dicomweb/studies").starts_with("HTTP/1.0 200"));

    let packed = place.run(&["pack", "--now"]);
    assert!(packed.status.success(), "{}", stderr(&packed));
    let (more, _) = fill(&mut association, &instances[taken..]);
    assert!(more > 0, "nothing was taken after packing");
    let count = format!("/dicomweb/studies/{}/instances", instances[0].study_instance_uid);
    let listed = server.get(&count).matches("\"00080018\"").count();
    assert_eq!(listed, taken + more);
    let verified = place.run(&["verify"]);
    assert!(verified.status.success(), "{}", stderr(&verified));
}

/// Promise 7: devices without room keep the packer from packing, not senders from sending.
#[test]
fn a_full_device_disk_puts_packing_off_until_there_is_room() {
    let place = Place::new("");
    let _disk = SmallDisk::mount(&place.path("data/devices"), 160);
    let server = place.serve();
    let study = StudySpec { instances_per_series: 60, rows: 400, columns: 400, ..StudySpec::default() };
    let instances: Vec<Instance> = testdata::study(study).collect();
    let filler = place.path("data/devices/filler");
    std::fs::write(&filler, vec![7; 80 << 20]).unwrap();
    let mut association = Association::open(&server.dicom, "FILMROOM", &[CT]).unwrap();
    assert_eq!(fill(&mut association, &instances), (60, 0));
    assert!(!place.run(&["pack", "--now"]).status.success());
    let path = format!("/dicomweb/studies/{}/instances", instances[0].study_instance_uid);
    assert_eq!(server.get(&path).matches("\"00080018\"").count(), 60);
    std::fs::remove_file(&filler).unwrap();
    let packed = place.run(&["pack", "--now"]);
    assert!(packed.status.success(), "{}", stderr(&packed));
    assert_eq!(server.get(&path).matches("\"00080018\"").count(), 60);
}
