//! A recorder in the relay's thread, of the parts that record: receivers, a segment, a writer thread with files.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender, unbounded};
use media::relay::{Kept, Which};
use media::{Frame, StreamReceiver};
use model::{
    CallId, Codec, Mono, NodeNumber, Now, OpenSegment, OpenStream, SegmentId, Side, StreamId, WallTime,
};
use relay::Keep;
use spool::{FileOp, SegmentWriter};

type Job = (Vec<FileOp>, Sender<Vec<u8>>);

/// Writes what segments hand it, in a directory of its own. It stays until all was measured: a file system that has
/// deleted thousands of files a moment ago makes new ones slowly.
pub(crate) struct Disk {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// Where all of them are.
pub(crate) fn directory() -> PathBuf {
    std::env::temp_dir().join(format!("callspool-forwarding-{}", std::process::id()))
}

impl Disk {
    pub(crate) fn start() -> io::Result<Self> {
        let turns = fs::read_dir(directory()).map_or(0, Iterator::count);
        let root = directory().join(turns.to_string());
        fs::create_dir_all(&root)?;
        let (jobs, todo) = unbounded();
        let thread = std::thread::Builder::new();
        let thread = thread.name("writer".to_owned()).spawn(move || write(&root, &todo))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn write(root: &Path, todo: &Receiver<Job>) {
    let mut open = BTreeMap::new();
    for (ops, back) in todo {
        for op in ops {
            if let Err(e) = apply(root, &op, &mut open) {
                eprintln!("{}: {e}", op.path());
            }
            if let FileOp::Append { bytes, .. } = op {
                let _ = back.send(bytes);
            }
        }
    }
}

/// What is appended to stays open, as a record server has it.
fn apply(root: &Path, op: &FileOp, open: &mut BTreeMap<String, File>) -> io::Result<()> {
    let path = root.join(op.path());
    match op {
        FileOp::MakeDir { .. } => fs::create_dir_all(path),
        FileOp::Mark { bytes, .. } => {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            File::create_new(path)?.write_all(bytes)
        }
        FileOp::Create { bytes, .. } => File::create_new(path)?.write_all(bytes),
        FileOp::Append { path: name, bytes } => {
            if !open.contains_key(&**name) {
                open.insert(name.to_string(), OpenOptions::new().append(true).open(path)?);
            }
            open.get_mut(&**name).map_or(Ok(()), |file| file.write_all(bytes))
        }
        FileOp::Patch { offset, bytes, .. } => {
            OpenOptions::new().write(true).open(path)?.write_all_at(bytes, *offset)
        }
        FileOp::Replace { bytes, .. } => {
            let new = path.with_extension("new");
            fs::write(&new, bytes)?;
            fs::rename(new, path)
        }
        FileOp::AppendLine { bytes, .. } => {
            OpenOptions::new().create(true).append(true).open(path)?.write_all(bytes)
        }
        FileOp::Truncate { bytes, .. } => OpenOptions::new().write(true).open(path)?.set_len(*bytes),
        FileOp::Remove { .. } | FileOp::Unmark { .. } => fs::remove_file(path),
    }
}

/// A segment with a stream for each side.
pub(crate) struct Segment {
    receivers: [StreamReceiver; 2],
    writer: SegmentWriter,
    jobs: Sender<Job>,
    back: Sender<Vec<u8>>,
    returned: Receiver<Vec<u8>>,
    began: Instant,
}

impl Segment {
    pub(crate) fn begin(number: u64, disk: &Disk) -> Result<Self, crate::Failure> {
        let codecs = [(0, Codec::new("PCMU", 8_000, 1))];
        let streams = [1, 2].map(|n| OpenStream {
            stream: StreamId::from_u64(number * 2 + n),
            ..OpenStream::audio(1, Side::Agent, &codecs)
        });
        let started = wall();
        let (segment, call) = (SegmentId::from_u64(number + 1), CallId::from_u64(number + 1));
        let order = OpenSegment::first(segment, call, started, streams.to_vec());
        let now = Now { mono: Mono(0), wall: started };
        let mut writer = SegmentWriter::open(&order, NodeNumber::new(1)?, now);
        let receivers = streams.map(|s| StreamReceiver::new(&s, started));
        let (back, returned) = unbounded();
        let mut ops = Vec::new();
        writer.flush(now, Vec::new(), &mut ops);
        let jobs = disk.jobs.clone().unwrap_or_else(|| unbounded().0);
        let _ = jobs.send((ops, back.clone()));
        Ok(Self { receivers, writer, jobs, back, returned, began: Instant::now() })
    }
}

impl Keep for Segment {
    fn keep(&mut self, kept: &Kept, packet: &[u8]) {
        let Self { receivers, writer, .. } = self;
        let Some(receiver) = receivers.get_mut(kept.end.index()) else { return };
        match kept.which {
            Which::Rtp => {
                receiver.packet(kept.at, kept.from, packet, &mut |f: &Frame<'_>| writer.push(f));
            }
            Which::Rtcp => receiver.rtcp(kept.at, kept.from, packet),
        }
    }

    fn pass(&mut self, now: WallTime) {
        let mono = Mono(u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX));
        let now = Now { mono, wall: now };
        let Self { receivers, writer, .. } = self;
        for receiver in receivers.iter_mut() {
            receiver.tick(now.wall, &mut |f: &Frame<'_>| writer.push(f));
        }
        while let Ok(buffer) = self.returned.try_recv() {
            writer.recycle(buffer);
        }
        let records = if writer.manifest_due(now) {
            receivers.iter().map(|r| r.record(0)).collect()
        } else {
            Vec::new()
        };
        let mut ops = Vec::new();
        writer.flush(now, records, &mut ops);
        if !ops.is_empty() {
            let _ = self.jobs.send((ops, self.back.clone()));
        }
    }
}

fn wall() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime(i64::try_from(since.as_nanos()).unwrap_or(0))
}
