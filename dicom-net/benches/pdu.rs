//! What the receiving loop costs for one C-STORE of 60 KB on loopback: association, PDUs, command sets and the answer,
//! into an archive that keeps nothing. The baseline sends as many bytes to a socket that only counts them and answers,
//! which no DICOM server can be faster than. One operation at a time, by a client that is the same for every server.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use archive::double::{Double, Identify, Keeping, State};
use archive::{Error, Origin};
use bench::association::Association;
use dicom_data::Identifiers;
use dicom_net::{Server, ServerOptions};
use divan::Bencher;
use divan::counter::BytesCount;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// Bytes of the baseline's answer, as long as a C-STORE-RSP.
const ANSWER_BYTES: usize = 180;
/// Bytes that the baseline reads at most in one go.
const READ_BYTES_MAX: usize = 256 << 10;

fn main() {
    divan::main();
}

#[divan::bench]
fn baseline_socket(bencher: Bencher<'_, '_>) {
    let instance = slice();
    let bytes = instance.data_set.len();
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
    let address = listener.local_addr().expect("it listens");
    let reader = thread::spawn(move || count_and_answer(&listener, bytes));
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_nodelay(true).expect("it is a TCP socket");
    let mut answer = [0; ANSWER_BYTES];
    bencher.counter(BytesCount::new(bytes)).bench_local(|| {
        stream.write_all(&instance.data_set).expect("the reader reads");
        stream.read_exact(&mut answer).expect("the reader answers");
    });
    drop(stream);
    reader.join().expect("the reader does not panic");
}

#[divan::bench]
fn c_store(bencher: Bencher<'_, '_>) {
    let instance = slice();
    let kind = (instance.sop_class_uid, instance.transfer_syntax_uid);
    let runtime = Runtime::new().expect("threads can be started");
    let options = ServerOptions { listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))], ..ServerOptions::default() };
    let identify = Identify { finish: as_announced, ..Identify::default() };
    let archive = Double::new(State { identify, keeping: Keeping::Nothing, ..State::default() });
    let server = runtime.block_on(Server::bind(options, archive)).expect("loopback has a free port");
    let address = server.addresses().first().expect("it listens").to_string();
    let cancel = CancellationToken::new();
    let running = runtime.spawn(server.run(cancel.clone()));
    let mut association = Association::open(&address, "FILMROOM", &[kind]).expect("it takes CT");
    bencher.counter(BytesCount::of_slice(&instance.data_set)).bench_local(|| {
        let status = association.store(kind, &instance.sop_instance_uid, &instance.data_set);
        assert_eq!(status.expect("it answers"), 0);
    });
    association.release().expect("it answers");
    cancel.cancel();
    runtime.block_on(running).expect("it does not panic");
}

/// Reads messages of so many bytes from one connection and answers each.
fn count_and_answer(listener: &TcpListener, bytes: usize) {
    let (mut stream, _) = listener.accept().expect("somebody connects");
    stream.set_nodelay(true).expect("it is a TCP socket");
    let mut buffer = vec![0; READ_BYTES_MAX];
    let mut missing = bytes;
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        missing = missing.checked_sub(read).expect("the sender waits for the answer");
        if missing == 0 {
            stream.write_all(&[0; ANSWER_BYTES]).expect("the sender reads");
            missing = bytes;
        }
    }
}

fn slice() -> testdata::Instance {
    let spec = testdata::StudySpec { instances_per_series: 1, ..testdata::StudySpec::default() };
    testdata::study(spec).next().expect("it has one instance")
}

/// Answers for an instance by what the command set said of it; its data set is not read.
fn as_announced(origin: &Origin, _data_set: &[u8]) -> Result<Identifiers, Error> {
    let missing = || Error::NotFound { what: "instance" };
    let sop_instance_uid = origin.sop_instance_uid.clone().ok_or_else(missing)?;
    Ok(Identifiers {
        sop_class_uid: origin.sop_class_uid.clone().ok_or_else(missing)?,
        study_instance_uid: sop_instance_uid.clone(),
        series_instance_uid: sop_instance_uid.clone(),
        sop_instance_uid,
    })
}
