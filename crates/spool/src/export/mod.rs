//! A call as a file that people play: WAV, MP3, Ogg Opus or FLAC, or with its pictures Matroska or WebM, made while it
//! is read.
//!
//! ```text
//!  Assembler ──► Pcm ──► pieces ──► octets from any offset on
//!                samples  WAV 1 s · MP3 30 s · Opus 10 s · FLAC 32,768 samples
//! ```
//!
//! A file is a head and pieces. Each piece is made from the samples of its place and a little before, and from
//! nothing else; in all formats but FLAC the length of each is known before it is made. So nothing is rendered in
//! advance or kept on disk, a player begins at once and jumps where it likes, and any two ranges of a file fit
//! together. FLAC pieces are as long as the sound is hard to describe, and pictures as long as the sender made them: such
//! files are made from their beginning on.

mod flac;
mod mp3;
mod opus;
mod pcm;
mod tags;
mod video;

use media::listen::OpusEncoderError;
use model::SegmentRecord;

pub use mp3::{Mp3Encoder, Mp3EncoderError, Mp3Setup, NoMp3Encoder};
pub use tags::Tags;

use crate::assemble::{AssembleError, Decoders, Note, Options};
use crate::mka::Flavor;
use crate::op::Files;
use crate::wav::{HEADER_BYTES, SAMPLES_MAX_BYTES, wav_header};
use flac::Flac;
use mp3::Mp3;
use opus::Opus;
use pcm::Pcm;
use video::Video;

/// A kind of file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// PCM of 16 bits.
    Wav,
    /// MP3 of a constant bit rate.
    Mp3,
    /// Opus in Ogg, of a constant bit rate.
    Opus,
    /// FLAC.
    Flac,
    /// Pictures as they came, and Opus, in Matroska.
    Mkv,
    /// The same in WebM, which holds VP8 and VP9 and is played by browsers.
    Webm,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Wav, Self::Mp3, Self::Opus, Self::Flac, Self::Mkv, Self::Webm];

    /// The end of a file's name.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Wav => "wav",
            Self::Mp3 => "mp3",
            Self::Opus => "opus",
            Self::Flac => "flac",
            Self::Mkv => "mkv",
            Self::Webm => "webm",
        }
    }

    /// The kind of a file by the end of its name. Ogg files of ours are Opus.
    #[must_use]
    pub fn of_extension(extension: &str) -> Option<Self> {
        let extension = extension.to_ascii_lowercase();
        if extension == "ogg" {
            return Some(Self::Opus);
        }
        Self::ALL.into_iter().find(|f| f.extension() == extension)
    }

    /// What HTTP calls it.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Wav => "audio/wav",
            Self::Mp3 => "audio/mpeg",
            Self::Opus => "audio/ogg; codecs=opus",
            Self::Flac => "audio/flac",
            Self::Mkv => "video/x-matroska",
            Self::Webm => "video/webm",
        }
    }
}

/// What is wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// The kind of file.
    pub format: Format,
    /// Rate and layout.
    pub options: Options,
    /// kbit/s of MP3 and of Opus, beside pictures too; else as much as good speech takes.
    pub bitrate: Option<u16>,
    /// What the file says of the call.
    pub tags: Tags,
}

/// What reading a file needs of the shell.
#[derive(Clone, Copy)]
pub struct Tools<'a> {
    /// The repository.
    pub files: &'a dyn Files,
    /// Programs that decode.
    pub decoders: &'a dyn Decoders,
    /// The program that makes MP3 frames.
    pub mp3: &'a dyn Mp3Encoder,
}

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The recording cannot be assembled.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    /// It would not fit a WAV file of 4 GiB.
    #[error("the recording would be {0} seconds long, more than a WAV file holds; take FLAC, Opus or MP3")]
    TooLong(u64),
    /// The format has no such bit rate.
    #[error("{format} at this rate and layout has no {asked} kbit/s; it has {offered}")]
    Bitrate {
        /// The format's extension.
        format: &'static str,
        /// kbit/s that were asked for.
        asked: u16,
        /// kbit/s that there are.
        offered: String,
    },
    /// Nobody sent video, or in nothing that can be put together here.
    #[error("the call has no video that can be shown; take a format for sound alone")]
    NoPictures,
    /// WebM has VP8 and VP9 only.
    #[error("the call has video in {0}, which WebM does not hold; take Matroska (mkv)")]
    NotInWebm(&'static str),
    /// A program that is needed is not there.
    #[error("{0}")]
    Missing(String),
    /// An encoder failed.
    #[error("{0}")]
    Encoder(String),
}

impl From<Mp3EncoderError> for ExportError {
    fn from(error: Mp3EncoderError) -> Self {
        match error {
            Mp3EncoderError::Missing(why) => Self::Missing(why),
            Mp3EncoderError::Failed(why) => Self::Encoder(why),
        }
    }
}

impl From<OpusEncoderError> for ExportError {
    fn from(error: OpusEncoderError) -> Self {
        Self::Encoder(error.to_string())
    }
}

enum Container {
    Wav(Wav),
    Mp3(Mp3),
    Opus(Opus),
    Flac(Flac),
    Video(Box<Video>),
}

/// A file in the making.
pub struct Export {
    pcm: Pcm,
    container: Container,
    /// The piece that was made last: its number, its place in the file, its octets.
    ready: Option<(u64, u64, Vec<u8>)>,
}

impl Export {
    /// A file of segments, each with its directory, in any order.
    pub fn new(segments: Vec<(SegmentRecord, String)>, request: &Request) -> Result<Self, ExportError> {
        let options = request.options;
        let pcm = Pcm::new(segments.clone(), options);
        let total = pcm.total();
        let container = match request.format {
            Format::Wav => Container::Wav(Wav::new(options, &request.tags, total)?),
            Format::Mp3 => {
                let offered = mp3::bitrates(options);
                let bitrate = request.bitrate.unwrap_or_else(|| mp3::default_bitrate(options));
                let known = offered.contains(&bitrate);
                check_bitrate(request.format, bitrate, known, || {
                    offered.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
                })?;
                let (rate, channels) = (options.rate.hz(), options.layout.channels());
                Container::Mp3(Mp3::new(Mp3Setup { rate, channels, bitrate }, &request.tags, total))
            }
            Format::Opus => {
                Container::Opus(Opus::new(options, opus_bitrate(request)?, &request.tags, total)?)
            }
            Format::Flac => Container::Flac(Flac::new(options, &request.tags, total)?),
            Format::Mkv | Format::Webm => {
                let flavor = if request.format == Format::Webm { Flavor::Webm } else { Flavor::Matroska };
                let bitrate = opus_bitrate(request)?;
                let video = Video::new(&segments, flavor, options, bitrate, &request.tags, total)?;
                Container::Video(Box::new(video))
            }
        };
        Ok(Self { pcm, container, ready: None })
    }

    /// Samples of each channel.
    #[must_use]
    pub const fn total_samples(&self) -> u64 {
        self.pcm.total()
    }

    /// Whether nothing was recorded: neither sound nor, where it is asked for, pictures.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pcm.total() == 0 && !matches!(self.container, Container::Video(_))
    }

    /// The length of the file in octets; none where it shows only when the file is made.
    #[must_use]
    pub fn octets(&self) -> Option<u64> {
        match &self.container {
            Container::Wav(wav) => Some(wav.octets()),
            Container::Mp3(mp3) => Some(mp3.octets()),
            Container::Opus(opus) => Some(opus.octets()),
            Container::Flac(_) | Container::Video(_) => None,
        }
    }

    /// What is not heard, or not seen, as far as was read.
    pub fn notes(&mut self) -> Vec<Note> {
        let mut notes = self.pcm.notes().to_vec();
        if let Container::Video(video) = &self.container {
            notes.extend(video.notes().into_iter().filter(|n| !notes.contains(n)).collect::<Vec<_>>());
        }
        notes
    }

    /// Octets from an offset on: `len` of them or fewer; none at the end of the file only.
    pub fn read(&mut self, offset: u64, len: usize, tools: &Tools<'_>) -> Result<Vec<u8>, ExportError> {
        if let Container::Video(video) = &mut self.container {
            return video.read(offset, len, &mut self.pcm, tools);
        }
        let head = self.container.head();
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        if let Some(rest) = head.get(from..).filter(|r| !r.is_empty()) {
            return Ok(rest.iter().copied().take(len).collect());
        }
        let begin = head.len() as u64;
        loop {
            let (piece, at) = match (self.container.piece_octets(), &self.ready) {
                (_, Some((_, at, octets))) if (*at..*at + octets.len() as u64).contains(&offset) => {
                    let skip = usize::try_from(offset - at).unwrap_or(usize::MAX);
                    return Ok(octets.iter().copied().skip(skip).take(len).collect());
                }
                (Some(each), _) => {
                    let piece = (offset - begin) / each.max(1);
                    (piece, begin + piece * each)
                }
                // Only by walking: on from what is here, or from the beginning.
                (None, Some((piece, at, octets))) if *at <= offset => (piece + 1, at + octets.len() as u64),
                (None, _) => (0, begin),
            };
            if piece >= self.container.pieces() {
                return Ok(self.container.tail(offset, len));
            }
            let octets = self.container.make(piece, &mut self.pcm, tools)?;
            let is_there = offset < at + octets.len() as u64;
            self.ready = Some((piece, at, octets));
            if !is_there && self.container.piece_octets().is_some() {
                return Ok(self.container.tail(offset, len));
            }
        }
    }
}

/// What Opus is to take.
fn opus_bitrate(request: &Request) -> Result<u16, ExportError> {
    let bitrate = request.bitrate.unwrap_or_else(|| opus::default_bitrate(request.options));
    let known = opus::BITRATES.contains(&bitrate) && bitrate.is_multiple_of(2);
    check_bitrate(request.format, bitrate, known, || {
        format!("even ones from {} to {}", opus::BITRATES.start(), opus::BITRATES.end())
    })?;
    Ok(bitrate)
}

fn check_bitrate(
    format: Format,
    asked: u16,
    known: bool,
    offered: impl FnOnce() -> String,
) -> Result<(), ExportError> {
    if known {
        return Ok(());
    }
    Err(ExportError::Bitrate { format: format.extension(), asked, offered: offered() })
}

impl Container {
    fn head(&self) -> &[u8] {
        match self {
            Self::Wav(wav) => &wav.head,
            Self::Mp3(mp3) => &mp3.head,
            Self::Opus(opus) => &opus.head,
            Self::Flac(flac) => &flac.head,
            Self::Video(_) => &[],
        }
    }

    fn pieces(&self) -> u64 {
        match self {
            Self::Wav(wav) => wav.total.div_ceil(wav.rate),
            Self::Mp3(mp3) => mp3.pieces(),
            Self::Opus(opus) => opus.pieces(),
            Self::Flac(flac) => flac.pieces(),
            Self::Video(_) => 0,
        }
    }

    /// The octets of every piece but the last, where they are equal.
    fn piece_octets(&self) -> Option<u64> {
        match self {
            Self::Wav(wav) => Some(wav.rate * wav.align),
            Self::Mp3(mp3) => Some(mp3.piece_octets()),
            Self::Opus(opus) => Some(opus.piece_octets()),
            Self::Flac(_) | Self::Video(_) => None,
        }
    }

    fn make(&self, piece: u64, pcm: &mut Pcm, tools: &Tools<'_>) -> Result<Vec<u8>, ExportError> {
        match self {
            Self::Wav(wav) => wav.make(piece, pcm, tools),
            Self::Mp3(mp3) => mp3.make(piece, pcm, tools),
            Self::Opus(opus) => opus.make(piece, pcm, tools),
            Self::Flac(flac) => flac.make(piece, pcm, tools),
            // It is read by itself.
            Self::Video(_) => Ok(Vec::new()),
        }
    }

    /// What stands behind the last piece.
    fn tail(&self, offset: u64, len: usize) -> Vec<u8> {
        let Self::Wav(wav) = self else { return Vec::new() };
        let at = offset.saturating_sub(HEADER_BYTES + wav.total * wav.align);
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        wav.tail.get(at..).unwrap_or_default().iter().copied().take(len).collect()
    }
}

struct Wav {
    head: Vec<u8>,
    tail: Vec<u8>,
    total: u64,
    rate: u64,
    align: u64,
}

impl Wav {
    fn new(options: Options, tags: &Tags, total: u64) -> Result<Self, ExportError> {
        let channels = options.layout.channels();
        let (rate, align) = (options.rate.hz(), u64::from(channels) * 2);
        let tail = tags.info();
        if total.saturating_mul(align) + tail.len() as u64 > SAMPLES_MAX_BYTES {
            return Err(ExportError::TooLong(total / u64::from(rate)));
        }
        let head = wav_header(u16::from(channels), rate, total, tail.len()).to_vec();
        Ok(Self { head, tail, total, rate: rate.into(), align })
    }

    fn octets(&self) -> u64 {
        HEADER_BYTES + self.total * self.align + self.tail.len() as u64
    }

    fn make(&self, piece: u64, pcm: &mut Pcm, tools: &Tools<'_>) -> Result<Vec<u8>, ExportError> {
        let from = piece * self.rate;
        let count = usize::try_from(self.rate.min(self.total.saturating_sub(from))).unwrap_or(0);
        let samples = pcm.read(i64::try_from(from).unwrap_or(i64::MAX), count, tools)?;
        Ok(samples.iter().flat_map(|s| s.to_le_bytes()).collect())
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "samples of a test are small")]
mod tests;
