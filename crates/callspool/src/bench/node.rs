//! The callspool that is measured: one of our own in a directory that is removed afterwards, or one that runs.

mod own;
mod page;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::figures::Figures;
use super::traffic::{Kind, Lines, Offer, Protection};
use crate::caller::target::{self, TargetError};
use crate::cli::CliError;
use crate::cli::args::BenchArgs;
use crate::config::Config;
use crate::token;
pub(super) use own::Own;
use page::Page;

/// How often it is looked whether segments are sealed.
const LOOK: Duration = Duration::from_millis(200);

/// From when its page answers until it records.
const READY: Duration = Duration::from_secs(20);

/// Counts of calls are told anew each second.
const KNOWN: Duration = Duration::from_secs(5);

/// Whose it is.
pub(super) enum Whose {
    Own(Box<Own>),
    /// It ran before and goes on.
    Other,
}

/// See the module.
pub(super) struct Node {
    pub(super) whose: Whose,
    page: Page,
    sip: SocketAddr,
    uri: String,
    local: IpAddr,
    /// Where media may be sent to.
    media: Vec<IpAddr>,
    /// Calls that had begun before ours, and those that had ended or went on then.
    before: Figures,
    /// That calls of others come is known and wanted.
    is_among_others: bool,
}

impl Node {
    /// Starts one of our own.
    pub(super) fn own(args: &BenchArgs) -> Result<Self, CliError> {
        let own = Own::start(args)?;
        let page = Page { address: own.page, token: token::read(&own.token_file())? };
        // Its page is there before what it records by.
        let until = Instant::now() + READY;
        let before = loop {
            match page.figures() {
                Err(e) if Instant::now() > until => return Err(e),
                Err(_) => std::thread::sleep(LOOK),
                Ok(figures) => break figures,
            }
        };
        let (sip, local) = (own.sip, own.sip.ip());
        let uri = format!("sip:bench@{sip}");
        Ok(Self {
            whose: Whose::Own(Box::new(own)),
            page,
            sip,
            uri,
            local,
            media: vec![local],
            before,
            is_among_others: false,
        })
    }

    /// One that runs, if it may be measured.
    pub(super) fn other(uri: &str, args: &BenchArgs, config: &Config) -> Result<Self, CliError> {
        let no_target = |e: TargetError| CliError::usage("cannot call", e, "correct --to");
        let target = target::resolve(uri, None).map_err(no_target)?;
        if target.transport != sip::Transport::Udp {
            return Err(CliError::usage(
                "cannot call",
                "this measures over UDP only",
                "leave the transport out of --to",
            ));
        }
        let local = target::local_address(target.remote).map_err(no_target)?;
        let own_page = page::reachable(config.api.listen);
        if args.page.is_none() && own_page.ip() != target.remote.ip() {
            let why = format!("its page is not known: that of the configuration is at {}", own_page.ip());
            return Err(CliError::usage(format!("{uri} is not measured"), why, "name its page by --page"));
        }
        let page = Page {
            address: args.page.unwrap_or(own_page),
            token: token::read(args.token_file.as_deref().unwrap_or(&config.api.token_file))?,
        };
        let before = page.figures()?;
        if !args.among_real_calls && (before.begun > 0 || before.live > 0) {
            let why = format!(
                "it has recorded {} calls since its start, {} are in progress, and a measurement overloads it: \
                 calls would be lost, and thousands of test calls stay in its catalog",
                before.begun, before.live
            );
            let todo = "leave --to out and measure a callspool of its own, or say --among-real-calls";
            return Err(CliError::failed(format!("{uri} is not measured"), why, todo));
        }
        let mut media = args.media.clone();
        media.push(target.remote.ip());
        Ok(Self {
            whose: Whose::Other,
            page,
            sip: target.remote,
            uri: target.uri,
            local,
            media,
            before,
            is_among_others: args.among_real_calls,
        })
    }

    pub(super) fn lines(&self, kind: Kind, protection: Option<Protection>) -> Lines {
        let offer = Offer { protection, ..Offer::default() };
        Lines { local: self.local, remote: self.sip, uri: self.uri.clone(), kind, offer }
    }

    /// Whether calls of others stand in its figures.
    pub(super) const fn is_mixed(&self) -> bool {
        self.is_among_others
    }

    /// Fails unless its page knows of the one call that was placed.
    pub(super) fn expect_one(&self) -> Result<(), CliError> {
        let until = Instant::now() + KNOWN;
        while Instant::now() < until {
            if self.page.figures()?.begun > self.before.begun {
                return Ok(());
            }
            std::thread::sleep(LOOK);
        }
        let why = format!("a call to {} is not counted at {}", self.sip, self.page.address);
        let todo = "name the page of the callspool that is called by --page";
        Err(CliError::failed("nothing is measured", why, todo))
    }

    pub(super) const fn local(&self) -> IpAddr {
        self.local
    }

    pub(super) fn version(&self) -> &str {
        &self.before.version
    }

    pub(super) const fn sip(&self) -> SocketAddr {
        self.sip
    }

    /// What it says of itself. `invited`: how many calls we began. Fails when others call, unless that is wanted.
    pub(super) fn figures(&self, invited: usize) -> Result<Figures, CliError> {
        let figures = self.page.figures()?;
        let begun = figures.begun.saturating_sub(self.before.begun);
        if begun > invited as u64 && !self.is_among_others {
            let why = format!("{begun} calls began, and {invited} are ours");
            let todo = "measure when it is unused, or say --among-real-calls";
            return Err(CliError::failed("stopped, as somebody else calls", why, todo));
        }
        Ok(figures)
    }

    /// Whether an answer leads media where they may go.
    pub(super) fn may_receive(&self, media: &[SocketAddr]) -> Result<(), CliError> {
        match media.iter().find(|a| !self.media.contains(&a.ip())) {
            None => Ok(()),
            Some(address) => Err(CliError::failed(
                format!("no media are sent to {}", address.ip()),
                "an answer names it, and the command line does not",
                format!("say --media {} if it belongs to what is measured", address.ip()),
            )),
        }
    }

    /// Packets that the accounts of our segments hold, once all are sealed; none when they are not in time.
    pub(super) fn accounted(&self, invited: usize, patience: Duration) -> Result<Option<u64>, CliError> {
        let until = Instant::now() + patience;
        while Instant::now() < until {
            let figures = self.figures(invited)?;
            if figures.segments <= self.before.segments {
                return Ok(Some(figures.accounted.saturating_sub(self.before.accounted)));
            }
            std::thread::sleep(LOOK);
        }
        Ok(None)
    }
}
