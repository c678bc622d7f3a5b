//! Another program that decodes one stream as it is said.
//!
//! ```text
//!  frames ──► channel ──► its thread ──► standard input   ffmpeg   standard output ──► reader ──► channel ──► samples
//! ```
//!
//! Whoever listens waits for nothing here: the program is looked for, started, fed and read by two threads of its
//! own. It ends when nobody holds it any more, whatever it is doing then.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};
use media::listen::Foreign;

use crate::programs::{LivePlace, Programs};

/// Payloads that may wait for the program: 10 s of packets of 20 ms, as long as it may take to start on a machine
/// that is out of breath.
const WAITING_MAX: usize = 512;
/// 4 KiB: a quarter of a second at 8 kHz. It gives back less at a time.
const READ: usize = 4 << 10;

/// How it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// It is looked for and started.
    Starts,
    Runs,
    /// It will not give any samples, or no more: why, in words for people.
    Failed(String),
}

/// Where its process is.
enum Stage {
    Starts,
    Runs(Child),
    Failed(String),
    /// Nobody wants it any more.
    Unwanted,
}

/// A program that decodes one stream. Dropped, it ends.
pub(super) struct Program {
    to: Sender<Vec<u8>>,
    from: Receiver<Vec<u8>>,
    stage: Arc<Mutex<Stage>>,
}

impl Program {
    /// Begins to start it.
    pub(super) fn start(programs: &Programs, codec: Foreign) -> Self {
        let (to, octets) = bounded(WAITING_MAX);
        let (samples, from) = bounded(WAITING_MAX);
        let stage = Arc::new(Mutex::new(Stage::Starts));
        let (its, programs) = (Arc::clone(&stage), programs.clone());
        let thread = std::thread::Builder::new().name("live-decoder".to_owned());
        if let Err(e) = thread.spawn(move || feed(&programs, codec, &octets, samples, &its)) {
            fail(&stage, format!("{} is not decoded: no thread for it: {e}", codec.name()));
        }
        Self { to, from, stage }
    }

    /// Gives it octets of the file that it decodes; false when it takes none.
    #[must_use]
    pub(super) fn give(&self, octets: Vec<u8>) -> bool {
        self.to.try_send(octets).is_ok()
    }

    /// The next samples that came back, as octets.
    pub(super) fn next(&self) -> Option<Vec<u8>> {
        self.from.try_recv().ok()
    }

    pub(super) fn standing(&self) -> Standing {
        match &*lock(&self.stage) {
            Stage::Starts => Standing::Starts,
            Stage::Runs(_) => Standing::Runs,
            Stage::Failed(why) => Standing::Failed(why.clone()),
            Stage::Unwanted => Standing::Failed("nobody listens".to_owned()),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Its thread may wait for the pipe of a process that stands still: it goes on when that is gone, and waits
        // for its end, which is not waited for here.
        match &mut *lock(&self.stage) {
            Stage::Runs(child) => _ = child.kill(),
            stage => *stage = Stage::Unwanted,
        }
    }
}

fn lock(stage: &Mutex<Stage>) -> MutexGuard<'_, Stage> {
    stage.lock().unwrap_or_else(PoisonError::into_inner)
}

fn fail(stage: &Mutex<Stage>, why: String) {
    *lock(stage) = Stage::Failed(why);
}

/// The program's thread: starts it, gives it what comes, and sees to its end.
fn feed(
    programs: &Programs,
    codec: Foreign,
    octets: &Receiver<Vec<u8>>,
    samples: Sender<Vec<u8>>,
    stage: &Mutex<Stage>,
) {
    let Begun { mut stdin, stdout, place } = match begin(programs, codec, stage) {
        Ok(Some(begun)) => begun,
        Ok(None) => return,
        Err(why) => return fail(stage, why),
    };
    let reader = std::thread::Builder::new().name("live-samples".to_owned());
    if reader.spawn(move || read(stdout, &samples)).is_ok() && stdin.write_all(codec.head()).is_ok() {
        while let Ok(octets) = octets.recv()
            && stdin.write_all(&octets).is_ok()
        {}
    }
    let why = format!("{} is silent: the ffmpeg that decoded it has ended", codec.name());
    let stage = std::mem::replace(&mut *lock(stage), Stage::Failed(why));
    if let Stage::Runs(mut child) = stage {
        // Of one that has ended, both do nothing.
        let _ = child.kill();
        let _ = child.wait();
    }
    drop(place);
}

/// The pipes of a process that has begun, and its place among those that run.
struct Begun {
    stdin: ChildStdin,
    stdout: ChildStdout,
    place: LivePlace,
}

/// Starts it; none when nobody wants it any more.
fn begin(programs: &Programs, codec: Foreign, stage: &Mutex<Stage>) -> Result<Option<Begun>, String> {
    let (mut child, place) = programs.decode_live(codec).map_err(|e| e.to_string())?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let mut stage = lock(stage);
    if let (Some(stdin), Some(stdout), Stage::Starts) = (stdin, stdout, &*stage) {
        *stage = Stage::Runs(child);
        return Ok(Some(Begun { stdin, stdout, place }));
    }
    drop(stage);
    let _ = child.kill();
    let _ = child.wait();
    Ok(None)
}

/// Passes on what it says until it says no more, or nobody takes it.
fn read(mut stdout: ChildStdout, samples: &Sender<Vec<u8>>) {
    let mut buffer = [0; READ];
    while let Ok(count @ 1..) = stdout.read(&mut buffer) {
        let read = buffer.get(..count).unwrap_or_default().to_vec();
        if samples.send(read).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end {
            if let Some(seen) = look() {
                return seen;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("waited for {what}");
    }

    /// Frames of the codec, any bits that it can read.
    fn frames(codec: Foreign, count: usize) -> Vec<u8> {
        let payload = match codec {
            Foreign::Gsm => [&[0xD0][..], &[0x5A; 32]].concat(),
            Foreign::AmrOctets => [&[0xF0, 7 << 3 | 4][..], &[0x5A; 31]].concat(),
            Foreign::G726Low => vec![0x5A; 80],
            Foreign::Ilbc30 => vec![0x5A; 50],
            _ => vec![0x5A; 20],
        };
        let mut octets = Vec::new();
        (0..count).for_each(|_| _ = codec.append(&payload, &mut octets));
        octets
    }

    #[test]
    fn what_is_decoded_comes_back_while_more_may_come() {
        for codec in [Foreign::G729, Foreign::Gsm, Foreign::Ilbc30, Foreign::AmrOctets, Foreign::G726Low] {
            let program = Program::start(&Programs::default(), codec);
            // Half a second, and no end of it.
            assert!(program.give(frames(codec, 25)));
            let mut came = 0;
            wait_for("samples", || {
                came += program.next().map_or(0, |octets| octets.len());
                (came >= 2 * 160).then_some(())
            });
            assert_eq!(program.standing(), Standing::Runs, "{codec:?}");
        }
    }

    #[test]
    fn one_that_nobody_holds_ends_even_when_it_stands_still() {
        let program = Program::start(&Programs::default(), Foreign::Gsm);
        let id = wait_for("the process", || match &*lock(&program.stage) {
            Stage::Runs(child) => Some(child.id()),
            _ => None,
        });
        let process = nix::unistd::Pid::from_raw(i32::try_from(id).unwrap());
        nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGSTOP).unwrap();
        // More than its pipe holds: its thread waits for room.
        for _ in 0..8 {
            assert!(program.give(vec![0xD5; 33 * 1_000]));
        }
        drop(program);
        wait_for("its end", || (!std::path::Path::new(&format!("/proc/{id}")).exists()).then_some(()));
    }

    #[test]
    fn one_that_there_is_not_says_so() {
        let program = Program::start(&Programs::default(), Foreign::Evs);
        let why = wait_for("the reason", || match program.standing() {
            Standing::Failed(why) => Some(why),
            _ => None,
        });
        assert!(why.contains("EVS"), "{why}");
        assert!(!program.give(vec![1]) || program.next().is_none());
    }
}
