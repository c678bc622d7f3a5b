//! Why a link could not be made, or ended: in a line for whoever operates it.
//!
//! HTTP/2 hands on that its connection is gone, not always what TLS said of it. So the first error of a connection is
//! [noted](Watched) where it is read.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use rustls::{AlertDescription, CertificateError, InvalidMessage};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Characters of what another node says of itself, or a library of an error: enough for a sentence.
const CHARS_MAX: usize = 300;

/// The first trouble that a connection had.
#[derive(Clone, Default)]
pub(crate) struct Trouble(Arc<OnceLock<String>>);

impl Trouble {
    /// What it was, or what HTTP/2 says.
    pub(crate) fn or(&self, error: &hyper::Error) -> String {
        self.get().unwrap_or_else(|| of_http(error))
    }

    pub(crate) fn get(&self) -> Option<String> {
        self.0.get().cloned()
    }
}

/// A connection whose first trouble is noted.
pub(crate) struct Watched<S> {
    stream: S,
    trouble: Trouble,
}

impl<S> Watched<S> {
    pub(crate) fn new(stream: S) -> (Self, Trouble) {
        let trouble = Trouble::default();
        (Self { stream, trouble: trouble.clone() }, trouble)
    }

    fn note(&self, why: String) {
        let _ = self.trouble.0.set(why);
    }
}

impl<S: AsyncRead + Unpin> Watched<S> {
    /// After writing failed: whoever refuses us says why, and closes. That may have come before we could write.
    fn look_why(&mut self, cx: &mut Context<'_>) {
        let mut octet = [0];
        if let Poll::Ready(Err(error)) =
            Pin::new(&mut self.stream).poll_read(cx, &mut ReadBuf::new(&mut octet))
        {
            self.note(of_io(&error));
        }
    }

    fn after<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if matches!(polled, Poll::Ready(Err(_))) {
            self.look_why(cx);
        }
        polled
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        match &polled {
            Poll::Ready(Ok(())) if buffer.filled().len() == before && buffer.remaining() > 0 => {
                self.note(CLOSED.to_owned());
            }
            Poll::Ready(Err(error)) => self.note(of_io(error)),
            _ => {}
        }
        polled
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, octets);
        self.after(cx, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.after(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

const CLOSED: &str = "it closed the connection";

/// What is wrong with a connection: TLS says it within an error of input and output.
pub(crate) fn of_io(error: &io::Error) -> String {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match (tls, error.kind()) {
        (Some(tls), _) => of_tls(tls),
        (None, io::ErrorKind::UnexpectedEof) => CLOSED.to_owned(),
        (None, _) => line(&error.to_string()),
    }
}

/// Whether a certificate was what was wrong: not shown, not believed, or ours not believed.
pub(crate) fn is_of_certificates(error: &io::Error) -> bool {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::AlertReceived(alert)) => refusal(*alert).is_some(),
        Some(rustls::Error::NoCertificatesPresented | rustls::Error::InvalidCertificate(_)) => true,
        _ => false,
    }
}

fn of_tls(error: &rustls::Error) -> String {
    const AUTHORITY: &str = "make the certificates of all nodes by one authority";
    match error {
        rustls::Error::AlertReceived(alert) => match refusal(*alert) {
            Some(why) => format!("it does not take our certificate, which {why}"),
            None => line(&error.to_string()),
        },
        rustls::Error::NoCertificatesPresented => {
            "it shows no certificate: nodes prove to each other who they are".to_owned()
        }
        rustls::Error::InvalidCertificate(problem) => match problem {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired: make it a new one, or set its clock and ours".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet: set its clock and ours".to_owned()
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                format!("its certificate is of an authority that is not trusted here: {AUTHORITY}")
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is of another node: is the address right, and the name?".to_owned()
            }
            _ => format!("its certificate is not taken: {}", line(&error.to_string())),
        },
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "it does not speak TLS: is the port right?".to_owned()
        }
        rustls::Error::NoApplicationProtocol => "it does not speak HTTP/2: is the port right?".to_owned(),
        other => line(&other.to_string()),
    }
}

/// What is said of a certificate of ours by refusing it.
fn refusal(alert: AlertDescription) -> Option<&'static str> {
    Some(match alert {
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => "we did not show",
        AlertDescription::CertificateExpired => {
            "has expired there: make this node a new one, or set its clock and ours"
        }
        AlertDescription::UnknownCA | AlertDescription::DecryptError => {
            "is of an authority that is not trusted there: make the certificates of all nodes by one authority"
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied => "is none for a node there: make this node a new one",
        _ => return None,
    })
}

/// The innermost cause has most to say.
fn of_http(error: &hyper::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    match cause.downcast_ref::<io::Error>() {
        Some(error) => of_io(error),
        None => line(&cause.to_string()),
    }
}

/// Text of others as one line, and not too long.
pub(crate) fn line(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(CHARS_MAX).map(plain).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_is_one_line() {
        assert_eq!(line("\u{1b}[31m no\r\nsuch version \n"), "[31m no  such version");
        assert_eq!(line(&"ä".repeat(1_000)), "ä".repeat(CHARS_MAX));
    }
}
