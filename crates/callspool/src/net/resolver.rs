//! Looking up the names that dialogs lead to (RFC 3263), beside the loop: a task takes queries and gives answers.
//!
//! What is asked and in which order it is tried is decided by [`sip::locate`]; here it is asked, under deadlines, of
//! the system's name servers or of those that are configured. Answers are kept by the library as long as they say.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use sip::locate::{Naptr, Srv, order_srv, services, srv_name};
use sip::{Query, Transport};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Queries that wait or are under way: more than an agent has at a time.
const QUERIES_MAX: usize = 128;
/// How long everything about one name may take: a name server that is away costs a dialog its better way, no more.
const DEADLINE: Duration = Duration::from_secs(8);
/// How long one name server may take to answer; asked twice.
const ANSWER: Duration = Duration::from_secs(2);
/// Answers kept, whatever their time to live.
const CACHE_MAX: u64 = 1_024;
/// Services and servers of one name that are followed, and addresses that are given back.
const SERVICES_MAX: usize = 4;
const SERVERS_MAX: usize = 8;
const FOUND_MAX: usize = 8;

/// What a name leads to, the best first; nothing when it leads nowhere or nobody answers.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(super) query: Query,
    pub(super) found: Vec<(Transport, SocketAddr)>,
}

/// The way to the task. Dropping it ends the task.
pub(crate) struct Resolver {
    queries: mpsc::Sender<Query>,
    answers: mpsc::Receiver<Answer>,
}

impl Resolver {
    /// With these name servers; without any, those of the system.
    pub(crate) fn start(name_servers: &[SocketAddr]) -> Self {
        let (queries, asked) = mpsc::channel(QUERIES_MAX);
        let (answering, answers) = mpsc::channel(QUERIES_MAX);
        let dns = match name_servers {
            [] => TokioResolver::builder_tokio(),
            servers => {
                Ok(TokioResolver::builder_with_config(of_servers(servers), TokioRuntimeProvider::default()))
            }
        };
        let dns = dns.and_then(|mut builder| {
            let options = builder.options_mut();
            (options.timeout, options.attempts, options.cache_size) = (ANSWER, 2, CACHE_MAX);
            builder.build()
        });
        let dns = dns.inspect_err(|error| {
            tracing::warn!(
                "names of SIP peers are not looked up: {error}; see /etc/resolv.conf, or set sip.name_servers"
            );
        });
        tokio::spawn(run(dns.ok(), asked, answering));
        Self { queries, answers }
    }

    /// Asks; false when too much is asked already.
    pub(super) fn ask(&self, query: Query) -> bool {
        self.queries.try_send(query).is_ok()
    }

    /// The next answer. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Answer {
        match self.answers.recv().await {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }
}

fn of_servers(servers: &[SocketAddr]) -> ResolverConfig {
    let of = |server: &SocketAddr| {
        let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
        (udp.port, tcp.port) = (server.port(), server.port());
        NameServerConfig::new(server.ip(), true, vec![udp, tcp])
    };
    ResolverConfig::from_name_servers(servers.iter().map(of).collect())
}

async fn run(dns: Option<TokioResolver>, mut asked: mpsc::Receiver<Query>, answering: mpsc::Sender<Answer>) {
    let mut lookups = JoinSet::new();
    loop {
        tokio::select! {
            query = asked.recv() => match query {
                Some(query) => _ = lookups.spawn(answer(dns.clone(), query)),
                None => return,
            },
            Some(done) = lookups.join_next() => {
                if let Ok(answer) = done && answering.send(answer).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn answer(dns: Option<TokioResolver>, query: Query) -> Answer {
    let mut found = Vec::new();
    if let Some(dns) = &dns {
        // What was found before the deadline counts.
        let _ = tokio::time::timeout(DEADLINE, locate(dns, &query, &mut found)).await;
    }
    tracing::debug!(host = query.host, addresses = found.len(), "looked up a SIP peer");
    Answer { query, found }
}

async fn locate(dns: &TokioResolver, query: &Query, found: &mut Vec<(Transport, SocketAddr)>) {
    if query.port.is_none() {
        for (transport, name) in ways(dns, query).await.into_iter().take(SERVICES_MAX) {
            for server in order_srv(srv(dns, &name).await, draw).into_iter().take(SERVERS_MAX) {
                addresses(dns, &server.target, server.port, transport, found).await;
            }
        }
    }
    if found.is_empty() {
        let transport = query.transport.unwrap_or(Transport::Udp);
        let port = query.port.unwrap_or(transport.default_port());
        addresses(dns, &query.host, port, transport, found).await;
    }
}

/// The names to ask for SRV: of the transport that is decided, else as NAPTR prefers, else of each (section 4.1).
async fn ways(dns: &TokioResolver, query: &Query) -> Vec<(Transport, String)> {
    if let Some(transport) = query.transport {
        return srv_name(&query.host, transport).map(|name| (transport, name)).into_iter().collect();
    }
    let offered = services(naptr(dns, &query.host).await, false);
    if !offered.is_empty() {
        return offered;
    }
    let each = [Transport::Udp, Transport::Tcp, Transport::Tls].into_iter();
    each.filter_map(|transport| Some((transport, srv_name(&query.host, transport)?))).collect()
}

async fn naptr(dns: &TokioResolver, host: &str) -> Vec<Naptr> {
    let Ok(answer) = dns.lookup(absolute(host), RecordType::NAPTR).await else { return Vec::new() };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let records = answer.answers().iter().filter_map(|record| match &record.data {
        RData::NAPTR(naptr) => Some(Naptr {
            order: naptr.order,
            preference: naptr.preference,
            flags: text(&naptr.flags),
            service: text(&naptr.services),
            replacement: naptr.replacement.to_ascii(),
        }),
        _ => None,
    });
    records.collect()
}

async fn srv(dns: &TokioResolver, name: &str) -> Vec<Srv> {
    let Ok(answer) = dns.lookup(absolute(name), RecordType::SRV).await else { return Vec::new() };
    let records = answer.answers().iter().filter_map(|record| match &record.data {
        RData::SRV(srv) => Some(Srv {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            target: srv.target.to_ascii(),
        }),
        _ => None,
    });
    records.collect()
}

async fn addresses(
    dns: &TokioResolver,
    host: &str,
    port: u16,
    transport: Transport,
    found: &mut Vec<(Transport, SocketAddr)>,
) {
    let Ok(answer) = dns.lookup_ip(absolute(host)).await else { return };
    for ip in answer.iter() {
        let address = (transport, SocketAddr::new(ip, port));
        if found.len() < FOUND_MAX && !found.contains(&address) {
            found.push(address);
        }
    }
}

/// A name with a dot is the whole name: the system's search list is for the names that people abbreviate.
fn absolute(name: &str) -> String {
    if name.contains('.') && !name.ends_with('.') { format!("{name}.") } else { name.to_owned() }
}

/// A number from 0 to `most`; 0 when there is no entropy, which only makes the shares uneven.
fn draw(most: u32) -> u32 {
    let mut random = [0; 8];
    let _ = getrandom::fill(&mut random);
    u32::try_from(u64::from_be_bytes(random) % (u64::from(most) + 1)).unwrap_or(0)
}

#[cfg(test)]
mod tests;
