//! Asks a callspool for its `/metrics`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use axum::body::Body;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::super::figures::Figures;
use crate::cli::{CliError, block_on};

/// 4 MiB: with thousands of series they are a tenth of it.
const ANSWER_MAX: usize = 4 << 20;
/// A node under load answers later than one that rests.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Page {
    pub(super) address: SocketAddr,
    pub(super) token: String,
}

impl Page {
    pub(super) fn figures(&self) -> Result<Figures, CliError> {
        let failed = |why: &dyn std::fmt::Display| {
            let what = format!("cannot read /metrics of {}", self.address);
            let todo = "name its page by --page ADDRESS and its token by --token-file; without them nothing can be counted";
            CliError::failed(what, why, todo)
        };
        let asked = block_on(async { tokio::time::timeout(PATIENCE, self.ask()).await })?;
        let text = asked.map_err(|e| failed(&e))?.map_err(|e| failed(&e))?;
        Figures::read(&text, Instant::now()).ok_or_else(|| failed(&"this is no callspool that records"))
    }

    async fn ask(&self) -> Result<String, Box<dyn std::error::Error>> {
        let stream = TcpStream::connect(self.address).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = Request::get("/metrics")
            .header(HOST, self.address.to_string())
            .header(AUTHORIZATION, format!("Bearer {}", self.token))
            .body(Body::empty())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(format!("it answers {status}").into());
        }
        let body = axum::body::to_bytes(Body::new(response.into_body()), ANSWER_MAX).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }
}

/// The address of a server that listens on all addresses is that of this machine.
pub(super) fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
