//! What streams say: WAV files, tones, synthetic speech, as G.711 that is made once and shared by all calls.

use std::path::{Path, PathBuf};
use std::time::Duration;

use media::speech::Speech;
use media::tone::Tone;

use super::plan::{Law, VoiceSource};
use super::stream::CLOCK_RATE;

/// Rates that WAV files have; others are most likely a mistake.
const WAV_RATES: [u32; 4] = [8_000, 16_000, 44_100, 48_000];

/// The longest WAV file that is taken: a day of samples in memory is 690 MB.
const WAV_SECONDS_MAX: u32 = 4 * 3_600;

/// What is generated before it repeats: long enough that a listener does not notice, 480 KB of octets.
const GENERATED: Duration = Duration::from_secs(60);

/// Loud enough to hear, far from clipping.
const LEVEL_DBFS: f64 = -12.0;

/// A voice that cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VoiceError {
    /// The file cannot be read as WAV.
    #[error("{}: {source}", path.display())]
    Wav {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: hound::Error,
    },
    /// It is WAV, but not of a kind that is taken.
    #[error("{}: {what}; take 16-bit mono PCM at 8, 16, 44.1 or 48 kHz", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: String,
    },
}

/// G.711 octets at 8 kHz, repeated without end.
pub(crate) struct Voice {
    octets: Vec<u8>,
    silence: u8,
}

impl Voice {
    /// Makes one.
    pub(crate) fn load(source: &VoiceSource, law: Law) -> Result<Self, VoiceError> {
        let samples = match source {
            VoiceSource::Wav(path) => read_wav(path)?,
            VoiceSource::Tone(hz) => {
                let mut samples = Vec::new();
                Tone::sine(CLOCK_RATE, *hz, LEVEL_DBFS).fill(generated(), &mut samples);
                samples
            }
            VoiceSource::Speech(seed) => {
                let mut samples = Vec::new();
                Speech::new(CLOCK_RATE, *seed).fill(generated(), &mut samples);
                samples
            }
        };
        Ok(Self::encode(&samples, law))
    }

    fn encode(samples: &[i16], law: Law) -> Self {
        let mut octets = Vec::with_capacity(samples.len());
        match law {
            Law::Pcmu => media::g711::encode_ulaw_into(samples, &mut octets),
            Law::Pcma => media::g711::encode_alaw_into(samples, &mut octets),
        }
        let silence = match law {
            Law::Pcmu => media::g711::SILENCE_ULAW,
            Law::Pcma => media::g711::SILENCE_ALAW,
        };
        Self { octets, silence }
    }

    /// How long it is before it repeats.
    pub(crate) fn length(&self) -> Duration {
        Duration::from_micros(self.octets.len() as u64 * (1_000_000 / u64::from(CLOCK_RATE)))
    }

    /// The octets of `samples` samples from `position` on.
    pub(super) fn frame(&self, position: u64, samples: u32, out: &mut Vec<u8>) {
        out.clear();
        let wanted = samples as usize;
        let Some(mut at) =
            position.checked_rem(self.octets.len() as u64).and_then(|p| usize::try_from(p).ok())
        else {
            out.resize(wanted, self.silence);
            return;
        };
        while out.len() < wanted {
            let rest = self.octets.get(at..).unwrap_or_default();
            out.extend_from_slice(rest.get(..wanted - out.len()).unwrap_or(rest));
            at = 0;
        }
    }
}

fn generated() -> usize {
    usize::try_from(GENERATED.as_secs() * u64::from(CLOCK_RATE)).unwrap_or(usize::MAX)
}

fn read_wav(path: &Path) -> Result<Vec<i16>, VoiceError> {
    let failed = |source| VoiceError::Wav { path: path.to_owned(), source };
    let refused = |what: String| VoiceError::Kind { path: path.to_owned(), what };
    let reader = hound::WavReader::open(path).map_err(failed)?;
    let spec = reader.spec();
    if spec.channels != 1 || spec.bits_per_sample != 16 || spec.sample_format != hound::SampleFormat::Int {
        let kind = format!("{} channels of {} bits", spec.channels, spec.bits_per_sample);
        return Err(refused(kind));
    }
    if !WAV_RATES.contains(&spec.sample_rate) {
        return Err(refused(format!("{} Hz", spec.sample_rate)));
    }
    if reader.len() == 0 || reader.len() / spec.sample_rate > WAV_SECONDS_MAX {
        let length = reader.len() / spec.sample_rate;
        return Err(refused(format!("{length} seconds, where 0 to {WAV_SECONDS_MAX} are taken")));
    }
    let samples: Result<Vec<i16>, _> = reader.into_samples().collect();
    Ok(resample(samples.map_err(failed)?, spec.sample_rate))
}

/// To 8 kHz: the mean of what lies under each new sample, which is also the low-pass that keeps the worst
/// aliases out. Good enough for a test caller.
fn resample(samples: Vec<i16>, rate: u32) -> Vec<i16> {
    if rate == CLOCK_RATE {
        return samples;
    }
    let (from, to) = (u64::from(rate), u64::from(CLOCK_RATE));
    let count = samples.len() as u64 * to / from;
    (0..count)
        .map(|n| {
            let index = |n: u64| usize::try_from(n * from / to).unwrap_or(usize::MAX);
            let window = samples.get(index(n)..index(n + 1).min(samples.len())).unwrap_or_default();
            let sum: i64 = window.iter().map(|s| i64::from(*s)).sum();
            let mean = sum / i64::try_from(window.len().max(1)).unwrap_or(i64::MAX);
            i16::try_from(mean).unwrap_or_default()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wav(rate: u32, channels: u16, samples: &[i16]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let spec = hound::WavSpec {
            channels,
            sample_rate: rate,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::create(file.path(), spec).unwrap();
        samples.iter().for_each(|s| writer.write_sample(*s).unwrap());
        writer.finalize().unwrap();
        file
    }

    #[test]
    fn a_voice_repeats_without_a_seam() {
        let voice = Voice { octets: vec![1, 2, 3], silence: 0 };
        let mut out = vec![9];
        for (position, expected) in
            [(0, [1, 2, 3, 1, 2]), (2, [3, 1, 2, 3, 1]), (u64::MAX - 1, [3, 1, 2, 3, 1])]
        {
            voice.frame(position, 5, &mut out);
            assert_eq!(out, expected, "from {position}");
        }
        Voice { octets: vec![], silence: 0xff }.frame(7, 2, &mut out);
        assert_eq!(out, [0xff, 0xff]);
    }

    #[test]
    fn wav_files_of_the_usual_rates_keep_their_length_and_their_tone() {
        for rate in WAV_RATES {
            let mut tone = Vec::new();
            Tone::sine(rate, 440.0, -6.0).fill(rate as usize, &mut tone);
            let file = wav(rate, 1, &tone);
            let samples = read_wav(file.path()).unwrap();
            assert_eq!(samples.len(), 8_000, "{rate} Hz");
            let level = media::tone::level(&samples, 8_000, 440.0);
            assert!((level + 6.0).abs() < 1.5, "{rate} Hz: {level} dBFS");
        }
    }

    #[test]
    fn other_files_are_refused_by_name() {
        for (rate, channels, samples, expected) in [
            (11_025, 1, &[1][..], "11025 Hz"),
            (8_000, 2, &[1, 1], "2 channels of 16 bits"),
            (8_000, 1, &[], "0 seconds"),
        ] {
            let file = wav(rate, channels, samples);
            let error = read_wav(file.path()).unwrap_err().to_string();
            let name = file.path().file_name().unwrap().to_string_lossy();
            assert!(error.contains(expected) && error.contains(name.as_ref()), "{error}");
        }
        assert!(read_wav(Path::new("/nonexistent.wav")).is_err());
    }
}
