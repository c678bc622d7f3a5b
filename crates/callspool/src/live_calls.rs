//! What people want of live calls, orders and to listen, on its way from the interface to the signalling task and back.
//!
//! An order is answered when it is true: a pause when the media thread keeps nothing any more, not when somebody
//! took note of it. Whoever asked learns of every failure, a full queue and a lost answer included.

use std::time::Duration;

use api::port::{
    Changed, KeysRequest, ListenAnswer, ListenError, ListenRequest, LiveAnswer, LiveCalls, LiveError,
    LiveOrder, LiveRecording, LiveState,
};
use call::{Ask, Command, CommandError, Done, GivenKeys, JoinCommand, Joined, Recording};
use model::{CallId, Keys, Report, TenantId};
use tokio::sync::{mpsc, oneshot};

use crate::clock::mono;
use crate::listen::{self, Listener, SidesLink};
use crate::recorder::{Crowded, Ear, LISTENERS_MAX, LISTENERS_PER_CALL_MAX};

/// Orders that wait for the signalling task: it takes them in microseconds, so more mean that it stands still.
const WAITING_MAX: usize = 256;
/// Orders that are given and not yet carried out; a media thread does that within milliseconds.
const AWAITED_MAX: usize = 1_024;
/// 5 s: well beyond what a loaded machine needs, and within the patience of whoever pressed the button.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Where the outcome of an order goes.
type Answer = oneshot::Sender<Result<Done, CommandError>>;

/// What is wanted and who waits for its outcome.
pub(crate) enum LiveCommand {
    Order {
        command: Command,
        answer: Answer,
    },
    /// That two calls are one.
    Join {
        command: JoinCommand,
        answer: oneshot::Sender<Result<Joined, CommandError>>,
    },
    /// That calls which are over were joined: what comes later is of neither.
    Forget {
        calls: [CallId; 2],
        tenant: TenantId,
    },
    /// Keys of a stream.
    Keys {
        given: GivenKeys,
        answer: Answer,
    },
    /// To listen to a call.
    Listen {
        call: CallId,
        tenant: TenantId,
        answer: oneshot::Sender<Result<Ear, NoEar>>,
    },
}

/// Why somebody cannot listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoEar {
    Call(CommandError),
    Crowded(Crowded),
    /// Its media are at another node.
    Elsewhere,
}

/// The end of the way that asks.
pub(crate) struct LiveLink {
    commands: mpsc::Sender<LiveCommand>,
    sides: SidesLink,
}

/// A way for orders; `sides` are heard by who listens.
pub(crate) fn channel(sides: SidesLink) -> (LiveLink, mpsc::Receiver<LiveCommand>) {
    let (commands, ordered) = mpsc::channel(WAITING_MAX);
    (LiveLink { commands, sides }, ordered)
}

impl LiveLink {
    /// The way by itself.
    pub(crate) fn commands(&self) -> mpsc::Sender<LiveCommand> {
        self.commands.clone()
    }
}

impl LiveCalls for LiveLink {
    fn order(&self, tenant: TenantId, call: CallId, order: LiveOrder, by: String) -> LiveAnswer {
        let ask = match order {
            LiveOrder::Start => Ask::Start,
            LiveOrder::Stop => Ask::Stop,
            LiveOrder::Pause { timeout } => Ask::Pause { timeout },
            LiveOrder::Resume => Ask::Resume,
        };
        let (answer, answered) = oneshot::channel();
        let command = Command { call, tenant, ask, by };
        let sent = self.commands.try_send(LiveCommand::Order { command, answer });
        let sent = sent.map_err(|e| LiveError::Unreachable(not_taken(&e).to_owned()));
        Box::pin(async move {
            sent?;
            outcome(answered).await
        })
    }

    fn give_keys(&self, given: KeysRequest) -> LiveAnswer {
        let keys = match keys_of(&given) {
            Ok(keys) => keys,
            Err(e) => return Box::pin(std::future::ready(Err(e))),
        };
        let KeysRequest { tenant, call, stream, suite, by, .. } = given;
        let (answer, answered) = oneshot::channel();
        let given = GivenKeys { call, tenant, stream, keys };
        let sent = self.commands.try_send(LiveCommand::Keys { given, answer });
        let sent = sent.map_err(|e| LiveError::Unreachable(not_taken(&e).to_owned()));
        Box::pin(async move {
            sent?;
            let stands = outcome(answered).await?;
            let new = if stands.changed == Changed::Yes { "" } else { " once more" };
            tracing::info!(%call, %stream, by, "keys of a stream are given{new}, for {}", suite.name());
            Ok(stands)
        })
    }

    fn listen(&self, wanted: ListenRequest) -> ListenAnswer {
        let (answer, answered) = oneshot::channel();
        let (call, tenant, sides) = (wanted.call, wanted.tenant.clone(), self.sides.clone());
        let sent = self.commands.try_send(LiveCommand::Listen { call, tenant, answer });
        Box::pin(async move {
            if let Err(e) = sent {
                return Err(ListenError::Unreachable(not_taken(&e).to_owned()));
            }
            let ear = match tokio::time::timeout(ANSWER_WITHIN, answered).await {
                Ok(Ok(Ok(ear))) => ear,
                Ok(Ok(Err(e))) => return Err(cannot_listen(e)),
                Ok(Err(_)) => return Err(ListenError::Unreachable("it is stopping".to_owned())),
                Err(_) => return Err(ListenError::Unreachable("it did not answer in time".to_owned())),
            };
            let sides = sides.follow(wanted.tenant.clone(), call).await;
            match Listener::new(ear, sides, &wanted, mono()) {
                Ok(listener) => Ok(listen::hearing(listener).await),
                Err(e) => Err(ListenError::Unreachable(e.to_string())),
            }
        })
    }
}

/// How the call stands when an order is carried out.
async fn outcome(answered: oneshot::Receiver<Result<Done, CommandError>>) -> Result<LiveState, LiveError> {
    match tokio::time::timeout(ANSWER_WITHIN, answered).await {
        Ok(Ok(Ok(done))) => Ok(state(&done)),
        Ok(Ok(Err(e))) => Err(error(e)),
        Ok(Err(_)) => Err(LiveError::Unreachable("it is stopping".to_owned())),
        Err(_) => Err(LiveError::TimedOut),
    }
}

/// The keys as they are written. What is said of them when they are wrong has nothing of them.
fn keys_of(given: &KeysRequest) -> Result<Keys, LiveError> {
    let text = std::str::from_utf8(given.key.expose()).ok();
    let keys = text.and_then(|text| media::sdp::keys(given.suite, text.trim())).ok_or_else(|| {
        LiveError::BadKey(format!(
            "it is no `inline:` with {} octets of key and salt in base64, as {} has them (RFC 4568 section 6.1); of \
             several, with `;` between, each needs an identifier of the same length",
            given.suite.secret_len(),
            given.suite.name()
        ))
    })?;
    let KeysRequest { rollovers, plain_rtp, plain_rtcp, .. } = *given;
    Ok(Keys { rollovers, plain_rtp, plain_rtcp, ..keys })
}

pub(crate) fn not_taken<T>(error: &mpsc::error::TrySendError<T>) -> &'static str {
    match error {
        mpsc::error::TrySendError::Full(_) => "too many orders wait",
        mpsc::error::TrySendError::Closed(_) => "it is stopping",
    }
}

fn cannot_listen(e: NoEar) -> ListenError {
    match e {
        NoEar::Call(CommandError::NotLive) => ListenError::NotLive,
        NoEar::Call(_) => ListenError::NoSuchCall,
        NoEar::Crowded(Crowded::Node) => {
            ListenError::TooMany(format!("{LISTENERS_MAX} listen to calls on this node"))
        }
        NoEar::Crowded(Crowded::Call) => {
            ListenError::TooMany(format!("{LISTENERS_PER_CALL_MAX} listen to this call"))
        }
        NoEar::Elsewhere => ListenError::Unreachable(
            "its media are at a record server on another node, and can be listened to when it is over"
                .to_owned(),
        ),
    }
}

fn state(done: &Done) -> LiveState {
    LiveState {
        call: done.call,
        recording: match done.recording {
            Recording::On => LiveRecording::On,
            Recording::Paused { since, until } => LiveRecording::Paused { since, until },
            Recording::Off => LiveRecording::Off,
        },
        changed: match done.changed {
            call::Changed::Yes => Changed::Yes,
            call::Changed::No => Changed::No,
        },
    }
}

fn error(e: CommandError) -> LiveError {
    match e {
        CommandError::NoSuchCall => LiveError::NoSuchCall,
        CommandError::NotLive => LiveError::NotLive,
        CommandError::NoSuchStream => LiveError::NoSuchStream,
        CommandError::NotAllowed(why) => LiveError::NotAllowed(why.to_owned()),
    }
}

/// Answers that wait until their orders are carried out.
#[derive(Default)]
pub(crate) struct Awaited(Vec<(Done, Answer)>);

impl Awaited {
    /// Answers, now or when it is true.
    pub(crate) fn answer(&mut self, outcome: Result<Done, CommandError>, to: Answer) {
        self.0.retain(|(_, to)| !to.is_closed());
        match outcome {
            // Beyond the limit the sender is dropped, and whoever waits learns that there is no answer.
            Ok(done) if !done.awaits.is_empty() => {
                if self.0.len() < AWAITED_MAX {
                    self.0.push((done, to));
                }
            }
            // Nobody may wait any more; the order stands all the same.
            outcome => _ = to.send(outcome),
        }
    }

    /// What a record server reports may be what somebody waits for.
    pub(crate) fn take_note(&mut self, report: &Report) {
        let Report::CarriedOut { order, .. } = report else { return };
        for (mut done, to) in std::mem::take(&mut self.0) {
            done.awaits.retain(|awaited| awaited != order);
            if done.awaits.is_empty() {
                let _ = to.send(Ok(done));
            } else {
                self.0.push((done, to));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use api::port::{CallNotes, CallSides, NoteError, Notes};
    use model::{Note, Sides};

    use super::*;
    use crate::listen::HeardSides;

    /// A notebook that knows no call.
    struct Blank;

    impl Notes for Blank {
        fn read(&self, _: &TenantId, _: CallId) -> Result<CallNotes, NoteError> {
            Err(NoteError::NoCall)
        }
        fn note(&self, _: &TenantId, _: CallId, _: Note, _: &str) -> Result<(CallNotes, Changed), NoteError> {
            Err(NoteError::NoCall)
        }
        fn sides(&self, _: &TenantId, _: CallId) -> Result<CallSides, NoteError> {
            Err(NoteError::NoCall)
        }
        fn correct(
            &self,
            _: &TenantId,
            _: CallId,
            _: Sides,
            _: &str,
        ) -> Result<(CallSides, Changed), NoteError> {
            Err(NoteError::NoCall)
        }
    }

    fn way() -> (LiveLink, mpsc::Receiver<LiveCommand>) {
        channel(SidesLink::new(Arc::new(Blank), HeardSides::default()))
    }

    fn order(link: &LiveLink) -> LiveAnswer {
        let pause = LiveOrder::Pause { timeout: None };
        link.order(TenantId::default(), CallId::from_u64(1), pause, "alice".to_owned())
    }

    fn done(awaits: &[u64]) -> Done {
        let call = CallId::from_u64(1);
        Done { call, recording: Recording::Off, changed: call::Changed::Yes, awaits: awaits.to_vec() }
    }

    #[tokio::test]
    async fn an_order_is_answered_when_it_is_carried_out_and_not_before() {
        let (link, mut commands) = way();
        let mut awaited = Awaited::default();
        let answer = order(&link);
        let Some(LiveCommand::Order { command, answer: to }) = commands.recv().await else {
            panic!("an order")
        };
        assert_eq!((command.by.as_str(), command.call), ("alice", CallId::from_u64(1)));
        let mut answer = tokio::spawn(answer);
        awaited.answer(Ok(done(&[7, 8])), to);
        let segment = model::SegmentId::from_u64(1);
        awaited.take_note(&Report::CarriedOut { segment, order: 6 });
        awaited.take_note(&Report::CarriedOut { segment, order: 8 });
        assert!(tokio::time::timeout(Duration::from_millis(20), &mut answer).await.is_err());
        awaited.take_note(&Report::CarriedOut { segment, order: 7 });
        assert_eq!(answer.await.unwrap().unwrap().recording, LiveRecording::Off);
        assert!(awaited.0.is_empty());
    }

    #[tokio::test]
    async fn whoever_asks_learns_of_a_full_queue_and_of_an_end() {
        let (link, commands) = way();
        let waiting: Vec<_> = (0..WAITING_MAX).map(|_| order(&link)).collect();
        assert!(matches!(order(&link).await, Err(LiveError::Unreachable(why)) if why.contains("wait")));
        drop(commands);
        for answer in waiting {
            assert!(matches!(answer.await, Err(LiveError::Unreachable(_))));
        }
        assert!(matches!(order(&link).await, Err(LiveError::Unreachable(why)) if why.contains("stopping")));
    }
}
