//! The work of listening, without a server: a call is recorded as a recorder does, and then read.
//!
//! ```text
//! cargo bench --package callspool-spool --bench listen -- WORK SECONDS [DIRECTORY]
//! ```
//!
//! WORK is `record`, `wav`, `flac`, `opus`, `peaks`, `start` (the first second) or `seek` (the last minute's first
//! second). The call is two sides of something like speech in G.711, the same each time, in memory; in DIRECTORY where
//! that is given, and read from there when it is there already. What is to be counted is in `measured`:
//!
//! ```text
//! valgrind --tool=callgrind --toggle-collect='listen::measured*' target/release/deps/listen-… opus 60
//! ```

#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers of a bench")]

use std::error::Error;
use std::fs::File;
use std::hint::black_box;
use std::io::{self, Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use media::speech::Speech;
use media::{Frame, FrameKind, g711};
use model::{
    CallId, Codec, EndReason, NodeNumber, Now, OpenSegment, OpenStream, SegmentId, SegmentRecord, Side,
    StreamId, WallTime,
};
use spool::assemble::{Layout, NoDecoders, Options, Rate};
use spool::export::{Export, Format, NoMp3Encoder, Request, Tags, Tools};
use spool::memory::MemoryDisk;
use spool::peaks::{Stretch, draw};
use spool::{FileOp, Files, ReadSeek, SegmentWriter, manifest, marks_of};

/// 2026-11-20T09:15:00Z
const START: WallTime = WallTime::from_millis(1_795_166_100_000);
const CALL: CallId = CallId::from_u64(1);
/// As much as the HTTP side asks for at once.
const READ: usize = 64 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let work = arguments.first().map_or("wav", String::as_str);
    let seconds = arguments.get(1).map_or(Ok(60), |s| s.parse())?;
    let call = match arguments.get(2) {
        Some(directory) => Call::on_disk(Path::new(directory), seconds)?,
        None => Call::in_memory(seconds)?,
    };
    let began = Instant::now();
    let octets = measured(&call, work, seconds)?;
    let took = began.elapsed();
    let read = call.files.read.load(Ordering::Relaxed);
    println!(
        "{work} of {seconds} s: {octets} octets, {read} read, {:.1} ms, {:.0} times real time",
        took.as_secs_f64() * 1e3,
        seconds as f64 / took.as_secs_f64()
    );
    Ok(())
}

/// Does the work; returns the octets that came out.
#[inline(never)]
fn measured(call: &Call, work: &str, seconds: u64) -> Result<usize, Box<dyn Error>> {
    let format = match work {
        "record" => return Ok(0),
        "peaks" => {
            let stretch = Stretch { width: 1_000, from: 0, until: seconds * 8_000 };
            let channels = draw(call.segments.clone(), &stretch, 0..1_000, &call.files, &NoDecoders)?;
            return Ok(black_box(channels).iter().map(Vec::len).sum());
        }
        "flac" => Format::Flac,
        "opus" => Format::Opus,
        _ => Format::Wav,
    };
    let options = Options { rate: Rate::Narrow, layout: Layout::Stereo };
    let tags = Tags { call: CALL, started: START, parties: None };
    let request = Request { format, options, bitrate: None, tags };
    let tools = Tools { files: &call.files, decoders: &NoDecoders, mp3: &NoMp3Encoder };
    let mut export = Export::new(call.segments.clone(), &request)?;
    let mut at = match work {
        "seek" => seconds.saturating_sub(60) * 32_000,
        _ => 0,
    };
    let mut octets = 0;
    loop {
        let piece = black_box(export.read(at, READ, &tools)?);
        at += piece.len() as u64;
        octets += piece.len();
        if piece.is_empty() || matches!(work, "start" | "seek") && octets > 44 {
            return Ok(octets);
        }
    }
}

/// What there is to read.
struct Call {
    files: Counted,
    segments: Vec<(SegmentRecord, String)>,
}

impl Call {
    fn in_memory(seconds: u64) -> Result<Self, Box<dyn Error>> {
        let mut disk = MemoryDisk::new();
        let (record, directory) = record(seconds, &mut disk)?;
        Ok(Self { files: Counted::new(Box::new(disk)), segments: vec![(record, directory)] })
    }

    fn on_disk(root: &Path, seconds: u64) -> Result<Self, Box<dyn Error>> {
        let mut disk = Disk(root.to_owned());
        let mut small = MemoryDisk::new();
        // Where it lies does not depend on what is in it.
        let (_, directory) = record(0, &mut small)?;
        let name = small.paths().find(|p| p.ends_with(".json")).ok_or("no manifest")?.to_owned();
        if !root.join(&name).exists() {
            record(seconds, &mut disk)?;
        }
        let manifest = manifest::read(&std::fs::read(root.join(&name))?)?;
        Ok(Self { files: Counted::new(Box::new(disk)), segments: vec![(manifest.record, directory)] })
    }
}

/// Writes a call as a recorder does.
fn record(seconds: u64, disk: &mut impl Written) -> Result<(SegmentRecord, String), Box<dyn Error>> {
    let streams = [(1, Side::Agent), (2, Side::External)];
    let streams = streams.map(|(n, side)| OpenStream::audio(n, side, &[(0, pcmu())])).to_vec();
    let open = OpenSegment::first(SegmentId::from_u64(2), CALL, START, streams);
    let mut now = Now { wall: START, ..Now::default() };
    let mut writer = SegmentWriter::open(&open, NodeNumber::SINGLE, now);
    let mut voices = [Speech::new(8_000, 1), Speech::new(8_000, 2)];
    let (codec, mut samples, mut payload, mut ops) =
        (std::sync::Arc::new(pcmu()), Vec::new(), Vec::new(), Vec::new());
    for packet in 0..seconds * 50 {
        now = now + Duration::from_millis(20);
        for (stream, voice) in (1..).zip(&mut voices) {
            samples.clear();
            payload.clear();
            voice.fill(160, &mut samples);
            g711::encode_ulaw_into(&samples, &mut payload);
            writer.push(&Frame {
                stream: StreamId::from_u64(stream),
                position_us: i64::try_from(packet)? * 20_000,
                duration_us: Some(20_000),
                payload_type: 0,
                codec: Some(&codec),
                kind: FrameKind::Media,
                payload: &payload,
                packet: &payload,
                source: SocketAddr::from(([127, 0, 0, 1], 4_000)),
                destination_port: 4_002,
                arrival: now.wall,
                late: false,
            });
        }
        if packet % 50 == 0 {
            writer.flush(now, Vec::new(), &mut ops);
            ops.drain(..).try_for_each(|op| disk.apply(&op))?;
        }
    }
    writer.end(now, now.wall, EndReason::HangUp, Vec::new(), &mut ops);
    // Nobody looks at the digests of a bench.
    let parts = writer.record().parts.iter().map(|p| p.bytes).collect::<Vec<_>>();
    let digests: Vec<_> =
        writer.files().into_iter().zip(parts).map(|(path, bytes)| (path, bytes, String::from("0"))).collect();
    ops.drain(..).try_for_each(|op| disk.apply(&op))?;
    for path in writer.files() {
        let octets = disk.len(&path)?;
        writer.mark(&path, marks_of(disk, &path, octets)?);
    }
    let record = writer.seal(now, &digests, &mut ops);
    ops.drain(..).try_for_each(|op| disk.apply(&op))?;
    Ok((record, writer.directory().to_owned()))
}

fn pcmu() -> Codec {
    Codec::new("PCMU", 8_000, 1)
}

/// What is written and read again.
trait Written: Files {
    fn apply(&mut self, op: &FileOp) -> io::Result<()>;
}

impl Written for MemoryDisk {
    fn apply(&mut self, op: &FileOp) -> io::Result<()> {
        Self::apply(self, op)
    }
}

/// A directory.
struct Disk(PathBuf);

impl Written for Disk {
    fn apply(&mut self, op: &FileOp) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        let path = self.0.join(op.path());
        match op {
            FileOp::MakeDir { .. } => std::fs::create_dir_all(path),
            FileOp::Mark { bytes, .. } | FileOp::Create { bytes, .. } | FileOp::Replace { bytes, .. } => {
                path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
                std::fs::write(path, bytes)
            }
            FileOp::Append { bytes, .. } | FileOp::AppendLine { bytes, .. } => {
                use std::io::Write;
                path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
                File::options().create(true).append(true).open(path)?.write_all(bytes)
            }
            FileOp::Patch { offset, bytes, .. } => {
                File::options().write(true).open(path)?.write_all_at(bytes, *offset)
            }
            FileOp::Truncate { .. }
            | FileOp::Remove { .. }
            | FileOp::Settle { .. }
            | FileOp::RemoveDir { .. }
            | FileOp::Unmark { .. } => Ok(()),
        }
    }
}

impl Files for Disk {
    fn open(&self, path: &str) -> io::Result<Box<dyn ReadSeek>> {
        Ok(Box::new(File::open(self.0.join(path))?))
    }

    fn list(&self, _dir: &str) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn len(&self, path: &str) -> io::Result<u64> {
        Ok(std::fs::metadata(self.0.join(path))?.len())
    }
}

/// Files, and how many octets were read of them.
struct Counted {
    files: Box<dyn Files>,
    read: Arc<AtomicU64>,
}

struct CountedFile {
    file: Box<dyn ReadSeek>,
    read: Arc<AtomicU64>,
}

impl Counted {
    fn new(files: Box<dyn Files>) -> Self {
        Self { files, read: Arc::default() }
    }
}

impl Files for Counted {
    fn open(&self, path: &str) -> io::Result<Box<dyn ReadSeek>> {
        Ok(Box::new(CountedFile { file: self.files.open(path)?, read: Arc::clone(&self.read) }))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.files.list(dir)
    }

    fn len(&self, path: &str) -> io::Result<u64> {
        self.files.len(path)
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
