//! What another node says by a link.

use peers::{Frames, FromServer, MESSAGE_MAX, ToServer, Unreadable};

use crate::Input;

/// A stream of messages. Octet 0 says in what pieces it comes.
///
/// Pieces change nothing; no message is longer than one may be, and all of them together no longer than the stream;
/// and whether a message is JSON does not depend on who reads it.
pub fn frames(data: &[u8]) {
    let mut input = Input(data);
    let size = usize::from(input.octet()) + 1;
    let stream = input.take(usize::MAX);
    let messages = cut(std::iter::once(stream));
    assert_eq!(cut(stream.chunks(size)), messages, "pieces of {size}");
    assert!(messages.iter().map(Vec::len).sum::<usize>() <= stream.len());
    for message in messages {
        assert!((1..=MESSAGE_MAX).contains(&message.len()));
        let is_json = |read: Result<(), Unreadable>| !matches!(read, Err(Unreadable::NotJson(_)));
        let to_server = is_json(ToServer::read(&message).map(drop));
        assert_eq!(to_server, is_json(FromServer::read(&message).map(drop)));
    }
}

/// The messages of a stream that comes in these pieces, up to its end or to what cannot be a length.
fn cut<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let (mut frames, mut found) = (Frames::default(), Vec::new());
    for mut piece in pieces {
        loop {
            match frames.next(&mut piece) {
                Ok(Some(message)) => found.push(message.as_ref().to_vec()),
                Ok(None) => break,
                Err(_) => return found,
            }
        }
    }
    found
}
