//! Payloads to sound, stream by stream, for somebody who listens now.
//!
//! A stream that changes its codec gets a decoder that has heard nothing; so does one that goes on in another
//! segment, where decoding costs nothing to begin. What other programs decode comes back a moment later, and is
//! taken then.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use media::listen::{Decoder, Elsewhere, Foreign, InProcess, LiveMix, Piece};
use model::{CallId, Mono, SegmentId, Side, StreamId};

use super::program::{Program, Standing};
use crate::programs::Programs;
use crate::recorder::{Coding, Overheard};

/// As many streams as a segment may have.
const STREAMS_MAX: usize = 32;
/// 400 ms: what waited here for longer, because nobody took the sound, is not decoded any more.
const OLD: Duration = Duration::from_millis(400);
/// 10 s after a program failed, another one is tried: what was missing may be there then.
const AGAIN: Duration = Duration::from_secs(10);
/// 30 s: the program of a stream that says nothing for so long ends. It comes again with its stream.
const IDLE: Duration = Duration::from_secs(30);

/// The decoders of one listener.
pub(super) struct Decoding {
    call: CallId,
    programs: Programs,
    streams: BTreeMap<StreamId, Stream>,
    samples: Vec<i16>,
    /// What is told of codecs that cannot be heard, each once.
    not_heard: BTreeSet<String>,
}

enum Stream {
    Here { segment: SegmentId, codec: InProcess, decoder: Decoder },
    There(Foreigner),
}

/// A stream that another program decodes.
struct Foreigner {
    codec: Foreign,
    /// None where it failed.
    program: Option<Program>,
    way: Elsewhere<Origin>,
    /// When it was given something last, or failed.
    at: Mono,
}

/// Where samples come from.
#[derive(Clone, Copy)]
struct Origin {
    segment: SegmentId,
    stream: StreamId,
    side: Side,
    position_us: i64,
}

impl Origin {
    const fn of(frame: &Overheard, side: Side) -> Self {
        let (segment, stream, position_us) = (frame.segment, frame.stream, frame.position_us);
        Self { segment, stream, side, position_us }
    }

    const fn piece(self, at: Mono, rate: u32, samples: &[i16]) -> Piece<'_> {
        let Self { segment, stream, side, position_us } = self;
        Piece { at, segment, stream, side, position_us, rate, samples }
    }
}

impl Decoding {
    pub(super) fn new(call: CallId, programs: Programs) -> Self {
        let (streams, not_heard) = (BTreeMap::new(), BTreeSet::new());
        Self { call, programs, streams, samples: Vec::new(), not_heard }
    }

    /// Takes a frame, of this side. What is decoded in process is heard at once.
    pub(super) fn take(&mut self, now: Mono, frame: &Overheard, side: Side, mix: &mut LiveMix) {
        if self.streams.len() >= STREAMS_MAX && !self.streams.contains_key(&frame.stream) {
            self.streams.pop_first();
        }
        match frame.coding {
            Coding::Here(codec) => self.decode_here(codec, frame, side, mix),
            Coding::There(_) if now.since(frame.at) > OLD => {}
            Coding::There(codec) => self.send_there(now, codec, frame, side),
        }
    }

    fn decode_here(&mut self, codec: InProcess, frame: &Overheard, side: Side, mix: &mut LiveMix) {
        let known = matches!(self.streams.get(&frame.stream),
            Some(Stream::Here { segment, codec: c, .. }) if *segment == frame.segment && *c == codec);
        if !known {
            let Ok(decoder) = Decoder::new(codec) else { return };
            self.streams.insert(frame.stream, Stream::Here { segment: frame.segment, codec, decoder });
        }
        let Some(Stream::Here { decoder, .. }) = self.streams.get_mut(&frame.stream) else { return };
        self.samples.clear();
        // What its codec does not know is silence.
        if decoder.decode(&frame.payload, &mut self.samples).is_ok() {
            mix.hear(&Origin::of(frame, side).piece(frame.at, codec.rate(), &self.samples));
        }
    }

    fn send_there(&mut self, now: Mono, codec: Foreign, frame: &Overheard, side: Side) {
        let known = match self.streams.get(&frame.stream) {
            Some(Stream::There(f)) if f.codec == codec => f.program.is_some() || now.since(f.at) < AGAIN,
            _ => false,
        };
        if !known {
            let program = Some(Program::start(&self.programs, codec));
            let way = Elsewhere::new(codec.read_ahead_us());
            self.streams.insert(frame.stream, Stream::There(Foreigner { codec, program, way, at: now }));
        }
        let Some(Stream::There(foreigner)) = self.streams.get_mut(&frame.stream) else { return };
        let Some(program) = &foreigner.program else { return };
        let mut octets = Vec::new();
        let samples = codec.append(&frame.payload, &mut octets);
        foreigner.at = now;
        if samples > 0
            && program.give(octets)
            && foreigner.way.send(frame.at, samples, Origin::of(frame, side)).is_err()
        {
            // It stands still: another one is tried later.
            foreigner.program = None;
        }
    }

    /// Takes what has come back from other programs.
    pub(super) fn collect(&mut self, now: Mono, mix: &mut LiveMix) {
        let (call, not_heard, samples) = (self.call, &mut self.not_heard, &mut self.samples);
        self.streams.retain(|_, stream| {
            let Stream::There(foreigner) = stream else { return true };
            let Some(program) = &foreigner.program else { return now.since(foreigner.at) < IDLE };
            while let Some(octets) = program.next() {
                foreigner.way.receive(now, &octets);
            }
            while let Some(origin) = foreigner.way.next(samples) {
                mix.hear(&origin.piece(now, foreigner.codec.rate(), samples.as_slice()));
            }
            if let Standing::Failed(why) = program.standing() {
                if not_heard.insert(why.clone()) {
                    tracing::warn!(%call, "a listener does not hear a stream: {why}");
                }
                (foreigner.program, foreigner.at) = (None, now);
            }
            now.since(foreigner.at) < IDLE
        });
    }

    /// Whether it is known of all streams if they can be heard.
    pub(super) fn is_settled(&self) -> bool {
        self.streams.values().all(|stream| match stream {
            Stream::There(Foreigner { program: Some(program), .. }) => program.standing() != Standing::Starts,
            _ => true,
        })
    }

    /// What cannot be heard, and why.
    pub(super) fn not_heard(&self) -> Vec<String> {
        self.not_heard.iter().cloned().collect()
    }
}
