//! What is heard: files decoded by ffmpeg, WAV exports, tones found and silence measured.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::PATIENCE;
use super::program::run;

/// A tone as the tests send it is at -12 dBFS; what is 6 dB below that has lost half of its samples.
const PRESENT_DBFS: f64 = -18.0;
/// Where a tone is not, µ-law and the edges of a window leave less than this.
const ABSENT_DBFS: f64 = -45.0;

/// Samples of one channel.
#[derive(Clone, PartialEq, Eq)]
pub struct Sound {
    /// Samples per second.
    pub rate: u32,
    /// The samples.
    pub samples: Vec<i16>,
}

impl Sound {
    /// How long, in seconds.
    pub fn seconds(&self) -> f64 {
        self.samples.len() as f64 / f64::from(self.rate)
    }

    /// A stretch of it, from and until in seconds.
    pub fn cut(&self, from: f64, until: f64) -> Self {
        let at = |s: f64| ((s * f64::from(self.rate)) as usize).min(self.samples.len());
        let samples = self.samples.get(at(from)..at(until)).unwrap_or_default().to_vec();
        Self { rate: self.rate, samples }
    }

    /// The level of one frequency in dBFS (Goertzel's algorithm with a Hann window).
    pub fn level(&self, hertz: f64) -> f64 {
        let n = self.samples.len().max(1) as f64;
        let turn = std::f64::consts::TAU * hertz / f64::from(self.rate);
        let (mut one, mut two, mut weights) = (0.0, 0.0, 0.0);
        for (i, sample) in self.samples.iter().enumerate() {
            let window = 0.5 - 0.5 * (std::f64::consts::TAU * i as f64 / n).cos();
            let next = f64::from(*sample) * window + 2.0 * turn.cos() * one - two;
            (two, one) = (one, next);
            weights += window;
        }
        let power = one * one + two * two - 2.0 * turn.cos() * one * two;
        20.0 * (2.0 * power.max(1e-9).sqrt() / weights.max(1.0) / 32_768.0).log10()
    }

    /// Fails unless this tone is in it and those are not.
    pub fn expect_tone(&self, what: &str, hertz: f64, not: &[f64]) {
        let level = self.level(hertz);
        assert!(level > PRESENT_DBFS, "{what}: {hertz} Hz is at {level:.0} dBFS in {:.2} s", self.seconds());
        for other in not {
            let level = self.level(*other);
            assert!(level < ABSENT_DBFS, "{what}: {other} Hz is at {level:.0} dBFS and should not be there");
        }
    }

    /// Stretches in which every sample is zero, at least so long, as from and until in seconds.
    pub fn silences(&self, least: f64) -> Vec<(f64, f64)> {
        let mut found = Vec::new();
        let mut from = None;
        for (i, sample) in self.samples.iter().chain(&[1]).enumerate() {
            match (*sample == 0, from) {
                (true, None) => from = Some(i),
                (false, Some(begin)) => {
                    let seconds = |n: usize| n as f64 / f64::from(self.rate);
                    if seconds(i - begin) >= least {
                        found.push((seconds(begin), seconds(i)));
                    }
                    from = None;
                }
                _ => {}
            }
        }
        found
    }
}

/// Reads a WAV file; one sound per channel.
pub fn wav(path: &Path) -> Vec<Sound> {
    wav_bytes(&std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
}

/// The same, from its bytes.
pub fn wav_bytes(bytes: &[u8]) -> Vec<Sound> {
    let mut reader = hound::WavReader::new(bytes).expect("a WAV file");
    let spec = reader.spec();
    let samples: Vec<i16> = reader.samples().map(|s| s.expect("a sample")).collect();
    let channels = usize::from(spec.channels);
    (0..channels)
        .map(|c| Sound {
            rate: spec.sample_rate,
            samples: samples.iter().copied().skip(c).step_by(channels).collect(),
        })
        .collect()
}

/// What ffprobe says of a file, which it must open without complaint.
pub fn probe(path: &Path) -> Value {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-show_streams", "-show_format", "-of", "json"]).arg(path);
    let done = run(command, PATIENCE).expect_ok("ffprobe");
    assert!(done.err.trim().is_empty(), "ffprobe complains of {}: {}", path.display(), done.err);
    serde_json::from_slice(&done.out).expect("JSON of ffprobe")
}

/// A track as ffmpeg hears it, from 0; it must decode all of it without complaint.
pub fn decode(path: &Path, track: usize) -> Sound {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-i"]).arg(path);
    command.args(["-map", &format!("0:a:{track}"), "-f", "s16le", "-ac", "1", "-ar", "8000", "-"]);
    let done = run(command, PATIENCE).expect_ok("ffmpeg");
    assert!(done.err.trim().is_empty(), "ffmpeg complains of {}: {}", path.display(), done.err);
    let samples = done.out.as_chunks::<2>().0.iter().map(|s| i16::from_le_bytes(*s)).collect();
    Sound { rate: 8_000, samples }
}

/// Writes a WAV file that plays one tone after the other, each so many seconds, at -12 dBFS.
pub fn write_tones(path: &Path, tones: &[(f64, f64)]) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 8_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).expect("a WAV file");
    for (hertz, seconds) in tones {
        for n in 0..(seconds * 8_000.0) as u32 {
            let turns = hertz * f64::from(n) / 8_000.0;
            writer.write_sample(((turns * std::f64::consts::TAU).sin() * 8_192.0) as i16).unwrap();
        }
    }
    writer.finalize().unwrap();
}
