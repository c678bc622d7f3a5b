//! `callspool listen`: what is said in a call that goes on, from the server that records it.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Seek, SeekFrom, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use axum::body::{Body, BodyDataStream, Bytes};
use faults::{Operation, before};
use futures_util::StreamExt;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::args::ListenArgs;
use super::{CliError, Outcome, block_on, file_error};
use crate::config::Config;
use crate::token;

/// 64 KiB: a refusal is a few lines.
const REFUSAL_MAX: usize = 64 << 10;
/// The header that says what is silent.
const NOT_HEARD: &str = "callspool-not-heard";
/// Octets of a WAV file's head, and where the lengths of the file and of its samples stand in it.
const HEAD: u64 = 44;
const FILE_LENGTH_AT: u64 = 4;
const DATA_LENGTH_AT: u64 = 40;
/// Players, with what makes them play at once instead of filling a buffer.
const PLAYERS: [(&str, &[&str]); 2] = [
    (
        "ffplay",
        &[
            "-loglevel",
            "error",
            "-nodisp",
            "-autoexit",
            "-fflags",
            "nobuffer",
            "-flags",
            "low_delay",
            "-probesize",
            "32",
            "-analyzeduration",
            "0",
            "-f",
            "wav",
            "-i",
            "pipe:0",
        ],
    ),
    ("aplay", &["--quiet", "--buffer-time=100000", "-"]),
];

/// Listens until the call is over, the player has ended, or Ctrl-C.
pub(super) fn run(config: &Config, args: &ListenArgs) -> Result<Outcome, CliError> {
    let what = format!("cannot listen to {}", args.call);
    let token = token::read(&config.api.token_file)?;
    let asked = async {
        // The first that is wanted is the sound: a file is only made when there is something to write.
        let sound = ask(config.api.listen, args, &token, &what).await?;
        let mut into = Into::open(args, &what)?;
        let written = pass_on(sound, &mut into, &what).await;
        into.finish()?;
        written
    };
    block_on(asked)??;
    Ok(Outcome::Ok)
}

async fn ask(
    listen: SocketAddr,
    args: &ListenArgs,
    token: &str,
    what: &str,
) -> Result<BodyDataStream, CliError> {
    let address = reachable(listen);
    let failed = |e: &dyn std::fmt::Display| {
        let todo = "is `callspool serve` running, and is api.listen what it uses?";
        CliError::failed(what, format!("no answer from {address}: {e}"), todo)
    };
    let stream = TcpStream::connect(address).await.map_err(|e| failed(&e))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| failed(&e))?;
    // It carries what comes until either side is done.
    tokio::spawn(connection);
    let request = Request::get(target(args))
        .header(HOST, format!("localhost:{}", address.port()))
        .header(AUTHORIZATION, format!("Bearer {token}"))
        .body(Body::empty())
        .map_err(|e| failed(&e))?;
    let response = sender.send_request(request).await.map_err(|e| failed(&e))?;
    if let Some(silent) = response.headers().get(NOT_HEARD).and_then(|h| h.to_str().ok()) {
        eprintln!("callspool: note: not heard: {}", super::text::clean(silent));
    }
    let (status, body) = (response.status(), Body::new(response.into_body()));
    if status == StatusCode::OK {
        return Ok(body.into_data_stream());
    }
    let body = axum::body::to_bytes(body, REFUSAL_MAX).await.unwrap_or_default();
    Err(refusal(status, &body, what))
}

/// The address of a server that listens on all addresses is that of this machine.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn target(args: &ListenArgs) -> String {
    let layout = match args.stream {
        Some(stream) => format!("stream={stream}"),
        None if args.mix => "layout=mix".to_owned(),
        None => "layout=stereo".to_owned(),
    };
    format!("/api/v1/calls/{}/live.wav?rate={}&{layout}", args.call, args.rate)
}

fn refusal(status: StatusCode, body: &[u8], what: &str) -> CliError {
    let problem: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let detail = problem["detail"].as_str().map_or_else(|| status.to_string(), super::text::clean);
    let todo = match status {
        StatusCode::NOT_FOUND => "see `callspool ls --live`",
        StatusCode::CONFLICT => "play what was recorded: `callspool export`",
        StatusCode::UNAUTHORIZED => "use the configuration of the server that runs, and its token file",
        _ => "try again in a moment",
    };
    CliError::failed(what, detail, todo)
}

async fn pass_on(mut sound: BodyDataStream, into: &mut Into, what: &str) -> Result<(), CliError> {
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        let piece = tokio::select! {
            _ = &mut interrupted => return Ok(()),
            piece = sound.next() => piece,
        };
        match piece {
            Some(Ok(piece)) if into.write(&piece)? == Taken::Yes => {}
            Some(Ok(_)) | None => return Ok(()),
            Some(Err(e)) => {
                let why = format!("the connection broke: {e}");
                return Err(CliError::failed(what, why, "listen again while the call goes on"));
            }
        }
    }
}

/// Whether whoever hears it still does.
#[derive(PartialEq, Eq)]
enum Taken {
    Yes,
    No,
}

/// Where the sound goes.
enum Into {
    Output(io::Stdout),
    File(File, u64),
    Player(Child),
}

impl Into {
    fn open(args: &ListenArgs, what: &str) -> Result<Self, CliError> {
        match args.output.as_deref().filter(|p| p.as_os_str() != "-") {
            _ if args.play => player(what).map(Self::Player),
            Some(path) => file(path, args, what),
            None if io::stdout().is_terminal() => Err(CliError::usage(
                what,
                "standard output is a terminal",
                "play it with --play, name a file with -o, or pipe it to a player",
            )),
            None => Ok(Self::Output(io::stdout())),
        }
    }

    fn write(&mut self, piece: &Bytes) -> Result<Taken, CliError> {
        match self {
            Self::Output(out) => {
                out.write_all(piece).and_then(|()| out.flush()).map_err(CliError::output)?;
            }
            Self::File(file, length) => {
                file.write_all(piece).map_err(|e| file_error("cannot write the file", &e))?;
                *length += piece.len() as u64;
            }
            Self::Player(player) => {
                let taken = player.stdin.as_mut().is_some_and(|p| p.write_all(piece).is_ok());
                return Ok(if taken { Taken::Yes } else { Taken::No });
            }
        }
        Ok(Taken::Yes)
    }

    /// A file is told how long it has become; a player plays what it has.
    fn finish(self) -> Result<(), CliError> {
        match self {
            Self::Output(_) => Ok(()),
            Self::File(mut file, length) => {
                let lengths = [
                    (FILE_LENGTH_AT, length.saturating_sub(8)),
                    (DATA_LENGTH_AT, length.saturating_sub(HEAD)),
                ];
                lengths
                    .into_iter()
                    .try_for_each(|(at, length)| {
                        file.seek(SeekFrom::Start(at))?;
                        file.write_all(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes())
                    })
                    .map_err(|e| file_error("cannot write the file", &e))
            }
            Self::Player(mut player) => {
                drop(player.stdin.take());
                player
                    .wait()
                    .map(|_| ())
                    .map_err(|e| CliError::failed("the player failed", e, "try another one"))
            }
        }
    }
}

fn file(path: &Path, args: &ListenArgs, what: &str) -> Result<Into, CliError> {
    if path.exists() && !args.force {
        let why = format!("{} exists already", path.display());
        return Err(CliError::usage(what, why, "choose another name, or write over it with --force"));
    }
    // Voices of people: for their owner alone.
    let open = |_| OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let file = before(Operation::Output, path).and_then(open);
    file.map(|f| Into::File(f, 0)).map_err(|e| file_error(format!("cannot write {}", path.display()), &e))
}

fn player(what: &str) -> Result<Child, CliError> {
    for (name, arguments) in PLAYERS {
        match Command::new(name).args(arguments).stdin(Stdio::piped()).spawn() {
            Ok(player) => return Ok(player),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => {
                return Err(CliError::failed(what, format!("{name} cannot be started: {e}"), "check it"));
            }
        }
    }
    let todo = "install one (apt-get install ffmpeg, or alsa-utils), or pipe the sound to another";
    Err(CliError::failed(what, "there is neither ffplay nor aplay to play it", todo))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_listens_everywhere_is_reached_on_loopback() {
        for (listen, reached) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:81", "[::1]:81"),
            ("192.0.2.7:82", "192.0.2.7:82"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), reached);
        }
    }

    #[test]
    fn a_refusal_says_what_the_server_said() {
        let body = br#"{"type":"/problems/not-live","detail":"the call is over"}"#;
        let error = refusal(StatusCode::CONFLICT, body, "cannot listen to x").to_string();
        assert_eq!(
            error,
            "callspool: cannot listen to x: the call is over; play what was recorded: `callspool export`"
        );
        assert!(refusal(StatusCode::BAD_GATEWAY, b"<html>", "x").to_string().contains("502"));
    }
}
