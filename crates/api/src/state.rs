//! What the routes share: catalog, audio, token, limits.

use std::hint::black_box;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use model::TenantId;
use store::{Catalog, Handle};
use tokio::sync::Semaphore;

use crate::metrics::Latency;
use crate::port::{Audio, Gathering, Joins, LiveCalls, Metrics, Node, Notes};

/// Requests in work at once. The catalog has four readers; beyond a short queue for them waiting helps nobody.
pub(crate) const REQUESTS_MAX: usize = 64;
/// Listeners at once: each decodes at some hundred times real time, and only what it listens to.
pub(crate) const LISTENERS_MAX: usize = 32;

/// Streams of events at once: pages that are open, and a few programs. Each asks the catalog four times a second.
pub(crate) const EVENT_STREAMS_MAX: usize = 32;
/// Notes that are read or made at once: a disk that hangs keeps no more threads than these.
const NOTE_TAKERS_MAX: usize = 8;
/// Who acts, as a call's log has it: there is one token, and whoever knows it is the same.
pub(crate) const BY: &str = "api";

/// How the interface is set up.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// Whose calls are shown.
    pub tenant: TenantId,
    /// What whoever asks must know.
    pub token: Token,
    /// Names beside the loopback ones that the server may be called by, without port; to begin with.
    pub allowed_hosts: Vec<String>,
    /// Who may read `/metrics`.
    pub metrics: MetricsAccess,
    /// How long a stream of events lasts; then its client has to come again. [`EVENT_STREAM_LASTS`](crate::EVENT_STREAM_LASTS)
    /// where there is no reason for another.
    pub event_stream_lasts: Duration,
}

/// Who may read `/metrics`. They tell counts and names of volumes, nothing of calls or people.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MetricsAccess {
    /// Whoever knows the token.
    #[default]
    Token,
    /// Whoever reaches the server.
    Open,
}

/// All that the routes need. Cheap to clone.
#[derive(Clone)]
pub struct ApiState(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) config: ApiConfig,
    /// The names in effect.
    allowed_hosts: RwLock<Arc<[String]>>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) writer: Option<Handle>,
    pub(crate) audio: Arc<dyn Audio>,
    pub(crate) live: Option<Arc<dyn LiveCalls>>,
    pub(crate) notes: Arc<dyn Notes>,
    pub(crate) joins: Arc<dyn Joins>,
    pub(crate) gathering: Arc<dyn Gathering>,
    pub(crate) node: Arc<dyn Node>,
    pub(crate) metrics: Arc<dyn Metrics>,
    pub(crate) latency: Latency,
    pub(crate) requests: Arc<Semaphore>,
    pub(crate) listeners: Arc<Semaphore>,
    pub(crate) event_streams: Arc<Semaphore>,
    pub(crate) note_takers: Arc<Semaphore>,
}

/// Whom the interface asks.
#[derive(Clone)]
pub struct Ports {
    /// Calls, segments, events. [`Catalog::reader`] is enough.
    pub catalog: Arc<Catalog>,
    /// Tells how writing the catalog goes, where this process writes it.
    pub writer: Option<Handle>,
    /// Makes audio of calls.
    pub audio: Arc<dyn Audio>,
    /// Takes orders to live calls; none where this process reaches no record server.
    pub live: Option<Arc<dyn LiveCalls>>,
    /// Reads and makes notes of calls.
    pub notes: Arc<dyn Notes>,
    /// Joins calls.
    pub joins: Arc<dyn Joins>,
    /// Brings segments together.
    pub gathering: Arc<dyn Gathering>,
    /// Tells how this node stands.
    pub node: Arc<dyn Node>,
    /// Gathers the node's numbers.
    pub metrics: Arc<dyn Metrics>,
}

impl std::fmt::Debug for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ports").field("catalog", &self.catalog).finish_non_exhaustive()
    }
}

impl ApiState {
    /// What the routes share, from a configuration and those who are asked.
    #[must_use]
    pub fn new(config: ApiConfig, ports: Ports) -> Self {
        let Ports { catalog, writer, audio, live, notes, joins, gathering, node, metrics } = ports;
        Self(Arc::new(Shared {
            allowed_hosts: RwLock::new(config.allowed_hosts.clone().into()),
            config,
            catalog,
            writer,
            audio,
            live,
            notes,
            joins,
            gathering,
            node,
            metrics,
            latency: Latency::default(),
            requests: Arc::new(Semaphore::new(REQUESTS_MAX)),
            listeners: Arc::new(Semaphore::new(LISTENERS_MAX)),
            event_streams: Arc::new(Semaphore::new(EVENT_STREAMS_MAX)),
            note_takers: Arc::new(Semaphore::new(NOTE_TAKERS_MAX)),
        }))
    }
}

impl ApiState {
    /// Names that the server may be called by from now on.
    pub fn allow_hosts(&self, names: Vec<String>) {
        *self.0.allowed_hosts.write().unwrap_or_else(PoisonError::into_inner) = names.into();
    }

    pub(crate) fn allowed_hosts(&self) -> Arc<[String]> {
        Arc::clone(&self.0.allowed_hosts.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl std::fmt::Debug for ApiState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiState").field("config", &self.0.config).finish_non_exhaustive()
    }
}

/// What whoever asks must know. Never printed.
#[derive(Clone)]
pub struct Token(Arc<str>);

/// Text that cannot be a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token is 16 to 256 letters, digits, '-' and '_'")]
pub struct TokenError;

impl Token {
    /// Checks length and alphabet: what fits into a cookie and a query as it is.
    pub fn new(text: &str) -> Result<Self, TokenError> {
        let plain = text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'));
        if plain && (16..=256).contains(&text.len()) { Ok(Self(text.into())) } else { Err(TokenError) }
    }

    /// Whether it is this one. The time taken tells nothing of where they differ.
    pub(crate) fn is(&self, given: &str) -> bool {
        let mut difference = self.0.len() ^ given.len();
        for (i, expected) in self.0.bytes().enumerate() {
            let given = given.as_bytes().get(i).copied().unwrap_or(0);
            difference |= usize::from(black_box(expected ^ given));
        }
        black_box(difference) == 0
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_is_the_token() {
        let token = Token::new("0123456789abcdef").unwrap();
        for wrong in ["", "0123456789abcde", "0123456789abcdeg", "0123456789abcdef0", "0123456789ABCDEF"] {
            assert!(!token.is(wrong), "{wrong}");
        }
        assert!(token.is("0123456789abcdef"));
        assert_eq!(format!("{token:?}"), "Token(…)");
    }

    #[test]
    fn what_a_cookie_cannot_hold_is_no_token() {
        for wrong in ["short", "0123456789abcde;", "0123456789abcde f", &"x".repeat(257)] {
            assert_eq!(Token::new(wrong).unwrap_err(), TokenError, "{wrong}");
        }
    }
}
