//! Rules of the crates: which may depend on which, and where foreign crates may be used.

use super::SourceFile;
use super::source::has_kind;

/// Arrows between our crates: a crate and what it may depend on. They run downwards only.
const ARROWS: [(&str, &[&str]); 12] = [
    ("disk", &[]),
    ("dicom-data", &[]),
    ("journal", &["dicom-data", "disk"]),
    ("tiering", &["disk"]),
    // The index names records of the journal and places in containers by their owners' types.
    ("index", &["dicom-data", "disk", "journal", "tiering"]),
    ("archive", &["dicom-data", "disk", "index", "journal", "tiering"]),
    ("dicom-net", &["archive", "dicom-data"]),
    ("dicomweb", &["archive", "dicom-data"]),
    ("server", &["archive", "dicom-data", "dicom-net", "dicomweb", "journal", "testdata", "tiering"]),
    ("testdata", &[]),
    // Only the filler of `bench growth`, for it goes below the network.
    ("bench", &["archive", "dicom-data", "journal", "testdata", "tiering"]),
    // Outside the workspace: what reads foreign bytes, under libFuzzer.
    ("fuzz", &["dicom-data", "dicom-net", "dicomweb", "tiering"]),
];

/// Crates that only tests may use in addition.
const ARROWS_OF_TESTS: [&str; 3] = ["bench", "journal", "testdata"];

/// Foreign crates and who may use them.
const CONFINED: [(&str, &[&str]); 6] = [
    ("axum", &["dicomweb", "server"]),
    ("dicom-ul", &["dicom-net"]),
    ("object_store", &["tiering"]),
    ("reed-solomon-erasure", &["tiering"]),
    // Same C symbol as reed-solomon-erasure, and silently many times slower when both are linked.
    ("rustfs-erasure-codec", &[]),
    ("sqlx", &["index"]),
];

/// Foreign crates that tests of further crates may use: to look into what a test made.
const CONFINED_OF_TESTS: [(&str, &[&str]); 1] = [("sqlx", &["archive"])];

/// The one file that names the erasure code's crate.
const ERASURE_FILE: &str = "tiering/src/erasure.rs";

/// Checks every crate.
pub(super) fn check(files: &[SourceFile]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        match file.path.split_once('/') {
            Some((name, "Cargo.toml")) => found.extend(manifest(name, &file.text)),
            Some((name, _)) if has_kind(&file.path, "rs") => found.extend(source(name, file)),
            Some(_) | None => {}
        }
    }
    found
}

fn manifest(name: &str, text: &str) -> Vec<String> {
    let manifest: toml::Table = text.parse().expect("cargo reads the manifest, too");
    let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == name) else {
        return vec![format!("{name}/Cargo.toml: a new crate is a change of design: add it to ARROWS")];
    };
    let mut found = Vec::new();
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        for (dependency, value) in manifest.get(section).and_then(toml::Value::as_table).into_iter().flatten() {
            // `alias = { package = "real" }`
            let dependency = value.get("package").and_then(toml::Value::as_str).unwrap_or(dependency);
            let ours = ARROWS.iter().any(|(known, _)| *known == dependency);
            let of_tests = section == "dev-dependencies" && ARROWS_OF_TESTS.contains(&dependency);
            if ours && !of_tests && !allowed.contains(&dependency) {
                found.push(format!("{name}/Cargo.toml: {name} must not depend on {dependency}"));
            }
            let users = |list: &'static [(&str, &[&str])]| list.iter().find(|(known, _)| *known == dependency);
            let tested = section == "dev-dependencies"
                && users(&CONFINED_OF_TESTS).is_some_and(|(_, users)| users.contains(&name));
            if users(&CONFINED).is_some_and(|(_, users)| !users.contains(&name)) && !tested {
                found.push(format!("{name}/Cargo.toml: {dependency} is confined to other crates"));
            }
        }
    }
    found
}

fn source(name: &str, file: &SourceFile) -> Option<String> {
    let erasure = ["reed_solomon", "_erasure"].concat();
    let outside = name == "tiering" && file.path != ERASURE_FILE && file.text.contains(&erasure);
    outside.then(|| format!("{}: only {ERASURE_FILE} names {erasure}", file.path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        check(&[SourceFile { path: path.to_owned(), text: text.to_owned() }])
    }

    #[test]
    fn arrows_upwards_and_sideways_are_found() {
        assert_eq!(found("tiering/Cargo.toml", "[dependencies]\narchive.workspace = true").len(), 1);
        assert_eq!(found("dicomweb/Cargo.toml", "[dependencies]\ndicom-net.workspace = true").len(), 1);
        assert_eq!(found("archive/Cargo.toml", "[dependencies]\ntestdata.workspace = true").len(), 1);
        assert!(found("archive/Cargo.toml", "[dev-dependencies]\ntestdata.workspace = true").is_empty());
        assert_eq!(found("bench/Cargo.toml", "[dependencies]\na = { package = \"dicomweb\", path = \"x\" }").len(), 1);
        assert_eq!(found("more/Cargo.toml", "").len(), 1);
    }

    #[test]
    fn confined_crates_are_found() {
        for (dependency, users) in CONFINED {
            let text = format!("[dev-dependencies]\n{dependency} = \"1\"");
            for (name, _) in ARROWS {
                let path = format!("{name}/Cargo.toml");
                let tested =
                    CONFINED_OF_TESTS.iter().any(|(of_tests, by)| *of_tests == dependency && by.contains(&name));
                assert_eq!(found(&path, &text).is_empty(), users.contains(&name) || tested, "{name} {dependency}");
                let text = text.replace("dev-dependencies", "dependencies");
                assert_eq!(found(&path, &text).is_empty(), users.contains(&name), "{name} {dependency}");
            }
        }
    }

    #[test]
    fn the_erasure_code_has_one_file() {
        let text = ["use reed_solomon", "_erasure::galois_8;"].concat();
        assert_eq!(found("tiering/src/pool.rs", &text).len(), 1);
        assert!(found(ERASURE_FILE, &text).is_empty());
    }
}
