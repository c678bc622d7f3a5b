//! Remembers how far a webhook has come, beside it: a disk that hangs holds up no event.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use model::Mono;
use tokio::task::JoinHandle;

use super::place::{Place, PlaceFile};
use crate::clock::mono;

/// A write that takes longer is told of, once.
const SLOW: Duration = Duration::from_secs(10);

/// Writes the file of one webhook; at most one write at a time is under way.
pub(super) struct Keeper {
    file: PlaceFile,
    name: Arc<str>,
    /// The place that is in the file.
    remembered: Option<Place>,
    /// When it was tried last to write it.
    tried: Mono,
    under_way: Option<(Place, JoinHandle<io::Result<()>>)>,
    /// Whether it cannot be written, which is told once.
    is_forgetful: bool,
}

impl Keeper {
    /// Nothing is remembered yet.
    pub(super) fn new(file: PlaceFile, name: &str) -> Self {
        Self {
            file,
            name: name.into(),
            remembered: None,
            tried: mono(),
            under_way: None,
            is_forgetful: false,
        }
    }

    /// Has a place written down when it has changed and none was for so long. Never waits for a disk.
    pub(super) async fn keep(&mut self, place: &Place, pause: Duration) {
        match &self.under_way {
            Some((_, write)) if write.is_finished() => self.conclude().await,
            Some(_) => {
                if mono().since(self.tried) >= SLOW {
                    self.tell("the disk does not answer");
                }
                return;
            }
            None => {}
        }
        if self.remembered.as_ref() != Some(place) && mono().since(self.tried) >= pause {
            self.begin(place);
        }
    }

    /// Has the last place written down, and waits for it: as long as who stops the webhook does.
    pub(super) async fn leave(mut self, place: &Place) {
        self.conclude().await;
        if self.remembered.as_ref() != Some(place) {
            self.begin(place);
            self.conclude().await;
        }
    }

    fn begin(&mut self, place: &Place) {
        let (file, to_write) = (self.file.clone(), place.clone());
        self.tried = mono();
        let write = tokio::task::spawn_blocking(move || file.write(&to_write));
        self.under_way = Some((place.clone(), write));
    }

    /// Waits for the write that is under way, if one is.
    async fn conclude(&mut self) {
        let Some((place, write)) = self.under_way.take() else { return };
        match write.await.unwrap_or_else(|e| Err(io::Error::other(e))) {
            Ok(()) => {
                self.is_forgetful = false;
                self.remembered = Some(place);
            }
            Err(e) => self.tell(&e.to_string()),
        }
    }

    fn tell(&mut self, why: &str) {
        if !std::mem::replace(&mut self.is_forgetful, true) {
            tracing::warn!(webhook = %self.name, path = %self.file.path().display(),
                "how far it has come cannot be written: {why}; a restart would tell again what was told");
        }
    }
}
