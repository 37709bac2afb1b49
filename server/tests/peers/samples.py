"""Every sample file through the archive: stored by C-STORE, fetched by WADO-RS and C-GET before and after packing, and its
metadata compared with pydicom's. FILMROOM_SAMPLES names the folder; its MANIFEST.tsv says what is in it.

Files that share their UIDs with others (one image in many encodings) cannot be in one archive: the first is kept. They are
sent in rounds, each to an archive of its own.
"""
import csv, json, os, pathlib, sys, time, warnings
import pydicom
from pydicom.uid import UID
from harness import Report, Server, data_set

warnings.simplefilter("ignore")
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
SAMPLES = pathlib.Path(os.environ["FILMROOM_SAMPLES"])
report = Report()
STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"


def rounds():
    """[{sop: (path, row)}]: no UID twice in one"""
    out = []
    with open(SAMPLES / "MANIFEST.tsv") as f:
        for row in csv.DictReader(f, delimiter="\t"):
            if row["kind"] != "storable":
                continue
            path = SAMPLES / row["path"]
            for one in out:
                if row["instance_uid"] not in one:
                    one[row["instance_uid"]] = (path, row)
                    break
            else:
                out.append({row["instance_uid"]: (path, row)})
    return out


def sop_class(path):
    return str(pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID"], force=True).SOPClassUID)


def c_store(server, files):
    """{sop: status}; the bytes as they are in the file"""
    from io import BytesIO
    from pynetdicom import AE
    from pynetdicom.dimse_primitives import C_STORE
    out, todo = {}, list(files.items())
    pairs = {uid: (sop_class(path), str(pydicom.filereader.read_file_meta_info(path).TransferSyntaxUID)) for uid, (path, _) in todo}
    wanted = sorted(set(pairs.values()))
    for start in range(0, len(wanted), 120):
        ae = AE("SAMPLES")
        for cls, syntax in wanted[start:start + 120]:
            ae.add_requested_context(cls, syntax)
        assoc = ae.associate("127.0.0.1", server.dicom, ae_title="FILMROOM")
        assert assoc.is_established
        accepted = {(str(c.abstract_syntax), str(c.transfer_syntax[0])): c.context_id for c in assoc.accepted_contexts}
        assoc._reactor_checkpoint.clear()  # as pynetdicom's own send_c_store does: the answers are ours
        while not assoc._is_paused:
            time.sleep(0.01)
        for number, (uid, (path, _)) in enumerate(todo):
            pair = pairs[uid]
            if pair not in wanted[start:start + 120]:
                continue
            if pair not in accepted:
                out[uid] = ("context refused", pair)
                continue
            request = C_STORE()
            request.MessageID = number % 65535 + 1
            # What the data set says: the file meta information of some samples is wrong.
            request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = UID(pair[0]), UID(uid)
            request.Priority = 2
            request.DataSet = BytesIO(data_set(path.read_bytes()))
            assoc.dimse.send_msg(request, accepted[pair])
            _, answer = assoc.dimse.get_msg(block=True)
            out[uid] = (answer.Status, getattr(answer, "ErrorComment", None)) if answer else ("no answer", None)
        assoc._reactor_checkpoint.set()
        assoc.release()
    return out


def c_get(server, files):
    from pynetdicom import AE, build_role, evt
    from pydicom.dataset import Dataset
    got, failed = {}, 0
    pairs = sorted({(sop_class(p), str(pydicom.filereader.read_file_meta_info(p).TransferSyntaxUID)) for p, _ in files.values()})
    studies = sorted({str(row["study_uid"]) for _, row in files.values()})

    def store(event):
        got[str(event.request.AffectedSOPInstanceUID)] = event.request.DataSet.getvalue()
        return 0
    ae = AE("SAMPLES"); ae.add_requested_context(STUDY_ROOT_GET)
    for cls, syntax in pairs[:120]:
        ae.add_requested_context(cls, syntax)
    roles = [build_role(cls, scp_role=True) for cls in sorted({c for c, _ in pairs[:120]})]
    assoc = ae.associate("127.0.0.1", server.dicom, ae_title="FILMROOM", ext_neg=roles, evt_handlers=[(evt.EVT_C_STORE, store)])
    for study in studies:
        key = Dataset(); key.QueryRetrieveLevel = "STUDY"; key.StudyInstanceUID = study
        for status, _ in assoc.send_c_get(key, STUDY_ROOT_GET):
            pass
    assoc.release()
    return got


def wado(server, files):
    got = {}
    for study in sorted({row["study_uid"] for _, row in files.values()}):
        for head, part in server.parts(f"/studies/{study}"):
            got[head["content-location"].rsplit("/", 1)[1]] = data_set(part)
    return got


def reference(path):
    ds = pydicom.dcmread(path, force=True)
    return ds.to_json_dict(bulk_data_threshold=1024, bulk_data_element_handler=lambda e: "bulk", suppress_invalid_tags=True)


BULKABLE = {"DS", "FL", "FD", "IS", "LT", "OB", "OD", "OF", "OL", "OV", "OW", "SL", "SS", "ST", "SV", "UC", "UL", "UN", "US", "UT", "UV"}
CUT_OFF = {"emri_small_jpeg_2k_lossless_too_short.dcm", "rtplan_truncated.dcm", "MR_truncated.dcm"}


def differences(name, ours, theirs, path=""):
    """[(class, where, ours, theirs)]: the class names a line of docs/metadata-differences.md, None what it does not explain"""
    out = []
    for tag in sorted(set(ours) | set(theirs)):
        a, b, where = ours.get(tag), theirs.get(tag), path + tag
        if a and b and a.get("vr") == b.get("vr") == "SQ":
            x, y = a.get("Value", []), b.get("Value", [])
            for n, (i, j) in enumerate(zip(x, y)):
                out += differences(name, i or {}, j or {}, f"{where}[{n}].")
            if len(x) != len(y):
                out.append(("cut-off files" if name in CUT_OFF else None, where, f"{len(x)} items", f"{len(y)} items"))
        elif a != b and canonical(a) != canonical(b):
            out.append((justified(name, tag, a, b), where, a, b))
    return out


def justified(name, tag, a, b):
    private = int(tag[:4], 16) % 2 == 1
    if a is None:
        return {"0000": "group lengths"}.get(tag[4:]) or ("trailing padding" if tag == "FFFCFFFC" else "cut-off files" if name in CUT_OFF else None)
    if b is None and a["vr"] in ("IS", "DS") and any(isinstance(number(v), str) for v in a.get("Value", [])):
        return "invalid numbers"
    if b is None:
        return "cut-off files" if name in CUT_OFF else "invalid UIDs" if bad_uid(a) else None
    if tag == "00080005":
        return "Specific Character Set"
    if private and a["vr"] == "UN":
        return "private dictionary"
    if name in CUT_OFF:
        return "cut-off files"
    if a["vr"] == b["vr"] and "BulkDataURI" in a:
        if tag == "7FE00010" or "BulkDataURI" in b:
            return "bulk data"
        return "long lists" if a["vr"] in BULKABLE and len(b.get("Value", [])) > 256 else None
    if a["vr"] == b["vr"] and "InlineBinary" in a and "BulkDataURI" in b:
        return "threshold" if len(a["InlineBinary"]) * 3 // 4 <= 1024 + 2 else None
    if bad_uid(a):
        return "invalid UIDs"
    return None


def bad_uid(attribute):
    """Whether there is a UID in it that PS3.5 §9.1 does not allow: a component with a leading zero, or other characters"""
    if attribute.get("vr") == "SQ":
        return any(bad_uid(i) for item in attribute.get("Value", []) for i in item.values())
    values = attribute.get("Value", [])
    return attribute.get("vr") == "UI" and any(v and not UID(v).is_valid for v in values)


def canonical(attribute):
    """DS and IS by their number, an empty value as null, blanks around values away"""
    if attribute is None:
        return None
    attribute = dict(attribute)
    if "Value" in attribute and attribute["vr"] != "SQ":
        values = [None if v in ("", {}) else v.strip() if isinstance(v, str) else v for v in attribute["Value"]]
        values = [number(v) for v in values] if attribute["vr"] in ("DS", "IS", "FL", "FD") else values
        attribute["Value"] = values
        if all(v is None for v in values):
            del attribute["Value"]
    if attribute.get("InlineBinary") == "":
        del attribute["InlineBinary"]
    return attribute


def number(value):
    try:
        return float(value)
    except (TypeError, ValueError):
        return value


def main():
    stored = total = differing = compared = 0
    refusals, found, classes = [], [], {}
    for n, files in enumerate(rounds()):
        server = Server().start()
        statuses = c_store(server, files)
        good = {}
        for uid, (path, row) in files.items():
            total += 1
            if statuses.get(uid, (None,))[0] == 0:
                stored += 1; good[uid] = (path, row)
            else:
                refusals.append((row["path"], statuses.get(uid)))
        sent = {uid: data_set(path.read_bytes()) for uid, (path, _) in good.items()}
        for state in ("journal", "sealed"):
            for service, fetch in (("WADO-RS", wado), ("C-GET", c_get)):
                got = fetch(server, good)
                wrong = [uid for uid in sent if got.get(uid) != sent[uid]]
                report.check(f"round {n} {state} {service} {len(sent)} files", not wrong and len(got) == len(sent), [str(good[u][0]) for u in wrong][:5])
            for uid, (path, row) in good.items():
                ours = server.json(f"/studies/{row['study_uid']}/series/{row['series_uid']}/instances/{uid}/metadata")[0]
                compared += 1
                try:
                    theirs = reference(path)
                except Exception as error:
                    found.append((row["path"], "pydicom", repr(error)[:200], ""))
                    continue
                for kind, where, a, b in differences(path.name, ours, theirs):
                    classes[kind] = classes.get(kind, 0) + 1
                    if kind is None:
                        found.append((row["path"], where, json.dumps(a, ensure_ascii=False)[:160], json.dumps(b, ensure_ascii=False)[:160]))
            if state == "journal":
                code, out, err = server.command("pack", "--now")
                report.check(f"round {n} pack --now", code == 0, err[-300:] if code else "")
        server.stop(); server.remove()
    for path, status in refusals:
        print("refused", path, status)
    for row in sorted(set(found)):
        print("differs", *row, sep="\t")
    for kind, count in sorted(classes.items(), key=str):
        print("justified" if kind else "NOT justified", kind, count, sep="\t")
    report.check("stored", stored >= 430, f"{stored} of {total}")
    report.check("metadata equals pydicom's but for the differences in docs/metadata-differences.md", not found, f"{compared} compared")
    report.end()


main()
