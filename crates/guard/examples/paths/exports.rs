//! From files in memory to a file to play.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Duration;

use media::speech::Speech;
use media::{Frame, FrameKind, g711};
use model::{
    CallId, Codec, EndReason, NodeNumber, Now, OpenSegment, OpenStream, SegmentId, SegmentRecord, Side,
    StreamId, WallTime,
};
use spool::assemble::{Layout, NoDecoders, Options, Rate};
use spool::export::{Export, Format, NoMp3Encoder, Request, Tags, Tools};
use spool::memory::MemoryDisk;
use spool::{SegmentWriter, digest_of};

/// How long the call is, whatever is read of it.
const SECONDS: usize = 30;
/// Read at a time.
const PIECE: usize = 64 << 10;
const START: WallTime = WallTime::from_millis(1_795_166_100_000);

pub(crate) fn wav(seconds: usize) {
    export(Format::Wav, seconds);
}

pub(crate) fn flac(seconds: usize) {
    export(Format::Flac, seconds);
}

pub(crate) fn opus(seconds: usize) {
    export(Format::Opus, seconds);
}

/// A call of so many seconds out of the disk, of which as much is written as for the longest.
fn export(format: Format, seconds: usize) {
    let (disk, calls) = record();
    let placed = calls.into_iter().find(|(length, ..)| *length >= seconds);
    let (length, record, directory) = placed.expect("a call of this length");
    assert_eq!(length, seconds, "there is no call of this length");
    let options = Options { rate: Rate::Narrow, layout: Layout::Stereo };
    let tags = Tags { call: record.call, started: START, parties: None };
    let request = Request { format, options, bitrate: None, tags };
    let mut export = Export::new(vec![(record, directory)], &request).expect("an export");
    let tools = Tools { files: &disk, decoders: &NoDecoders, mp3: &NoMp3Encoder };
    let mut offset = 0;
    loop {
        let piece = export.read(offset, PIECE, &tools).expect("octets");
        if piece.is_empty() {
            break;
        }
        offset += black_box(piece).len() as u64;
    }
    assert!(offset > 0, "nothing was exported");
}

/// Calls of all lengths that are walked, on one disk: preparing them is the same for each walk.
fn record() -> (MemoryDisk, Vec<(usize, SegmentRecord, String)>) {
    let mut disk = MemoryDisk::new();
    let lengths = [5, 15, 25, SECONDS];
    let call = |n: usize| {
        let (record, directory) = record_one(&mut disk, lengths[n], n as u64 + 1);
        (lengths[n], record, directory)
    };
    let calls = (0..lengths.len()).map(call).collect();
    (disk, calls)
}

fn record_one(disk: &mut MemoryDisk, seconds: usize, number: u64) -> (SegmentRecord, String) {
    let codec = std::sync::Arc::new(Codec::new("PCMU", 8_000, 1));
    let sides = [(1, Side::Agent), (2, Side::External)];
    let streams = sides.map(|(n, side)| OpenStream::audio(n, side, &[(0, Codec::clone(&codec))])).to_vec();
    let (segment, call) = (SegmentId::from_u64(100 + number), CallId::from_u64(number));
    let open = OpenSegment::first(segment, call, START, streams);
    let mut now = Now { wall: START, ..Now::default() };
    let mut writer = SegmentWriter::open(&open, NodeNumber::SINGLE, now);
    let mut voices = [Speech::new(8_000, 1), Speech::new(8_000, 2)];
    let (mut samples, mut payload, mut ops) = (Vec::new(), Vec::new(), Vec::new());
    for packet in 0..seconds * 50 {
        now = now + Duration::from_millis(20);
        for (stream, voice) in (1..).zip(&mut voices) {
            samples.clear();
            payload.clear();
            voice.fill(160, &mut samples);
            g711::encode_ulaw_into(&samples, &mut payload);
            writer.push(&Frame {
                stream: StreamId::from_u64(stream),
                position_us: i64::try_from(packet).expect("a small number") * 20_000,
                duration_us: Some(20_000),
                payload_type: 0,
                codec: Some(&codec),
                kind: FrameKind::Media,
                payload: &payload,
                packet: &payload,
                source: SocketAddr::from(([192, 0, 2, 7], 4_000)),
                destination_port: 4_002,
                arrival: now.wall,
                late: false,
            });
        }
        if packet % 50 == 49 {
            writer.flush(now, Vec::new(), &mut ops);
            disk.apply_all(&std::mem::take(&mut ops)).expect("memory");
        }
    }
    writer.end(now, now.wall, EndReason::HangUp, Vec::new(), &mut ops);
    disk.apply_all(&std::mem::take(&mut ops)).expect("memory");
    let digests: Vec<(String, u64, String)> = writer
        .files()
        .into_iter()
        .map(|path| {
            let digest = digest_of(disk, &path).expect("a file");
            (path, digest.bytes, digest.sha256)
        })
        .collect();
    let record = writer.seal(now, &digests, &mut ops);
    disk.apply_all(&ops).expect("memory");
    (record, writer.directory().to_owned())
}
