//! What every medium owes to a copy of the journal: the same cases on a directory and on memory.

use std::cell::Cell;
use std::io::ErrorKind;

use bytes::Bytes;
use uuid::Uuid;

use crate::fault::Fault;
use crate::identity::Contents;
use crate::journal_copy::{JournalCopy, is_full};
use crate::medium::{Medium, SegmentFile, look};
use crate::memory::MemoryCopy;
use crate::place::CopyPlace;

/// Bytes of a segment.
const SEGMENT: u64 = 8192;

fn on_each(case: impl Fn(&CopyPlace)) {
    let home = tempfile::tempdir().unwrap();
    case(&CopyPlace::Directory(home.path().join("a/copy")));
    case(&CopyPlace::Memory(MemoryCopy::new("memory")));
}

fn read(file: &SegmentFile, bytes: usize, offset: u64) -> Vec<u8> {
    let mut out = vec![0xEE; bytes];
    let read = file.read_up_to(&mut out, offset).unwrap();
    out.truncate(read);
    out
}

#[test]
fn an_empty_place_becomes_a_copy_with_its_note() {
    on_each(|place| {
        assert_eq!(look(place), Contents::Empty { adopt: false });
        let medium = Medium::lock(place).unwrap();
        assert_eq!(look(place), Contents::Empty { adopt: false }, "a lock alone does not make a copy");
        medium.write_note(b"first").unwrap();
        medium.write_note(b"second").unwrap();
        assert_eq!(look(place), Contents::Note(b"second".to_vec()));
        medium.remove_adopt_mark().unwrap();
    });
}

#[test]
fn segments_without_a_note_are_not_taken_for_an_empty_place() {
    on_each(|place| {
        let medium = Medium::lock(place).unwrap();
        medium.create_segment(0, SEGMENT).unwrap();
        assert!(matches!(look(place), Contents::Unusable(_)));
    });
}

#[test]
fn a_place_has_one_owner_at_a_time() {
    on_each(|place| {
        let first = Medium::lock(place).unwrap();
        assert_eq!(Medium::lock(place).unwrap_err().kind(), ErrorKind::WouldBlock);
        first.unlock();
        let second = Medium::lock(place).unwrap();
        first.unlock();
        drop(second);
    });
}

#[test]
fn a_segment_is_created_once_written_anywhere_and_read_in_every_way() {
    on_each(|place| {
        let medium = Medium::lock(place).unwrap();
        let (file, ready) = medium.create_segment(7, SEGMENT).unwrap();
        assert!(!ready && file.bytes().unwrap() == SEGMENT);
        assert_eq!(medium.create_segment(7, SEGMENT).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(medium.open_segment(8).unwrap_err().kind(), ErrorKind::NotFound);
        medium.create_segment(3, SEGMENT).unwrap();
        assert_eq!(medium.segments().unwrap(), [3, 7]);
        let buffers = [vec![1; 4000], vec![], vec![2; 96]].map(Bytes::from);
        medium.write(&file, 0, &buffers).unwrap();
        medium.write(&file, 5000, &[Bytes::from_static(b"middle")]).unwrap();
        file.flush().unwrap();
        let file = medium.open_segment(7).unwrap();
        assert_eq!(read(&file, 4096, 0), buffers.concat());
        assert_eq!(read(&file, 8, 4999), b"\0middle\0");
        assert_eq!(read(&file, 100, SEGMENT - 10), [0; 10], "as far as the file goes");
        let mut pages = [0; 4096];
        file.read_pages(0, &mut pages).unwrap();
        assert_eq!(pages[..], buffers.concat());
        assert!(file.read_pages(SEGMENT, &mut pages).is_err());
        let (mut a, mut b) = ([0; 2], [0; 4]);
        if file.read_now(&mut [&mut a, &mut b], 5000) {
            assert_eq!((&a, &b), (b"mi", b"ddle"));
        }
        assert!(!file.read_now(&mut [&mut a], SEGMENT - 1));
        file.read_ahead(0, SEGMENT).unwrap();
        file.set_len(4097).unwrap();
        assert_eq!((file.bytes().unwrap(), read(&file, 10, 4096).len()), (4097, 1));
    });
}

#[test]
fn a_released_segment_is_used_again_or_goes() {
    on_each(|place| {
        let medium = Medium::lock(place).unwrap();
        for number in 0..4 {
            medium.create_segment(number, SEGMENT).unwrap();
        }
        medium.open_segment(0).unwrap().set_len(10).unwrap();
        medium.recycle(0, SEGMENT, true).unwrap();
        assert!(!medium.has_free(), "it was cut");
        medium.recycle(1, SEGMENT, false).unwrap();
        assert!(!medium.has_free(), "it was not to be kept");
        medium.recycle(2, SEGMENT, true).unwrap();
        medium.recycle(99, SEGMENT, true).unwrap();
        assert!(medium.has_free());
        assert_eq!(medium.segments().unwrap(), [3]);
        assert_eq!(medium.create_segment(3, SEGMENT).unwrap_err().kind(), ErrorKind::AlreadyExists);
        let (file, _) = medium.create_segment(10, SEGMENT).unwrap();
        assert_eq!(file.bytes().unwrap(), SEGMENT);
        for number in [3, 10] {
            medium.recycle(number, SEGMENT, true).unwrap();
        }
        medium.trim_free(SEGMENT).unwrap();
        assert!(medium.has_free() && medium.create_segment(11, SEGMENT).unwrap().1);
        medium.trim_free(SEGMENT / 2).unwrap();
        assert!(!medium.has_free());
    });
}

#[test]
fn a_segment_is_made_ready_in_pieces_unless_it_is_stopped() {
    on_each(|place| {
        let medium = Medium::lock(place).unwrap();
        medium.prepare(SEGMENT, &|_| false).unwrap();
        assert!(!medium.has_free());
        let asked = Cell::new(0);
        let wait = |_| {
            asked.set(asked.get() + 1);
            true
        };
        medium.prepare(SEGMENT, &wait).unwrap();
        assert!(medium.has_free() && asked.get() > 0);
        let (file, ready) = medium.create_segment(0, SEGMENT).unwrap();
        assert!(ready && read(&file, 10_000, 0) == [0; 8192]);
    });
}

#[test]
fn large_files_come_and_go() {
    on_each(|place| {
        let medium = Medium::lock(place).unwrap();
        let id = Uuid::from_u128(5);
        let file = medium.create_large(id).unwrap();
        assert_eq!(medium.create_large(id).unwrap_err().kind(), ErrorKind::AlreadyExists);
        file.write(b"large", 0).unwrap();
        file.write(b"r", 5).unwrap();
        file.flush().unwrap();
        medium.sync_large_names().unwrap();
        assert_eq!(medium.large_files().unwrap(), [(id, 6)]);
        let mut out = [0; 10];
        assert_eq!(medium.open_large(id).unwrap().read_up_to(&mut out, 2).unwrap(), 4);
        assert_eq!(&out[..4], b"rger");
        medium.remove_large(id).unwrap();
        medium.remove_large(id).unwrap();
        assert!(medium.large_files().unwrap().is_empty());
        assert_eq!(medium.open_large(id).unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn planned_faults_meet_both_in_the_same_way() {
    let outcomes = |place: &CopyPlace, fault| {
        let copy = JournalCopy::lock(place).unwrap();
        let (file, _) = copy.create_segment(0, SEGMENT).unwrap();
        let large = copy.create_large(Uuid::from_u128(1)).unwrap();
        copy.inject(fault);
        let results = [
            copy.commit(&file, 0, &[Bytes::from_static(b"one"), Bytes::from_static(b"two")]),
            copy.create_segment(1, SEGMENT).map(drop),
            copy.prepare(SEGMENT, &|_| true),
            copy.write_large(&large, 0, b"x"),
            copy.finish_large(&large),
            copy.write_note(b"note"),
            copy.cut(&file, 4096),
            copy.remove_large(Uuid::from_u128(1)),
            copy.recycle(0, SEGMENT, false),
        ];
        let kinds = results.map(|result| match result {
            Ok(()) => "done",
            Err(error) if is_full(&error) => "full",
            Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => "read-only",
            Err(_) => "failed",
        });
        copy.inject(Fault::None);
        (kinds, read(&file, 6, 0))
    };
    for fault in [Fault::None, Fault::Write, Fault::Flush, Fault::NoSpace, Fault::TornWrite, Fault::ReadOnly] {
        let home = tempfile::tempdir().unwrap();
        let on_directory = outcomes(&CopyPlace::Directory(home.path().join("copy")), fault);
        let in_memory = outcomes(&CopyPlace::Memory(MemoryCopy::new("memory")), fault);
        assert_eq!(on_directory, in_memory, "{fault:?}");
        assert_eq!(fault == Fault::None, on_directory.0 == ["done"; 9], "{fault:?}");
        if fault == Fault::TornWrite {
            assert_eq!(on_directory.1, b"one\0\0\0", "half of the write is done");
        }
    }
}
