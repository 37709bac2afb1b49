"""Names in their own script: `*王*`, Japanese and Korean samples found by QIDO-RS and C-FIND, journal and sealed, in the
character sets a modality would ask in (CONFORMANCE QR-046, QR-050). FILMROOM_SAMPLES names the folder of samples.
"""
import os, pathlib, urllib.parse
from pydicom.dataset import Dataset
from pynetdicom import AE
from harness import Report, Server, run, dcmtk as program

SAMPLES = pathlib.Path(os.environ["FILMROOM_SAMPLES"]) / "charset"
FIND = "1.2.840.10008.5.1.4.1.2.2.1"
report = Report()

# pattern -> (files whose names match, character sets to ask in by C-FIND)
ASKED = {
    "*王*": ({"chrX1.dcm", "chrX2.dcm"}, ["ISO_IR 192", "GB18030"]),
    "王^小东": ({"chrX2.dcm"}, ["ISO_IR 192", "GB18030"]),
    "*山田*": ({"chrH31.dcm", "chrH32.dcm"}, ["ISO_IR 192", ["", "ISO 2022 IR 87"]]),
    "*やまだ*": ({"chrH31.dcm", "chrH32.dcm", "chrJapMulti.dcm"}, ["ISO_IR 192", ["", "ISO 2022 IR 87"]]),
    "김*": ({"chrKoreanMulti.dcm"}, ["ISO_IR 192", ["", "ISO 2022 IR 149"]]),
    "*홍*": ({"chrI2.dcm"}, ["ISO_IR 192", ["", "ISO 2022 IR 149"]]),
    "*길동": ({"chrI2.dcm"}, ["ISO_IR 192"]),
    "洪^*": ({"chrI2.dcm"}, ["ISO_IR 192"]),
    "*люк*": ({"chrRuss.dcm"}, ["ISO_IR 192", "ISO_IR 144"]),
    "wang*": ({"chrX1.dcm", "chrX2.dcm"}, ["ISO_IR 192"]),
}


def c_find(server, pattern, charset):
    key = Dataset()
    key.SpecificCharacterSet = charset
    key.QueryRetrieveLevel = "STUDY"
    key.PatientName = pattern
    key.StudyInstanceUID = ""
    ae = AE("NAMES"); ae.add_requested_context(FIND)
    assoc = ae.associate("127.0.0.1", server.dicom, ae_title="FILMROOM")
    out = {str(d.StudyInstanceUID) for s, d in assoc.send_c_find(key, FIND) if d is not None}
    assoc.release()
    return out


def main():
    import pydicom
    server = Server().start()
    studies, known = {}, set()
    for path in sorted(SAMPLES.glob("*.dcm")):
        ds = pydicom.dcmread(path)
        if "StudyInstanceUID" in ds and ds.SOPInstanceUID not in known:  # the same image in another encoding is a conflict
            known.add(ds.SOPInstanceUID)
            studies.setdefault(str(ds.StudyInstanceUID), set()).add(path.name)
            code, out = run(program("dcmsend"), "-aec", "FILMROOM", "127.0.0.1", server.dicom, path)
            report.check(f"stored {path.name}", code == 0, out[-300:] if code else "")

    def expected(files):
        return {uid for uid, names in studies.items() if names & files}
    for state in ("journal", "sealed"):
        for pattern, (files, charsets) in ASKED.items():
            for quoted in (urllib.parse.quote(pattern, safe="*"), urllib.parse.quote(pattern, safe="")):
                found = {s["0020000D"]["Value"][0] for s in server.json(f"/studies?PatientName={quoted}")}
                report.check(f"{state} QIDO {pattern} as {quoted[:20]}", found == expected(files), [studies.get(u) for u in found])
            for charset in charsets:
                found = c_find(server, pattern, charset)
                report.check(f"{state} C-FIND {pattern} in {charset}", found == expected(files), [studies.get(u) for u in found])
        if state == "journal":
            code, out, err = server.command("pack", "--now")
            report.check("pack --now", code == 0, err)
    server.stop(); server.remove()
    report.end()


main()
