//! Looking at a disk that may not answer: a network or FUSE file system whose server has stopped, or a disk that is
//! dying, keeps whoever asks it in the kernel for as long as it likes. Here somebody else asks, and is left behind.
//!
//! For starts and commands, which look at a disk a few times. Whoever writes to a volume all the time has threads of
//! its own (`recorder`).

use std::time::Duration;

/// How long a disk may take to say that it is there. Those in trouble take seconds to try again what failed.
pub(crate) const ANSWER: Duration = Duration::from_secs(5);

/// Does something for at most so long. None: it goes on, and whoever waits for it does not. The thread that is left
/// behind ends with its disk or with the process.
pub(crate) fn within<T: Send + 'static>(
    patience: Duration,
    look: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (tell, told) = crossbeam_channel::bounded(1);
    let asking = std::thread::Builder::new().name("look".to_owned()).spawn(move || {
        // Nobody may be there any more.
        let _ = tell.send(look());
    });
    if let Err(e) = asking {
        tracing::error!("a disk is not looked at: no thread can be started: {e}");
        return None;
    }
    told.recv_timeout(patience).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_answer_is_left() {
        assert_eq!(within(Duration::from_secs(30), || 7), Some(7));
        let (go_on, wait) = crossbeam_channel::bounded::<()>(0);
        assert_eq!(within(Duration::from_millis(20), move || wait.recv().is_ok()), None);
        drop(go_on);
    }
}
