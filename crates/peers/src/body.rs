//! Bodies that are whole: what is asked and answered at once, apart from links, whose bodies never end.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

/// One that is sent at once.
pub(crate) struct Whole(Option<Bytes>);

impl Whole {
    pub(crate) fn new(octets: impl Into<Bytes>) -> Self {
        Self(Some(octets.into()).filter(|octets: &Bytes| !octets.is_empty()))
    }
}

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|octets| Ok(Frame::data(octets))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |octets| octets.len() as u64))
    }
}

/// All of one that comes, if it is no longer than that. What is longer is not read to its end.
pub(crate) async fn collect(mut body: Incoming, most: usize) -> Result<Vec<u8>, String> {
    let mut octets = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let data = frame.map_err(|error| error.to_string())?.into_data().unwrap_or_default();
        if octets.len() + data.len() > most {
            return Err(format!("it says more than {most} octets"));
        }
        octets.extend_from_slice(&data);
    }
    Ok(octets)
}
