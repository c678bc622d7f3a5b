//! What one source may have of the page: connections at once, and requests a second. A source is an IPv4 address, or
//! an IPv6 network of 64 bits. Behind a proxy all clients are one, so for a proxy there is no limit.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ipnet::IpNet;

use crate::net::{Rate, Rates, Source};

/// The limits.
#[derive(Clone, Debug, Default)]
pub(crate) struct PerSource {
    /// Connections at once; zero is no limit.
    pub(crate) connections: usize,
    /// Requests a second; zero is no limit.
    pub(crate) requests: usize,
    /// Whose connections and requests are not counted.
    pub(crate) proxies: Vec<IpNet>,
}

/// What was refused since the start.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    /// Connections, for every place was taken.
    pub(super) connections: AtomicU64,
    /// Connections of a source that had as many as it may.
    pub(super) of_source: AtomicU64,
    /// Requests of a source that sent too many.
    pub(super) requests: AtomicU64,
}

impl Refused {
    /// How often, by reason.
    pub(crate) fn by_reason(&self) -> [(&'static str, u64); 3] {
        [("limit", &self.connections), ("source-limit", &self.of_source), ("rate", &self.requests)]
            .map(|(reason, n)| (reason, n.load(Ordering::Relaxed)))
    }
}

/// All sources.
pub(super) struct Sources {
    limits: PerSource,
    refused: Arc<Refused>,
    counted: Mutex<Counted>,
}

struct Counted {
    /// As many entries as there are connections at most.
    connections: HashMap<Source, usize>,
    rates: Rates,
}

/// A connection of a source; it is given back when this goes.
pub(super) struct Presence {
    sources: Arc<Sources>,
    /// None: not counted.
    ip: Option<IpAddr>,
}

impl Sources {
    pub(super) fn new(limits: PerSource, refused: Arc<Refused>) -> Arc<Self> {
        let rates = Rates::new(limits.requests, Instant::now());
        let counted = Mutex::new(Counted { connections: HashMap::new(), rates });
        Arc::new(Self { limits, refused, counted })
    }

    /// For a connection from there; none when it is one too many.
    pub(super) fn enter(self: &Arc<Self>, ip: IpAddr) -> Option<Presence> {
        let ip = ip.to_canonical();
        if self.limits.proxies.iter().any(|proxy| proxy.contains(&ip)) {
            return Some(Presence { sources: Arc::clone(self), ip: None });
        }
        let most = self.limits.connections;
        let mut counted = self.lock();
        let count = counted.connections.entry(Source::of(ip)).or_default();
        if most > 0 && *count >= most {
            drop(counted);
            self.refused.of_source.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        *count += 1;
        drop(counted);
        Some(Presence { sources: Arc::clone(self), ip: Some(ip) })
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Presence {
    /// Counts a request.
    pub(super) fn asks(&self) -> Rate {
        let Some(ip) = self.ip else { return Rate::Within };
        let rate = self.sources.lock().rates.take(ip, Instant::now());
        if rate != Rate::Within {
            self.sources.refused.requests.fetch_add(1, Ordering::Relaxed);
        }
        rate
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let Some(ip) = self.ip else { return };
        let mut counted = self.sources.lock();
        let source = Source::of(ip);
        if let Some(count) = counted.connections.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                counted.connections.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(connections: usize, requests: usize, proxies: &[&str]) -> Arc<Sources> {
        let proxies = proxies.iter().map(|p| p.parse().unwrap()).collect();
        Sources::new(PerSource { connections, requests, proxies }, Arc::default())
    }

    fn enter(sources: &Arc<Sources>, ip: &str) -> Option<Presence> {
        sources.enter(ip.parse().unwrap())
    }

    #[test]
    fn a_source_has_its_connections_and_gives_them_back() {
        let sources = sources(2, 0, &[]);
        let first = enter(&sources, "192.0.2.1");
        let mapped = enter(&sources, "::ffff:192.0.2.1");
        assert!(first.is_some() && mapped.is_some() && enter(&sources, "192.0.2.1").is_none());
        let other = enter(&sources, "192.0.2.2");
        assert!(other.is_some(), "another source has its own");
        drop(first);
        assert!(enter(&sources, "192.0.2.1").is_some());
        drop((mapped, other));
        assert!(sources.lock().connections.is_empty(), "nothing stays");
        assert_eq!(sources.refused.by_reason(), [("limit", 0), ("source-limit", 1), ("rate", 0)]);
    }

    #[test]
    fn a_proxy_is_not_counted() {
        let sources = sources(1, 1, &["127.0.0.0/8", "::1/128"]);
        for proxy in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            let all: Vec<_> = (0..9).map(|_| enter(&sources, proxy).expect("a place")).collect();
            assert!(all.iter().all(|presence| presence.asks() == Rate::Within), "{proxy}");
        }
        let (first, second) = (enter(&sources, "::2"), enter(&sources, "::3"));
        assert!(first.is_some() && second.is_none(), "one network");
        let asked: Vec<_> = (0..5).map(|_| first.as_ref().unwrap().asks()).collect();
        assert_eq!(asked, [Rate::Within, Rate::Within, Rate::Over, Rate::Over, Rate::Flood]);
        assert_eq!(sources.refused.by_reason(), [("limit", 0), ("source-limit", 1), ("rate", 3)]);
    }
}
