"""A study of 1,000 slices through every service, with DCMTK and pynetdicom: as received, packed, with two devices gone,
after flipped bytes, and after the index was rebuilt. Each data set must come back byte for byte.

    python study.py [--instances 1000]
"""
import argparse, json, os, pathlib, random, shutil, subprocess, tempfile, time
from harness import Report, Server, TESTDATA, data_set, folder_data_sets, free_port, run, dcmtk as program, listening

report = Report()
STUDY_ROOT_FIND, STUDY_ROOT_MOVE, STUDY_ROOT_GET = (f"1.2.840.10008.5.1.4.1.2.2.{n}" for n in (1, 2, 3))
CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"


def same(name, sent, got):
    lost = [uid for uid in sent if uid not in got]
    other = [uid for uid in sent if uid in got and got[uid] != sent[uid]]
    extra = [uid for uid in got if uid not in sent]
    report.check(name, not (lost or other or extra), f"{len(got)} of {len(sent)}, {len(lost)} lost, {len(other)} differ, {len(extra)} extra")


def wado(server, study, sent, name):
    got = {}
    for head, part in server.parts(f"/studies/{study}"):
        uid = head["content-location"].rsplit("/", 1)[1]
        got[uid] = data_set(part)
    same(f"{name}: WADO-RS study", sent, got)


def dcmtk(server, study, sent, name, sink_port):
    find = [program("findscu"), "-S", "-aec", "FILMROOM", "127.0.0.1", server.dicom]
    _, out = run(*find, "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}", "-k", "NumberOfStudyRelatedInstances")
    report.check(f"{name}: findscu STUDY", f"[{len(sent)}" in out, out[-600:] if f"[{len(sent)}" not in out else "")
    _, out = run(*find, "-k", "QueryRetrieveLevel=SERIES", "-k", f"StudyInstanceUID={study}", "-k", "SeriesInstanceUID", "-k", "Modality")
    report.check(f"{name}: findscu SERIES", "(0020,000e)" in out and "[CT" in out)
    with tempfile.TemporaryDirectory() as folder:
        sink = subprocess.Popen([program("storescp"), "-aet", "SINK", "+B", "-od", folder, str(sink_port)], env=dict(os.environ, TCP_NODELAY="1"))
        try:
            listening(sink_port)
            started = time.time()
            code, out = run(program("movescu"), "-S", "-aec", "FILMROOM", "-aem", "SINK", "127.0.0.1", server.dicom,
                            "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}")
            took = time.time() - started
            report.check(f"{name}: movescu status", code == 0, f"{took:.1f} s " + (out[-500:] if code else ""))
            same(f"{name}: movescu to storescp", sent, folder_data_sets(folder))
        finally:
            sink.terminate(); sink.wait()
    with tempfile.TemporaryDirectory() as folder:
        code, out = run(program("getscu"), "-S", "+B", "-od", folder, "-aec", "FILMROOM", "127.0.0.1", server.dicom,
                        "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}")
        report.check(f"{name}: getscu status", code == 0, out[-500:] if code else "")
        same(f"{name}: getscu", sent, folder_data_sets(folder))


def pynetdicom_round(server, study, sent, name, sink_port):
    from pynetdicom import AE, build_role, evt
    from pydicom.dataset import Dataset
    key = Dataset(); key.QueryRetrieveLevel = "STUDY"; key.StudyInstanceUID = study
    asked = Dataset(); asked.QueryRetrieveLevel = "STUDY"; asked.StudyInstanceUID = study; asked.PatientName = ""; asked.NumberOfStudyRelatedInstances = ""
    ae = AE("PYNET")
    for context in (STUDY_ROOT_FIND, STUDY_ROOT_MOVE, STUDY_ROOT_GET):
        ae.add_requested_context(context)
    ae.add_requested_context(CT, EXPLICIT)
    ae.add_supported_context(CT, EXPLICIT)
    got = {}

    def store(event):
        got[str(event.request.AffectedSOPInstanceUID)] = event.request.DataSet.getvalue()
        return 0
    handlers = [(evt.EVT_C_STORE, store)]
    assoc = ae.associate("127.0.0.1", server.dicom, ae_title="FILMROOM", ext_neg=[build_role(CT, scp_role=True)], evt_handlers=handlers)
    assert assoc.is_established
    found = [(s.Status, d) for s, d in assoc.send_c_find(asked, STUDY_ROOT_FIND)]
    right = [s for s, _ in found] in ([0xFF00, 0], [0xFF01, 0]) and int(found[0][1].NumberOfStudyRelatedInstances) == len(sent)
    report.check(f"{name}: pynetdicom C-FIND", right, [hex(s) for s, _ in found])
    final = [s for s, _ in assoc.send_c_get(key, STUDY_ROOT_GET)][-1]
    counters = (final.NumberOfCompletedSuboperations, final.NumberOfFailedSuboperations, final.NumberOfWarningSuboperations)
    report.check(f"{name}: pynetdicom C-GET counters", final.Status == 0 and counters == (len(sent), 0, 0), counters)
    same(f"{name}: pynetdicom C-GET", sent, got)
    got.clear()
    sink = AE("SINK"); sink.add_supported_context(CT, EXPLICIT)
    scp = sink.start_server(("127.0.0.1", sink_port), block=False, evt_handlers=handlers)
    answers = [s for s, _ in assoc.send_c_move(key, "SINK", STUDY_ROOT_MOVE)]
    final = answers[-1]
    counters = (final.NumberOfCompletedSuboperations, final.NumberOfFailedSuboperations, final.NumberOfWarningSuboperations)
    report.check(f"{name}: pynetdicom C-MOVE counters", final.Status == 0 and counters == (len(sent), 0, 0), counters)
    same(f"{name}: pynetdicom C-MOVE", sent, got)
    answers = [s for s, _ in assoc.send_c_move(key, "NOBODY", STUDY_ROOT_MOVE)]
    report.check(f"{name}: C-MOVE to an unknown AE is A801", answers[-1].Status == 0xA801, hex(answers[-1].Status))
    scp.shutdown(); assoc.release()


def answers(server, study):
    """What a query and a retrieve say: to be compared field by field."""
    _, found = run(program("findscu"), "-S", "-aec", "FILMROOM", "127.0.0.1", server.dicom, "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID",
                   "-k", "PatientName", "-k", "PatientID", "-k", "StudyDate", "-k", "NumberOfStudyRelatedInstances", "-k", "ModalitiesInStudy")
    found = "\n".join(l for l in found.splitlines() if "(" in l and ")" in l)
    out = {"find": found}
    for path in ("/studies?includefield=all", "/series?includefield=all&limit=1000", f"/studies/{study}/instances?includefield=all"):
        out[path] = server.json(path)
    out["metadata"] = server.json(f"/studies/{study}/metadata")
    return out


def flip_two_shards(server):
    shards = {}
    for path in server.data.rglob("*.fshard"):
        shards.setdefault(path.name.split(".")[0], []).append(path)
    rng, before = random.Random(7), {}
    for paths in shards.values():
        # One of the two holds data, so that reads meet it: with both in the parity only verify would.
        numbered = sorted(paths, key=lambda path: int(path.name.split(".")[1]))
        first = rng.randrange(4)
        for path in (numbered[first], rng.choice(numbered[:first] + numbered[first + 1:])):
            raw = bytearray(path.read_bytes())
            for _ in range(20):
                raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
            with open(path, "r+b") as f:
                f.write(raw)
            before[path] = bytes(raw)
    return before


def pynetdicom_send(server, folder):
    import pydicom
    from pynetdicom import AE
    ae = AE("PYNET"); ae.add_requested_context(CT, EXPLICIT)
    assoc = ae.associate("127.0.0.1", server.dicom, ae_title="FILMROOM")
    status = [assoc.send_c_store(path).Status for path in sorted(pathlib.Path(folder).rglob("*.dcm"))[:50]]
    assoc.release()
    report.check("pynetdicom C-STORE, sent again: the same bytes are no duplicates", set(status) == {0}, len(status))


def main():
    parser = argparse.ArgumentParser(); parser.add_argument("--instances", type=int, default=1000)
    instances = parser.parse_args().instances
    sink_port = free_port()
    server = Server(sink_port)
    sent_folder = server.folder / "sent"
    code, out = run(TESTDATA, "--out", sent_folder, "--studies", 1, "--instances", instances)
    assert code == 0, out
    sent = folder_data_sets(sent_folder)
    import pydicom
    study = str(pydicom.dcmread(next(sent_folder.rglob("*.dcm")), stop_before_pixels=True).StudyInstanceUID)
    report.check("generated", len(sent) == instances, len(sent))
    server.start()
    started = time.time()
    code, out = run(program("dcmsend"), "-aec", "FILMROOM", "127.0.0.1", server.dicom, "+sd", "+r", sent_folder)
    report.check("dcmsend", code == 0, f"{time.time() - started:.1f} s " + (out[-500:] if code else ""))
    pynetdicom_send(server, sent_folder)

    def everything(name):
        wado(server, study, sent, name)
        dcmtk(server, study, sent, name, sink_port)
        pynetdicom_round(server, study, sent, name, sink_port)
    everything("journal")
    before = answers(server, study)
    code, out, err = server.command("pack", "--now")
    report.check("pack --now", code == 0, out + err)
    everything("sealed")
    after = answers(server, study)
    for key in before:
        report.check(f"sealed and unsealed answer alike: {key}", before[key] == after[key])
    devices = sorted((server.data / "devices").iterdir())
    for pair in ((0, 1), (2, 5)):
        for n in pair:
            devices[n].rename(devices[n].with_name(devices[n].name + "-away"))
        everything(f"devices {pair[0] + 1} and {pair[1] + 1} away")
        for n in pair:
            devices[n].with_name(devices[n].name + "-away").rename(devices[n])
    server.stop(); server.start()
    flipped = flip_two_shards(server)
    server.stop(); server.start()  # no file handle or cache of before
    everything("two shards damaged")
    report.check("damage: nothing overwritten", all(path.read_bytes() == raw for path, raw in flipped.items()), len(flipped))
    code, out, err = server.command("verify", "--json")
    report.check("damage: verify reports both shards", code == 1 and out.count("shard ") >= 2, (code, out[-600:], err[-300:]))
    import urllib.request
    metrics = urllib.request.urlopen(f"http://127.0.0.1:{server.http}/metrics").read().decode()
    damage = [l for l in metrics.splitlines() if l.startswith("filmroom_damage{")]
    report.check("damage: in the metrics", any(not l.endswith(" 0") for l in damage), damage)
    report.check("damage: in the log", "damage" in (server.folder / "log").read_text() or "degraded" in (server.folder / "log").read_text())
    server.stop()
    shutil.rmtree(server.data / "postgres")
    code, out, err = server.command("rebuild-index")
    report.check("rebuild-index", code == 0, (out + err)[-400:])
    server.start()
    rebuilt = answers(server, study)
    for key in before:
        report.check(f"rebuilt index answers as before: {key}", before[key] == rebuilt[key])
    wado(server, study, sent, "rebuilt")
    report.check("stops on SIGTERM", server.stop() == 0)
    server.remove()
    report.end()


main()
