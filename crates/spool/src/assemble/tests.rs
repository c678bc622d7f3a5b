//! What a listener hears: who is where, and when.

use media::g711;
use model::state::Respondent;
use model::{Codec, EndReason, OpenSegment, RecordingState, Side, StreamId};
use proptest::prelude::{ProptestConfig, prop_assert_eq, proptest};

use super::*;
use crate::fixture::{Heard, Spool, heard, pcmu, segment, stream, two_streams};
use crate::memory::MemoryDisk;

/// Octets whose samples are easy to tell.
const A: u8 = 0x90;
const B: u8 = 0xA0;

fn a() -> i16 {
    g711::decode_ulaw(A)
}
fn b() -> i16 {
    g711::decode_ulaw(B)
}

const STEREO: Options = Options { rate: Rate::Narrow, layout: Layout::Stereo };

/// A call in the making: its disk and the records of its segments.
#[derive(Default)]
struct Call {
    disk: MemoryDisk,
    segments: Vec<(SegmentRecord, String)>,
}

impl Call {
    /// Adds a segment that begins at `start_ms`, with frames told as (stream, from, until, octet) in ms of it.
    fn segment(self, start_ms: u64, streams: Vec<model::OpenStream>, said: &[(u64, i64, i64, u8)]) -> Self {
        self.open(start_ms, streams, said, Respondent::No)
    }

    /// The same, as an answer to a failure or not.
    fn open(
        mut self,
        start_ms: u64,
        streams: Vec<model::OpenStream>,
        said: &[(u64, i64, i64, u8)],
        respondent: Respondent,
    ) -> Self {
        let number = u16::try_from(self.segments.len() + 1).unwrap();
        let open = OpenSegment { respondent, ..segment(number, start_ms, streams) };
        let mut spool = Spool::open(std::mem::take(&mut self.disk), &open);
        let end = said.iter().map(|s| s.2).max().unwrap_or(0);
        for ms in (0..end).step_by(20) {
            for (stream, from, until, octet) in said {
                if (*from..*until).contains(&ms) {
                    spool.push(&heard(*stream, ms, *octet));
                }
            }
            if ms % 100 == 80 {
                spool.flush(u64::try_from(ms).unwrap() + 20);
            }
        }
        let record = spool.finish(u64::try_from(end).unwrap(), EndReason::HangUp);
        self.segments.push((record, spool.writer.directory().to_owned()));
        self.disk = spool.disk;
        self
    }

    /// Adds a segment that was recorded as one of another call, which turned out to be this one.
    fn joined(
        mut self,
        start_ms: u64,
        streams: Vec<model::OpenStream>,
        said: &[(u64, i64, i64, u8)],
    ) -> Self {
        self = self.segment(start_ms, streams, said);
        let Some((record, directory)) = self.segments.last_mut() else { return self };
        let other = format!("{directory}-other");
        for part in &record.parts {
            let bytes = self.disk.bytes(&format!("{directory}/{}", part.file)).unwrap().to_vec();
            self.disk.put(&format!("{other}/{}", part.file), bytes);
        }
        *directory = other;
        self
    }

    fn assemble(&self, options: Options) -> (Vec<i16>, Vec<Note>) {
        let mut assembler = Assembler::new(self.segments.clone(), options);
        let mut out = Vec::new();
        while let Some(second) = assembler.next(&self.disk, &NoDecoders).unwrap() {
            assert!(second.len() <= usize::try_from(assembler.sample_rate()).unwrap() * 2);
            out.extend(second);
        }
        assert_eq!(out.len() as u64, assembler.total_samples() * u64::from(assembler.channels()));
        (out, assembler.notes().to_vec())
    }
}

/// Channel values as `left,right×ms`, runs joined. What fades is shown as what it fades to.
fn picture(samples: &[i16], channels: usize) -> String {
    let samples = &unfaded(samples, channels);
    let mut runs: Vec<(Vec<i16>, usize)> = Vec::new();
    for frame in samples.chunks(channels) {
        match runs.last_mut() {
            Some((last, count)) if last == frame => *count += 1,
            _ => runs.push((frame.to_vec(), 1)),
        }
    }
    let name = |s: &i16| match *s {
        0 => "-".to_owned(),
        s if s == a() => "a".to_owned(),
        s if s == b() => "b".to_owned(),
        s if s == a() + b() => "ab".to_owned(),
        s => s.to_string(),
    };
    let show = |(frame, n): &(Vec<i16>, usize)| {
        let ms = if n % 8 == 0 { (n / 8).to_string() } else { format!("{n}/8") };
        format!("{}×{ms}", frame.iter().map(name).collect::<Vec<_>>().join(","))
    };
    runs.iter().map(show).collect::<Vec<_>>().join(" ")
}

/// The samples with each fade (16 samples that are none of those that were said) made whole.
fn unfaded(samples: &[i16], channels: usize) -> Vec<i16> {
    let known = [0, a(), b(), a() + b(), g711::decode_alaw(g711::encode_alaw(a()))];
    let at = |n: usize| samples.get(n).copied().filter(|s| known.contains(s) && *s != 0);
    let whole = |n: usize| {
        let away = 16 * channels;
        let sample = samples[n];
        let (after, before) = (at(n + away), n.checked_sub(away).and_then(at));
        let near = before.filter(|s| *s == a() + b()).or(after).or(before);
        if known.contains(&sample) { sample } else { near.unwrap_or(sample) }
    };
    (0..samples.len()).map(whole).collect()
}

#[test]
fn agent_is_left_external_is_right_and_gaps_are_silence() {
    let call = Call::default().segment(0, two_streams(), &[(1, 0, 2_000, A), (2, 1_000, 3_000, B)]);
    let (pcm, notes) = call.assemble(STEREO);
    assert_eq!(picture(&pcm, 2), "a,-×1000 a,b×1000 -,b×1000");
    assert_eq!(notes, []);
    let mono = call.assemble(Options { layout: Layout::Mono, ..STEREO }).0;
    assert_eq!(picture(&mono, 1), "a×1000 ab×1000 b×1000");
    let one = call.assemble(Options { layout: Layout::One(StreamId::from_u64(2)), ..STEREO }).0;
    assert_eq!(picture(&one, 1), "-×1000 b×2000");
}

#[test]
fn a_hold_is_as_long_as_it_was() {
    let call = Call::default().segment(0, two_streams(), &[(1, 0, 1_000, A)]).segment(
        61_000,
        two_streams(),
        &[(2, 0, 500, B)],
    );
    assert_eq!(picture(&call.assemble(STEREO).0, 2), "a,-×1000 -,-×60000 -,b×500");
}

#[test]
fn what_is_of_both_or_of_nobody_known_goes_to_both() {
    for side in [Side::Mixed, Side::Unknown] {
        let call = Call::default().segment(0, vec![stream(1, side, &[pcmu()])], &[(1, 0, 100, A)]);
        assert_eq!(picture(&call.assemble(STEREO).0, 2), "a,a×100");
    }
}

#[test]
fn of_two_segments_at_once_the_later_speaks_for_its_side() {
    // The first server's clock ran on, or its media did: two seconds of both.
    let call = Call::default().segment(0, two_streams(), &[(1, 0, 4_000, A), (2, 0, 4_000, A)]).segment(
        2_000,
        two_streams(),
        &[(1, 0, 4_000, B)],
    );
    assert_eq!(picture(&call.assemble(STEREO).0, 2), "a,a×2000 b,a×2000 b,-×2000");
    // Two dialogs of one call, each with one party: both are heard.
    let call = Call::default()
        .segment(0, vec![stream(1, Side::Agent, &[pcmu()])], &[(1, 0, 1_000, A)])
        .segment(0, vec![stream(2, Side::External, &[pcmu()])], &[(2, 0, 1_000, B)]);
    assert_eq!(picture(&call.assemble(STEREO).0, 2), "a,b×1000");
}

/// A segment had no room for the streams of a further dialog: these got one of their own, in the same directory.
#[test]
fn of_segments_beside_each_other_everybody_is_heard() {
    let one = |n| vec![stream(n, Side::Unknown, &[pcmu()])];
    let call =
        Call::default().segment(0, one(1), &[(1, 0, 2_000, A)]).segment(1_000, one(2), &[(2, 0, 2_000, B)]);
    assert_eq!(picture(&call.assemble(STEREO).0, 2), "a,a×1000 ab,ab×1000 b,b×1000");
    // The one beside fails, and another takes over its streams: the first goes on to be heard.
    let call = Call::default()
        .segment(0, one(1), &[(1, 0, 4_000, A)])
        .segment(1_000, one(2), &[(2, 0, 2_000, B)])
        .open(2_000, one(2), &[(2, 0, 2_000, B)], Respondent::Yes);
    assert_eq!(picture(&call.assemble(STEREO).0, 2), "a,a×1000 ab,ab×3000");
}

/// Another server took over, by a dialog with streams of its own.
#[test]
fn who_answers_a_failure_speaks_instead_of_who_failed() {
    let one = |n| vec![stream(n, Side::Unknown, &[pcmu()])];
    let call = Call::default().segment(0, one(1), &[(1, 0, 2_000, A)]).open(
        1_000,
        one(2),
        &[(2, 0, 2_000, B)],
        Respondent::Yes,
    );
    assert_eq!(picture(&call.assemble(STEREO).0, 2), "a,a×1000 b,b×2000");
}

#[test]
fn of_calls_that_turned_out_to_be_one_everybody_is_heard() {
    let one = |n, side| vec![stream(n, side, &[pcmu()])];
    // Nobody knows who is who: each dialog has one party.
    let call = Call::default().segment(0, one(1, Side::Unknown), &[(1, 0, 2_000, A)]).joined(
        1_000,
        one(2, Side::Unknown),
        &[(2, 0, 2_000, B)],
    );
    assert_eq!(picture(&call.assemble(STEREO).0, 2), "a,a×1000 ab,ab×1000 b,b×1000");
    // Agent left and external right, by the wall clock.
    let call = Call::default().segment(500, one(1, Side::External), &[(1, 0, 1_000, A)]).joined(
        0,
        one(2, Side::Agent),
        &[(2, 0, 1_000, B)],
    );
    assert_eq!(picture(&call.assemble(STEREO).0, 2), "b,-×500 b,a×500 -,a×500");
}

#[test]
fn streams_of_one_side_mix() {
    let streams = vec![stream(1, Side::External, &[pcmu()]), stream(2, Side::External, &[pcmu()])];
    let call = Call::default().segment(0, streams, &[(1, 0, 1_000, A), (2, 0, 1_000, B)]);
    assert_eq!(picture(&call.assemble(STEREO).0, 2), "-,ab×1000");
}

#[test]
fn late_media_win_over_the_silence_that_was_written_in_their_place() {
    let mut spool = Spool::new();
    spool.push(&heard(1, 0, A));
    for ms in (100..=4_000).step_by(100) {
        spool.flush(ms);
    }
    spool.push(&heard(1, 3_980, A));
    spool.push(&heard(1, 1_000, B));
    let record = spool.finish(4_000, EndReason::HangUp);
    let call = Call { segments: vec![(record, spool.writer.directory().to_owned())], disk: spool.disk };
    let (pcm, notes) = call.assemble(STEREO);
    assert_eq!(picture(&pcm, 2), "a,-×20 -,-×980 b,-×20 -,-×2960 a,-×20");
    assert_eq!(notes, []);
}

#[test]
fn a_change_of_codec_is_not_heard() {
    let pcma = Codec::new("PCMA", 8_000, 1);
    let mut spool = Spool::new();
    let alaw = g711::encode_alaw(a());
    for ms in (0..6_000).step_by(20) {
        let codec = if ms < 3_000 { pcmu() } else { pcma.clone() };
        let octet = if ms < 3_000 { A } else { alaw };
        spool.push(&Heard { codec: Some(codec), ..heard(1, ms, octet) });
        spool.push(&heard(2, ms, B));
        if ms % 100 == 80 {
            spool.flush(u64::try_from(ms).unwrap() + 20);
        }
    }
    let record = spool.finish(6_000, EndReason::HangUp);
    assert_eq!(record.parts.len(), 2);
    let call = Call { segments: vec![(record, spool.writer.directory().to_owned())], disk: spool.disk };
    let (pcm, _) = call.assemble(STEREO);
    let after = g711::decode_alaw(alaw);
    assert_eq!(picture(&pcm, 2), format!("a,b×3000 {after},b×3000"));
}

#[test]
fn what_cannot_be_heard_is_said() {
    let g729 = Codec::new("G729", 8_000, 1);
    let mut spool = Spool::open(
        MemoryDisk::new(),
        &segment(1, 0, vec![stream(1, Side::Agent, std::slice::from_ref(&g729))]),
    );
    spool.push(&Heard { codec: Some(g729), payload: vec![1; 20], ..heard(1, 0, 0) });
    let record = spool.finish(100, EndReason::HangUp);
    let mut call = Call { segments: vec![(record, spool.writer.directory().to_owned())], disk: spool.disk };
    let (pcm, notes) = call.assemble(STEREO);
    assert_eq!(picture(&pcm, 2), "-,-×20");
    assert!(matches!(&notes[..], [Note::NotDecoded { .. }]), "{notes:?}");
    // A missing file is a note as long as another one can be heard, an error when nothing can.
    call = call.segment(1_000, two_streams(), &[(1, 0, 100, A)]);
    let gone = format!("{}/001-1.mka", call.segments[0].1);
    call.disk.apply(&crate::FileOp::Remove { path: gone }).unwrap();
    let (pcm, notes) = call.assemble(STEREO);
    assert_eq!(picture(&pcm, 2), "-,-×1000 a,-×100");
    assert!(matches!(&notes[..], [Note::Unreadable { .. }]), "{notes:?}");
    call.segments.remove(1);
    let mut assembler = Assembler::new(call.segments.clone(), STEREO);
    assert!(matches!(assembler.next(&call.disk, &NoDecoders), Err(AssembleError::NothingReadable(_))));
}

#[test]
fn a_seek_lands_on_a_second_and_hears_what_is_there() {
    let call = Call::default().segment(0, two_streams(), &[(1, 0, 3_000, A)]).segment(
        5_000,
        two_streams(),
        &[(1, 0, 3_000, B)],
    );
    let whole = call.assemble(STEREO).0;
    for second in 0..=8 {
        let mut assembler = Assembler::new(call.segments.clone(), STEREO);
        assert_eq!(assembler.seek(second * 8_000 + 17), second * 8_000);
        let mut rest = Vec::new();
        while let Some(pcm) = assembler.next(&call.disk, &NoDecoders).unwrap() {
            rest.extend(pcm);
        }
        let from = usize::try_from(second).unwrap() * 16_000;
        assert_eq!(rest, whole[from.min(whole.len())..], "from second {second}");
        assert_eq!(assembler.notes(), []);
    }
}

#[test]
fn at_other_rates_it_is_as_long_and_as_loud() {
    let call = Call::default().segment(0, two_streams(), &[(1, 0, 1_500, A)]);
    for rate in [Rate::Wide, Rate::Full] {
        let (pcm, _) = call.assemble(Options { rate, ..STEREO });
        let frames = rate.hz() as usize * 3 / 2;
        assert_eq!(pcm.len(), frames * 2);
        let middle = &pcm[frames / 2..frames];
        assert!(middle.iter().step_by(2).all(|s| (s - a()).abs() <= 1), "{rate:?}");
        assert!(pcm.iter().skip(1).step_by(2).all(|s| *s == 0), "{rate:?}");
    }
}

#[test]
fn a_damaged_time_neither_grows_memory_nor_hides_the_rest() {
    let mut call = Call::default().segment(0, two_streams(), &[(1, 0, 6_000, A)]);
    let path = format!("{}/001-1.mka", call.segments[0].1);
    let mut bytes = call.disk.bytes(&path).unwrap().to_vec();
    // The second cluster's timestamp (2 s, 16,000 ticks) now lies days ahead.
    let at = bytes.windows(4).position(|w| w == [0xE7, 0x82, 0x3E, 0x80]).unwrap();
    bytes.splice(at..at + 4, [0xE7, 0x84, 0x7F, 0, 0, 0]);
    call.disk.put(&path, bytes);
    let (pcm, _) = call.assemble(STEREO);
    assert_eq!(picture(&pcm, 2), "a,-×2000 -,-×2000 a,-×2000");
    assert_eq!(call.segments[0].0.state, RecordingState::Partial);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    /// WAV length equals RTP span, and every sample is where it was said, whatever was said when.
    #[test]
    fn every_frame_is_heard_at_its_time(
        said in proptest::collection::btree_set((1_u64..=2, 0_i64..300), 1..80),
        late in proptest::collection::vec(0_usize..6, 80),
    ) {
        let mut spool = Spool::new();
        // Some frames are pushed a few flushes later than they were said.
        let mut order: Vec<_> =
            said.iter().zip(&late).map(|((stream, n), late)| (n + 5 * i64::try_from(*late).unwrap(), *stream, *n)).collect();
        order.sort_unstable();
        let mut flushed = 0;
        for (push_at, stream, n) in order {
            while flushed * 5 < push_at {
                flushed += 1;
                spool.flush(u64::try_from(flushed).unwrap() * 100);
            }
            spool.push(&heard(stream, n * 20, if stream == 1 { A } else { B }));
        }
        let span = said.iter().map(|(_, n)| n + 1).max().unwrap() * 20;
        let record = spool.finish(u64::try_from(span).unwrap(), EndReason::HangUp);
        let call = Call { segments: vec![(record, spool.writer.directory().to_owned())], disk: spool.disk };
        let (pcm, notes) = call.assemble(STEREO);
        prop_assert_eq!(notes, vec![]);
        // Only fill may reach beyond the last frame: when frames came late, the clock had gone on.
        let frames = pcm.len() / 2;
        let span_samples = usize::try_from(span * 8).unwrap();
        prop_assert_eq!(frames.max(span_samples), frames);
        for slot in 0..span / 20 {
            let at = usize::try_from(slot * 160).unwrap();
            let expected = [
                if said.contains(&(1, slot)) { a() } else { 0 },
                if said.contains(&(2, slot)) { b() } else { 0 },
            ];
            for (n, frame) in pcm[at * 2..(at + 160) * 2].chunks(2).enumerate() {
                for (side, stream) in [1, 2].into_iter().enumerate() {
                    // Fades are where it was said: only their edges differ.
                    let fades = (n < 16 && !said.contains(&(stream, slot - 1)))
                        || (n >= 144 && !said.contains(&(stream, slot + 1)));
                    if !fades || expected[side] == 0 {
                        prop_assert_eq!(frame[side], expected[side]);
                    }
                }
            }
        }
        prop_assert_eq!(pcm[span_samples * 2..].iter().filter(|s| **s != 0).count(), 0);
    }
}
