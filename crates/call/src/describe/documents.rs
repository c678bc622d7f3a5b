//! The metadata of a request, read once: who correlates calls and who describes them go by the same documents.

use std::borrow::Cow;

use sip::siprec::{self, MetadataError, RecordingMetadata};
use sip::{Part, RequestInfo};

/// The metadata bodies that a request carries, in order, each with what it says.
#[derive(Debug, Default)]
pub(crate) struct Documents<'a> {
    pub(super) all: Vec<(&'a Part, Result<RecordingMetadata, MetadataError>)>,
}

impl<'a> Documents<'a> {
    /// Reads those of a request. What asks for metadata is none.
    pub(crate) fn of(request: &'a RequestInfo) -> Self {
        let read = request.metadata().map(|part| (part, siprec::read(&part.bytes)));
        Self { all: read.filter(|(_, read)| !matches!(read, Err(MetadataError::Asks))).collect() }
    }

    /// What could be read.
    pub(crate) fn readable(&self) -> impl Iterator<Item = &RecordingMetadata> {
        self.all.iter().filter_map(|(_, read)| read.as_ref().ok())
    }
}

/// What the last name in the key of an extension says, however it is spelled: `calldata.call-id` is `callid`.
pub(crate) fn spoken(key: &str) -> Cow<'_, str> {
    let dot = key.bytes().rposition(|b| b == b'.');
    let name = dot.and_then(|dot| key.get(dot + 1..)).unwrap_or(key);
    match name.bytes().any(|b| matches!(b, b'-' | b'_')) {
        true => name.chars().filter(|c| !matches!(c, '-' | '_')).collect(),
        false => Cow::Borrowed(name),
    }
}
