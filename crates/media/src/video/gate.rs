//! What can be decoded of pictures: from a key frame on, up to a loss, and again from the next key frame on.
//!
//! ```text
//!  key ─► whole ── damaged ─► waiting ── key ─► whole        what waited is left out, and told
//!                                └─ 10 s ─► damaged ── key ─► whole      what waited is shown as it is, and told
//! ```
//!
//! Not every sender makes a key frame after a loss: nobody asks it to who only records. After ten seconds pictures
//! that players patch up are better than none.

use std::collections::VecDeque;

use super::Picture;

/// 8 MiB of pictures wait at most: ten seconds at 6 Mbit/s.
const WAITING_OCTETS_MAX: usize = 8 << 20;
/// 600 pictures: ten seconds of 60 a second.
const WAITING_MAX: usize = 600;
/// Stretches that are told of one stream. Beyond, the last one grows.
const MISSING_MAX: usize = 64;

/// A stretch without pictures, or with damaged ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Missing {
    /// Which of the two.
    pub kind: MissingKind,
    /// The picture before it, as its `at`.
    pub from: i64,
    /// The first one that is whole again; the last one that there was where none is.
    pub until: i64,
}

/// What became of pictures behind a loss.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MissingKind {
    /// They did not come, or could not be decoded.
    LeftOut,
    /// They are shown, and damaged.
    Damaged,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Before the first key frame.
    Closed,
    Whole,
    /// For a key frame.
    Waiting,
    Damaged,
}

/// Lets pictures through that can be decoded.
#[derive(Debug)]
pub struct Gate {
    state: State,
    /// `at` of the last picture that was let through, or of the first one that was not.
    last: Option<i64>,
    wait: i64,
    waiting: VecDeque<Picture>,
    waiting_octets: usize,
    ready: VecDeque<Picture>,
    missing: Vec<Missing>,
}

impl Gate {
    /// One that waits so long for a key frame, in units of [`Picture::at`].
    #[must_use]
    pub fn new(wait: i64) -> Self {
        Self {
            state: State::Closed,
            last: None,
            wait,
            waiting: VecDeque::new(),
            waiting_octets: 0,
            ready: VecDeque::new(),
            missing: Vec::new(),
        }
    }

    /// Takes a picture, in the order of decoding.
    pub fn push(&mut self, picture: Picture) {
        if !picture.damaged {
            self.leave_out(picture.at, picture.after_loss);
            self.state = State::Whole;
            self.let_through(picture);
            return;
        }
        match self.state {
            State::Closed => _ = self.last.get_or_insert(picture.at),
            State::Damaged => self.let_through(picture),
            State::Whole | State::Waiting => {
                self.state = State::Waiting;
                self.waiting_octets += picture.data.len();
                self.waiting.push_back(picture);
                self.wait_no_longer();
            }
        }
    }

    /// Nothing follows: what waits is left out.
    pub fn finish(&mut self) {
        if let Some(last) = self.waiting.back().map(|p| p.at) {
            self.leave_out(last, false);
        }
    }

    /// The next picture.
    pub fn next_picture(&mut self) -> Option<Picture> {
        self.ready.pop_front()
    }

    /// What was not let through whole, so far; at most 64 stretches.
    #[must_use]
    pub fn missing(&self) -> &[Missing] {
        &self.missing
    }

    fn let_through(&mut self, picture: Picture) {
        if self.state == State::Damaged
            && let Some(last) = self.missing.last_mut()
        {
            last.until = picture.at;
        }
        self.last = Some(picture.at);
        self.ready.push_back(picture);
    }

    /// Up to a picture nothing of what waits can be decoded.
    fn leave_out(&mut self, until: i64, after_loss: bool) {
        let waited = !self.waiting.is_empty();
        self.waiting.clear();
        self.waiting_octets = 0;
        match (self.state, self.last) {
            (State::Closed, Some(from)) => self.tell(MissingKind::LeftOut, from, until),
            (State::Whole | State::Waiting, Some(from)) if waited || after_loss => {
                self.tell(MissingKind::LeftOut, from, until);
            }
            (State::Damaged, _) => {
                if let Some(last) = self.missing.last_mut() {
                    last.until = until;
                }
            }
            _ => {}
        }
    }

    fn wait_no_longer(&mut self) {
        let (Some(first), Some(last)) = (self.waiting.front(), self.waiting.back()) else { return };
        let long = last.at.saturating_sub(first.at) >= self.wait;
        if !long && self.waiting.len() < WAITING_MAX && self.waiting_octets < WAITING_OCTETS_MAX {
            return;
        }
        let (from, until) = (self.last.unwrap_or(first.at), last.at);
        self.tell(MissingKind::Damaged, from, until);
        self.state = State::Damaged;
        self.waiting_octets = 0;
        self.last = Some(until);
        self.ready.append(&mut self.waiting);
    }

    fn tell(&mut self, kind: MissingKind, from: i64, until: i64) {
        if self.missing.len() < MISSING_MAX {
            self.missing.push(Missing { kind, from, until });
        } else if let Some(last) = self.missing.last_mut() {
            last.until = until;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pictures a second apart: K a key frame, `.` one that leans, `x` a damaged one, `L` a key frame after a loss.
    fn run(pictures: &str) -> (String, Vec<Missing>) {
        let mut gate = Gate::new(10);
        let mut out = String::new();
        for (at, what) in (0..).zip(pictures.chars()) {
            let (key, after_loss) = (matches!(what, 'K' | 'L'), what == 'L');
            let data = vec![u8::try_from(what).unwrap()];
            gate.push(Picture { at, timestamp: 0, key, damaged: what == 'x', after_loss, data });
            while let Some(picture) = gate.next_picture() {
                out.push(char::from(picture.data[0]));
            }
        }
        gate.finish();
        assert!(gate.next_picture().is_none() && gate.waiting.is_empty());
        (out, gate.missing)
    }

    fn stretch(kind: MissingKind, from: i64, until: i64) -> Missing {
        Missing { kind, from, until }
    }

    #[test]
    fn what_follows_a_loss_waits_for_a_key_frame_and_is_told() {
        use MissingKind::{Damaged, LeftOut};
        assert_eq!(run("K...K.."), ("K...K..".to_owned(), vec![]));
        assert_eq!(run("xxK.."), ("K..".to_owned(), vec![stretch(LeftOut, 0, 2)]));
        assert_eq!(run("K.xxxK."), ("K.K.".to_owned(), vec![stretch(LeftOut, 1, 5)]));
        assert_eq!(run("K.L."), ("K.L.".to_owned(), vec![stretch(LeftOut, 1, 2)]));
        assert_eq!(run("K.xxx"), ("K.".to_owned(), vec![stretch(LeftOut, 1, 4)]));
        let (shown, missing) = run("K.xxxxxxxxxxxxxxK.");
        assert_eq!(shown, "K.xxxxxxxxxxxxxxK.");
        assert_eq!(missing, [stretch(Damaged, 1, 16)]);
        assert_eq!(run("xxx"), (String::new(), vec![]));
    }

    #[test]
    fn what_waits_and_what_is_told_is_limited() {
        let (_, missing) = run(&"KxL".repeat(500));
        assert_eq!(missing.len(), MISSING_MAX);
        let mut gate = Gate::new(i64::MAX);
        let picture = |at: i64, damaged: bool| Picture {
            at,
            timestamp: 0,
            key: !damaged,
            damaged,
            after_loss: false,
            data: vec![0; 100_000],
        };
        gate.push(picture(0, false));
        for at in 1..500 {
            gate.push(picture(at, true));
            assert!(gate.waiting_octets <= WAITING_OCTETS_MAX);
        }
        assert_eq!(gate.missing().len(), 1);
    }
}
