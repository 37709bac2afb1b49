//! Orthanc with its DICOMweb plugin, index in SQLite or in a Postgres of its own, every write synced (its default).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use rustix::process::Signal;
use serde_json::json;

use super::{Base, Kind, Peer, Process, Programs, free_port, loopback, missing, postgres};

/// Where a distribution keeps plugins.
const PLUGINS: &str = "usr/share/orthanc/plugins";
/// Where the unpacked release has them.
const PLUGINS_UNPACKED: &str = "usr/lib/orthanc";
/// Libraries and loader of the unpacked release.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// Starts one; `None` when a program or a plugin is missing.
pub fn start(kind: Kind, programs: &Programs, directory: &Path) -> anyhow::Result<Option<Peer>> {
    let Some(release) = Release::find(kind, programs) else { return Ok(None) };
    let with_postgres = matches!(kind, Kind::NewOrthancPostgres | Kind::OrthancPostgres);
    let data = directory.join("data");
    fs::create_dir_all(&data).context("create its directory")?;
    let mut data_dirs = vec![data.clone()];
    let cluster = if with_postgres {
        let Some(found) = postgres::programs() else {
            missing(kind, Path::new("initdb"), "install the package postgresql");
            return Ok(None);
        };
        data_dirs.push(directory.join("postgres"));
        Some(postgres::start(&found, directory)?)
    } else {
        None
    };
    let (dicom, http) = (loopback(free_port()?), loopback(free_port()?));
    let ports = (dicom.port(), http.port(), cluster.as_ref().map(|cluster| cluster.port));
    let settings = settings(kind, &release, &data, ports, &programs.destinations);
    let file = directory.join("orthanc.json");
    fs::write(&file, serde_json::to_vec_pretty(&settings)?).context("write the settings")?;
    let mut command = release.command();
    let mut server = Process::start(command.arg(&file), &directory.join("log"), Signal::TERM)?;
    server.wait_for(dicom)?;
    let answers = || {
        let answer = crate::http::get(&http.to_string(), "/dicom-web/studies?limit=1", "application/dicom+json");
        answer.is_ok_and(|answer| answer.status == 200)
    };
    server.wait_until(answers)?;
    let mut processes = vec![server];
    processes.extend(cluster.map(|cluster| cluster.process));
    Ok(Some(Peer {
        kind,
        dicom: Some(dicom),
        ae: "PEER".to_owned(),
        http: Some(Base { address: http, path: "/dicom-web".to_owned() }),
        data_dirs,
        directory: directory.to_owned(),
        processes,
    }))
}

/// The files of a release.
struct Release {
    program: PathBuf,
    /// Root of an unpacked release, which is run by its own loader.
    root: Option<PathBuf>,
    plugins: Vec<PathBuf>,
}

impl Release {
    fn find(kind: Kind, programs: &Programs) -> Option<Self> {
        let unpacked = matches!(kind, Kind::NewOrthancSqlite | Kind::NewOrthancPostgres);
        let (program, root, places) = if unpacked {
            let Some(root) = programs.orthanc_root.clone() else {
                missing(kind, Path::new("unpacked Orthanc"), "unpack a newer release and give --orthanc-root");
                return None;
            };
            let places = [root.join(PLUGINS_UNPACKED), root.join(PLUGINS)];
            (root.join("usr/sbin/Orthanc"), Some(root), places)
        } else {
            let slash = Path::new("/");
            (programs.orthanc.clone(), None, [slash.join(PLUGINS), slash.join(PLUGINS_UNPACKED)])
        };
        if !program.exists() {
            missing(kind, &program, "install the packages orthanc, orthanc-dicomweb and orthanc-postgresql");
            return None;
        }
        let mut plugins = Vec::new();
        let index = matches!(kind, Kind::NewOrthancPostgres | Kind::OrthancPostgres);
        for name in
            [Some("libOrthancDicomWeb.so"), index.then_some("libOrthancPostgreSQLIndex.so")].into_iter().flatten()
        {
            let Some(plugin) = places.iter().find_map(|place| plugin(place, name)) else {
                missing(kind, Path::new(name), "install the packages orthanc-dicomweb and orthanc-postgresql");
                return None;
            };
            plugins.push(plugin);
        }
        Some(Self { program, root, plugins })
    }

    fn command(&self) -> Command {
        let Some(root) = &self.root else {
            let mut command = Command::new(&self.program);
            command.env("TCP_NODELAY", "1");
            return command;
        };
        let libraries = root.join(LIBRARIES);
        let mut command = Command::new(libraries.join("ld-linux-x86-64.so.2"));
        command.env("TCP_NODELAY", "1").arg("--library-path").arg(&libraries).arg(&self.program);
        let shares = fs::read_dir(root.join("usr/share")).into_iter().flatten().filter_map(Result::ok);
        if let Some(dictionary) = shares.map(|share| share.path().join("dicom.dic")).find(|path| path.exists()) {
            command.env("DCMDICTPATH", dictionary);
        }
        command
    }
}

/// Finds the real file of a plugin: directories of plugins may hold links that end outside an unpacked release.
fn plugin(place: &Path, name: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(place).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    let mut found: Vec<PathBuf> = entries
        .filter(|path| {
            path.is_file() && path.file_name().and_then(|own| own.to_str()).is_some_and(|own| own.starts_with(name))
        })
        .collect();
    found.sort();
    found.pop()
}

fn settings(
    kind: Kind,
    release: &Release,
    data: &Path,
    (dicom, http, postgres): (u16, u16, Option<u16>),
    destinations: &[(String, u16)],
) -> serde_json::Value {
    let modality = |(title, port): &(String, u16)| {
        (title.clone(), json!({"AET": title, "Host": "127.0.0.1", "Port": port, "AllowFind": true}))
    };
    let modalities: serde_json::Map<_, _> = destinations.iter().map(modality).collect();
    let mut settings = json!({
        "Name": kind.to_string(), "StorageDirectory": data, "IndexDirectory": data, "Plugins": release.plugins,
        "HttpPort": http, "DicomPort": dicom, "DicomAet": "PEER",
        "SyncStorageArea": true, "RemoteAccessAllowed": false, "AuthenticationEnabled": false,
        "HttpCompressionEnabled": false, "OrthancExplorerEnabled": false,
        "DicomAlwaysAllowFind": true, "DicomAlwaysAllowGet": true, "DicomAlwaysAllowMove": true,
        "DicomCheckCalledAet": false, "DicomModalities": modalities,
        "DicomThreadsCount": 16, "ConcurrentJobs": 8, "HttpThreadsCount": 50, "MaximumPduLength": 131_072,
        "TcpNoDelay": true, "KeepAlive": true, "StableAge": 60, "OverwriteInstances": false,
        "StorageCompression": false, "StoreMD5ForAttachments": true, "SaveJobs": false,
        "LimitFindResults": 0, "LimitFindInstances": 0, "QidoCaseSensitive": false,
        "DicomWeb": {"Enable": true, "Root": "/dicom-web/", "EnableWado": true},
    });
    if let (Some(port), Some(all)) = (postgres, settings.as_object_mut()) {
        let index = json!({
            "EnableIndex": true, "EnableStorage": false, "Host": "127.0.0.1", "Port": port,
            "Database": postgres::DATABASE, "Username": postgres::DATABASE, "Password": "",
            "Lock": false, "IndexConnectionsCount": 1, "EnableSsl": false,
        });
        all.insert("PostgreSQL".to_owned(), index);
    }
    settings
}
