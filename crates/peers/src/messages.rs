//! The messages of a link, out of the body that carries them, one after the other.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf, Bytes};
use http_body::Body;
use hyper::body::Incoming;

use crate::frames::Frames;
use crate::trouble::{Trouble, line};
use crate::wire::Unreadable;

/// Octets that may be under way to us before we have looked at them (RFC 9113 section 5.2): what a link holds of its
/// peer beside one message.
pub(crate) const WINDOW: u32 = 256 << 10;
/// Octets of headers: ours have some 200.
pub(crate) const HEADERS_MAX: u32 = 4 << 10;
/// Octets of a refusal that are read: a sentence.
const REFUSAL_MAX: usize = 1 << 10;

/// How many messages were not understood.
pub(crate) type Skipped = Arc<AtomicU64>;

/// What comes next.
pub(crate) enum Next<M> {
    Message(M),
    /// One that means nothing here. It is counted.
    NotUnderstood,
    /// The other side says no more.
    End,
}

pub(crate) struct Messages {
    body: Incoming,
    /// What has come and was not looked at.
    data: Bytes,
    frames: Frames,
    trouble: Trouble,
    skipped: Skipped,
}

impl Messages {
    pub(crate) fn new(body: Incoming, trouble: Trouble, skipped: Skipped) -> Self {
        Self { body, data: Bytes::new(), frames: Frames::default(), trouble, skipped }
    }

    /// The next one, or why there is none any more. Cancel safe.
    pub(crate) async fn next<M>(
        &mut self,
        read: impl Fn(&[u8]) -> Result<M, Unreadable>,
    ) -> Result<Next<M>, String> {
        loop {
            let mut rest = &self.data[..];
            let found = self.frames.next(&mut rest);
            let left = rest.len();
            self.data.advance(self.data.len() - left);
            if let Some(message) = found.map_err(|bad| bad.to_string())? {
                return match read(message.as_ref()) {
                    Ok(message) => Ok(Next::Message(message)),
                    Err(Unreadable::NotUnderstood(_)) => {
                        self.skipped.fetch_add(1, Ordering::Relaxed);
                        Ok(Next::NotUnderstood)
                    }
                    Err(error @ Unreadable::NotJson(_)) => Err(error.to_string()),
                };
            }
            match poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await {
                Some(Ok(frame)) => self.data = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Err(self.trouble.or(&error)),
                None if self.frames.are_whole() => return Ok(Next::End),
                None => return Err("it stopped in the middle of a message".to_owned()),
            }
        }
    }
}

/// What a refusal says.
pub(crate) async fn refusal(mut body: Incoming) -> String {
    let mut text = Vec::new();
    while text.len() < REFUSAL_MAX {
        match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            Some(Ok(frame)) => text.extend(frame.into_data().unwrap_or_default()),
            _ => break,
        }
    }
    line(&String::from_utf8_lossy(&text))
}
