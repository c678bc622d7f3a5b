//! What a stream sends, and that its counts are the truth: a receiver that counts for itself agrees.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::Duration;

use model::WallTime;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};

use crate::caller::plan::{Impairments, Law, VoiceSource};
use crate::caller::report::Run;
use crate::caller::stream::{PacketConfig, Packets};
use crate::caller::voice::Voice;

const FRAME: u32 = 160;

fn config(impairments: Impairments) -> PacketConfig {
    PacketConfig { payload_type: 0, frame_samples: FRAME, impairments, seed: impairments.seed }
}

fn header(packet: &[u8]) -> (u32, u16, u32) {
    let word = |at: usize| u32::from_be_bytes(packet[at..at + 4].try_into().unwrap());
    (word(8), u16::from_be_bytes(packet[2..4].try_into().unwrap()), word(4))
}

static TONE: LazyLock<Voice> = LazyLock::new(|| Voice::load(&VoiceSource::Tone(440.0), Law::Pcmu).unwrap());

/// Sends `frames` frames in stretches of `stretch`, and gives what went out.
fn send(impairments: Impairments, frames: u64, stretch: u64) -> (Vec<Vec<u8>>, Vec<Run>) {
    let mut packets = Packets::new(config(impairments));
    let mut sent = Vec::new();
    let mut emit = |packet: &[u8]| {
        sent.push(packet.to_vec());
        true
    };
    for n in 0..frames {
        if n % stretch == 0 {
            packets.pause(&mut emit);
        }
        // A pause lasts as long as a stretch.
        let position = (n + n / stretch * stretch) * u64::from(FRAME);
        let at = WallTime(i64::try_from(position).unwrap());
        packets.frame(position, at, &TONE, &mut emit);
    }
    packets.pause(&mut emit);
    let runs = packets.runs().to_vec();
    (sent, runs)
}

/// What RFC 3550 lets a receiver see of one source, in the order of arrival.
#[derive(Default)]
struct Seen {
    numbers: BTreeSet<u64>,
    duplicates: u64,
    after_a_later: u64,
    times: BTreeMap<u64, u32>,
}

fn low_half(number: u64) -> u16 {
    u16::try_from(number & 0xffff).unwrap()
}

fn receive(sent: &[Vec<u8>]) -> BTreeMap<u32, Seen> {
    let mut sources: BTreeMap<u32, Seen> = BTreeMap::new();
    for packet in sent {
        let (ssrc, sequence, time) = header(packet);
        let seen = sources.entry(ssrc).or_default();
        let highest = seen.numbers.last().copied().unwrap_or_else(|| u64::from(sequence) + 65_536);
        let ahead = i64::from(sequence.wrapping_sub(low_half(highest)).cast_signed());
        let number = highest.checked_add_signed(ahead).unwrap();
        if !seen.numbers.insert(number) {
            seen.duplicates += 1;
        } else if number < highest {
            seen.after_a_later += 1;
        }
        seen.times.insert(number, time);
    }
    sources
}

fn impairments() -> impl Strategy<Value = Impairments> {
    let share = || proptest::option::of(0.0..0.5_f64).prop_map(Option::unwrap_or_default);
    let change = proptest::option::of((1_u64..40).prop_map(|n| Duration::from_millis(n * 20)));
    (share(), share(), share(), change, any::<u64>()).prop_map(
        |(loss, reorder, duplicate, ssrc_change_at, seed)| Impairments {
            loss,
            reorder,
            duplicate,
            ssrc_change_at,
            seed,
        },
    )
}

proptest! {
    #[test]
    fn the_counts_are_what_a_receiver_sees(
        impairments in impairments(),
        frames in 1_u64..120,
        stretch in proptest::option::of(1_u64..40),
    ) {
        let stretch = stretch.unwrap_or(frames);
        let (sent, runs) = send(impairments, frames, stretch);
        let total = |f: fn(&Run) -> u64| runs.iter().map(f).sum::<u64>();
        prop_assert_eq!(sent.len() as u64, total(|r| r.packets) + total(|r| r.duplicated));
        prop_assert_eq!(frames, total(|r| r.packets) + total(|r| r.skipped) + total(|r| r.skipped_at_end));
        for (ssrc, seen) in receive(&sent) {
            let mine: Vec<&Run> = runs.iter().filter(|r| r.ssrc == ssrc).collect();
            let total = |f: fn(&Run) -> u64| mine.iter().copied().map(f).sum::<u64>();
            prop_assert_eq!(seen.numbers.len() as u64, total(|r| r.packets));
            prop_assert_eq!(seen.duplicates, total(|r| r.duplicated));
            prop_assert_eq!(seen.after_a_later, total(|r| r.reordered));
            let (first, last) = (seen.numbers.first().unwrap(), seen.numbers.last().unwrap());
            let tail = mine.last().unwrap().skipped_at_end;
            let missing = total(|r| r.skipped) + total(|r| r.skipped_at_end) - tail;
            prop_assert_eq!(last - first + 1 - seen.numbers.len() as u64, missing);
            prop_assert_eq!(seen.times[first], mine[0].first_rtp);
            prop_assert_eq!(seen.times[last], mine.last().unwrap().last_rtp);
            prop_assert_eq!(low_half(*last), mine.last().unwrap().last_sequence);
        }
        prop_assert!(runs.windows(2).all(|w| w[0].period <= w[1].period));
    }

    #[test]
    fn the_same_seed_sends_the_same_bytes(impairments in impairments()) {
        prop_assert_eq!(send(impairments, 60, 20).0, send(impairments, 60, 20).0);
    }
}

#[test]
fn a_pause_moves_rtp_time_on_and_no_number_is_left_out() {
    let (sent, runs) = send(Impairments::default(), 20, 10);
    assert_eq!((sent.len(), runs.len()), (20, 2));
    assert_eq!(runs[1].first_sequence, runs[0].last_sequence.wrapping_add(1));
    assert_eq!(runs[1].first_rtp.wrapping_sub(runs[0].last_rtp), 11 * FRAME);
    assert_eq!(runs[0].last_rtp.wrapping_sub(runs[0].first_rtp), 9 * FRAME);
    let marks: Vec<usize> = (0..20).filter(|n| sent[*n][1] & 0x80 != 0).collect();
    assert_eq!(marks, [0, 10], "a marker begins each talk spurt");
}

#[test]
fn a_new_source_begins_where_it_was_asked_for() {
    let change = Some(Duration::from_millis(100));
    let (sent, runs) =
        send(Impairments { ssrc_change_at: change, seed: 3, ..Impairments::default() }, 10, 10);
    assert_eq!(runs.iter().map(|r| (r.period, r.packets)).collect::<Vec<_>>(), [(0, 5), (0, 5)]);
    assert_ne!(runs[0].ssrc, runs[1].ssrc);
    assert_eq!(sent.len(), 10);
}

#[test]
fn what_the_kernel_does_not_take_is_not_counted_as_sent() {
    let mut packets = Packets::new(config(Impairments::default()));
    let mut takes = [false, true, false, true].into_iter();
    for n in 0..4 {
        packets.frame(n * u64::from(FRAME), WallTime(0), &TONE, &mut |_| takes.next().unwrap());
    }
    assert_eq!((packets.unsent(), packets.runs()[0].packets, packets.media_ms()), (2, 2, 80));
}
