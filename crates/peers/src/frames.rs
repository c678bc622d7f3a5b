//! A stream of octets cut into messages.
//!
//! ```text
//!  ┌───────────────────────────┬──────────────────┬───────────── …
//!  │ length, 4 octets, big end │ length octets    │ length
//!  │ first, 1 to 1,048,576     │ of JSON in UTF-8 │
//!  └───────────────────────────┴──────────────────┴───────────── …
//! ```
//!
//! It decides about lengths and never looks inside. What a length promises is not set aside: memory grows with what
//! has come.

use crate::buffer::Buffer;

/// Octets of a message. An order says what one or two SIP messages said, and such a one has 256 KiB at most. Who has
/// more to say is told so and says less: metadata and lists of gaps are in files.
pub const MESSAGE_MAX: usize = 1 << 20;

/// Octets of a length.
pub(crate) const LENGTH: usize = 4;

/// What stands where a length should.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a message of {0} octets: 1 to {most} are allowed", most = MESSAGE_MAX)]
pub struct BadLength(pub u32);

/// Cuts what comes into messages.
#[derive(Default)]
pub struct Frames {
    /// Of a length, what has come of it.
    length: Vec<u8>,
    /// What has come of a message, and how many octets it has.
    message: Option<(Buffer, usize)>,
}

impl std::fmt::Debug for Frames {
    /// Not what they hold.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frames").finish_non_exhaustive()
    }
}

impl Frames {
    /// Takes what it needs off the front of `octets`, and gives a message when it is whole; none when it needs more
    /// than there is. After an error nothing of the stream means anything any more.
    pub fn next(&mut self, octets: &mut &[u8]) -> Result<Option<impl AsRef<[u8]> + use<>>, BadLength> {
        if self.message.is_none() {
            self.length.extend_from_slice(take(octets, LENGTH - self.length.len()));
            let Ok(length) = <[u8; LENGTH]>::try_from(self.length.as_slice()) else { return Ok(None) };
            let length = u32::from_be_bytes(length);
            let expected = usize::try_from(length).ok().filter(|n| (1..=MESSAGE_MAX).contains(n));
            self.message = Some((Buffer::new(MESSAGE_MAX), expected.ok_or(BadLength(length))?));
            self.length.clear();
        }
        let Some((message, expected)) = &mut self.message else { return Ok(None) };
        let missing = expected.saturating_sub(message.len());
        message.append(take(octets, missing));
        let is_whole = message.len() == *expected;
        Ok(self.message.take_if(|_| is_whole).map(|(message, _)| message))
    }

    /// Whether the last message was whole, so that the stream may end here.
    #[must_use]
    pub fn are_whole(&self) -> bool {
        self.length.is_empty() && self.message.is_none()
    }
}

/// As many as there are, up to `count`.
fn take<'a>(octets: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, rest) = octets.split_at(count.min(octets.len()));
    *octets = rest;
    taken
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
        let frame = |m: &Vec<u8>| [&u32::try_from(m.len()).unwrap().to_be_bytes()[..], m].concat();
        messages.iter().flat_map(frame).collect()
    }

    /// What is read of a stream that comes in pieces, and whether it ended between messages.
    fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, Result<bool, BadLength>) {
        let (mut frames, mut found) = (Frames::default(), Vec::new());
        for mut piece in pieces {
            loop {
                match frames.next(&mut piece) {
                    Ok(Some(message)) => found.push(message.as_ref().to_vec()),
                    Ok(None) => break,
                    Err(bad) => return (found, Err(bad)),
                }
            }
            assert!(piece.is_empty());
        }
        (found, Ok(frames.are_whole()))
    }

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in_however_the_stream_is_cut(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..8),
            size in 1usize..400,
        ) {
            let stream = framed(&messages);
            prop_assert_eq!(read(stream.chunks(size)), (messages, Ok(true)));
        }

        #[test]
        fn any_octets_are_survived_and_held_no_longer_than_they_are(
            stream in prop::collection::vec(any::<u8>(), 0..4_000),
            size in 1usize..500,
        ) {
            let (found, _) = read(stream.chunks(size));
            prop_assert!(found.iter().map(Vec::len).sum::<usize>() <= stream.len());
        }
    }

    #[test]
    fn what_cannot_be_a_length_ends_it() {
        for (stream, expected) in [
            (vec![0, 0, 0, 0], Err(BadLength(0))),
            (vec![0, 0x10, 0, 1], Err(BadLength(0x10_0001))),
            (b"GET / HTTP/1.1\r\n".to_vec(), Err(BadLength(0x4745_5420))),
            (vec![0, 0x10, 0, 0], Ok(false)),
            (vec![0, 0], Ok(false)),
            (vec![], Ok(true)),
        ] {
            assert_eq!(read(std::iter::once(&stream[..])), (vec![], expected), "{stream:?}");
        }
    }

    #[test]
    fn the_longest_message_passes() {
        let longest = vec![vec![b' '; MESSAGE_MAX]];
        assert_eq!(read(framed(&longest).chunks(16_384)), (longest, Ok(true)));
    }
}
