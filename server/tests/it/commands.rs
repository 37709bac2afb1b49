//! Exit codes, the ready line, signals and the commands beside a server.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;

use rustix::process::Signal;

use crate::filmroom::{Place, stderr, stdout, text};

#[test]
fn an_unknown_key_ends_with_exit_code_2_and_its_line() {
    let place = Place::new("colour = \"blue\"");
    let output = place.run(&["serve"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("filmroom.toml:2: unknown key `colour`"), "{}", stderr(&output));
    assert_eq!(place.run(&["check-config"]).status.code(), Some(2));
}

#[test]
fn wrong_usage_ends_with_exit_code_2() {
    let place = Place::new("");
    for arguments in [&["nonsense"][..], &["pack"], &["pool"], &["import"]] {
        assert_eq!(place.run(arguments).status.code(), Some(2), "{arguments:?}");
    }
    let output =
        Command::new(env!("CARGO_BIN_EXE_filmroom")).args(["--config", "/nowhere.toml", "serve"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn check_config_prints_what_holds() {
    let place = Place::new("");
    let output = place.run(&["check-config", "--json"]);
    let config: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((config["dicom"]["artim"].as_str(), config["pool"][0]["code"].as_str()), (Some("30s"), Some("4+2")));
    assert!(stdout(&place.run(&["check-config"])).ends_with("the configuration can be used\n"));
}

#[test]
fn a_server_serves_and_stops_by_signal_with_exit_code_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let place = Place::new("");
        let server = place.serve();
        assert!(server.get("/healthz").starts_with("HTTP/1.0 200"), "{}", server.get("/healthz"));
        assert!(server.get("/readyz").starts_with("HTTP/1.0 200"), "{}", server.get("/readyz"));
        assert!(server.get("/metrics").contains("application/openmetrics-text"));
        assert!(server.get("/dicomweb/studies").starts_with("HTTP/1.0 20"), "{}", server.get("/dicomweb/studies"));
        assert!(std::net::TcpStream::connect(&server.dicom).is_ok());
        let mode = std::fs::metadata(place.path("data/admin.sock")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        server.signal(signal);
        assert_eq!(server.exit_code(), Some(0), "{signal:?}");
        assert!(!place.path("data/admin.sock").exists());
    }
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let place = Place::new("");
    let _server = place.serve();
    let second = place.run(&["serve"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(stderr(&second).contains("another filmroom uses it"), "{}", stderr(&second));
    let rebuild = place.run(&["rebuild-index"]);
    assert_eq!(rebuild.status.code(), Some(1));
    assert!(stderr(&rebuild).contains("another filmroom uses it"), "{}", stderr(&rebuild));
}

#[test]
fn an_address_in_use_is_named() {
    let place = Place::new("");
    let server = place.serve();
    let other = Place::new("");
    let config = std::fs::read_to_string(other.path("filmroom.toml")).unwrap();
    let config = config.replace("[http]\nlisten = \"127.0.0.1:0\"", &format!("[http]\nlisten = \"{}\"", server.http));
    std::fs::write(other.path("filmroom.toml"), config).unwrap();
    let output = other.run(&["serve"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains(&format!("listen on {} for HTTP (http.listen)", server.http)),
        "{}",
        stderr(&output)
    );
}

#[test]
fn the_socket_of_a_killed_server_is_replaced() {
    let place = Place::new("");
    let server = place.serve();
    server.signal(Signal::KILL);
    assert_eq!(server.exit_code(), None);
    assert!(place.path("data/admin.sock").exists());
    let server = place.serve();
    let output = place.run(&["pool", "list"]);
    assert!(output.status.success(), "{}", stderr(&output));
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn nonsense_on_the_admin_socket_is_answered_and_does_no_harm() {
    let place = Place::new("");
    let server = place.serve();
    let said = |line: &[u8]| {
        let mut socket = UnixStream::connect(place.path("data/admin.sock")).unwrap();
        socket.write_all(line).unwrap();
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    };
    for line in [&b"nonsense\n"[..], b"{\"do\":\"format\"}\n", b"", b"\xff\xfe\n"] {
        assert!(said(line).starts_with("{\"reply\":\"failed\""), "{}", said(line));
    }
    assert!(server.get("/healthz").starts_with("HTTP/1.0 200"));
}

#[test]
fn a_data_directory_with_a_long_path_has_its_socket_too() {
    let place = Place::new("");
    let long = place.path(&["directory-with-a-long-name"; 6].join("/"));
    std::fs::create_dir_all(&long).unwrap();
    let data = ["--data", text(&long)];
    let server = place.serve_with(&data);
    let listed = place.run(&[&data[..], &["pool", "list", "--json"]].concat());
    assert!(listed.status.success(), "{}", stderr(&listed));
    assert!(long.join("admin.sock").exists() && stdout(&listed).contains(text(&long)));
    drop(server);
}

#[test]
fn pools_and_devices_are_listed_by_a_server_and_without_one() {
    let place = Place::new("");
    let server = place.serve();
    let running = place.run(&["device", "list"]);
    server.signal(Signal::TERM);
    server.exit_code();
    let alone = place.run(&["device", "list", "--json"]);
    let list: serde_json::Value = serde_json::from_slice(&alone.stdout).unwrap();
    let devices = list["pools"][0]["devices"].as_array().unwrap();
    assert_eq!(devices.len(), 6);
    assert!(devices.iter().all(|device| device["online"] == true));
    assert_eq!(stdout(&running).lines().count(), 7);
    assert!(stdout(&running).contains(devices[5]["path"].as_str().unwrap()));
}

// ST-020, ST-022, ST-026
#[test]
fn import_counts_every_file_and_names_what_is_not_stored() {
    let place = Place::new("");
    let files = place.files(1, 5);
    std::fs::write(files.join("notes.txt"), "no DICOM").unwrap();
    std::fs::write(files.join("half.dcm"), &std::fs::read(files.join("1.dcm")).unwrap()[..140]).unwrap();
    let spec = testdata::StudySpec::default();
    let directory =
        testdata::Instance { sop_class_uid: "1.2.840.10008.1.3.10", ..testdata::study(spec).next().unwrap() };
    std::fs::write(files.join("DICOMDIR"), testdata::part10(&directory)).unwrap();
    let server = place.serve();
    let output = place.run(&["import", text(&files), "--json"]);
    assert_eq!(output.status.code(), Some(1), "one file is broken");
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let counts =
        ["files", "stored", "known", "not_dicom", "dicomdir", "failed"].map(|key| summary[key].as_u64().unwrap());
    assert_eq!(counts, [8, 5, 0, 1, 1, 1], "{}", stderr(&output));
    assert!(stderr(&output).contains("no DICOM file: ") && stderr(&output).contains("half.dcm: "));
    let again = place.run(&["import", text(&files.join("2.dcm")), "--json"]);
    let summary: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!((summary["files"].as_u64(), summary["known"].as_u64()), (Some(1), Some(1)));
    drop(server);
}

// WE-037
#[test]
fn urls_are_those_that_a_believed_proxy_names() {
    for (trusted, expected) in [("[\"127.0.0.1\"]", "https://pacs.example/dicomweb/"), ("[]", "http://127.0.0.1:")] {
        let place = Place::new("");
        let config = std::fs::read_to_string(place.path("filmroom.toml")).unwrap();
        let config = config.replace("[http]\n", &format!("[http]\ntrusted_proxies = {trusted}\n"));
        std::fs::write(place.path("filmroom.toml"), config).unwrap();
        let files = place.files(3, 1);
        let server = place.serve();
        assert!(place.run(&["import", text(&files)]).status.success());
        let proxy = "X-Forwarded-Host: pacs.example\r\nX-Forwarded-Proto: https\r\n";
        let studies = server.get_with("/dicomweb/studies", proxy);
        assert!(studies.contains(expected), "{trusted}: {studies}");
    }
}

#[test]
fn import_without_a_server_then_pack_verify_and_rebuild() {
    let place = Place::new("");
    let files = place.files(2, 8);
    let imported = place.run(&["import", text(&files)]);
    assert!(imported.status.success(), "{}", stderr(&imported));
    assert!(stdout(&imported).starts_with("8 files: 8 stored"), "{}", stdout(&imported));
    let packed = place.run(&["pack", "--now"]);
    assert_eq!(stdout(&packed), "packed 8 instances\n", "{}", stderr(&packed));
    let verified = place.run(&["verify"]);
    assert!(verified.status.success() && stdout(&verified).ends_with("healthy\n"), "{}", stderr(&verified));
    let rebuilt = place.run(&["rebuild-index"]);
    assert_eq!(stdout(&rebuilt), "indexed 8 instances\n", "{}", stderr(&rebuilt));
    let again = place.run(&["import", text(&files)]);
    assert!(stdout(&again).starts_with("8 files: 0 stored, 8 already there"), "{}", stdout(&again));
}

#[test]
fn a_missing_path_and_an_empty_directory_are_failures() {
    let place = Place::new("");
    let output = place.run(&["import", text(&place.path("nothing"))]);
    assert_eq!(output.status.code(), Some(1));
    std::fs::create_dir(place.path("empty")).unwrap();
    let output = place.run(&["import", text(&place.path("empty"))]);
    assert!(output.status.code() == Some(1) && stderr(&output).contains("there is no file"));
}

#[test]
fn jobs_are_listed_and_stay_paused_over_a_restart() {
    let place = Place::new("");
    let state = |name: &str, arguments: &[&str]| {
        let output = place.run(&[&["jobs", "--json"], arguments].concat());
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let jobs = answer["jobs"].as_array().unwrap().clone();
        for job in &jobs {
            for key in ["name", "state", "done", "total", "unit", "rate", "next", "last_error"] {
                assert!(job.get(key).is_some(), "{key} in {job}");
            }
        }
        jobs.iter().find(|job| job["name"] == name).map(|job| job["state"].as_str().unwrap().to_owned())
    };
    let server = place.serve();
    assert_eq!(state("pack", &[]).as_deref(), Some("waiting"));
    assert_eq!(state("pack", &["pause", "pack"]).as_deref(), Some("paused"));
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code(), Some(0));

    let _server = place.serve();
    // The orders are read when the index answers, which may be a moment after the server is ready.
    assert!((0..100).any(|_| state("pack", &[]).as_deref() == Some("paused")));
    assert_eq!(state("pack", &["resume", "pack"]).as_deref(), Some("waiting"));
    assert_eq!(place.run(&["jobs", "pause", "nonsense"]).status.code(), Some(1));
    assert_eq!(place.run(&["jobs", "throttle", "pack", "0"]).status.code(), Some(2));
    let table = stdout(&place.run(&["jobs"]));
    assert!(table.starts_with("JOB") && table.contains("adopt"), "{table}");
}
