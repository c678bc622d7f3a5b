//! From the command line to a plan, and from its end to an exit code.

use std::time::Duration;

use sip::auth::Login;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::plan::{CallPlan, Encryption, Hold, Impairments, KeyExchange, Law, VoiceSource};
use super::run::Format;
use super::{CallerError, make_calls, target};
use crate::cli::args::{CallArgs, CallCodec, CallSrtp, CallTransport};
use crate::cli::{CliError, Outcome};
use crate::net::TlsFiles;
use crate::password;

/// A call that says how long it is neither by itself nor by its WAV files.
const DURATION: Duration = Duration::from_secs(5);

/// Threads for signalling; media have one of their own.
const WORKERS: usize = 2;

/// What a shell gives a process that an interrupt ended.
const INTERRUPTED: i32 = 130;

/// `callspool call`: makes the calls, writes the reports. Ctrl-C hangs up, a second one just ends.
pub(crate) fn run(args: CallArgs) -> Result<Outcome, CliError> {
    let format = match (args.json, args.quiet) {
        (true, _) => Format::Json,
        (_, true) => Format::Quiet,
        _ => Format::Text,
    };
    let plan = plan(&args)?;
    let system = |e: std::io::Error| CliError::failed("cannot call", e, "check ulimit -n and ulimit -u");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .map_err(system)?;
    let summary = runtime.block_on(async {
        let interrupts = interrupts().map_err(CallerError::System)?;
        make_calls(plan, interrupts, &mut std::io::stdout(), format).await
    });
    match summary {
        Ok(summary) if summary.failed == 0 => Ok(Outcome::Ok),
        Ok(_) => Ok(Outcome::Failed),
        Err(CallerError::Voice(e)) => Err(CliError::usage("cannot send the file", e, "choose another --wav")),
        Err(CallerError::Tls(e)) => {
            let what = format!("cannot use {} {}", e.what, e.path.display());
            Err(CliError::usage(what, e.why, e.todo))
        }
        Err(CallerError::Bind(e)) => Err(CliError::failed("cannot call", e, "check the network's addresses")),
        // Its reader has seen enough: `callspool call --json | head -1`.
        Err(CallerError::System(e)) if e.kind() == std::io::ErrorKind::BrokenPipe => Err(CliError::output(e)),
        Err(CallerError::System(e)) => Err(system(e)),
    }
}

fn interrupts() -> std::io::Result<mpsc::Receiver<()>> {
    let (sender, receiver) = mpsc::channel(1);
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::spawn(async move {
        for ask in [true, false] {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            if !ask || sender.send(()).await.is_err() {
                std::process::exit(INTERRUPTED);
            }
        }
    });
    Ok(receiver)
}

/// The plan, checked as far as it can be without calling.
fn plan(args: &CallArgs) -> Result<CallPlan, CliError> {
    let transport = args.transport.map(CallTransport::sip);
    let no_target = |e: target::TargetError| CliError::usage("cannot call", e, "correct --to");
    let target = target::resolve(&args.to, transport).map_err(no_target)?;
    let local = target::local_address(target.remote).map_err(no_target)?;
    let duration = args.duration.or_else(|| args.wav.is_empty().then_some(DURATION));
    Ok(CallPlan {
        target,
        local,
        tls: TlsFiles {
            certificate: args.cert.clone(),
            key: args.key.clone(),
            ca: args.ca.clone(),
            trust_all: args.insecure,
            ..TlsFiles::default()
        },
        login: login(args)?,
        from_uri: args.from.clone(),
        display: args.from_name.clone(),
        siprec: args.siprec,
        delayed_offer: args.delayed_offer,
        voices: voices(args)?,
        law: match args.codec {
            CallCodec::Pcmu => Law::Pcmu,
            CallCodec::Pcma => Law::Pcma,
        },
        ptime_ms: args.ptime_ms(),
        encryption: args.srtp.map(|srtp| Encryption {
            exchange: match srtp {
                CallSrtp::Sdes => KeyExchange::Sdes,
                CallSrtp::Dtls => KeyExchange::Dtls,
            },
            suite: args.srtp_suite,
            wrong_key: args.wrong_key,
        }),
        duration,
        holds: holds(args, duration)?,
        vanish: args.vanish,
        impairments: Impairments {
            loss: args.loss,
            reorder: args.reorder,
            duplicate: args.duplicate,
            ssrc_change_at: args.ssrc_change_at,
            seed: args.seed,
        },
        calls: args.calls,
        rate: args.rate,
        concurrency: usize::try_from(args.concurrency).unwrap_or(usize::MAX),
        timeout: args.timeout,
    })
}

/// The name, and the password from its file.
fn login(args: &CallArgs) -> Result<Option<Login>, CliError> {
    let (Some(user), Some(file)) = (&args.user, &args.password_file) else { return Ok(None) };
    let password = password::from_file(file)?;
    Ok(Some(Login { user: user.clone(), password }))
}

/// One per stream; streams for which nothing is named speak.
fn voices(args: &CallArgs) -> Result<Vec<VoiceSource>, CliError> {
    let streams = args.streams.map_or(if args.siprec { 2 } else { 1 }, usize::from);
    let wav = args.wav.iter().cloned().map(VoiceSource::Wav);
    let named: Vec<VoiceSource> = wav.chain(args.tone.iter().map(|hz| VoiceSource::Tone(*hz))).collect();
    if named.len() > streams {
        let why = format!("{} files or tones for {streams} streams", named.len());
        return Err(CliError::usage("cannot call", why, "leave some out, or add --streams 2"));
    }
    let speech = (named.len()..streams).map(|n| VoiceSource::Speech(args.seed.wrapping_add(n as u64)));
    Ok(named.into_iter().chain(speech).collect())
}

/// In order; each must end before the next begins, and before the call does.
fn holds(args: &CallArgs, duration: Option<Duration>) -> Result<Vec<Hold>, CliError> {
    let mut holds: Vec<Hold> = args.hold.iter().map(|h| Hold { start: h.start, length: h.length }).collect();
    holds.sort_by_key(|h| h.start);
    let refused = |why: &str, todo: &str| Err(CliError::usage("cannot hold", why, todo));
    let overlap = holds.windows(2).any(|w| matches!(w, [a, b] if a.start + a.length >= b.start));
    if overlap {
        return refused("two holds overlap", "move one --hold");
    }
    let end = holds.last().map(|h| h.start + h.length);
    match (end, duration) {
        (Some(end), Some(duration)) if end >= duration => {
            refused("the call ends before the hold does", "make --duration longer")
        }
        (Some(_), None) => refused("the length of the files decides how long it is", "add --duration"),
        _ => Ok(holds),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use sip::Transport;

    use super::*;
    use crate::cli::args::{Cli, Command};

    fn parse(line: &str) -> Result<CallPlan, String> {
        let words = ["callspool", "call"].into_iter().chain(line.split_whitespace());
        match Cli::try_parse_from(words).map_err(|e| e.to_string())?.command {
            Command::Call(args) => plan(&args).map_err(|e| e.to_string()),
            _ => Err("another command".into()),
        }
    }

    #[test]
    fn the_usual_calls() {
        let plain = parse("").unwrap();
        assert_eq!((plain.voices, plain.duration), (vec![VoiceSource::Speech(1)], Some(DURATION)));
        let siprec = parse("--siprec --tone 440 --hold 2s@3s --hold 1s@1s --duration 6s").unwrap();
        assert_eq!(siprec.voices, [VoiceSource::Tone(440.0), VoiceSource::Speech(2)]);
        assert_eq!(siprec.holds[0].start, Duration::from_secs(1));
        let wav = parse("--wav a.wav --streams 2 --to sip:[::1]:5070;transport=tcp").unwrap();
        assert_eq!((wav.duration, wav.voices.len(), wav.target.transport), (None, 2, Transport::Tcp));
        assert!(wav.local.is_ipv6());
    }

    #[test]
    fn what_cannot_be_is_told_before_anything_is_sent() {
        for (line, expected) in [
            ("--tone 440 --tone 500", "2 files or tones for 1 streams"),
            ("--hold 2s@4s", "ends before the hold"),
            ("--hold 2s@1s --hold 1s@2s", "overlap"),
            ("--wav a.wav --hold 1s@1s", "add --duration"),
            ("--to tel:1", "no SIP URI"),
            ("--transport udp --to sip:nobody.invalid", "nobody.invalid"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
