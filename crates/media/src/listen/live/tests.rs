//! A sender of pieces and somebody who listens, in virtual time.

use std::time::Duration;

use model::{Mono, SegmentId, Side, StreamId};
use proptest::prelude::{ProptestConfig, prop_assert, proptest};

use super::{LiveLayout, LiveMix, Piece};
use crate::tone::{Tone, level};

const MS: u64 = 1_000_000;

/// A sender of 20 ms pieces, and a listener who takes what is due each 20 ms; both in milliseconds.
struct World {
    mix: LiveMix,
    heard: Vec<i16>,
    channels: usize,
    rate: u32,
}

impl World {
    fn new(rate: u32, layout: LiveLayout) -> Self {
        let mix = LiveMix::new(Mono::ZERO, rate, layout);
        Self { mix, heard: Vec::new(), channels: layout.channels().into(), rate }
    }

    /// Pieces (when they arrive in µs, where they lie, what they say) come while somebody listens until `until_ms`.
    fn run(&mut self, pieces: &mut Vec<(u64, Said)>, until_ms: u64) {
        pieces.sort_by_key(|(at, _)| *at);
        let mut left = std::mem::take(pieces).into_iter().peekable();
        for ms in (0..=until_ms).step_by(20) {
            while let Some((at, said)) = left.next_if(|(at, _)| *at <= ms * 1_000) {
                said.tell(&mut self.mix, Mono(at * 1_000));
            }
            self.mix.play(Mono(ms * MS), &mut self.heard);
        }
    }

    fn channel(&self, n: usize, from_ms: u64, until_ms: u64) -> Vec<i16> {
        let at = |ms: u64| usize::try_from(ms * u64::from(self.rate) / 1_000).unwrap();
        let all = self.heard.iter().copied().skip(n).step_by(self.channels);
        all.skip(at(from_ms)).take(at(until_ms) - at(from_ms)).collect()
    }

    fn level(&self, n: usize, from_ms: u64, until_ms: u64, hertz: f64) -> f64 {
        level(&self.channel(n, from_ms, until_ms), self.rate, hertz)
    }
}

#[derive(Clone)]
struct Said {
    segment: u64,
    stream: u64,
    side: Side,
    position_us: i64,
    rate: u32,
    samples: Vec<i16>,
}

impl Said {
    fn tell(&self, mix: &mut LiveMix, at: Mono) {
        mix.hear(&Piece {
            at,
            segment: SegmentId::from_u64(self.segment),
            stream: StreamId::from_u64(self.stream),
            side: self.side,
            position_us: self.position_us,
            rate: self.rate,
            samples: &self.samples,
        });
    }
}

/// A tone in pieces of 20 ms that arrive when they are said.
fn tone(stream: u64, side: Side, rate: u32, hertz: f64, pieces: u64) -> Vec<(u64, Said)> {
    let (mut tone, each) = (Tone::sine(rate, hertz, -12.0), usize::try_from(rate / 50).unwrap());
    (0..pieces)
        .map(|n| {
            let mut samples = Vec::new();
            tone.fill(each, &mut samples);
            let position_us = i64::try_from(n).unwrap() * 20_000;
            (n * 20_000, Said { segment: 1, stream, side, position_us, rate, samples })
        })
        .collect()
}

#[test]
fn who_is_heard_where() {
    let agent = tone(1, Side::Agent, 8_000, 500.0, 100);
    let external = tone(2, Side::External, 16_000, 1_200.0, 100);
    for (layout, expected) in [
        (
            LiveLayout::Stereo,
            vec![(0, 500.0, true), (0, 1_200.0, false), (1, 1_200.0, true), (1, 500.0, false)],
        ),
        (LiveLayout::Mix, vec![(0, 500.0, true), (0, 1_200.0, true)]),
        (LiveLayout::One(StreamId::from_u64(2)), vec![(0, 500.0, false), (0, 1_200.0, true)]),
    ] {
        for rate in [8_000, 16_000, 48_000] {
            let mut world = World::new(rate, layout);
            world.run(&mut [agent.clone(), external.clone()].concat(), 2_000);
            for (channel, hertz, there) in &expected {
                let level = world.level(*channel, 500, 1_500, *hertz);
                let ok = if *there { (level + 12.0).abs() < 0.3 } else { level < -60.0 };
                assert!(ok, "{layout:?} at {rate}: {hertz} Hz in channel {channel} is at {level:.1} dBFS");
            }
        }
    }
}

#[test]
fn a_piece_is_heard_160_ms_after_it_came_and_not_before() {
    let mut world = World::new(8_000, LiveLayout::Mix);
    world.run(&mut tone(1, Side::Unknown, 8_000, 500.0, 100), 1_000);
    assert!(world.channel(0, 0, 158).iter().all(|s| *s == 0));
    assert!(world.level(0, 160, 400, 500.0) > -12.5);
}

#[test]
fn what_is_lost_is_as_much_silence_as_it_was_long() {
    let mut pieces = tone(1, Side::Unknown, 8_000, 500.0, 100);
    // Those behind the lost one waited for it for 100 ms.
    pieces.remove(20);
    pieces[20..25].iter_mut().for_each(|(at, _)| *at = 25 * 20_000);
    let mut world = World::new(8_000, LiveLayout::Mix);
    world.run(&mut pieces, 2_000);
    let heard = world.channel(0, 0, 2_000);
    let silent = |from: usize| heard[from..].iter().take_while(|s| s.abs() < 2).count();
    assert!((155..=165).contains(&silent(8 * 560)), "{}", silent(8 * 560));
    for (from, until) in [(200, 550), (590, 2_000)] {
        let level = world.level(0, from, until, 500.0);
        assert!((level + 12.0).abs() < 0.3, "{from} to {until}: {level:.1}");
    }
}

#[test]
fn a_new_segment_and_a_jump_begin_anew_and_silence_lies_between() {
    let mut pieces = tone(1, Side::Agent, 8_000, 500.0, 50);
    // A hold of a second, then the next segment counts from 0; later its sender's time jumps by an hour.
    for (n, (at, mut said)) in tone(1, Side::Agent, 8_000, 900.0, 100).into_iter().enumerate() {
        said.segment = 2;
        if n >= 50 {
            said.position_us += 3_600_000_000;
        }
        pieces.push((at + 2_000_000, said));
    }
    let mut world = World::new(8_000, LiveLayout::Stereo);
    world.run(&mut pieces, 4_500);
    assert!(world.channel(0, 1_165, 2_155).iter().all(|s| *s == 0));
    assert!(world.level(0, 200, 1_100, 500.0) > -12.5 && world.level(0, 2_200, 3_100, 900.0) > -12.5);
    assert!(world.level(0, 3_250, 4_100, 900.0) > -12.5);
}

#[test]
fn who_takes_nothing_for_a_while_goes_on_in_the_present() {
    let mut world = World::new(8_000, LiveLayout::Mix);
    let mut pieces = tone(1, Side::Unknown, 8_000, 500.0, 400);
    let later = pieces.split_off(200);
    world.run(&mut pieces, 1_000);
    let before = world.heard.len();
    for (at, said) in later {
        said.tell(&mut world.mix, Mono(at * 1_000));
    }
    world.mix.play(Mono(5_000 * MS), &mut world.heard);
    assert!(world.heard.len() - before <= 8 * 30, "{} samples at once", world.heard.len() - before);
}

#[test]
fn a_voice_is_heard_again_after_any_pause() {
    for pause_ms in [60, 400, 15_000] {
        let mut pieces = tone(1, Side::Unknown, 8_000, 500.0, 100);
        for (at, said) in &mut pieces[50..] {
            *at += pause_ms * 1_000;
            said.position_us += i64::try_from(pause_ms).unwrap() * 1_000;
        }
        let mut world = World::new(8_000, LiveLayout::Mix);
        world.run(&mut pieces, 2_200 + pause_ms);
        let level = world.level(0, 1_180 + pause_ms, 2_100 + pause_ms, 500.0);
        assert!((level + 12.0).abs() < 0.3, "after {pause_ms} ms: {level:.1}");
    }
}

#[test]
fn a_clock_that_is_off_stays_within_reach() {
    // Far more than real ones are, so that a minute shows what would take hours.
    for ppm in [-3_000, 3_000] {
        let mut pieces = tone(1, Side::Unknown, 8_000, 500.0, 3_000);
        for (at, _) in &mut pieces {
            *at = at.saturating_add_signed(i64::try_from(*at).unwrap() * ppm / 1_000_000);
        }
        let mut world = World::new(8_000, LiveLayout::Mix);
        world.run(&mut pieces, 59_000);
        let level = world.level(0, 55_000, 58_500, 500.0);
        assert!((level + 12.0).abs() < 1.0, "{ppm}: {level:.2}");
        assert_eq!(world.heard.len(), 8 * 59_000);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn jitter_below_the_delay_is_not_heard(jitter in proptest::collection::vec(0_u64..100_000, 150)) {
        let mut pieces = tone(1, Side::Unknown, 8_000, 500.0, 150);
        let mut last = 0;
        for ((at, _), jitter) in pieces.iter_mut().zip(&jitter) {
            // In order: the receiver sees to that. The first one sets the distance.
            last = (*at + if *at == 0 { 30_000 } else { *jitter }).max(last);
            *at = last;
        }
        let mut world = World::new(8_000, LiveLayout::Mix);
        world.run(&mut pieces, 3_000);
        let level = world.level(0, 250, 2_950, 500.0);
        prop_assert!((level + 12.0).abs() < 0.1, "{level:.2}");
    }

    #[test]
    fn whatever_comes_it_stays_small(
        pieces in proptest::collection::vec((0_u64..5_000, 0_u64..3, 0_u64..40, -10_000_000_000_i64..10_000_000_000, 0_u32..4, 0_usize..9_000), 0..200),
    ) {
        let mut mix = LiveMix::new(Mono::ZERO, 16_000, LiveLayout::Stereo);
        let mut now = Mono::ZERO;
        let mut heard = Vec::new();
        for (ms, segment, stream, position_us, rate, count) in pieces {
            now = now + Duration::from_millis(ms);
            let rate = [8_000, 16_000, 48_000, 0][rate as usize];
            let said = Said { segment, stream, side: Side::Agent, position_us, rate, samples: vec![9; count] };
            said.tell(&mut mix, now);
            mix.play(now, &mut heard);
            prop_assert!(mix.lanes.len() <= 32);
            prop_assert!(mix.lanes.values().all(|l| l.samples.len() <= 96_000));
        }
        prop_assert!(heard.len() <= 2 * 16 * 1_000 * 1_000);
    }
}
