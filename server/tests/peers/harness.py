"""Starts the release binary and talks to it as a peer would: what the suites in this folder share.

Every suite prints one line per check, `ok NAME ...` or `FAILED NAME ...`, then `N passed, N failed`, and exits 1 if any failed.
"""
import json, os, pathlib, re, shutil, signal, socket, struct, subprocess, sys, tempfile, time, urllib.error, urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[3]
BINARY = pathlib.Path(os.environ.get("FILMROOM_BINARY", ROOT / "target/release/filmroom"))
TESTDATA = pathlib.Path(os.environ.get("TESTDATA_BINARY", ROOT / "target/release/testdata"))
DICOM = 'multipart/related; type="application/dicom"; transfer-syntax=*'
ENV = dict(os.environ, TCP_NODELAY="1")  # DCMTK's own servers wait 40 ms an image without it


class Report:
    def __init__(self):
        self.passed = self.failed = 0

    def check(self, name, good, detail=""):
        self.passed += bool(good)
        self.failed += not good
        print(("ok " if good else "FAILED ") + name, str(detail)[:2000], flush=True)
        return good

    def end(self):
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        sys.exit(self.failed > 0)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def listening(port, seconds=10):
    """Waits until somebody listens on the port."""
    end = time.time() + seconds
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.time() > end:
                raise
            time.sleep(0.02)


class Server:
    """`filmroom serve` on free ports, with a folder of its own."""

    def __init__(self, sink_port=None, extra=""):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="filmroom-peers-", dir=os.environ.get("FILMROOM_SCRATCH")))
        os.chmod(self.folder, 0o755)
        self.data = self.folder / "data"
        self.dicom, self.http = free_port(), free_port()
        sink = f'SINK = "127.0.0.1:{sink_port}"\n' if sink_port else ""
        self.config = self.folder / "filmroom.toml"
        self.config.write_text(
            f'data = "{self.data}"\n[dicom]\nlisten = "127.0.0.1:{self.dicom}"\n[dicom.destinations]\n{sink}'
            f'[http]\nlisten = "127.0.0.1:{self.http}"\n{extra}')
        self.root = f"http://127.0.0.1:{self.http}/dicomweb"
        self.process = None

    def start(self):
        self.log = open(self.folder / "log", "ab")
        self.process = subprocess.Popen([BINARY, "serve", "--config", self.config], stdout=subprocess.PIPE, stderr=self.log, text=True)
        line = self.process.stdout.readline()
        assert line.startswith("ready dicom="), f"no ready line but {line!r}; see {self.folder}/log"
        return self

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        code = self.process.wait(60)
        self.process.stdout.close()
        self.log.close()
        return code

    def command(self, *words):
        done = subprocess.run([BINARY, *words, "--config", self.config], capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    def remove(self):
        if self.process and self.process.poll() is None:
            self.stop(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def get(self, path, accept=None):
        """(status, headers, body)"""
        request = urllib.request.Request(self.root + path, headers={"Accept": accept} if accept else {})
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def json(self, path):
        status, _, body = self.get(path, "application/dicom+json")
        assert status == 200, (path, status, body[:300])
        return json.loads(body)

    def parts(self, path, accept=DICOM):
        status, headers, body = self.get(path, accept)
        assert status == 200, (path, status, body[:300])
        return parts(headers["Content-Type"], body)


def parts(content_type, body):
    """The parts of a multipart body: [(headers, bytes)], by Content-Length so that no boundary is guessed in pixels."""
    boundary = b"--" + re.search(r'boundary="?([^";]+)"?', content_type).group(1).encode()
    out, at = [], body.index(boundary)
    while True:
        at += len(boundary)
        if body[at:at + 2] == b"--":
            return out
        end = body.index(b"\r\n\r\n", at)
        head = dict(l.split(": ", 1) for l in body[at:end].decode().split("\r\n") if ": " in l)
        head = {k.lower(): v for k, v in head.items()}
        start = end + 4
        if "content-length" in head:
            stop = start + int(head["content-length"])
        else:
            stop = body.index(b"\r\n" + boundary, start)
        out.append((head, body[start:stop]))
        assert body[stop:stop + 2] == b"\r\n", "a part must end with CRLF"
        at = body.index(boundary, stop)


def data_set(part10):
    """What follows the file meta information: the bytes that must come back."""
    assert part10[128:132] == b"DICM", "no Part 10 file"
    at = 132
    while part10[at:at + 2] == b"\x02\x00":
        if part10[at + 4:at + 6] in (b"OB", b"UN", b"SQ", b"UT", b"OW"):
            at += 12 + struct.unpack_from("<I", part10, at + 8)[0]
        else:
            at += 8 + struct.unpack_from("<H", part10, at + 6)[0]
    return part10[at:]


def dcmtk(name):
    """DCMTK's program: pynetdicom installs others of the same names"""
    return next(p for p in (f"/usr/bin/{name}", shutil.which(name)) if p and os.path.exists(p))


def run(*words, env=ENV, timeout=600):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, env=env, timeout=timeout)
    return done.returncode, done.stdout + done.stderr


def folder_data_sets(folder):
    """{SOP Instance UID: data set bytes} of the Part 10 files in a folder"""
    import pydicom
    out = {}
    for path in pathlib.Path(folder).rglob("*"):
        if path.is_file():
            sop = pydicom.filereader.read_file_meta_info(path).MediaStorageSOPInstanceUID
            out[str(sop)] = data_set(path.read_bytes())
    return out
