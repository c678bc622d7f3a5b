//! `callspool keys`: keys of an encrypted stream, from standard input to the process that serves on this machine.
//!
//! The key is never an argument: those can be read by everybody on the machine, and stay in the shell's history.

use std::io::Write;

use api::port::KeysRequest;
use model::Secret;

use super::args::KeysArgs;
use super::operate::ask_of_call;
use super::{CliError, Outcome};
use crate::config::Config;
use crate::control::{Ask, BY};

/// Gives them.
pub(super) fn run(config: &Config, args: &KeysArgs, out: &mut dyn Write) -> Result<Outcome, CliError> {
    crate::dumps::forbid();
    let key = crate::password::key()?;
    if key.contains(char::is_whitespace) {
        let (why, todo) = ("there are spaces in it", "write it as a=crypto has it, from inline: on");
        return Err(CliError::usage("the key cannot be used", why, todo));
    }
    let ask = Ask::Keys(Box::new(KeysRequest {
        tenant: args.tenant.as_ref().unwrap_or(&config.recording.tenant).clone(),
        call: args.call,
        stream: args.stream,
        suite: args.suite,
        key: Secret::new(key.as_bytes().to_vec()),
        rollovers: args.rollovers,
        plain_rtp: false,
        plain_rtcp: false,
        by: BY.to_owned(),
    }));
    ask_of_call(config, &ask, args.call, "callspool show", args.json, out)
}
