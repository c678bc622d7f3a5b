//! What lies on a disk that broke, or that somebody else wrote to.

use model::WallTime;
use sha2::{Digest, Sha256};
use spool::Files as _;
use spool::layout::ManifestPath;
use spool::manifest::{FORMAT, VERSION};
use spool::memory::MemoryDisk;
use spool::redo::{Record, Room, Shelf};

use crate::Input;

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

/// Parts of a segment that is live, of one that is not, and what is no part at all.
const REDONE: [&str; 4] = [
    "t/2026-11-20/06bqx3m8r0400/001-1.mka",
    "t/2026-11-20/06bqx3m8r0400/001.pcap",
    "t/2026-11-20/06bqx3m8r0400/002-1.mka",
    "../../etc/passwd",
];

/// A redo file, made up and made by our own hand, cut and spoiled: what is read of the latter is what was written first,
/// only files of what is live change, without holes, and when it is done again nothing.
pub fn redo(data: &[u8]) {
    if let Ok(records) = spool::redo::records(data) {
        assert!(records.map(|r| r.path.len() + r.bytes.len()).sum::<usize>() <= data.len());
    }
    let mut input = Input(data);
    let (cut, spoiled) = (usize::from(input.octet()) * 8, usize::from(input.octet()) * 8);
    let there = [input.octet(), input.octet(), input.octet()];
    // What an octet is depends on where it is.
    let content = |file: usize, from: usize, octets: usize| -> Vec<u8> {
        (from..from + octets).map(|at| u8::try_from((at * 7 + file) % 255).unwrap() + 1).collect()
    };
    let mut shelf = Shelf::new(1);
    assert_eq!(shelf.room(model::Mono(1)), Room::Wanted(0));
    shelf.opened(0);
    assert_eq!(shelf.room(model::Mono(1)), Room::There);
    let mut written = Vec::new();
    while !input.is_empty() && written.len() < 64 {
        let (file, offset) = (usize::from(input.octet()) % REDONE.len(), input.octet());
        let bytes = content(file, usize::from(offset), usize::from(input.octet()));
        written.push((file, u64::from(offset), bytes));
    }
    for (file, offset, bytes) in &written {
        shelf.put(&Record { path: REDONE[*file], offset: *offset, bytes }).unwrap();
    }
    let mut redo = shelf.unwritten().map(|w| w.bytes.to_vec()).unwrap_or_default();
    redo.truncate(redo.len().saturating_sub(cut));
    if spoiled > 0
        && let Some(octet) = redo.get_mut(spoiled)
    {
        *octet ^= 1;
    }
    let Ok(records) = spool::redo::records(&redo) else { return };
    let records: Vec<_> = records.collect();
    for (read, (file, offset, bytes)) in records.iter().zip(&written) {
        assert_eq!(*read, Record { path: REDONE[*file], offset: *offset, bytes });
    }
    let mut disk = MemoryDisk::new();
    for (file, octets) in there.into_iter().enumerate() {
        // Whole, or with zeros in its place.
        let whole = content(file, 0, usize::from(octets));
        disk.put(REDONE[file], if octets % 3 == 0 { vec![0; whole.len()] } else { whole });
    }
    let marked = [ManifestPath::parse("t/2026-11-20/06bqx3m8r0400/001.json").unwrap()];
    let lacking: Vec<_> = spool::redo::missing(records.iter().copied(), &marked, &disk)
        .unwrap()
        .iter()
        .map(|m| (m.path, usize::try_from(m.offset).unwrap(), m.bytes.to_vec()))
        .collect();
    for (path, offset, bytes) in lacking {
        assert!(REDONE[..2].contains(&path), "{path} is not to be written");
        assert!(offset as u64 <= disk.len(path).unwrap(), "behind a hole");
        let mut file = disk.bytes(path).unwrap().to_vec();
        file.resize(file.len().max(offset + bytes.len()), 0);
        file[offset..offset + bytes.len()].copy_from_slice(&bytes);
        disk.put(path, file);
    }
    assert_eq!(spool::redo::missing(records, &marked, &disk).unwrap(), []);
}
