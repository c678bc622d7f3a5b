//! A repository as a recorder leaves it, and the built binary run on it.

#![allow(clippy::unwrap_used, dead_code, unreachable_pub, reason = "each test uses a part of it")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use expect_test::Expect;
use media::{Frame, FrameKind, tone::Tone};
use model::{
    CallData, CallId, Codec, Conclusion, EndReason, Gap, GapReason, Mono, NodeNumber, Now, OpenSegment,
    OpenStream, Party, PartyRole, RecordingState, SegmentId, SegmentRecord, Side, StreamId, StreamRecord,
    TenantId, WallTime,
};
use spool::memory::MemoryDisk;
use spool::{Files, SegmentWriter, digest_of};

/// 2026-11-20T09:15:00Z: when every call begins.
pub const START: WallTime = WallTime::from_millis(1_795_166_100_000);
/// The call of the fixture.
pub const CALL: CallId = CallId::from_u64(1_795_166_100_000);
/// What the agent and the external party whistle, in Hz.
pub const TONES: [f64; 2] = [440.0, 1_000.0];

fn at(ms: u64) -> Now {
    Now { mono: Mono(1_000_000_000), wall: START } + Duration::from_millis(ms)
}

/// Where the embedded default keeps its repository, below a working directory.
pub fn repository_in(dir: &Path) -> PathBuf {
    dir.join(".state/repository")
}

/// A call of two seconds' speech: a second, a hold of two seconds, a second.
pub fn repository(root: &Path) {
    let mut disk = MemoryDisk::new();
    segment(&mut disk, 1, 0, Some(EndReason::Hold));
    segment(&mut disk, 2, 3_000, Some(EndReason::HangUp));
    conclude(&mut disk);
    write(&disk, root);
}

/// The same, cut off in its second segment.
pub fn live_repository(root: &Path) {
    let mut disk = MemoryDisk::new();
    segment(&mut disk, 1, 0, Some(EndReason::Hold));
    segment(&mut disk, 2, 3_000, None);
    write(&disk, root);
}

fn conclude(disk: &mut MemoryDisk) {
    let conclusion = Conclusion {
        call: CALL,
        call_started: START,
        tenant: TenantId::default(),
        total: 2,
        from: None,
        state: Some(RecordingState::Complete),
    };
    disk.apply_all(&spool::gather::conclude(at(7_000), NodeNumber::SINGLE, &conclusion, &[]).ops).unwrap();
}

fn write(disk: &MemoryDisk, root: &Path) {
    for path in disk.paths() {
        let target = root.join(path);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::write(target, disk.bytes(path).unwrap()).unwrap();
    }
}

fn segment(disk: &mut MemoryDisk, number: u16, start_ms: u64, end: Option<EndReason>) {
    let streams = [(1, Side::Agent), (2, Side::External)];
    let streams = streams.map(|(n, side)| OpenStream {
        label: Some(n.to_string()),
        ..OpenStream::audio(n, side, &[(0, pcmu())])
    });
    let id = SegmentId::from_u64(5_000 + u64::from(number));
    let open = OpenSegment {
        number,
        total: number,
        started: at(start_ms).wall,
        data: data(),
        ..OpenSegment::first(id, CALL, START, streams.to_vec())
    };
    let names = disk.list(&spool::layout::call_directory(&open.tenant, START, CALL)).unwrap_or_default();
    let mut writer = SegmentWriter::open_beside(&open, NodeNumber::SINGLE, at(start_ms), &names);
    let mut ops = Vec::new();
    writer.flush(at(start_ms), Vec::new(), &mut ops);
    for (side, frequency) in TONES.into_iter().enumerate() {
        let mut tone = Tone::sine(8_000, frequency, -10.0);
        for n in 0..50 {
            push(&mut writer, side as u64 + 1, n * 20, &mut tone, start_ms);
        }
    }
    writer.flush(at(start_ms + 1_000), records(&open), &mut ops);
    disk.apply_all(&ops).unwrap();
    let Some(reason) = end else { return };
    let mut ops = Vec::new();
    writer.end(at(start_ms + 1_000), at(start_ms + 1_000).wall, reason, records(&open), &mut ops);
    disk.apply_all(&ops).unwrap();
    let digest = |name: String| {
        let digest = digest_of(disk, &name).unwrap();
        (name, digest.bytes, digest.sha256)
    };
    let digests: Vec<_> = writer.files().into_iter().map(digest).collect();
    let mut ops = Vec::new();
    let _: SegmentRecord = writer.seal(at(start_ms + 1_001), &digests, &mut ops);
    disk.apply_all(&ops).unwrap();
}

fn push(writer: &mut SegmentWriter, stream: u64, position_ms: i64, tone: &mut Tone, start_ms: u64) {
    let (mut samples, mut payload) = (Vec::new(), Vec::new());
    tone.fill(160, &mut samples);
    media::g711::encode_ulaw_into(&samples, &mut payload);
    let codec = std::sync::Arc::new(pcmu());
    writer.push(&Frame {
        stream: StreamId::from_u64(stream),
        position_us: position_ms * 1_000,
        duration_us: Some(20_000),
        payload_type: 0,
        codec: Some(&codec),
        kind: FrameKind::Media,
        payload: &payload,
        packet: &payload,
        source: source(),
        destination_port: 40_000,
        arrival: at(start_ms + u64::try_from(position_ms).unwrap() + 20).wall,
        late: false,
    });
}

fn pcmu() -> Codec {
    Codec::new("PCMU", 8_000, 1)
}

fn source() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 7], 16_384))
}

fn records(open: &OpenSegment) -> Vec<StreamRecord> {
    let record = |s: &OpenStream| StreamRecord {
        id: s.stream,
        slot: s.slot,
        label: s.label.clone(),
        kind: s.kind,
        side: s.side,
        port: 40_000,
        source: Some(source()),
        ssrcs: vec![7],
        codecs: vec![model::stream::CodecUse { payload_type: 0, codec: Some(pcmu()), from: open.started }],
        accounting: model::Accounting {
            received: 50,
            lost: 2,
            late: 1,
            jitter_max_us: 1_250,
            ..Default::default()
        },
        anchors: Vec::new(),
        gaps: vec![Gap { from_us: 400_000, until_us: 440_000, reason: GapReason::Loss, packets: 2 }],
        gaps_unlisted: 0,
    };
    open.streams.iter().map(record).collect()
}

fn data() -> CallData {
    let party = |role, side, number: &str, name: &str| Party {
        role,
        side,
        uri: Some(format!("sip:{number}@pbx.example")),
        number: Some(number.to_owned()),
        name: Some(name.to_owned()),
        participant: None,
        joined: None,
        left: None,
    };
    CallData {
        parties: vec![
            party(PartyRole::Caller, Side::External, "+4930123456", "Bob\u{1b}[31m"),
            party(PartyRole::Called, Side::Agent, "1001", "Alice"),
        ],
        sip_call_ids: vec!["abc@192.0.2.1".to_owned()],
        correlation: [("ucid".to_owned(), "0001".to_owned())].into(),
        ..CallData::default()
    }
}

/// What a run of the binary came to.
pub struct Ran {
    pub code: i32,
    pub out: Vec<u8>,
    pub err: String,
}

impl Ran {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        Self { code: output.status.code().unwrap_or(-1), out: output.stdout, err }
    }
}

/// The binary in a directory of its own, with nothing of this process's environment that it would heed.
pub fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_callspool"));
    command.args(args).current_dir(dir).stdin(Stdio::null()).env_clear().env("TZ", "America/New_York");
    command
}

/// Runs it to its end.
pub fn run(dir: &Path, args: &[&str]) -> Ran {
    command(dir, args).output().unwrap().into()
}

/// An error is one line, the exit code and nothing else.
#[track_caller]
pub fn fails(dir: &Path, args: &[&str], code: i32, expected: Expect) {
    let ran = run(dir, args);
    let told = ran.err.replace(&*dir.to_string_lossy(), "DIR");
    expected.assert_eq(told.trim_end());
    assert_eq!((ran.code, ran.text().as_str(), told.lines().count()), (code, "", 1), "{told}");
}
