//! What it costs to listen: an hour of a call with two sides, exported, drawn, and begun to be played; and the longest
//! call that anybody has, drawn and begun to be played.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use media::speech::Speech;
use media::{Frame, FrameKind, g711};
use model::{
    CallId, Codec, EndReason, NodeNumber, Now, OpenSegment, OpenStream, SegmentId, Side, StreamId, WallTime,
};
use nix::sys::resource::{UsageWho, getrusage};
use spool::memory::MemoryDisk;
use spool::{Files, SegmentWriter, digest_of, marks_of};

use crate::machine::Cores;
use crate::report::median;
use crate::server::{Place, Server};
use crate::{Failure, machine};

/// The length of the call that is exported.
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);
/// The length of the longest: a working day.
const LONG: Duration = Duration::from_secs(8 * 3_600);
/// Of each kind; medians count.
const TURNS: usize = 3;
const FORMATS: [&str; 4] = ["wav", "flac", "mp3", "opus"];
/// For the server to know the call.
const PATIENCE: Duration = Duration::from_secs(60);
const CALL: CallId = CallId::from_u64(1);

/// What came out.
#[derive(Debug)]
pub(crate) struct Exports {
    pub(crate) formats: Vec<Export>,
    pub(crate) listened: Listened,
}

/// What who listens to a call through a server waits for.
#[derive(Debug)]
pub(crate) struct Listened {
    pub(crate) length: Duration,
    /// Processors that the server has.
    pub(crate) cores: usize,
    /// From the request to the last octet of the call's peaks, in milliseconds: the first time, and again.
    pub(crate) peaks_ms: [f64; 2],
    /// From the request to the first octet behind a WAV's head, in milliseconds: from the beginning, and from the
    /// last minute.
    pub(crate) first_ms: [f64; 2],
}

/// A kind of file.
#[derive(Debug)]
pub(crate) struct Export {
    pub(crate) format: &'static str,
    pub(crate) bytes: u64,
    /// Of all processes that took part, in seconds.
    pub(crate) cpu_s: f64,
    pub(crate) took_s: f64,
}

/// An hour, by one processor.
pub(crate) fn measure() -> Result<Exports, Failure> {
    let site = Site::begin(HOUR, Cores::One)?;
    let formats =
        FORMATS.into_iter().map(|format| export(&site.data_dir, format)).collect::<Result<_, _>>()?;
    Ok(Exports { formats, listened: site.listen()? })
}

/// The longest, by all processors.
pub(crate) fn measure_long() -> Result<Listened, Failure> {
    Site::begin(LONG, Cores::All)?.listen()
}

/// A server that knows the call.
struct Site {
    server: Server,
    data_dir: PathBuf,
    token: String,
    length: Duration,
    cores: Cores,
}

impl Site {
    fn begin(length: Duration, cores: Cores) -> Result<Self, Failure> {
        let directory = tempfile::Builder::new().prefix("callspool-bench.").tempdir()?;
        record(&directory.path().join("repository"), length)?;
        let data_dir = directory.path().to_owned();
        let server = Server::start_in(cores, directory)?;
        let token = std::fs::read_to_string(data_dir.join("token"))?;
        let known = Instant::now() + PATIENCE;
        while !String::from_utf8_lossy(&get(&token, "", "")?.0).contains(" 200 ") {
            if Instant::now() > known {
                return Err("the call did not come into the catalog".into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(Self { server, data_dir, token, length, cores })
    }

    fn listen(self) -> Result<Listened, Failure> {
        let get = |of, header| get(&self.token, of, header);
        let peaks_ms = [get("/peaks", "")?.2, get("/peaks", "")?.2];
        // 16 kHz at most, 16 bits, two channels: the last minute begins behind this anyway.
        let late = format!("Range: bytes={}-\r\n", (self.length.as_secs() - 60) * 8_000 * 4);
        let first_ms = [get("/audio.wav", "")?.1, get("/audio.wav", &late)?.1];
        self.server.stop()?;
        let cores = match self.cores {
            Cores::One => 1,
            Cores::All => machine::cores_online().unwrap_or(1),
        };
        Ok(Listened { length: self.length, cores, peaks_ms, first_ms })
    }
}

fn export(data_dir: &Path, format: &'static str) -> Result<Export, Failure> {
    let (mut cpu, mut took, mut bytes) = (Vec::new(), Vec::new(), 0);
    for _ in 0..TURNS {
        let file = data_dir.join(format!("out.{format}"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_callspool"));
        command.args(["export", &CALL.to_string(), "--stereo", "--force", "-o"]).arg(&file);
        command.env("CALLSPOOL_NODE__DATA_DIR", data_dir).stdin(Stdio::null()).stdout(Stdio::null());
        let (before, began) = (children()?, Instant::now());
        let status = machine::on(Cores::One, || command.status())?;
        if !status.success() {
            return Err(format!("callspool export to {format}: {status}").into());
        }
        took.push(began.elapsed().as_secs_f64());
        cpu.push(children()? - before);
        bytes = std::fs::metadata(&file)?.len();
    }
    Ok(Export { format, bytes, cpu_s: median(&cpu), took_s: median(&took) })
}

/// CPU of the children that ended, in seconds.
fn children() -> Result<f64, Failure> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// Asks for something of the call: the head of the answer, the milliseconds to its first octet and to its last, or to
/// the first mebibyte of it.
fn get(token: &str, of: &str, header: &str) -> Result<(Vec<u8>, f64, f64), Failure> {
    let page = Place::FIRST.page;
    let mut stream = TcpStream::connect(page.parse::<SocketAddr>()?)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let began = Instant::now();
    write!(
        stream,
        "GET /api/v1/calls/{CALL}{of} HTTP/1.1\r\nHost: {page}\r\nAuthorization: Bearer {}\r\n{header}Connection: close\r\n\r\n",
        token.trim()
    )?;
    let (mut answer, mut first) = (Vec::new(), None);
    let mut buffer = vec![0; 64 << 10];
    while answer.len() < 1 << 20 {
        let n = stream.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        answer.extend_from_slice(&buffer[..n]);
        // Behind the head of HTTP and that of WAV.
        let head = answer.windows(4).position(|w| w == b"\r\n\r\n");
        if first.is_none() && head.is_some_and(|at| answer.len() > at + 4 + 44) {
            first = Some(began.elapsed().as_secs_f64() * 1e3);
        }
    }
    let all = began.elapsed().as_secs_f64() * 1e3;
    Ok((answer, first.unwrap_or(all), all))
}

/// Writes the call as a recorder does.
fn record(repository: &Path, length: Duration) -> Result<(), Failure> {
    let started = WallTime::from_millis(1_795_166_100_000);
    let streams = [(1, Side::Agent), (2, Side::External)];
    let streams = streams.map(|(n, side)| OpenStream::audio(n, side, &[(0, pcmu())])).to_vec();
    let open = OpenSegment::first(SegmentId::from_u64(2), CALL, started, streams);
    let mut now = Now { wall: started, ..Now::default() };
    let (mut writer, mut disk) = (SegmentWriter::open(&open, NodeNumber::SINGLE, now), MemoryDisk::new());
    let mut voices = [Speech::new(8_000, 1), Speech::new(8_000, 2)];
    let (codec, mut samples, mut payload, mut ops) =
        (std::sync::Arc::new(pcmu()), Vec::new(), Vec::new(), Vec::new());
    for packet in 0..length.as_secs() * 50 {
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
            disk.apply_all(&std::mem::take(&mut ops))?;
        }
    }
    writer.end(now, now.wall, EndReason::HangUp, Vec::new(), &mut ops);
    disk.apply_all(&std::mem::take(&mut ops))?;
    let mut digests = Vec::new();
    for path in writer.files() {
        let digest = digest_of(&disk, &path)?;
        writer.mark(&path, marks_of(&disk, &path, digest.bytes)?);
        digests.push((path, digest.bytes, digest.sha256));
    }
    writer.seal(now, &digests, &mut ops);
    disk.apply_all(&ops)?;
    for path in disk.paths() {
        let to = repository.join(path);
        std::fs::create_dir_all(to.parent().unwrap_or(repository))?;
        std::io::copy(&mut disk.open(path)?, &mut std::fs::File::create(to)?)?;
    }
    Ok(())
}

fn pcmu() -> Codec {
    Codec::new("PCMU", 8_000, 1)
}
