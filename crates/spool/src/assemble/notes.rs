//! What is not heard of a recording, and why.

use media::video::VideoCodec;
use model::{MediaKind, SegmentRecord, StreamId};

use super::decoders::Decoders;
use super::lane::Coding;
use super::source::coding_of;

/// 100 notes: enough to see what is wrong; the rest is counted.
const NOTES_MAX: usize = 100;
/// Something that is not heard although it is there, or should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Note {
    /// A file, or what follows damage in it, is missing.
    Unreadable {
        /// Which.
        path: String,
        /// Why.
        why: String,
    },
    /// Some or all of a stream is in a codec that could not be decoded.
    NotDecoded {
        /// The stream.
        stream: StreamId,
        /// The codec's name.
        codec: String,
        /// Why, and what to do.
        why: String,
    },
    /// Media that stand more than 30 s behind their place in their file.
    TooLate {
        /// The stream.
        stream: StreamId,
    },
    /// Pictures that were lost, or that cannot be decoded without what was.
    NotShown {
        /// The stream that its track begins with.
        stream: StreamId,
        /// The picture before, in milliseconds from the call's beginning.
        from_ms: u64,
        /// The next one.
        until_ms: u64,
    },
    /// Pictures that lean on what was lost, and are shown all the same because no key frame came for long.
    Damaged {
        /// The stream that its track begins with.
        stream: StreamId,
        /// The last whole picture, in milliseconds from the call's beginning.
        from_ms: u64,
        /// The next one.
        until_ms: u64,
    },
}

/// What of a call will not be heard, because nobody here decodes it. Video is not meant to be heard.
#[must_use]
pub fn not_decoded<'a>(
    segments: impl IntoIterator<Item = &'a SegmentRecord>,
    decoders: &dyn Decoders,
) -> Vec<Note> {
    let mut notes = Vec::new();
    let streams = segments.into_iter().flat_map(|s| &s.streams);
    for stream in streams.filter(|s| s.kind != MediaKind::Video) {
        for codec in stream.codecs.iter().filter_map(|u| u.codec.as_ref()) {
            let (name, why) = match coding_of(codec) {
                Some(Coding::Here(_)) => continue,
                Some(Coding::There(foreign)) => match decoders.can(foreign) {
                    Ok(()) => continue,
                    Err(e) => (foreign.name().to_owned(), e.to_string()),
                },
                // No media: events, comfort noise.
                None if codec.is("TELEPHONE-EVENT") || codec.is("CN") => continue,
                None => (codec.name.clone(), format!("{} is not known here", codec.name)),
            };
            let note = Note::NotDecoded { stream: stream.id, codec: name, why };
            if notes.len() < NOTES_MAX && !notes.contains(&note) {
                notes.push(note);
            }
        }
    }
    notes
}

/// What of a call's video will not be seen, because nobody here puts it together.
#[must_use]
pub fn not_shown<'a>(segments: impl IntoIterator<Item = &'a SegmentRecord>) -> Vec<Note> {
    let mut notes = Vec::new();
    let streams = segments.into_iter().flat_map(|s| &s.streams);
    for stream in streams.filter(|s| s.kind == MediaKind::Video) {
        for codec in stream.codecs.iter().filter_map(|u| u.codec.as_ref()) {
            // They repeat or mend what other packets hold.
            let repeats = ["RTX", "ULPFEC", "FLEXFEC-03", "FLEXFEC"].iter().any(|name| codec.is(name));
            if VideoCodec::of(codec).is_none() && !repeats {
                let why = format!("pictures in {} are not known here", codec.name);
                let codec = codec.name.clone();
                note(&mut notes, Note::NotDecoded { stream: stream.id, codec, why });
            }
        }
    }
    notes
}

/// Adds a note, unless there are too many or it was noted before.
pub(super) fn note(notes: &mut Vec<Note>, note: Note) {
    if notes.len() < NOTES_MAX && !notes.contains(&note) {
        notes.push(note);
    }
}
