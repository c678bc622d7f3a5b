//! The HTTP side of this process: the socket, the token, and what `api` needs from the rest.

use std::sync::Arc;

use api::port::{Gathering, Joins, LiveCalls, Notes};
use api::{ApiConfig, ApiState, EVENT_STREAM_LASTS, MetricsAccess, Ports, Token};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::audio::Recordings;
use crate::catalog::CatalogLink;
use crate::cli::CliError;
use crate::config::Config;
use crate::elsewhere::Elsewhere;
use crate::http::{self, HttpLimits, PerSource};
use crate::metrics::Numbers;
use crate::readiness::Readiness;
use crate::volumes::Volumes;

/// Who answers for the rest of this process.
pub(crate) struct Behind<'a> {
    pub(crate) volumes: &'a Volumes,
    pub(crate) catalog: &'a CatalogLink,
    pub(crate) notes: Arc<dyn Notes>,
    pub(crate) joins: Arc<dyn Joins>,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) numbers: Arc<Numbers>,
    /// The way to live calls; none where none are recorded.
    pub(crate) live: Option<Arc<dyn LiveCalls>>,
    pub(crate) gather: Arc<dyn Gathering>,
    /// What other nodes have of calls, where some are named.
    pub(crate) elsewhere: Option<Elsewhere>,
}

/// Binds the address and serves until told to stop. What comes back can be told of other names.
pub(crate) async fn start(
    config: &Config,
    behind: Behind<'_>,
    stop: watch::Receiver<bool>,
) -> Result<ApiState, CliError> {
    let address = config.api.listen;
    let listener = TcpListener::bind(address).await.map_err(|e| {
        let todo = "stop what uses the address, or choose another in api.listen";
        CliError::failed(format!("cannot serve the page on {address}"), e, todo)
    })?;
    let text = crate::token::load_or_create(&config.api.token_file)?;
    let token = Token::new(&text)
        .map_err(|e| CliError::failed("cannot use the token file", e, "remove it, and a new one is made"))?;
    let settings = ApiConfig {
        tenant: config.recording.tenant.clone(),
        token,
        allowed_hosts: config.api.allowed_hosts.clone(),
        metrics: if config.api.metrics_open { MetricsAccess::Open } else { MetricsAccess::Token },
        event_stream_lasts: EVENT_STREAM_LASTS,
    };
    let refused = Arc::clone(behind.numbers.refused());
    let ports = Ports {
        catalog: Arc::clone(&behind.catalog.reader),
        writer: Some(behind.catalog.handle.clone()),
        audio: Arc::new(Recordings::new(behind.volumes.repository(), behind.elsewhere)),
        live: behind.live,
        notes: behind.notes,
        joins: behind.joins,
        gathering: behind.gather,
        node: behind.readiness,
        metrics: behind.numbers,
    };
    let state = ApiState::new(settings, ports);
    let app = api::router(state.clone());
    tracing::info!("page http://{address}/ (its token is in {})", config.api.token_file.display());
    let per_source = PerSource {
        connections: config.api.max_connections_per_source,
        requests: config.api.max_requests_per_source,
        proxies: config.api.proxies.iter().map(|range| range.0).collect(),
    };
    tokio::spawn(http::serve(listener, app, HttpLimits::new(per_source), refused, stop));
    Ok(state)
}
