//! A deadline that somebody waits for again and again, beside other things that come first: most of the time it is the
//! same as before, and its timer need not be set anew for each of them.

use std::pin::Pin;
use std::time::Instant;

use tokio::time::{Sleep, sleep_until};

/// The timer; there is none before it is waited for.
#[derive(Default)]
pub(crate) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Waits until then; for ever where there is no deadline. May be dropped at any time.
    pub(crate) async fn at(&mut self, deadline: Option<Instant>) {
        let Some(deadline) = deadline else { return std::future::pending().await };
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline.into())));
        if sleep.deadline() != deadline.into() {
            sleep.as_mut().reset(deadline.into());
        }
        sleep.as_mut().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn it_goes_off_at_each_deadline_and_never_without_one() {
        let (mut alarm, now, soon) = (Alarm::default(), Instant::now(), Duration::from_millis(10));
        assert!(timeout(soon, alarm.at(None)).await.is_err());
        assert!(timeout(soon, alarm.at(Some(now + Duration::from_secs(3_600)))).await.is_err());
        alarm.at(Some(now + soon)).await;
        assert!(now.elapsed() >= soon);
        alarm.at(Some(now + soon)).await;
        assert!(timeout(soon, alarm.at(Some(now + Duration::from_secs(3_600)))).await.is_err());
        alarm.at(Some(now)).await;
    }
}
