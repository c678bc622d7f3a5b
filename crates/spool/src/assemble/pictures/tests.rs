//! Kept packets of video, as pictures on the time line of a call.

use std::net::SocketAddr;
use std::time::Duration;

use model::segment::SidecarRecord;
use model::stream::{Accounting, CodecUse};
use model::{Anchor, CallId, Codec};

use super::*;
use crate::assemble::{Layout, NoDecoders, Options, Rate};
use crate::export::{Export, ExportError, Format, NoMp3Encoder, Request, Tags, Tools};
use crate::fixture::{START, record};
use crate::memory::MemoryDisk;
use crate::{mka, pcap};

const SSRC: u32 = 0xf11f;

/// A picture of VP8 as one packet.
fn payload(n: usize, key: bool) -> Vec<u8> {
    let mut out = vec![0x10, u8::from(!key), 0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00];
    out.push(u8::try_from(n % 256).unwrap());
    out
}

/// A call in the making: segments with video of 25 pictures a second, a key frame each second.
#[derive(Default)]
struct Call {
    disk: MemoryDisk,
    segments: Vec<(SegmentRecord, String)>,
    sent: usize,
}

impl Call {
    /// A segment that begins then and has so many pictures but those that are lost (numbers in the segment); the first
    /// one arrives 500 ms after its beginning.
    fn segment(mut self, start_ms: u64, count: usize, lost: &[usize], codec: &str) -> Self {
        let number = u16::try_from(self.segments.len() + 1).unwrap();
        let mut record = record(number);
        record.number = number;
        record.started = START + Duration::from_millis(start_ms);
        record.ended = Some(record.started + Duration::from_millis(500 + 40 * count as u64));
        record.streams.clear();
        let begun = record.started + Duration::from_millis(500);
        let mut bytes = pcap::head();
        let to = SocketAddr::from(([0, 0, 0, 0], 40_002));
        for n in (0..count).filter(|n| !lost.contains(n)) {
            let sent = self.sent + n;
            let sequence = u16::try_from(sent).unwrap().to_be_bytes();
            let timestamp = (u32::try_from(sent).unwrap() * 3_600).to_be_bytes();
            let payload = payload(n, n % 25 == 0);
            let mut packet = vec![0x80, 0xE1, sequence[0], sequence[1]];
            packet.extend_from_slice(&timestamp);
            packet.extend_from_slice(&SSRC.to_be_bytes());
            packet.extend_from_slice(&payload);
            // The network holds up every third by 30 ms.
            let late = if n % 3 == 1 { 30 } else { 0 };
            let at = begun + Duration::from_millis(40 * n as u64 + late);
            assert!(pcap::put(&mut bytes, at, SocketAddr::from(([192, 0, 2, 7], 9)), to, &packet));
        }
        let directory = "default/2026-11-20/call".to_owned();
        let file = format!("{number:03}.pcap");
        record.sidecar =
            Some(SidecarRecord { file: file.clone(), packets: 0, bytes: bytes.len() as u64, sha256: None });
        self.disk.put(&format!("{directory}/{file}"), bytes);
        let rtp = u32::try_from(self.sent).unwrap() * 3_600;
        record.streams.push(StreamRecord {
            id: StreamId::from_u64(u64::from(number) * 10),
            slot: 2,
            label: Some("3".to_owned()),
            kind: MediaKind::Video,
            side: Side::Mixed,
            port: 40_002,
            source: None,
            ssrcs: vec![SSRC],
            codecs: vec![CodecUse {
                payload_type: 97,
                codec: Some(Codec::new(codec, 90_000, 1)),
                from: begun,
            }],
            accounting: Accounting::default(),
            anchors: vec![Anchor { ssrc: SSRC, rtp, at: begun, position_us: 500_000, frame_us: None }],
            gaps: Vec::new(),
            gaps_unlisted: 0,
        });
        self.sent += count;
        self.segments.push((record, directory));
        self
    }

    fn export(&self, format: Format) -> Result<Export, ExportError> {
        let tags = Tags { call: CallId::from_u64(4_000), started: START, parties: None };
        let options = Options { rate: Rate::Narrow, layout: Layout::Stereo };
        Export::new(self.segments.clone(), &Request { format, options, bitrate: None, tags })
    }

    /// Milliseconds at which pictures are seen, and which they are, in the order of decoding; and the notes.
    fn seen(&self) -> (Vec<(i64, u8)>, Vec<Note>) {
        let mut pictures = Pictures::new(self.segments.clone());
        pictures.open(&self.disk);
        let tracks = pictures.shows().count();
        assert!(tracks <= 1, "{tracks} tracks");
        let mut seen = Vec::new();
        while let Some(shown) = pictures.peek(0, &self.disk).cloned() {
            pictures.take(0);
            seen.push((shown.tick / PER_MS, *shown.data.last().unwrap()));
        }
        (seen, pictures.notes())
    }
}

#[test]
fn pictures_lie_where_they_arrived_and_one_line_is_one_track_over_a_hold() {
    let call = Call::default().segment(0, 50, &[], "VP8").segment(10_000, 30, &[], "VP8");
    let (seen, notes) = call.seen();
    let first = (0..50_u8).map(|n| (500 + 40 * i64::from(n), n));
    let second = (0..30_u8).map(|n| (10_500 + 40 * i64::from(n), n));
    assert_eq!((seen, notes), (first.chain(second).collect(), vec![]));
}

#[test]
fn what_follows_a_loss_is_left_out_until_a_key_frame_and_told() {
    let call = Call::default().segment(0, 75, &[30], "VP8");
    let (seen, notes) = call.seen();
    let numbers: Vec<u8> = seen.iter().map(|s| s.1).collect();
    assert_eq!(numbers, (0..30).chain(50..75).collect::<Vec<u8>>());
    let stream = StreamId::from_u64(10);
    assert_eq!(notes, [Note::NotShown { stream, from_ms: 500 + 29 * 40, until_ms: 500 + 50 * 40 }]);
}

#[test]
fn where_two_segments_overlap_the_later_one_is_shown() {
    let call = Call::default().segment(0, 50, &[], "VP8").segment(1_000, 50, &[], "VP8");
    let (seen, _) = call.seen();
    assert_eq!(seen.len(), 25 + 50);
    assert!(seen.windows(2).all(|two| two[0].0 < two[1].0), "{seen:?}");
}

#[test]
fn what_cannot_be_shown_is_said() {
    let call = Call::default().segment(0, 10, &[], "AV1");
    assert!(matches!(call.export(Format::Mkv), Err(ExportError::NoPictures)));
    let notes = super::super::not_shown(call.segments.iter().map(|(s, _)| s));
    assert!(matches!(&notes[..], [Note::NotDecoded { codec, .. }] if codec == "AV1"), "{notes:?}");
    assert_eq!(super::super::not_decoded(call.segments.iter().map(|(s, _)| s), &NoDecoders), []);
    let h264 = Call::default().segment(0, 10, &[], "H264");
    assert!(matches!(h264.export(Format::Webm), Err(ExportError::NotInWebm("H264"))));
    // No key frame: no track, and a note.
    let (seen, notes) = Call::default().segment(0, 20, &[0], "VP8").seen();
    assert!(seen.is_empty() && matches!(&notes[..], [Note::NotDecoded { .. }]), "{seen:?} {notes:?}");
}

#[test]
fn a_file_is_the_same_whoever_reads_which_ranges_of_it() {
    let call = Call::default().segment(0, 200, &[60], "VP8");
    let tools = Tools { files: &call.disk, decoders: &NoDecoders, mp3: &NoMp3Encoder };
    let mut export = call.export(Format::Webm).unwrap();
    assert_eq!((export.octets(), export.is_empty()), (None, false));
    let mut whole = Vec::new();
    loop {
        let some = export.read(whole.len() as u64, 777, &tools).unwrap();
        if some.is_empty() {
            break;
        }
        whole.extend(some);
    }
    assert_eq!(export.notes().len(), 1);
    for (from, len) in
        [(0, 100), (whole.len() - 50, 100), (3_000, 10), (whole.len(), 5), (whole.len() + 9, 5)]
    {
        let mut some = Vec::new();
        while some.len() < len {
            let more = export.read((from + some.len()) as u64, len - some.len(), &tools).unwrap();
            if more.is_empty() {
                break;
            }
            some.extend(more);
        }
        let until = (from + len).min(whole.len());
        assert!(some == whole.get(from..until).unwrap_or_default(), "{from} and {len} of {}", whole.len());
    }
    let blocks = mka::blocks_of(&whole);
    let pictures: Vec<i64> = blocks.iter().filter(|b| b.0 == 1).map(|b| b.1).collect();
    let sound: Vec<i64> = blocks.iter().filter(|b| b.0 == 2).map(|b| b.1).collect();
    assert_eq!(pictures.len(), 200 - 15);
    assert_eq!((pictures[0], pictures[1]), (500, 540));
    assert!(sound.len() >= 400 && sound.iter().zip(0..).all(|(ms, n)| *ms == n * 20), "{}", sound.len());
    // By their time, but for what stands in the same place.
    assert!(blocks.windows(2).all(|two| two[0].1 <= two[1].1));
}
