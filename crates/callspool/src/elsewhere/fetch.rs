//! Fetching a file of another node onto the [shelf](super::shelf): a range after the other, each asked for again where there
//! is no answer, slowly enough, and not while recordings wait for a disk of this node.
//!
//! A file is fetched once, however many want it, and to its end, whoever leaves meanwhile. It never believes what comes:
//! the digest decides.

use std::fs::File;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use model::{Answer, Declined, HeldFile, PeerName, Place, Request};
use tokio::time::sleep;

use super::Shared;

/// A range of a file, at most: what one read of a disk is worth, and one answer.
const RANGE_MAX: u64 = spool::gathering::RANGE_MAX as u64;
/// How often a range is asked for in vain before the file is given up: two or three seconds of one who is busy.
const TRIES: u32 = 8;
/// The pause after the first time; after each further one it is longer by as much.
const PAUSE: Duration = Duration::from_millis(100);
/// Files that are being fetched or wait for that, at most: more than all who listen can wait for.
const FLIGHTS_MAX: usize = 256;
/// How long recordings may need the disks before a file is given up for now.
const FILLING_MAX: Duration = Duration::from_secs(15);
/// How long whoever waits for a file waits while nothing of it comes: longer than all that is waited for here.
const STILL_MAX: Duration = Duration::from_secs(60);

/// A file of another node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Wanted {
    pub(crate) from: PeerName,
    pub(crate) place: Place,
    pub(crate) file: HeldFile,
}

/// A file that is on its way, for all who wait for it.
#[derive(Debug, Default)]
pub(super) struct Flight {
    state: Mutex<Arrival>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Arrival {
    octets: u64,
    over: Option<Result<(), String>>,
}

impl Flight {
    fn state(&self) -> MutexGuard<'_, Arrival> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, change: impl FnOnce(&mut Arrival)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    /// Waits until it is here, or cannot be had; or nothing of it comes any more.
    fn wait(&self) -> Result<(), String> {
        let mut state = self.state();
        let mut deadline = Instant::now() + STILL_MAX;
        loop {
            if let Some(over) = &state.over {
                return over.clone();
            }
            let (came, left) = (state.octets, deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Err(format!("nothing of it came for {} s", STILL_MAX.as_secs()));
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            if state.octets > came {
                deadline = Instant::now() + STILL_MAX;
            }
        }
    }
}

impl Shared {
    /// Opens a file, when it is here. It blocks.
    pub(super) fn open(self: &Arc<Self>, wanted: &Wanted) -> io::Result<File> {
        let failed = |why: String| {
            let (name, from) = (&wanted.file.name, &wanted.from);
            io::Error::other(format!("{name} cannot be fetched from {from}: {why}"))
        };
        if let Some(file) = self.shelf.open(&wanted.file.sha256) {
            return Ok(file);
        }
        self.flight(wanted).and_then(|flight| flight.wait()).map_err(failed)?;
        let gone = || failed("it was put away for others: elsewhere.cache is too small".to_owned());
        self.shelf.open(&wanted.file.sha256).ok_or_else(gone)
    }

    fn flight(self: &Arc<Self>, wanted: &Wanted) -> Result<Arc<Flight>, String> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(&wanted.file.sha256) {
            return Ok(Arc::clone(flight));
        }
        if flights.len() >= FLIGHTS_MAX {
            return Err(format!("{FLIGHTS_MAX} files are being fetched already; try again"));
        }
        let flight = Arc::new(Flight::default());
        flights.insert(wanted.file.sha256.clone(), Arc::clone(&flight));
        let (shared, wanted, told) = (Arc::clone(self), wanted.clone(), Arc::clone(&flight));
        self.runtime.spawn(async move {
            let came = |octets| told.tell(|state| state.octets = octets);
            let over = shared.bring(&wanted, came).await;
            let mut flights = shared.flights.lock().unwrap_or_else(PoisonError::into_inner);
            flights.remove(&wanted.file.sha256);
            drop(flights);
            told.tell(|state| state.over = Some(over));
        });
        Ok(flight)
    }

    /// Fetches a file. `came` is told how much of it is here.
    pub(super) async fn bring(&self, wanted: &Wanted, came: impl Fn(u64)) -> Result<(), String> {
        let _place = self.places.acquire().await.map_err(|e| e.to_string())?;
        if self.shelf.has(&wanted.file.sha256) {
            return Ok(());
        }
        let brought = self.bring_all(wanted, came).await;
        if let Err(why) = &brought {
            self.figures.failures.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(from = %wanted.from, file = %wanted.file.name, "cannot be fetched: {why}");
        }
        brought
    }

    async fn bring_all(&self, wanted: &Wanted, came: impl Fn(u64)) -> Result<(), String> {
        let mut coming = self.shelf.begin(&wanted.file)?;
        let mut at = 0;
        while at < wanted.file.octets {
            let length = (wanted.file.octets - at).min(self.range());
            let (octets, _) = self.range_of(wanted, at, length).await?;
            if octets.is_empty() {
                return Err("it is shorter there than it was".to_owned());
            }
            coming.append(&octets)?;
            at += octets.len() as u64;
            came(at);
        }
        coming.finish()
    }

    /// A range of a file, asked for until it comes or there is no hope, and whether the file ends with it.
    pub(super) async fn range_of(
        &self,
        wanted: &Wanted,
        at: u64,
        length: u64,
    ) -> Result<(Vec<u8>, bool), String> {
        let questions = self.questions.get().ok_or("other nodes cannot be asked yet")?;
        let request = Request::Read {
            place: wanted.place.clone(),
            file: wanted.file.name.clone(),
            offset: at,
            length: u32::try_from(length).unwrap_or(u32::MAX),
        };
        let mut tries = 0;
        loop {
            self.leave(length).await?;
            let why = match questions.ask(&wanted.from, request.clone()).await {
                Ok(Answer::Octets { octets, is_end }) if octets.len() as u64 <= length => {
                    self.figures.fetched.fetch_add(octets.len() as u64, Ordering::Relaxed);
                    return Ok((octets, is_end));
                }
                Ok(Answer::Declined(Declined::Unknown)) => return Err("it is not there any more".to_owned()),
                Ok(Answer::Declined(Declined::Disk(why))) => format!("it cannot read it: {why}"),
                Ok(Answer::Declined(_)) => "it is busy".to_owned(),
                Ok(_) => return Err("it answers something else".to_owned()),
                Err(why) => why,
            };
            tries += 1;
            let is_away =
                questions.peers().iter().any(|peer| peer.name == wanted.from && peer.away.is_some());
            if tries >= TRIES || is_away {
                return Err(why);
            }
            sleep(PAUSE * tries).await;
        }
    }

    fn range(&self) -> u64 {
        // A second's worth, so that a slow rate is one that goes on evenly.
        self.rate.clamp(4 << 10, RANGE_MAX)
    }

    /// Waits until so many octets may be asked for.
    async fn leave(&self, octets: u64) -> Result<(), String> {
        let since = Instant::now();
        while self.volumes.iter().any(|volume| volume.is_filling()) {
            if since.elapsed() > FILLING_MAX {
                return Err("recordings need the disks of this node".to_owned());
            }
            sleep(PAUSE).await;
        }
        let pause = {
            let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            let begin = (*free_at).max(Instant::now());
            let nanos = u128::from(octets) * 1_000_000_000 / u128::from(self.rate.max(1));
            *free_at = begin + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
            begin.saturating_duration_since(Instant::now())
        };
        sleep(pause).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_who_wait_for_a_file_hear_of_it_at_once() {
        let flight = Arc::new(Flight::default());
        let waiting: Vec<_> = (0..4)
            .map(|_| {
                let flight = Arc::clone(&flight);
                std::thread::spawn(move || flight.wait())
            })
            .collect();
        flight.tell(|state| state.octets = 5);
        flight.tell(|state| state.over = Some(Err("gone".to_owned())));
        for thread in waiting {
            assert_eq!(thread.join().unwrap(), Err("gone".to_owned()));
        }
        assert_eq!(flight.wait(), Err("gone".to_owned()));
    }
}
