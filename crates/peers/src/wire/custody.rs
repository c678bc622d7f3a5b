//! What is said of whose a call is, and the state of the call beside it: that may hold keys, and `model` writes none.

use std::sync::Arc;

use model::custody::{FromKeeper, SNAPSHOT_MAX, Snapshot, ToKeeper};
use serde::Serialize;

use super::Unreadable;
use super::secrets::Octets;

/// As it is written.
#[derive(Serialize)]
pub(super) struct Said<'a, T> {
    custody: &'a T,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<Octets>,
}

/// To a record server.
pub(super) fn to_keeper(said: &ToKeeper) -> Said<'_, ToKeeper> {
    let snapshot = match said {
        ToKeeper::Keep { snapshot, .. } => octets(snapshot),
        _ => None,
    };
    Said { custody: said, snapshot }
}

/// From a record server.
pub(super) fn from_keeper(said: &FromKeeper) -> Said<'_, FromKeeper> {
    let snapshot = match said {
        FromKeeper::Found { snapshot, .. } => octets(snapshot),
        _ => None,
    };
    Said { custody: said, snapshot }
}

/// Puts the state where it belongs: what has none and needs one is not understood.
pub(super) fn put_to(mut said: ToKeeper, read: Option<Octets>) -> Result<ToKeeper, Unreadable> {
    if let ToKeeper::Keep { snapshot, .. } = &mut said {
        *snapshot = Some(sound(read)?);
    }
    Ok(said)
}

/// The same of what comes from a record server.
pub(super) fn put_from(mut said: FromKeeper, read: Option<Octets>) -> Result<FromKeeper, Unreadable> {
    if let FromKeeper::Found { snapshot, .. } = &mut said {
        *snapshot = Some(sound(read)?);
    }
    Ok(said)
}

fn octets(snapshot: &Snapshot) -> Option<Octets> {
    snapshot.as_ref().map(|secret| Octets((**secret).clone()))
}

fn sound(read: Option<Octets>) -> Result<Arc<model::Secret>, Unreadable> {
    let read = read.filter(|octets| octets.0.expose().len() <= SNAPSHOT_MAX);
    let none = || Unreadable::NotUnderstood("the state of a call is missing, or too long".to_owned());
    read.map(|octets| Arc::new(octets.0)).ok_or_else(none)
}
