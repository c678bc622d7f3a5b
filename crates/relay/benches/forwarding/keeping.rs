//! A recorder in the relay's thread, of the parts that record: receivers, a segment, the shelf of a redo. What writes
//! is a thread of its own, by as many writes as a record server makes, and one more synchronizes each second.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use media::relay::{Kept, Which};
use media::{Frame, StreamReceiver};
use model::{
    CallId, Codec, Mono, NodeNumber, Now, OpenSegment, OpenStream, SegmentId, Side, StreamId, WallTime,
};
use relay::Keep;
use spool::redo::{self, Piece, Record, Room, Shelf};
use spool::{FileOp, SegmentWriter};

/// As a record server flushes: what came of all segments goes to the redo by one write.
const FLUSH: Duration = Duration::from_millis(100);
/// As a record server lets it wait before each segment's own file is written.
const WAITS: Duration = Duration::from_millis(500);
/// As a record server synchronizes.
const SYNC: Duration = Duration::from_secs(1);

/// Writes what segments hand it, in a directory of its own: to a redo first, as a record server does. It stays until all was
/// measured: a file system that has deleted thousands of files a moment ago makes new ones slowly.
pub(crate) struct Disk {
    jobs: Sender<Vec<FileOp>>,
    /// Buffers that were written, for any segment.
    returned: Receiver<Vec<u8>>,
    ends: Vec<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

/// Where all of them are.
pub(crate) fn directory() -> PathBuf {
    std::env::temp_dir().join(format!("callspool-forwarding-{}", std::process::id()))
}

/// A new one in it.
pub(crate) fn own_directory() -> io::Result<PathBuf> {
    let turns = fs::read_dir(directory()).map_or(0, Iterator::count);
    let own = directory().join(turns.to_string());
    fs::create_dir_all(&own)?;
    Ok(own)
}

impl Disk {
    pub(crate) fn start() -> Result<Self, crate::Failure> {
        let root = own_directory()?;
        fs::create_dir_all(root.join(redo::DIR))?;
        let ((jobs, todo), (back, returned)) = (unbounded(), unbounded());
        let ((end_writer, until), (end_syncs, until_synced)) = (bounded(0), bounded::<()>(0));
        let syncs = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let (volume, counts) = (File::open(&root)?, Arc::clone(&syncs));
        let mut writer = Writer {
            shelf: Shelf::new(1),
            leaves: Vec::new(),
            files: BTreeMap::new(),
            due: VecDeque::new(),
            began: Instant::now(),
            root,
            syncs,
            back,
            together: Vec::new(),
        };
        let named = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let writing = named("writer").spawn(move || {
            while until.recv_timeout(FLUSH) == Err(RecvTimeoutError::Timeout) {
                if let Err(e) = writer.work(&todo) {
                    eprintln!("the writer: {e}");
                }
            }
        })?;
        let syncing = named("sync").spawn(move || {
            while until_synced.recv_timeout(SYNC) == Err(RecvTimeoutError::Timeout) {
                counts[0].fetch_add(1, Ordering::SeqCst);
                let _ = nix::unistd::syncfs(&volume);
                counts[1].fetch_add(1, Ordering::SeqCst);
            }
        })?;
        Ok(Self { jobs, returned, ends: vec![end_writer, end_syncs], threads: vec![writing, syncing] })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.ends.clear();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// The least of a record server's writer: no volume that may fail, no limits.
struct Writer {
    root: PathBuf,
    shelf: Shelf,
    leaves: Vec<File>,
    files: BTreeMap<Arc<str>, Appended>,
    /// Files that something waits for, and since when.
    due: VecDeque<(Instant, Arc<str>)>,
    began: Instant,
    /// Begun and ended.
    syncs: Arc<[AtomicU64; 2]>,
    back: Sender<Vec<u8>>,
    together: Vec<u8>,
}

/// A file that stays open, and what waits for it.
struct Appended {
    file: File,
    length: u64,
    waiting: Vec<Piece>,
}

impl Writer {
    fn work(&mut self, todo: &Receiver<Vec<FileOp>>) -> Result<(), crate::Failure> {
        let now = Instant::now();
        for op in todo.try_iter().flatten() {
            match op {
                FileOp::Append { path, bytes } => self.put(now, &path, bytes)?,
                // Before anything else is done to a file, what waits for it is written.
                other => {
                    self.write_out(other.path())?;
                    apply(&self.root, &other)?;
                }
            }
            if self.shelf.unwritten_octets() >= redo::BATCH_MAX {
                self.commit()?;
            }
        }
        self.commit()?;
        while let Some((since, path)) = self.due.pop_front() {
            if now - since < WAITS {
                self.due.push_front((since, path));
                break;
            }
            self.write_out(&path)?;
        }
        let [begun, ended] = [0, 1].map(|n: usize| self.syncs[n].load(Ordering::SeqCst));
        for index in self.shelf.settled(self.mono(), begun, ended) {
            self.leaves[index].set_len(0)?;
            self.shelf.emptied(index);
        }
        Ok(())
    }

    fn put(&mut self, now: Instant, path: &Arc<str>, mut bytes: Vec<u8>) -> Result<(), crate::Failure> {
        while let Room::Wanted(index) = self.shelf.room(self.mono()) {
            self.leaves.push(File::create_new(self.root.join(format!("{}/{index:02}", redo::DIR)))?);
            self.shelf.opened(index);
        }
        if !self.files.contains_key(path) {
            let file = OpenOptions::new().write(true).open(self.root.join(&**path))?;
            let length = file.metadata()?.len();
            self.files.insert(Arc::clone(path), Appended { file, length, waiting: Vec::new() });
        }
        let appended = self.files.get_mut(path).ok_or("the file was not kept open")?;
        let record = Record { path, offset: appended.length, bytes: &bytes };
        let piece = self.shelf.put(&record).ok_or("no room in the redo")?;
        appended.length += bytes.len() as u64;
        if appended.waiting.is_empty() {
            self.due.push_back((now, Arc::clone(path)));
        }
        appended.waiting.push(piece);
        bytes.clear();
        let _ = self.back.send(bytes);
        Ok(())
    }

    fn commit(&mut self) -> io::Result<()> {
        if let Some(write) = self.shelf.unwritten() {
            self.leaves[write.leaf].write_all_at(write.bytes, write.offset)?;
        }
        self.shelf.written(true);
        Ok(())
    }

    fn write_out(&mut self, path: &str) -> io::Result<()> {
        let Some(Appended { file, length, waiting }) = self.files.get_mut(path) else { return Ok(()) };
        if waiting.is_empty() {
            return Ok(());
        }
        self.together.clear();
        waiting.iter().for_each(|piece| self.together.extend_from_slice(self.shelf.bytes(*piece)));
        file.write_all_at(&self.together, *length - self.together.len() as u64)?;
        waiting.drain(..).for_each(|piece| self.shelf.done(piece));
        Ok(())
    }

    fn mono(&self) -> Mono {
        Mono(u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// What a segment begins with, and how long it says that it is.
fn apply(root: &Path, op: &FileOp) -> io::Result<()> {
    let path = root.join(op.path());
    match op {
        FileOp::MakeDir { .. } => fs::create_dir_all(path),
        FileOp::Mark { bytes, .. } | FileOp::Create { bytes, .. } => {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            File::create_new(path)?.write_all(bytes)
        }
        FileOp::Replace { bytes, .. } => {
            let new = path.with_extension("new");
            fs::write(&new, bytes)?;
            fs::rename(new, path)
        }
        FileOp::Patch { offset, bytes, .. } => {
            OpenOptions::new().write(true).open(path)?.write_all_at(bytes, *offset)
        }
        FileOp::AppendLine { bytes, .. } => {
            OpenOptions::new().create(true).append(true).open(path)?.write_all(bytes)
        }
        other => Err(io::Error::other(format!("{other:?} is not of a segment in progress"))),
    }
}

/// A segment with a stream for each side.
pub(crate) struct Segment {
    receivers: [StreamReceiver; 2],
    writer: SegmentWriter,
    jobs: Sender<Vec<FileOp>>,
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
        let mut ops = Vec::new();
        writer.flush(now, Vec::new(), &mut ops);
        let (jobs, returned) = (disk.jobs.clone(), disk.returned.clone());
        let _ = jobs.send(ops);
        Ok(Self { receivers, writer, jobs, returned, began: Instant::now() })
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
        if let Ok(buffer) = self.returned.try_recv() {
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
            let _ = self.jobs.send(ops);
        }
    }
}

fn wall() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime(i64::try_from(since.as_nanos()).unwrap_or(0))
}
