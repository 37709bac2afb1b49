//! PDUs (PS3.8 §9.3.1, §9.3.5).

/// Bytes of a PDU's header and of its only fragment's.
const HEADER_BYTES: usize = 12;

/// Writes a PDU.
pub(super) fn pdu(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a request is short");
    let mut pdu = vec![kind, 0];
    pdu.extend_from_slice(&length.to_be_bytes());
    pdu.extend_from_slice(body);
    pdu
}

/// Writes the header of a P-DATA-TF PDU with one fragment, and the fragment's.
pub(super) fn header(fragment: usize, context: u8, control: u8) -> [u8; HEADER_BYTES] {
    let item = u32::try_from(fragment + 2).expect("a fragment is shorter than a PDU");
    let mut header = [0; HEADER_BYTES];
    let parts: [&[u8]; 4] = [&[4, 0], &(item + 4).to_be_bytes(), &item.to_be_bytes(), &[context, control]];
    header.copy_from_slice(&parts.concat());
    header
}
