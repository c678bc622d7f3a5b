//! Messages as JSON, and back.
//!
//! ```text
//!  {"order": {"open": {…}}, "secrets": [null, {"protection": {"srtp": …}, "ice": …}]}     to a record server
//!  {"probe": {}}   {"custody": {"keep": {…}}, "snapshot": "base64"}
//!  {"hello": {…}}   {"beat": {…}}   {"report": {"opened": {…}}}   {"probed": {}}           from it
//!  {"custody": {"found": {…}}, "snapshot": "base64"}
//! ```
//!
//! What an order says of keys is left out wherever an order is written, so it stands beside it: [`secrets`] has an
//! entry for each stream of the order, in their order. An order that has streams and no such list is not understood,
//! so that nobody takes an encrypted stream for a plain one.
//!
//! A short message has spaces behind it, which JSON allows: h2 takes some hundred small frames of data that nobody has
//! looked at yet for an attack, and ends the connection. A burst of orders to a node that is busy is none.
//!
//! Members that are not known here are passed over: another version may have more to say. A message of another kind,
//! or with a value in it that means nothing here, is *not understood* as a whole, and the next one may be. What is no
//! JSON shows that the stream itself is out of step.

pub(crate) mod copies;
mod custody;
pub(crate) mod secrets;

use model::custody::{FromKeeper, ToKeeper};
use model::{Beat, Hello, Order, Report};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use crate::buffer::Buffer;
use crate::frames::{LENGTH, MESSAGE_MAX};
use secrets::{Octets, StreamSecrets};

/// Octets of a message with its length, at least: frames of data from this length on are none of too small ones.
const FRAME_MIN: usize = 256;

/// What a proxy says to a record server.
#[derive(Clone, PartialEq, Debug)]
pub enum ToServer {
    /// An order.
    Order(Order),
    /// Is somebody there who carries out orders?
    Probe,
    /// Of whose a call is.
    Custody(ToKeeper),
}

/// What a record server says to a proxy.
#[derive(Clone, PartialEq, Debug)]
pub enum FromServer {
    /// Who it is. Once, and first.
    Hello(Hello),
    /// How it is.
    Beat(Beat),
    /// What became of an order, or of a segment.
    Report(Report),
    /// The answer to a probe.
    Probed,
    /// Of whose a call is.
    Custody(FromKeeper),
}

/// Octets that are no message.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is JSON and says nothing that means something here. What comes after it may.
    #[error("a message that is not understood: {0}")]
    NotUnderstood(String),
    /// It is no JSON.
    #[error("a message that is no JSON: {0}")]
    NotJson(String),
}

/// It is longer than a message may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TooLong;

impl ToServer {
    /// With its length in front.
    pub(crate) fn frame(&self) -> Result<Buffer, TooLong> {
        match self {
            Self::Order(order) => frame(&Ordered { order, secrets: secrets::of(order) }),
            Self::Probe => frame(&Probe { probe: Empty {} }),
            Self::Custody(said) => frame(&custody::to_keeper(said)),
        }
    }

    /// Reads one.
    pub fn read(message: &[u8]) -> Result<Self, Unreadable> {
        let read: ToServerRead = parse(message)?;
        match read {
            ToServerRead { order: Some(mut order), secrets, .. } => {
                secrets::put(&mut order, secrets.unwrap_or_default())?;
                Ok(Self::Order(order))
            }
            ToServerRead { probe: Some(_), .. } => Ok(Self::Probe),
            ToServerRead { custody: Some(said), snapshot, .. } => {
                Ok(Self::Custody(custody::put_to(said, snapshot)?))
            }
            _ => Err(Unreadable::NotUnderstood("a kind that is not known here".to_owned())),
        }
    }
}

impl FromServer {
    /// With its length in front.
    pub(crate) fn frame(&self) -> Result<Buffer, TooLong> {
        match self {
            Self::Hello(hello) => frame(&Greeting { hello }),
            Self::Beat(beat) => frame(&Beating { beat }),
            Self::Report(report) => frame(&Reported { report }),
            Self::Probed => frame(&Probed { probed: Empty {} }),
            Self::Custody(said) => frame(&custody::from_keeper(said)),
        }
    }

    /// Reads one.
    pub fn read(message: &[u8]) -> Result<Self, Unreadable> {
        let read: FromServerRead = parse(message)?;
        match read {
            FromServerRead { hello: Some(hello), .. } => Ok(Self::Hello(hello)),
            FromServerRead { beat: Some(beat), .. } => Ok(Self::Beat(beat)),
            FromServerRead { report: Some(report), .. } => Ok(Self::Report(report)),
            FromServerRead { probed: Some(_), .. } => Ok(Self::Probed),
            FromServerRead { custody: Some(said), snapshot, .. } => {
                Ok(Self::Custody(custody::put_from(said, snapshot)?))
            }
            _ => Err(Unreadable::NotUnderstood("a kind that is not known here".to_owned())),
        }
    }
}

#[derive(Serialize)]
struct Ordered<'a> {
    order: &'a Order,
    secrets: Vec<Option<StreamSecrets>>,
}

#[derive(Serialize)]
struct Probe {
    probe: Empty,
}

#[derive(Serialize)]
struct Greeting<'a> {
    hello: &'a Hello,
}

#[derive(Serialize)]
struct Beating<'a> {
    beat: &'a Beat,
}

#[derive(Serialize)]
struct Reported<'a> {
    report: &'a Report,
}

#[derive(Serialize)]
struct Probed {
    probed: Empty,
}

/// An object, so that there may be something in it one day.
#[derive(Serialize)]
struct Empty {}

#[derive(Deserialize)]
struct ToServerRead {
    order: Option<Order>,
    secrets: Option<Vec<Option<StreamSecrets>>>,
    probe: Option<IgnoredAny>,
    custody: Option<ToKeeper>,
    snapshot: Option<Octets>,
}

#[derive(Deserialize)]
struct FromServerRead {
    hello: Option<Hello>,
    beat: Option<Beat>,
    report: Option<Report>,
    probed: Option<IgnoredAny>,
    custody: Option<FromKeeper>,
    snapshot: Option<Octets>,
}

fn frame(message: &impl Serialize) -> Result<Buffer, TooLong> {
    let mut buffer = Buffer::new(LENGTH + MESSAGE_MAX);
    buffer.append(&[0; LENGTH]);
    // Nothing else can fail: keys of maps are text, and no number is without an end.
    serde_json::to_writer(&mut buffer, message).map_err(|_| TooLong)?;
    buffer.append(&[b' '; FRAME_MIN][..FRAME_MIN.saturating_sub(buffer.len())]);
    let length = u32::try_from(buffer.len() - LENGTH).map_err(|_| TooLong)?;
    buffer.overwrite(length.to_be_bytes());
    Ok(buffer)
}

fn parse<T: DeserializeOwned>(message: &[u8]) -> Result<T, Unreadable> {
    serde_json::from_slice(message).map_err(|error| {
        // The parser stops where it does not understand; the rest has to be JSON all the same.
        match serde_json::from_slice::<IgnoredAny>(message) {
            Ok(_) => Unreadable::NotUnderstood(cause(&error)),
            Err(error) => Unreadable::NotJson(cause(&error)),
        }
    })
}

/// Where and of what kind. Not what the parser found there: that may be a key, or a name.
fn cause(error: &serde_json::Error) -> String {
    format!("{:?} in column {}", error.classify(), error.column())
}

#[cfg(test)]
mod tests;
