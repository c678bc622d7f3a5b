//! What lies on a disk that broke, or that somebody else wrote to.

use model::WallTime;
use sha2::{Digest, Sha256};
use spool::manifest::{FORMAT, VERSION};

/// A part: no more comes out than went in, and a scan never calls more of it whole than there is.
pub fn matroska(data: &[u8]) {
    let mut reader = spool::mka::Reader::new(data).unwrap();
    let (mut octets, mut blocks) = (0, 0);
    while let Some(block) = reader.next_block().unwrap() {
        octets += block.payload.len();
        blocks += 1;
    }
    assert!(octets <= data.len() && blocks <= data.len(), "{blocks} blocks of {octets} octets");
    let scan = spool::mka::scan(data).unwrap();
    assert!(scan.whole_bytes <= data.len() as u64);
    // What a repair cuts to is whole.
    let whole = usize::try_from(scan.whole_bytes).unwrap();
    let again = spool::mka::scan(&data[..whole]).unwrap();
    assert_eq!(again.whole_bytes, scan.whole_bytes);
}

/// The content of a manifest, with head and checksum put before it: what is read is written and read again.
pub fn manifest(data: &[u8]) {
    let _ = spool::manifest::read(data);
    let checksum: String = Sha256::digest(data).iter().map(|b| format!("{b:02x}")).collect();
    let head = format!(
        "{{\n  \"format\": \"{FORMAT}\",\n  \"version\": {VERSION},\n  \"checksum\": \"sha256:{checksum}\",\n"
    );
    let Ok(read) = spool::manifest::read(&[head.as_bytes(), data].concat()) else { return };
    let written = spool::manifest::to_bytes(&read.record, read.sealed, read.written);
    let again = spool::manifest::read(&written).unwrap();
    assert_eq!(again.record, read.record);
}

/// Lines of a call log, each given its checksum: every octet is part of a line that was read or told as damage,
/// and what was read can be written and read again.
pub fn call_log(data: &[u8]) {
    let _ = spool::log::read(data);
    let mut log = Vec::new();
    for line in data.split(|c| *c == b'\n') {
        let crc = crc32fast::hash(line);
        log.extend_from_slice(format!("{{\"crc\":\"{crc:08x}\",").as_bytes());
        log.extend_from_slice(line);
        log.push(b'\n');
    }
    let (lines, damage) = spool::log::read(&log);
    assert!(damage.iter().all(|d| d.at + d.octets <= log.len()));
    for line in &lines {
        // Members that are not known, or named twice, may be gone then: the line itself is not.
        let (again, none) = spool::log::read(&spool::log::line(line.at, &line.entry));
        assert_eq!((again.len(), none.len()), (1, 0));
    }
}

/// A sidecar: no more comes out than went in, and what is called whole can be read to its end.
pub fn sidecar(data: &[u8]) {
    let whole_head = [spool::pcap::head(), data.to_vec()].concat();
    for bytes in [data, whole_head.as_slice()] {
        let Ok(mut reader) = spool::pcap::SidecarReader::new(bytes) else { continue };
        let mut octets = 0;
        while let Some(packet) = reader.next_packet().unwrap() {
            octets += packet.payload.len();
            let mut written = Vec::new();
            assert!(spool::pcap::put(
                &mut written,
                WallTime(packet.at.0),
                packet.from,
                packet.to,
                &packet.payload
            ));
        }
        assert!(octets <= bytes.len());
        let scan = reader.scan();
        let whole = usize::try_from(scan.whole_bytes).unwrap();
        let again = spool::pcap::scan(&bytes[..whole]).unwrap();
        assert_eq!((again.packets, again.torn), (scan.packets, false));
    }
}
