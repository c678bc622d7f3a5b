//! The disk of the catalog, looked at from beside. One that does not answer (a network or FUSE file system whose server
//! has stopped) keeps whoever asks it in the kernel: that must be nobody who has anything else to do.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

/// A look at a file takes microseconds, on a disk that has to wake up a second or two.
const ANSWER: Duration = Duration::from_secs(3);

/// Asks a disk, one thing at a time: when it does not answer, one thread waits for it and no more.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    turn: Arc<Semaphore>,
    patience: Duration,
}

impl Default for Disk {
    fn default() -> Self {
        Self { turn: Arc::new(Semaphore::new(1)), patience: ANSWER }
    }
}

impl Disk {
    /// Does something that may hang, for at most some seconds. What was asked goes on then; until it is done, nothing
    /// else is asked.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        look: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let asking = async {
            let turn = Arc::clone(&self.turn).acquire_owned().await.map_err(io::Error::other)?;
            let looking = tokio::task::spawn_blocking(move || {
                let found = look();
                drop(turn);
                found
            });
            looking.await.map_err(io::Error::other)?
        };
        timeout(self.patience, asking)
            .await
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "its disk does not answer")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_disk_that_does_not_answer_costs_one_thread_until_it_does() {
        let patient = Disk::default();
        assert_eq!(patient.ask(|| Ok(1)).await.unwrap(), 1);
        let hasty = Disk { patience: Duration::from_millis(20), ..patient.clone() };
        let (answer, wait) = std::sync::mpsc::channel::<()>();
        let silent = |e: io::Error| e.kind() == io::ErrorKind::TimedOut;
        let hung = hasty.ask(move || wait.recv().map_err(io::Error::other)).await;
        assert!(hung.is_err_and(silent));
        // Nothing else is asked meanwhile.
        let (asked, seen) = std::sync::mpsc::channel();
        let next = hasty.ask(move || asked.send(()).map_err(io::Error::other)).await;
        assert!(next.is_err_and(silent) && seen.try_recv().is_err());
        answer.send(()).unwrap();
        assert_eq!(patient.ask(|| Ok(2)).await.unwrap(), 2);
    }
}
