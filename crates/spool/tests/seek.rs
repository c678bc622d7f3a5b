//! Listening to the end of a long call: what is read, and that it sounds the same.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a test")]

use std::io::{self, Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use media::{Frame, FrameKind};
use model::segment::PartMark;
use model::{
    CallId, Codec, EndReason, NodeNumber, Now, OpenSegment, OpenStream, SegmentId, SegmentRecord, Side,
    StreamId, WallTime,
};
use spool::assemble::{Layout, NoDecoders, Options, Rate};
use spool::memory::MemoryDisk;
use spool::{Assembler, Files, ReadSeek, SegmentWriter, digest_of, marks_of};

/// 2026-11-20T09:15:00Z
const START: WallTime = WallTime::from_millis(1_795_166_100_000);
/// 12 minutes: longer than what is read from its beginning anyway.
const SECONDS: u64 = 720;
const OPTIONS: Options = Options { rate: Rate::Narrow, layout: Layout::Stereo };

/// A disk, and how many octets were read of it.
struct Counted {
    disk: MemoryDisk,
    read: Arc<AtomicU64>,
}

struct CountedFile {
    file: Box<dyn ReadSeek>,
    read: Arc<AtomicU64>,
}

impl Files for Counted {
    fn open(&self, path: &str) -> io::Result<Box<dyn ReadSeek>> {
        Ok(Box::new(CountedFile { file: self.disk.open(path)?, read: Arc::clone(&self.read) }))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn len(&self, path: &str) -> io::Result<u64> {
        self.disk.len(path)
    }
}

impl Read for CountedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

impl Seek for CountedFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// Two sides of G.711 whose every packet sounds otherwise. Now and then a packet of one side comes a second late.
fn call() -> (Counted, SegmentRecord, String) {
    let pcmu = Arc::new(Codec::new("PCMU", 8_000, 1));
    let streams = [(1, Side::Agent), (2, Side::External)];
    let streams = streams.map(|(n, side)| OpenStream::audio(n, side, &[(0, Codec::clone(&pcmu))])).to_vec();
    let open = OpenSegment::first(SegmentId::from_u64(2), CallId::from_u64(1), START, streams);
    let mut now = Now { wall: START, ..Now::default() };
    let mut writer = SegmentWriter::open(&open, NodeNumber::SINGLE, now);
    let (mut disk, mut ops) = (MemoryDisk::new(), Vec::new());
    let mut late = None;
    for packet in 0..SECONDS * 50 {
        now = now + Duration::from_millis(20);
        let mut push = |stream: u64, packet: u64| {
            let octet = (packet * 37 + stream * 11) as u8;
            writer.push(&Frame {
                stream: StreamId::from_u64(stream),
                position_us: packet as i64 * 20_000,
                duration_us: Some(20_000),
                payload_type: 0,
                codec: Some(&pcmu),
                kind: FrameKind::Media,
                payload: &[octet; 160],
                packet: &[octet; 160],
                source: SocketAddr::from(([127, 0, 0, 1], 4_000)),
                destination_port: 4_002,
                arrival: now.wall,
                late: false,
            });
        };
        push(1, packet);
        match packet % 1_000 {
            500 => late = Some(packet),
            550 => late.take().into_iter().for_each(|earlier| push(2, earlier)),
            _ => push(2, packet),
        }
        if packet % 50 == 0 {
            writer.flush(now, Vec::new(), &mut ops);
            disk.apply_all(&std::mem::take(&mut ops)).unwrap();
        }
    }
    writer.end(now, now.wall, EndReason::HangUp, Vec::new(), &mut ops);
    disk.apply_all(&std::mem::take(&mut ops)).unwrap();
    let mut digests = Vec::new();
    for path in writer.files() {
        let digest = digest_of(&disk, &path).unwrap();
        writer.mark(&path, marks_of(&disk, &path, digest.bytes).unwrap());
        digests.push((path, digest.bytes, digest.sha256));
    }
    let record = writer.seal(now, &digests, &mut ops);
    let directory = writer.directory().to_owned();
    (Counted { disk, read: Arc::default() }, record, directory)
}

/// Two seconds of a call from a second on, and how many octets of its files that took.
fn heard(files: &Counted, record: &SegmentRecord, directory: &str, second: u64) -> (Vec<i16>, u64) {
    let before = files.read.load(Ordering::Relaxed);
    let mut assembler = Assembler::new(vec![(record.clone(), directory.to_owned())], OPTIONS);
    assembler.seek(second * 8_000);
    let mut samples = Vec::new();
    for _ in 0..2 {
        samples.extend(assembler.next(files, &NoDecoders).unwrap().unwrap_or_default());
    }
    assert!(assembler.notes().is_empty(), "{:?}", assembler.notes());
    (samples, files.read.load(Ordering::Relaxed) - before)
}

#[test]
fn what_lies_at_the_end_of_a_long_call_is_read_from_near_there() {
    let (files, marked, directory) = call();
    let mut unmarked = marked.clone();
    let marks = std::mem::take(&mut unmarked.parts[0].marks);
    assert_eq!(marks.len(), 5, "one each two minutes: {marks:?}");
    let octets = marked.parts[0].bytes;
    for second in [0, 1, 130, 195, 300, 449, 700, 719] {
        let (sound, read) = heard(&files, &marked, &directory, second);
        let (same, all) = heard(&files, &unmarked, &directory, second);
        assert!(sound == same && sound.iter().any(|s| *s != 0), "from second {second}");
        assert!(read <= all, "from second {second}: {read} octets, {all} without marks");
        // Two minutes to the mark, what a decoder hears before, and what may come late.
        assert!(read < octets * 300 / SECONDS, "from second {second}: {read} of {octets} octets");
    }
    let (_, all) = heard(&files, &unmarked, &directory, 719);
    assert!(all > octets * 9 / 10);
}

#[test]
fn marks_that_are_none_cost_time_and_nothing_else() {
    let (files, marked, directory) = call();
    let (sound, _) = heard(&files, &marked, &directory, 700);
    let right = marked.parts[0].marks[4];
    for at in [0, 7, right.at - 1, right.at + 1, right.at + 40, marked.parts[0].bytes, u64::MAX >> 1] {
        let mut wrong = marked.clone();
        wrong.parts[0].marks = vec![PartMark { reached_us: right.reached_us, at }];
        assert!(heard(&files, &wrong, &directory, 700).0 == sound, "{at}");
    }
}
