//! Ordinary players open what we write: whole, and cut at any octet.
//!
//! Needs `ffprobe` and `ffmpeg` (the dev script installs them); the tests fail by name when they are missing.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use media::{Frame, FrameKind};
use model::{
    CallId, Codec, EndReason, NodeNumber, Now, OpenSegment, OpenStream, SegmentId, Side, StreamId, WallTime,
};
use spool::memory::MemoryDisk;
use spool::{FileOp, SegmentWriter};

fn run(program: &str, args: &[&str]) -> (String, String) {
    let output = Command::new(program).args(args).output().unwrap_or_else(|e| {
        panic!("`{program}` cannot be run ({e}): install the Debian package ffmpeg to run the player tests")
    });
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// A stream per codec, 5 s of 20 ms frames; the first one is silent from 1 s to 4 s.
fn part(codecs: &[(Codec, Vec<u8>)]) -> Vec<u8> {
    let started = WallTime::from_millis(1_795_166_100_000);
    let now = Now { wall: started, ..Now::default() };
    let streams = (1..).zip(codecs).map(|(n, (codec, _))| {
        let side = if n == 1 { Side::Agent } else { Side::External };
        OpenStream::audio(n, side, &[(0, codec.clone())])
    });
    let streams = streams.collect();
    let open = OpenSegment::first(SegmentId::from_u64(2), CallId::from_u64(1), started, streams);
    let mut writer = SegmentWriter::open(&open, NodeNumber::SINGLE, now);
    let mut ops = Vec::new();
    let shared: Vec<_> = codecs.iter().map(|(codec, _)| Arc::new(codec.clone())).collect();
    for n in 0..250_u32 {
        for ((stream, codec), (_, payload)) in (1..).zip(&shared).zip(codecs) {
            if stream == 1 && (50..200).contains(&n) {
                continue;
            }
            writer.push(&Frame {
                stream: StreamId::from_u64(stream),
                position_us: i64::from(n) * 20_000,
                duration_us: Some(20_000),
                payload_type: 0,
                codec: Some(codec),
                kind: FrameKind::Media,
                payload,
                packet: payload,
                source: SocketAddr::from(([192, 0, 2, 7], 9)),
                destination_port: 9,
                arrival: started,
                late: false,
            });
        }
        if n % 5 == 4 {
            writer.flush(now + Duration::from_millis(u64::from(n + 1) * 20), Vec::new(), &mut ops);
        }
    }
    let end = now + Duration::from_secs(5);
    writer.end(end, end.wall, EndReason::HangUp, Vec::new(), &mut ops);
    let mut disk = MemoryDisk::new();
    disk.apply_all(ops.iter().filter(|op| !matches!(op, FileOp::Unmark { .. }))).unwrap();
    disk.bytes(&writer.files()[0]).unwrap().to_vec()
}

fn g711() -> Vec<u8> {
    part(&[(Codec::new("PCMU", 8_000, 1), vec![0x90; 160]), (Codec::new("PCMA", 8_000, 1), vec![0x90; 160])])
}

fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// `key=value` lines of ffprobe for a file.
fn probe(path: &std::path::Path, show: &str) -> (Vec<String>, String) {
    let args = ["-v", "error", "-of", "default=nw=1", "-show_entries", show, path.to_str().unwrap()];
    let (out, errors) = run("ffprobe", &args);
    (out.lines().map(ToOwned::to_owned).collect(), errors)
}

#[test]
fn every_codec_is_known_by_its_name() {
    let opus_silence = vec![0x78, 0xFF, 0xFE];
    for (codec, payload, name, rate) in [
        (Codec::new("PCMU", 8_000, 1), vec![0xFF; 160], "pcm_mulaw", 8_000),
        (Codec::new("PCMA", 8_000, 1), vec![0xD5; 160], "pcm_alaw", 8_000),
        (Codec::new("G722", 8_000, 1), vec![0xFA; 160], "adpcm_g722", 16_000),
        (Codec::new("G729", 8_000, 1), vec![0; 20], "g729", 8_000),
        (Codec::new("OPUS", 48_000, 2), opus_silence, "opus", 48_000),
    ] {
        let path = file(&format!("{name}.mka"), &part(&[(codec, payload)]));
        let (lines, errors) = probe(&path, "stream=codec_name,sample_rate,channels:stream_tags=title");
        assert_eq!(errors, "", "{name}");
        let expected = [
            format!("codec_name={name}"),
            format!("sample_rate={rate}"),
            "channels=1".into(),
            "TAG:title=agent".into(),
        ];
        assert_eq!(lines, expected);
    }
}

#[test]
fn the_length_is_true_although_a_party_was_silent() {
    let path = file("length.mka", &g711());
    let (lines, errors) = probe(&path, "format=duration:format_tags=CALLSPOOL_NUMBER");
    assert_eq!(
        (lines, errors.as_str()),
        (vec!["duration=5.000000".into(), "TAG:CALLSPOOL_NUMBER=1".into()], "")
    );
    // What a player decodes is as long as what was said: the gap was filled.
    for stream in ["0:a:0", "0:a:1"] {
        let wav = file("length.wav", b"");
        let (input, output) = (path.to_str().unwrap(), wav.to_str().unwrap());
        let (_, errors) =
            run("ffmpeg", &["-v", "error", "-y", "-i", input, "-map", stream, "-f", "s16le", output]);
        assert_eq!(errors, "");
        assert_eq!(std::fs::metadata(&wav).unwrap().len(), 5 * 8_000 * 2, "{stream}");
    }
}

#[test]
fn a_part_that_was_cut_plays_up_to_the_cut() {
    let bytes = g711();
    let head = bytes.windows(4).position(|w| w == [0x1F, 0x43, 0xB6, 0x75]).unwrap();
    // The first block behind the head, then cuts through cluster heads, block heads and payloads.
    let cuts = (0..12).map(|n| head + 400 + n * 37).chain((1..12).map(|n| bytes.len() - n * 4_999));
    for cut in cuts {
        let path = file("cut.mka", &bytes[..cut]);
        let (lines, _) = probe(&path, "packet=stream_index");
        let scan = spool::mka::scan(&bytes[..cut]).unwrap();
        let blocks: u64 = scan.tracks.iter().map(|t| t.media_blocks + t.fill_blocks).sum();
        let shown = lines.iter().filter(|l| l.starts_with("stream_index")).count() as u64;
        // The last block may be shown in part as well.
        assert!((blocks..=blocks + 1).contains(&shown), "cut at {cut}: {shown} of {blocks}");
    }
}
