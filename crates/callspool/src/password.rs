//! Where passwords and keys come from: a terminal that does not show them, standard input or a file; never the command line,
//! which everybody on the machine can read.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::cli::{CliError, file_error};

/// Beyond it the file is none of a password.
const PASSWORD_OCTETS_MAX: u64 = 1_024;

/// The first line of standard input; asked for twice where that is a terminal.
pub(crate) fn ask(of: &str) -> Result<String, CliError> {
    if !io::stdin().is_terminal() {
        return first_line(io::stdin().lock(), "the password in standard input");
    }
    let first = ask_once(&format!("Password of {of}: "))?;
    if ask_once("Once more: ")? == first {
        Ok(first)
    } else {
        Err(CliError::usage("cannot set the password", "it was typed in two ways", "try again"))
    }
}

/// A key of media: the first line of standard input; asked for where that is a terminal.
pub(crate) fn key() -> Result<Zeroizing<String>, CliError> {
    let key = match io::stdin().is_terminal() {
        true => ask_once("Key, as inline:…: "),
        false => first_line(io::stdin().lock(), "the key in standard input"),
    };
    let key = Zeroizing::new(key?);
    Ok(Zeroizing::new(key.trim().to_owned()))
}

/// The first line of a file; `-` is standard input.
pub(crate) fn from_file(path: &Path) -> Result<String, CliError> {
    if path.as_os_str() == "-" {
        return ask("the user");
    }
    let name = path.display().to_string();
    let file = File::open(path).map_err(|e| file_error(format!("cannot read the password in {name}"), &e))?;
    first_line(BufReader::new(file), &format!("the password in {name}"))
}

fn first_line(from: impl BufRead, what: &str) -> Result<String, CliError> {
    let mut line = String::new();
    let what = format!("cannot read {what}");
    from.take(PASSWORD_OCTETS_MAX).read_line(&mut line).map_err(|e| file_error(&what, &e))?;
    let password = line.trim_end_matches(['\n', '\r']);
    if password.is_empty() {
        return Err(CliError::usage(what, "its first line is empty", "write it there"));
    }
    Ok(password.to_owned())
}

fn ask_once(prompt: &str) -> Result<String, CliError> {
    eprint!("{prompt}");
    let _ = io::stderr().flush();
    let hidden = Hidden::begin().map_err(|e| file_error("cannot hide what is typed", &e))?;
    let line = first_line(io::stdin().lock(), "what was typed");
    drop(hidden);
    eprintln!();
    line
}

/// As long as it lives the terminal shows nothing of what is typed.
struct Hidden(Termios);

impl Hidden {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_the_password() {
        let read = |text: &str| first_line(text.as_bytes(), "it");
        assert_eq!(read("open sesame \r\nnote\n").unwrap(), "open sesame ");
        assert_eq!(read("x").unwrap(), "x");
        for empty in ["", "\n", "\r\nx"] {
            assert!(read(empty).unwrap_err().to_string().contains("first line is empty"));
        }
        assert!(from_file(Path::new("/nonexistent/secret")).unwrap_err().to_string().contains("secret"));
    }
}
