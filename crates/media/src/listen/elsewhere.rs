//! Frames on their way through another program: which samples that come back are whose.
//!
//! ```text
//!  frame 7 │ frame 8 │ frame 9 ──► program ──► samples: 160 of frame 7, 160 of frame 8 …
//! ```
//!
//! A program gives back nothing but samples. Each frame lasts as many as its codec says, so they are counted. Where
//! the count is wrong, because the program gave none for a frame that it could not read, it comes right again:
//! frames that wait for too long are given up, and samples of which there is no frame are dropped. So what is heard
//! is never late for long.
//!
//! It starts no program, and reads no clock.

use std::collections::VecDeque;

use model::Mono;

/// 10 s of frames of 20 ms: a program that is so far behind stands still.
const FRAMES_MAX: usize = 512;
/// 300 ms longer than the program reads ahead: such a frame was not decoded, or is old by now.
const LATE_US: i64 = 300_000;
/// 60 ms longer than that: as old as a frame may be that is waited for after others were given up.
const FRESH_US: i64 = 60_000;

/// Too many frames wait: the program stands still.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the program that decodes it stands still")]
pub struct TooMany;

struct Waiting<T> {
    at: Mono,
    samples: usize,
    of: T,
}

/// The frames of one stream that a program is decoding.
pub struct Elsewhere<T> {
    read_ahead_us: i64,
    frames: VecDeque<Waiting<T>>,
    samples: VecDeque<i16>,
    /// The first octet of a sample whose second has not come.
    half: Option<u8>,
    has_spoken: bool,
}

impl<T> Elsewhere<T> {
    /// Nothing is on its way yet. The program waits at most so many microseconds for more before it decodes.
    #[must_use]
    pub const fn new(read_ahead_us: i64) -> Self {
        Self {
            read_ahead_us,
            frames: VecDeque::new(),
            samples: VecDeque::new(),
            half: None,
            has_spoken: false,
        }
    }

    /// A frame went to the program that lasts so many samples, and is of this.
    pub fn send(&mut self, now: Mono, samples: usize, of: T) -> Result<(), TooMany> {
        if self.frames.len() >= FRAMES_MAX {
            return Err(TooMany);
        }
        if samples > 0 {
            self.frames.push_back(Waiting { at: now, samples, of });
        }
        Ok(())
    }

    /// What came back by now: samples of 16 bits, little-endian.
    pub fn receive(&mut self, now: Mono, octets: &[u8]) {
        let mut octets = octets.iter().copied();
        if let Some(low) = self.half.take() {
            match octets.next() {
                Some(high) => self.samples.push_back(i16::from_le_bytes([low, high])),
                None => self.half = Some(low),
            }
        }
        while let Some(low) = octets.next() {
            match octets.next() {
                Some(high) => self.samples.push_back(i16::from_le_bytes([low, high])),
                None => self.half = Some(low),
            }
        }
        if self.samples.is_empty() {
            return;
        }
        if self.has_spoken {
            self.give_up(now);
        } else {
            self.has_spoken = true;
            self.skip();
        }
        if self.frames.is_empty() {
            self.samples.clear();
        }
    }

    /// The next frame of which all samples are there; they are written to `out`.
    pub fn next(&mut self, out: &mut Vec<i16>) -> Option<T> {
        let length = self.frames.front().map(|f| f.samples).filter(|n| *n <= self.samples.len())?;
        out.clear();
        out.extend(self.samples.drain(..length));
        self.frames.pop_front().map(|f| f.of)
    }

    /// While the program started, frames waited for it. Who listens now hears the newest of them.
    fn skip(&mut self) {
        let mut whole = self.samples.len();
        let decoded = self.frames.iter().take_while(|f| {
            let fits = f.samples <= whole;
            whole = whole.saturating_sub(f.samples);
            fits
        });
        let Some(newest) = decoded.last().map(|f| f.at) else { return };
        let least = FRESH_US + self.read_ahead_us;
        while let Some(first) = self.frames.front()
            && age_us(first.at, newest) > least
        {
            self.samples.drain(..first.samples.min(self.samples.len()));
            self.frames.pop_front();
        }
    }

    fn give_up(&mut self, now: Mono) {
        let is_older = |f: &Waiting<T>, than_us| age_us(f.at, now) > than_us;
        if self.frames.front().is_none_or(|f| !is_older(f, LATE_US + self.read_ahead_us)) {
            return;
        }
        while self.frames.front().is_some_and(|f| is_older(f, FRESH_US + self.read_ahead_us)) {
            self.frames.pop_front();
        }
    }
}

fn age_us(at: Mono, now: Mono) -> i64 {
    i64::try_from(now.since(at).as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Frames of 20 ms at 8 kHz.
    const FRAME: usize = 160;

    fn at(ms: u64) -> Mono {
        Mono::ZERO + Duration::from_millis(ms)
    }

    /// The samples of a frame: its number, over and over.
    fn octets(n: i16) -> Vec<u8> {
        n.to_le_bytes().repeat(FRAME)
    }

    /// All that is there: each frame, and what its samples say it is.
    fn heard(elsewhere: &mut Elsewhere<i16>) -> Vec<(i16, i16)> {
        let mut samples = Vec::new();
        std::iter::from_fn(|| {
            let of = elsewhere.next(&mut samples)?;
            assert_eq!(samples.len(), FRAME);
            assert!(samples.iter().all(|s| *s == samples[0]), "samples of one frame");
            Some((of, samples[0]))
        })
        .collect()
    }

    #[test]
    fn samples_that_come_in_any_pieces_are_those_of_their_frames() {
        let mut elsewhere = Elsewhere::new(0);
        let mut came = Vec::new();
        let mut frames = Vec::new();
        for n in 0..50 {
            let now = at(20 * u64::try_from(n).unwrap());
            elsewhere.send(now, FRAME, n).unwrap();
            // A frame that lasts no time is waited for by nobody.
            elsewhere.send(now, 0, -1).unwrap();
            came.extend(octets(n));
            let take = came.len().min(137 + usize::try_from(n).unwrap() * 11);
            elsewhere.receive(now, &came.drain(..take).collect::<Vec<_>>());
            frames.extend(heard(&mut elsewhere));
        }
        assert!(frames.len() > 40, "{frames:?}");
        assert!(frames.iter().zip(0..).all(|((of, said), n)| (*of, *said) == (n, n)), "{frames:?}");
    }

    #[test]
    fn what_waited_while_the_program_started_is_left_out() {
        for (read_ahead_us, expected) in [(0, 6..10), (100_000, 1..10)] {
            let mut elsewhere = Elsewhere::new(read_ahead_us);
            for n in 0..10_u8 {
                elsewhere.send(at(20 * u64::from(n)), FRAME, i16::from(n)).unwrap();
            }
            let all: Vec<u8> = (0..10).flat_map(octets).collect();
            elsewhere.receive(at(200), &all);
            assert_eq!(heard(&mut elsewhere), expected.map(|n| (n, n)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_frame_that_is_not_decoded_does_not_shift_the_others_for_long() {
        let mut elsewhere = Elsewhere::new(0);
        let mut off = 0;
        for n in 0..200_u8 {
            let now = at(20 * u64::from(n));
            elsewhere.send(now, FRAME, i16::from(n)).unwrap();
            // Each tenth is damaged.
            if n % 10 != 9 {
                elsewhere.receive(now, &octets(i16::from(n)));
            }
            for (of, said) in heard(&mut elsewhere) {
                off = said - of;
                assert!((0..=20).contains(&off), "frame {of} sounds as {said}");
            }
        }
        assert!(off <= 16, "it was never set right: {off}");
    }

    #[test]
    fn a_program_that_gives_more_than_it_got_is_not_believed() {
        let mut elsewhere = Elsewhere::new(0);
        elsewhere.send(at(0), FRAME, 1).unwrap();
        elsewhere.receive(at(0), &[octets(1), octets(2)].concat());
        assert_eq!(heard(&mut elsewhere), [(1, 1)]);
        elsewhere.receive(at(10), &octets(3));
        elsewhere.send(at(20), FRAME, 4).unwrap();
        elsewhere.receive(at(20), &octets(4));
        assert_eq!(heard(&mut elsewhere), [(4, 4)]);
    }

    #[test]
    fn a_program_that_stands_still_is_noticed() {
        let mut elsewhere = Elsewhere::new(0);
        let sent = (0..1_000_u64).take_while(|n| elsewhere.send(at(20 * n), FRAME, 0).is_ok()).count();
        assert_eq!(sent, FRAMES_MAX);
    }
}
