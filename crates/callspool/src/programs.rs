//! Other programs that decode and encode: `ffmpeg` for codecs that are not decoded here, `lame` for MP3.
//!
//! Each is a child process for one piece of work: samples or payloads in by standard input, all of its output back
//! by standard output. None lives longer than its work, nor longer than a minute; no more than some run at once;
//! nothing is written to disk. They are found by `PATH`. Without them everything else works.
//!
//! Those of calls that somebody listens to while they go on are started here, and live
//! [there](crate::listen): as long as somebody hears what they decode.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use media::listen::Foreign;
use spool::assemble::{Decoders, DecodersError};
use spool::export::{Mp3Encoder, Mp3EncoderError, Mp3Setup};

/// A minute of sound takes some hundred milliseconds; on a machine that is out of breath some seconds.
const WORK_MAX: Duration = Duration::from_secs(60);
/// 4 at once: beyond the cores that recording leaves, more would only wait for each other.
const AT_ONCE_MAX: usize = 4;
/// 16 streams that are heard live: each takes some 20 MiB, and a hundredth of a core.
const LIVE_MAX: usize = 16;
/// 64 MiB: a minute of stereo at 48 kHz is 11.
const OUTPUT_MAX: u64 = 64 << 20;
/// 4 KiB of what a program complains of: its last lines say why.
const COMPLAINT_MAX: usize = 4 << 10;
/// What is installed is asked for again after this long: it may have been installed meanwhile.
const KNOWN_FOR: Duration = Duration::from_secs(60);

/// The programs of this machine.
#[derive(Clone, Default)]
pub(crate) struct Programs(Arc<Shared>);

#[derive(Default)]
struct Shared {
    running: Mutex<usize>,
    ended: Condvar,
    live: AtomicUsize,
    decoders: Mutex<Option<(Instant, Result<String, String>)>>,
    lame: Mutex<Option<(Instant, Result<String, String>)>>,
}

/// The one set of programs of this process, so that its limit holds for all listeners together.
pub(crate) fn programs() -> Programs {
    static PROGRAMS: OnceLock<Programs> = OnceLock::new();
    PROGRAMS.get_or_init(Programs::default).clone()
}

impl Programs {
    /// What a program prints when asked what it can; kept for a while.
    fn known(
        &self,
        kept: &Mutex<Option<(Instant, Result<String, String>)>>,
        mut ask: Command,
    ) -> Result<String, String> {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, known)) = kept.as_ref().filter(|(at, _)| at.elapsed() < KNOWN_FOR) {
            let _ = at;
            return known.clone();
        }
        let known = self.run(&mut ask, Vec::new()).map(|out| String::from_utf8_lossy(&out).into_owned());
        *kept = Some((Instant::now(), known.clone()));
        known
    }

    /// Runs a program to its end: its output, or why there is none.
    fn run(&self, command: &mut Command, input: Vec<u8>) -> Result<Vec<u8>, String> {
        let _place = self.place();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = Running(command.spawn().map_err(|e| format!("cannot start {name}: {e}"))?);
        let (stdin, stdout, stderr) = (child.0.stdin.take(), child.0.stdout.take(), child.0.stderr.take());
        // One thread for each pipe: whichever is full must not stop the others. They end when the child does.
        std::thread::spawn(move || {
            if let Some(mut stdin) = stdin {
                // A child that has seen enough closes it: its status tells.
                let _ = stdin.write_all(&input);
            }
        });
        let output = collect(stdout, OUTPUT_MAX);
        let complaint = collect(stderr, OUTPUT_MAX);
        let end = Instant::now() + WORK_MAX;
        let (output, complaint) = (wait(&output, end), wait(&complaint, end));
        let (Some(output), Some(complaint)) = (output, complaint) else {
            return Err(format!("{name} took longer than {} s and was ended", WORK_MAX.as_secs()));
        };
        let status = child.0.wait().map_err(|e| format!("{name}: {e}"))?;
        if status.success() {
            return Ok(output);
        }
        let begin = complaint.len().saturating_sub(COMPLAINT_MAX);
        let complaint = String::from_utf8_lossy(complaint.get(begin..).unwrap_or_default()).into_owned();
        let last = complaint.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("it says nothing");
        Err(format!("{name} failed ({status}): {}", last.trim()))
    }

    /// Starts a decoder that gives back each frame as soon as it has it, and goes on until its input ends.
    pub(crate) fn decode_live(&self, codec: Foreign) -> Result<(Child, LivePlace), DecodersError> {
        Decoders::can(self, codec)?;
        let place = self.live_place().ok_or_else(|| {
            let why = format!("{LIVE_MAX} streams that other programs decode are listened to on this node");
            DecodersError::Failed(format!("{} is not decoded: {why}", codec.name()))
        })?;
        let mut command = Command::new("ffmpeg");
        // It reads no further than it must to know what the file is: that would be heard as delay.
        let at_once = ["-probesize", "32", "-analyzeduration", "0"];
        decoding(&mut command, codec, &at_once, &["-flush_packets", "1"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let child = command.spawn().map_err(|e| {
            DecodersError::Failed(format!("{} is not decoded: cannot start ffmpeg: {e}", codec.name()))
        })?;
        Ok((child, place))
    }

    fn live_place(&self) -> Option<LivePlace> {
        let more = |n| (n < LIVE_MAX).then_some(n + 1);
        self.0.live.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(LivePlace(Arc::clone(&self.0)))
    }

    /// Waits until fewer than the most run.
    fn place(&self) -> Place<'_> {
        let running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        let running = self.0.ended.wait_while(running, |n| *n >= AT_ONCE_MAX);
        *running.unwrap_or_else(PoisonError::into_inner) += 1;
        Place(&self.0)
    }
}

/// A place among those that run.
struct Place<'a>(&'a Shared);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.0.running.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.ended.notify_one();
    }
}

/// A place among those that decode what is said now.
pub(crate) struct LivePlace(Arc<Shared>);

impl Drop for LivePlace {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A child that does not outlive its work.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Of one that has ended, both do nothing.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn collect(pipe: Option<impl Read + Send + 'static>, most: u64) -> Receiver<Vec<u8>> {
    let (to, from) = channel();
    std::thread::spawn(move || {
        let mut out = Vec::new();
        if let Some(pipe) = pipe {
            // What was read before it broke is what there is; the status tells.
            let _ = pipe.take(most).read_to_end(&mut out);
        }
        let _ = to.send(out);
    });
    from
}

/// What came, if it came in time.
fn wait(from: &Receiver<Vec<u8>>, end: Instant) -> Option<Vec<u8>> {
    from.recv_timeout(end.saturating_duration_since(Instant::now())).ok()
}

/// A file of the codec by standard input, samples by standard output.
fn decoding(ffmpeg: &mut Command, codec: Foreign, input: &[&str], output: &[&str]) {
    ffmpeg.args(["-nostdin", "-hide_banner", "-v", "error", "-threads", "1"]);
    ffmpeg.args(input).args(["-c:a", codec.decoder().unwrap_or_default()]).args(codec.input());
    ffmpeg.args(["-i", "pipe:0", "-f", "s16le", "-ac", "1", "-ar", &codec.rate().to_string()]);
    ffmpeg.args(output).arg("pipe:1");
}

impl Decoders for Programs {
    fn can(&self, codec: Foreign) -> Result<(), DecodersError> {
        let name = codec.name();
        let Some(decoder) = codec.decoder() else {
            return Err(DecodersError::Missing(format!(
                "{name} is decoded by no program that callspool knows"
            )));
        };
        let mut ask = Command::new("ffmpeg");
        ask.args(["-hide_banner", "-v", "error", "-decoders"]);
        let todo = format!("{name} needs ffmpeg with a decoder for it: apt-get install ffmpeg");
        match self.known(&self.0.decoders, ask) {
            Err(why) => Err(DecodersError::Missing(format!("{todo} ({why})"))),
            Ok(list) if list.lines().any(|l| l.split_whitespace().nth(1) == Some(decoder)) => Ok(()),
            Ok(_) => {
                Err(DecodersError::Missing(format!("{todo} (the one that is installed has no {decoder})")))
            }
        }
    }

    fn decode(&self, codec: Foreign, file: &[u8]) -> Result<Vec<i16>, DecodersError> {
        Decoders::can(self, codec)?;
        let mut command = Command::new("ffmpeg");
        decoding(&mut command, codec, &[], &[]);
        let out = self.run(&mut command, file.to_vec());
        let out =
            out.map_err(|why| DecodersError::Failed(format!("{} was not decoded: {why}", codec.name())))?;
        Ok(out.as_chunks::<2>().0.iter().map(|s| i16::from_le_bytes(*s)).collect())
    }
}

impl Mp3Encoder for Programs {
    fn can(&self) -> Result<(), Mp3EncoderError> {
        let mut ask = Command::new("lame");
        ask.arg("--version");
        self.known(&self.0.lame, ask).map(|_| ()).map_err(|why| {
            Mp3EncoderError::Missing(format!("MP3 is made by the program lame: apt-get install lame ({why})"))
        })
    }

    fn encode(&self, setup: Mp3Setup, samples: &[i16]) -> Result<Vec<u8>, Mp3EncoderError> {
        let mut command = Command::new("lame");
        let rate = format!("{}.{:03}", setup.rate / 1_000, setup.rate % 1_000);
        command.args(["--quiet", "-r", "--signed", "--little-endian", "--bitwidth", "16", "-s", &rate]);
        command.args(["--resample", &rate, "-m", if setup.channels == 2 { "s" } else { "m" }]);
        // Frames of one length, each by itself; no Info frame; nothing filtered; quality 7 is speech at 600 times
        // real time.
        command.args(["--cbr", "-b", &setup.bitrate.to_string(), "--nores", "-t", "--noreplaygain"]);
        command.args([
            "--lowpass",
            "-1",
            "--highpass",
            "-1",
            "--scale",
            as_loud(setup.bitrate),
            "-q",
            "7",
            "-",
            "-",
        ]);
        let input = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
        self.run(&mut command, input).map_err(|why| match Mp3Encoder::can(self) {
            Err(missing) => missing,
            Ok(()) => Mp3EncoderError::Failed(format!("MP3 was not encoded: {why}")),
        })
    }
}

/// LAME makes the sound a little fainter at low bit rates (0.95 up to 160 kbit/s, 0.97 at 192); this takes it back.
const fn as_loud(bitrate: u16) -> &'static str {
    match bitrate {
        ..=160 => "1.052632",
        161..=192 => "1.030928",
        _ => "1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_gives_and_what_it_complains_of_come_back() {
        let programs = Programs::default();
        let big = vec![7; 3 << 20];
        assert_eq!(programs.run(&mut Command::new("cat"), big.clone()).unwrap(), big);
        let mut failing = Command::new("sh");
        failing.args(["-c", "echo one >&2; echo the reason >&2; exit 3"]);
        let why = programs.run(&mut failing, Vec::new()).unwrap_err();
        assert!(why.contains("the reason") && why.contains('3'), "{why}");
        let why = programs.run(&mut Command::new("callspool-nonexistent"), Vec::new()).unwrap_err();
        assert!(why.contains("cannot start callspool-nonexistent"), "{why}");
        assert_eq!(*programs.0.running.lock().unwrap(), 0);
    }

    #[test]
    fn each_codec_of_ffmpeg_gives_as_many_samples_as_its_frames_last() {
        let programs = Programs::default();
        // Any bits are a frame; heads of frames say how long they are.
        let bits = |n: usize, octets: usize| {
            (0..octets).map(|i| u8::try_from((n * 31 + i * 7) % 256).unwrap()).collect::<Vec<u8>>()
        };
        let amr = |n: usize, kind: u8, octets: usize| [vec![0xF0, kind << 3 | 4], bits(n, octets)].concat();
        for (codec, payload, samples) in [
            (Foreign::G729, Box::new(|n| bits(n, 20)) as Box<dyn Fn(usize) -> Vec<u8>>, 160),
            (Foreign::G726Low, Box::new(move |n| bits(n, 80)), 160),
            (Foreign::Gsm, Box::new(move |n| [vec![0xD0], bits(n, 32)].concat()), 160),
            (Foreign::Ilbc30, Box::new(move |n| bits(n, 50)), 240),
            (Foreign::AmrOctets, Box::new(move |n| amr(n, 7, 31)), 160),
            (Foreign::AmrWbOctets, Box::new(move |n| amr(n, 8, 60)), 320),
        ] {
            Decoders::can(&programs, codec).unwrap_or_else(|e| panic!("{codec:?}: {e}"));
            let payloads: Vec<_> = (0..100).map(payload).collect();
            let file = codec.repack(payloads.iter().map(Vec::as_slice));
            assert_eq!(file.samples, vec![samples; 100], "{codec:?}");
            let heard = programs.decode(codec, &file.octets).unwrap_or_else(|e| panic!("{codec:?}: {e}"));
            assert_eq!(heard.len(), samples * 100, "{codec:?}");
            assert!(heard.iter().any(|s| *s != 0), "{codec:?}");
        }
    }

    #[test]
    fn so_many_live_decoders_run_and_no_more() {
        let programs = Programs::default();
        let places: Vec<_> = std::iter::from_fn(|| programs.live_place()).take(100).collect();
        assert_eq!(places.len(), LIVE_MAX);
        let why = programs.decode_live(Foreign::Gsm).map(|_| ()).unwrap_err().to_string();
        assert!(why.contains("GSM") && why.contains("16 streams"), "{why}");
        drop(places);
        assert!(programs.live_place().is_some());
    }

    #[test]
    fn lame_makes_frames_of_one_length() {
        let programs = Programs::default();
        for (rate, channels, bitrate, frame) in
            [(8_000, 2, 32, 288), (8_000, 1, 24, 216), (16_000, 2, 64, 288), (48_000, 2, 128, 384)]
        {
            let setup = Mp3Setup { rate, channels, bitrate };
            let out = programs.encode(setup, &vec![1_000; 1_152 * 40]).unwrap();
            assert_eq!(out.len() % frame, 0, "{setup:?}");
            assert!(out.chunks(frame).all(|f| f[0] == 0xFF && f[1] & 0xE6 == 0xE2), "{setup:?}");
        }
    }

    #[test]
    fn a_codec_that_nobody_decodes_is_told() {
        let why = Decoders::can(&Programs::default(), Foreign::Evs).unwrap_err().to_string();
        assert!(why.contains("EVS"), "{why}");
    }
}
