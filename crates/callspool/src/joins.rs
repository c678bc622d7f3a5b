//! Calls that people join, on the way to whoever can: the signalling task, which knows calls in progress and those that
//! ended lately; for all others whoever keeps their files.

use std::sync::Arc;
use std::time::Duration;

use api::port::{Changed, JoinAnswer, JoinError, JoinedCalls, Joins};
use call::{CommandError, JoinCommand, Joined};
use model::{CallId, TenantId};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::live_calls::{ANSWER_WITHIN, LiveCommand, not_taken};
use crate::startup::Mender;

/// Calls that are joined on disk at once: a thread each, which may hang with its disk.
const AT_ONCE_MAX: usize = 4;
/// How long that may take: two logs are read, written and made durable.
const ON_DISK_WITHIN: Duration = Duration::from_secs(8);

/// The way of joins.
pub(crate) struct JoinLink {
    /// To the signalling task; none where none runs.
    live: Option<mpsc::Sender<LiveCommand>>,
    mender: Mender,
    places: Arc<Semaphore>,
}

impl JoinLink {
    pub(crate) fn new(live: Option<mpsc::Sender<LiveCommand>>, mender: Mender) -> Self {
        Self { live, mender, places: Arc::new(Semaphore::new(AT_ONCE_MAX)) }
    }
}

impl Joins for JoinLink {
    fn join(&self, tenant: TenantId, calls: [CallId; 2], by: String) -> JoinAnswer {
        let (live, mender, places) = (self.live.clone(), self.mender.clone(), Arc::clone(&self.places));
        Box::pin(async move {
            if calls[0] == calls[1] {
                return Err(JoinError::Same);
            }
            if let Some(live) = &live {
                let command = JoinCommand { calls, tenant: tenant.clone(), by: by.clone() };
                if let Some(Joined { call, changed }) = by_signalling(live, command).await? {
                    let changed = if changed == call::Changed::Yes { Changed::Yes } else { Changed::No };
                    return Ok(JoinedCalls { call, changed });
                }
            }
            let Ok(place) = places.try_acquire_owned() else {
                return Err(JoinError::Away("other joins wait for their disks".to_owned()));
            };
            let whose = tenant.clone();
            let on_disk = tokio::task::spawn_blocking(move || {
                let _place = place;
                mender.join_over(&whose, calls, &by)
            });
            let joined = match tokio::time::timeout(ON_DISK_WITHIN, on_disk).await {
                Ok(done) => done.map_err(|e| JoinError::Failed(e.to_string()))??,
                Err(_) => return Err(JoinError::TimedOut),
            };
            if let Some(live) = live {
                // What it remembers of them is a convenience.
                let _ = live.try_send(LiveCommand::Forget { calls, tenant });
            }
            Ok(joined)
        })
    }
}

/// What the signalling task says; none when it does not know the calls.
async fn by_signalling(
    live: &mpsc::Sender<LiveCommand>,
    command: JoinCommand,
) -> Result<Option<Joined>, JoinError> {
    let (answer, answered) = oneshot::channel();
    if let Err(e) = live.try_send(LiveCommand::Join { command, answer }) {
        return Err(JoinError::Unreachable(not_taken(&e).to_owned()));
    }
    match tokio::time::timeout(ANSWER_WITHIN, answered).await {
        Ok(Ok(Ok(joined))) => Ok(Some(joined)),
        Ok(Ok(Err(CommandError::NoSuchCall))) => Ok(None),
        Ok(Ok(Err(e))) => Err(JoinError::NotAllowed(e.to_string())),
        Ok(Err(_)) => Err(JoinError::Unreachable("it is stopping".to_owned())),
        Err(_) => Err(JoinError::TimedOut),
    }
}
