//! What was said in a call, as a file that is made while it is read, and as a picture.

use std::sync::{Arc, Weak};

use model::{CallId, StreamId, TenantId};

use super::CallPlaces;

/// Gives the audio of calls. All of it may block on a disk or a program; it is called on threads that may.
pub trait Audio: Send + Sync {
    /// Opens what was said in a call, as far as it is there now. A call of another tenant is
    /// [`AudioError::NoCall`].
    fn open(&self, wanted: &AudioRequest) -> Result<Box<dyn AudioStream>, AudioError>;
    /// Where what would be played lies, and what is missing.
    fn places(&self, tenant: &TenantId, call: CallId) -> Result<CallPlaces, AudioError>;
    /// How loud it was, in buckets of equal length. When nobody waits for it any more it is given up.
    fn peaks(&self, wanted: &PeaksRequest, by: &Waiting) -> Result<Peaks, AudioError>;
}

/// Whether somebody waits for what is being made.
#[derive(Debug, Clone)]
pub struct Waiting(Weak<()>);

/// Held by who waits.
#[derive(Debug)]
pub struct Waiter {
    _waits: Arc<()>,
}

impl Waiter {
    /// Somebody waits until this is dropped.
    #[must_use]
    pub fn new() -> (Self, Waiting) {
        let waits = Arc::new(());
        let waiting = Waiting(Arc::downgrade(&waits));
        (Self { _waits: waits }, waiting)
    }
}

impl Waiting {
    /// Nobody waits any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.strong_count() == 0
    }
}

/// A kind of file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AudioFormat {
    /// PCM of 16 bits.
    Wav,
    /// MP3 of a constant bit rate.
    Mp3,
    /// Opus in Ogg.
    Opus,
    /// FLAC, whose length shows only at its end.
    Flac,
    /// Pictures and Opus in Matroska; its length shows only at its end.
    Mkv,
    /// The same in WebM, of calls whose video it holds.
    Webm,
}

impl AudioFormat {
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

    pub(crate) const fn media_type(self) -> &'static str {
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

/// Who is heard where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AudioLayout {
    /// Agent left, external right.
    Stereo,
    /// All in one channel.
    Mix,
    /// One stream alone.
    Stream(StreamId),
}

/// What is to be opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AudioRequest {
    /// Whose call.
    pub tenant: TenantId,
    /// Which.
    pub call: CallId,
    /// As what.
    pub format: AudioFormat,
    /// Who is heard where.
    pub layout: AudioLayout,
    /// Samples a second: 8,000, 16,000 or 48,000; else the highest of what was received.
    pub rate: Option<u32>,
    /// kbit/s of MP3 and Opus, beside pictures too; else as much as good speech takes.
    pub bitrate: Option<u16>,
}

/// A file that is made while it is read.
pub trait AudioStream: Send {
    /// Its length in octets; none where it shows only at the end. Does not change while it is open.
    fn len_bytes(&self) -> Option<u64>;
    /// Octets from an offset on: `len` of them or fewer; none at the end, and only there.
    fn read_range(&mut self, offset: u64, len: usize) -> Result<Vec<u8>, AudioError>;
    /// What it should be called, without the end that names its kind.
    fn name(&self) -> String;
    /// What names this file and no other, as hexadecimal; none of a call that is still being recorded, whose next
    /// file will be another.
    fn version(&self) -> Option<String>;
    /// What of the call will be silent or dark, a line each: codecs that cannot be decoded here, pictures that were lost.
    fn not_heard(&self) -> Vec<String>;
}

/// Which picture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeaksRequest {
    /// Whose call.
    pub tenant: TenantId,
    /// Which.
    pub call: CallId,
    /// Buckets.
    pub width: u32,
    /// Milliseconds from the call's beginning.
    pub from_ms: u64,
    /// The same, where it ends; none is the end of the call.
    pub until_ms: Option<u64>,
}

/// A picture: lowest and highest sample of each bucket, in 128ths of full scale, lowest and highest in turn.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peaks {
    /// Where it begins, in milliseconds of the call.
    pub from_ms: u64,
    /// Where it ends.
    pub until_ms: u64,
    /// How long the call is so far.
    pub duration_ms: u64,
    /// Agent, then external.
    pub channels: [Vec<i8>; 2],
}

/// Why there is no audio.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AudioError {
    /// The tenant has no such call.
    #[error("there is no such call")]
    NoCall,
    /// Nothing of it was recorded, or nothing that the kind of file holds.
    #[error("there is nothing to play: {0}")]
    Nothing(String),
    /// A parameter names what there is not.
    #[error("{name}: {why}")]
    Unfit {
        /// The parameter.
        name: &'static str,
        /// What it should be.
        why: String,
    },
    /// A program that makes such files is not installed.
    #[error("such files cannot be made here: {0}")]
    Missing(String),
    /// Its segments are where they cannot be reached now.
    #[error("the recording cannot be reached: {0}")]
    Away(String),
    /// The files cannot be read.
    #[error("the recording cannot be read: {0}")]
    Failed(String),
}
