//! The control socket: how commands of this machine reach a process that serves.
//!
//! ```text
//!  callspool reload ──► <data_dir>/control.sock ── Ask ──► operate ── Answer ──► one line of JSON
//! ```
//!
//! A line with the name of what is asked, a line of JSON as the answer; then the connection stays open, and its end
//! is the end of the process. The socket lies in the data directory, which only its owner (and root) can enter.
//! Orders to a call name it and its tenant, `pause default 06jv3kq4g2n00 300`, and go the way that those of the HTTP
//! interface go: they are answered when they are true. `sides` takes JSON: `sides default 06jv3kq4g2n00 {"swapped":true}`,
//! `join` two calls: `join default 06jv3kq4g2n00 06jv3kr8m2n00`.
//! `across` says what other nodes have of a call, `fetch` has that fetched first. `gather` has calls gathered and `gathering` says how that stands, of one or, without a call, of all.
//! `keys` takes the stream, the cipher, the count of rollovers or `-`, and the key. What cannot be asked is answered
//! without more than its first word, for that reason.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use api::port::{KeysRequest, LiveOrder};
use model::{Alarm, CallId, EventId, NodeNumber, Secret, Sides, Suite, TenantId, WallTime};
use serde::{Deserialize, Serialize};
use store::AlarmRow;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use zeroize::Zeroizing;

use crate::elsewhere::{Found, Need};
use crate::gathering::{CallStands, Wish};

/// The socket's name in the data directory.
const NAME: &str = "control.sock";
/// Commands at once. Each waits for an answer of a moment; those that wait for the end of the process are few.
const CONNECTIONS_MAX: usize = 16;
/// Asks that wait to be looked at; as many as there can be connections.
const ASKS_MAX: usize = CONNECTIONS_MAX;
/// The longest ask, 4 KiB: a correction of sides that names 64 streams, with room.
const LINE_MAX: u64 = 4 << 10;
/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(5);

/// What can be asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Ask {
    /// What it does.
    Status,
    /// What is wrong by its own memory.
    Alarms,
    /// To read the configuration again.
    Reload,
    /// To take no new calls, and go on with those that are there.
    Drain,
    /// To take new calls again.
    Undrain,
    /// To stop as on SIGTERM.
    Stop,
    /// To drain, and stop when the last call has ended.
    StopWhenIdle,
    /// An order to a live call.
    Live {
        order: LiveOrder,
        /// Whose call it is.
        tenant: TenantId,
        call: CallId,
    },
    /// That two calls are one.
    Join {
        /// Whose calls they are.
        tenant: TenantId,
        calls: [CallId; 2],
    },
    /// To correct who of a call is the agent and who is external.
    Sides {
        /// Whose call it is.
        tenant: TenantId,
        call: CallId,
        to: Sides,
    },
    /// How the gathering of segments stands, of a call or of all that are waited for; or to gather them now.
    Gather {
        wish: Wish,
        /// Whose call it is, and which.
        call: Option<(TenantId, CallId)>,
    },
    /// What other nodes have of a call; with its media, when all of them are fetched.
    Across {
        need: Need,
        /// Whose call it is.
        tenant: TenantId,
        call: CallId,
    },
    /// Keys of a stream of a live call.
    Keys(Box<KeysRequest>),
}

/// Who orders by the control socket: whoever may enter the data directory.
pub(crate) const BY: &str = "operator";

/// The names on the wire of those that are one word.
const ASKS: [(Ask, &str); 7] = [
    (Ask::Status, "status"),
    (Ask::Alarms, "alarms"),
    (Ask::Reload, "reload"),
    (Ask::Drain, "drain"),
    (Ask::Undrain, "undrain"),
    (Ask::Stop, "stop"),
    (Ask::StopWhenIdle, "stop-when-idle"),
];

impl Ask {
    fn read(line: &str) -> Option<Self> {
        if let Some((ask, _)) = ASKS.iter().find(|(_, name)| *name == line) {
            return Some(ask.clone());
        }
        if let Some(ask) = read_gather(line) {
            return Some(ask);
        }
        let mut words = line.split(' ');
        let (what, tenant, call) = (words.next()?, words.next()?, words.next()?);
        let timeout = words.next();
        if let ("across" | "fetch", None) = (what, timeout) {
            let need = if what == "fetch" { Need::Media } else { Need::Words };
            return Some(Self::Across { need, tenant: tenant.parse().ok()?, call: call.parse().ok()? });
        }
        if what == "sides" {
            let to = serde_json::from_str(timeout?).ok()?;
            return Some(Self::Sides { tenant: tenant.parse().ok()?, call: call.parse().ok()?, to });
        }
        if what == "join" {
            let calls = [call.parse().ok()?, timeout?.parse().ok()?];
            return Some(Self::Join { tenant: tenant.parse().ok()?, calls });
        }
        if what == "keys" {
            let mut next = || words.next();
            let (suite, rollovers, key) = (next()?, next()?, next()?);
            let rollovers = if rollovers == "-" { None } else { Some(rollovers.parse().ok()?) };
            return Some(Self::Keys(Box::new(KeysRequest {
                tenant: tenant.parse().ok()?,
                call: call.parse().ok()?,
                stream: timeout?.parse().ok()?,
                suite: Suite::named(suite)?,
                key: Secret::new(key.as_bytes().to_vec()),
                rollovers,
                plain_rtp: false,
                plain_rtcp: false,
                by: BY.to_owned(),
            })));
        }
        let order = match (what, timeout) {
            ("pause", Some(seconds)) => {
                LiveOrder::Pause { timeout: Some(Duration::from_secs(seconds.parse::<u32>().ok()?.into())) }
            }
            ("pause", None) => LiveOrder::Pause { timeout: None },
            ("resume", None) => LiveOrder::Resume,
            ("stop-call", None) => LiveOrder::Stop,
            ("start-call", None) => LiveOrder::Start,
            _ => return None,
        };
        Some(Self::Live { order, tenant: tenant.parse().ok()?, call: call.parse().ok()? })
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Sides { tenant, call, to } = self {
            // Plain data with text keys, and no space in it.
            let to = serde_json::to_string(to).unwrap_or_default();
            return write!(f, "sides {tenant} {call} {to}");
        }
        if let Self::Join { tenant, calls: [one, other] } = self {
            return write!(f, "join {tenant} {one} {other}");
        }
        if let Self::Gather { wish, call } = self {
            f.write_str(if *wish == Wish::Gather { "gather" } else { "gathering" })?;
            return call.as_ref().map_or(Ok(()), |(tenant, call)| write!(f, " {tenant} {call}"));
        }
        if let Self::Across { need, tenant, call } = self {
            let what = if *need == Need::Media { "fetch" } else { "across" };
            return write!(f, "{what} {tenant} {call}");
        }
        if let Self::Keys(given) = self {
            let KeysRequest { tenant, call, stream, suite, key, rollovers, .. } = &**given;
            let rollovers = rollovers.map_or_else(|| "-".to_owned(), |n| n.to_string());
            write!(f, "keys {tenant} {call} {stream} {} {rollovers} ", suite.name())?;
            return f.write_str(std::str::from_utf8(key.expose()).unwrap_or_default());
        }
        let Self::Live { order, tenant, call } = self else {
            return ASKS.iter().filter(|(ask, _)| ask == self).try_for_each(|(_, name)| f.write_str(name));
        };
        match order {
            LiveOrder::Start => write!(f, "start-call {tenant} {call}"),
            LiveOrder::Stop => write!(f, "stop-call {tenant} {call}"),
            LiveOrder::Resume => write!(f, "resume {tenant} {call}"),
            LiveOrder::Pause { timeout: None } => write!(f, "pause {tenant} {call}"),
            LiveOrder::Pause { timeout: Some(t) } => write!(f, "pause {tenant} {call} {}", t.as_secs()),
        }
    }
}

/// `gather`, `gathering`, alone or with an owner and a call.
fn read_gather(line: &str) -> Option<Ask> {
    let mut words = line.split(' ');
    let wish = match words.next()? {
        "gather" => Wish::Gather,
        "gathering" => Wish::Know,
        _ => return None,
    };
    let call = match (words.next(), words.next(), words.next()) {
        (None, ..) => None,
        (Some(tenant), Some(call), None) => Some((tenant.parse().ok()?, call.parse().ok()?)),
        _ => return None,
    };
    Some(Ask::Gather { wish, call })
}

/// What comes back.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// Whether it was done as asked.
    pub(crate) done: bool,
    /// What there is to say, a line each.
    pub(crate) text: Vec<String>,
    /// After an order to a call: how it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) call: Option<LiveStands>,
    /// After a correction of sides: how they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sides: Option<SidesStand>,
    /// After two calls were joined: which they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) joined: Option<JoinStands>,
    /// After a question for gathering: how calls stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gathering: Option<Vec<CallStands>>,
    /// After a question for what other nodes have of a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) across: Option<Found>,
    /// After a question for alarms: how they stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) alarms: Option<AlarmsStand>,
    /// After a reload: settings that are in effect now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) in_effect: Vec<String>,
    /// After a reload: settings that wait for a start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) at_restart: Vec<String>,
}

/// How a call stands after an order, as the interface says it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct LiveStands {
    pub(crate) call: CallId,
    /// `on`, `paused`, `off`.
    pub(crate) recording: String,
    /// When it goes on by itself.
    pub(crate) resumes_at: Option<WallTime>,
    /// Whether the order changed anything.
    pub(crate) changed: bool,
}

/// The sides of a call after a correction.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct SidesStand {
    pub(crate) call: CallId,
    pub(crate) sides: Sides,
    /// Whether the correction changed anything.
    pub(crate) changed: bool,
}

/// Two calls after they were joined.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct JoinStands {
    /// The one that survives.
    pub(crate) call: CallId,
    /// Whether they were two before.
    pub(crate) changed: bool,
}

/// What lasts, as the process has it in memory.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct AlarmsStand {
    /// Whether the catalog does not take what it is told, so that it lacks some.
    pub(crate) catalog_away: bool,
    /// Newest first, as many as a list has.
    pub(crate) lasting: Vec<LastingAlarm>,
}

/// A condition that lasts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct LastingAlarm {
    pub(crate) id: EventId,
    pub(crate) tenant: TenantId,
    pub(crate) node: NodeNumber,
    pub(crate) alarm: Alarm,
}

impl From<AlarmRow> for LastingAlarm {
    fn from(AlarmRow { id, tenant, node, alarm }: AlarmRow) -> Self {
        Self { id, tenant, node, alarm }
    }
}

impl From<LastingAlarm> for AlarmRow {
    fn from(LastingAlarm { id, tenant, node, alarm }: LastingAlarm) -> Self {
        Self { id, tenant, node, alarm }
    }
}

impl Answer {
    pub(crate) fn done(text: impl Into<String>) -> Self {
        Self { done: true, text: vec![text.into()], ..Self::default() }
    }

    pub(crate) fn refused(text: Vec<String>) -> Self {
        Self { done: false, text, ..Self::default() }
    }
}

/// An ask and the way back.
pub(crate) type Asked = (Ask, oneshot::Sender<Answer>);

/// Where the socket of this data directory is.
pub(crate) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(NAME)
}

/// Listens, and passes on what is asked. Without a socket it goes on all the same: signals do the most important.
pub(crate) fn start(data_dir: &Path) -> mpsc::Receiver<Asked> {
    let (asks, asked) = mpsc::channel(ASKS_MAX);
    let path = path(data_dir);
    match bind(&path) {
        Ok(listener) => {
            tokio::spawn(accept(listener, asks));
        }
        Err(e) => tracing::warn!(
            "no control socket at {}: {e}; `callspool reload` and `callspool stop` do not work, SIGHUP and SIGTERM do",
            path.display()
        ),
    }
    asked
}

/// A socket that a crash left is taken over, one that somebody listens to is not.
fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
        Err(_) => {}
    }
    UnixListener::bind(path)
}

async fn accept(listener: UnixListener, asks: mpsc::Sender<Asked>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(e) => {
                tracing::debug!("a command cannot connect: {e}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let asks = asks.clone();
        tokio::spawn(async move {
            if let Err(e) = serve(stream, asks).await {
                tracing::debug!("a command went away: {e}");
            }
            drop(place);
        });
    }
}

async fn serve(stream: UnixStream, asks: mpsc::Sender<Asked>) -> io::Result<()> {
    let (reading, mut writing) = stream.into_split();
    let mut reading = BufReader::new(reading.take(LINE_MAX));
    let mut line = Zeroizing::new(String::new());
    tokio::time::timeout(PATIENCE, reading.read_line(&mut line)).await??;
    let answer = match Ask::read(line.trim()) {
        Some(ask) => pass_on(ask, &asks).await,
        None => {
            let word = line.split_whitespace().next().unwrap_or_default();
            Answer::refused(vec![format!("'{word}' cannot be asked so of this version")])
        }
    };
    drop(line);
    let mut text = serde_json::to_string(&answer)?;
    text.push('\n');
    writing.write_all(text.as_bytes()).await?;
    // Until the client has gone, or this process: whoever waits for that sees it by the end of the connection.
    while reading.read(&mut [0]).await? > 0 {}
    Ok(())
}

async fn pass_on(ask: Ask, asks: &mpsc::Sender<Asked>) -> Answer {
    let (answer, answered) = oneshot::channel();
    let stopping = || Answer::refused(vec!["callspool stops already".to_owned()]);
    if asks.send((ask, answer)).await.is_err() {
        return stopping();
    }
    answered.await.unwrap_or_else(|_| stopping())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for (ask, name) in ASKS {
            assert_eq!((ask.to_string().as_str(), Ask::read(name)), (name, Some(ask)));
        }
        let live = |order| Ask::Live { order, tenant: TenantId::default(), call: CallId::from_u64(77) };
        let timeout = Some(Duration::from_secs(90));
        for order in [
            LiveOrder::Start,
            LiveOrder::Stop,
            LiveOrder::Resume,
            LiveOrder::Pause { timeout: None },
            LiveOrder::Pause { timeout },
        ] {
            let ask = live(order);
            assert_eq!(Ask::read(&ask.to_string()), Some(ask));
        }
        let streams = [(model::StreamId::from_u64(5), model::Side::Agent)].into_iter().collect();
        let to = Sides { swapped: true, streams };
        let ask = Ask::Sides { tenant: TenantId::default(), call: CallId::from_u64(77), to };
        assert_eq!(Ask::read(&ask.to_string()), Some(ask));
        let ask =
            Ask::Join { tenant: TenantId::default(), calls: [CallId::from_u64(77), CallId::from_u64(78)] };
        assert_eq!(Ask::read(&ask.to_string()), Some(ask));
        for call in [None, Some((TenantId::default(), CallId::from_u64(77)))] {
            for wish in [Wish::Gather, Wish::Know] {
                let ask = Ask::Gather { wish, call: call.clone() };
                assert_eq!(Ask::read(&ask.to_string()), Some(ask));
            }
        }
        for need in [Need::Words, Need::Media] {
            let ask = Ask::Across { need, tenant: TenantId::default(), call: CallId::from_u64(77) };
            assert_eq!(Ask::read(&ask.to_string()), Some(ask));
        }
        let given = |rollovers| KeysRequest {
            tenant: TenantId::default(),
            call: CallId::from_u64(77),
            stream: model::StreamId::from_u64(5),
            suite: Suite::AeadAes128Gcm,
            key: Secret::new(b"inline:abc|2^31|1:4;inline:def|2^31|2:4".to_vec()),
            rollovers,
            plain_rtp: false,
            plain_rtcp: false,
            by: BY.to_owned(),
        };
        for rollovers in [None, Some(70_000)] {
            let ask = Ask::Keys(Box::new(given(rollovers)));
            assert_eq!(Ask::read(&ask.to_string()), Some(ask.clone()));
            assert!(!format!("{ask:?}").contains("inline"), "{ask:?}");
        }
        for bad in [
            "explode",
            "gather default",
            "gathering default 000000000002d x",
            "join default 000000000002d",
            "keys default 000000000002d 0000000000005 AEAD_AES_128_GCM 1",
            "fetch default 000000000002d x",
            "pause",
            "pause default",
            "pause default x",
            "resume default 000000000002d 5",
        ] {
            assert_eq!(Ask::read(bad), None, "{bad}");
        }
    }
}
