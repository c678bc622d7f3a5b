//! The metadata of a request, read once: who correlates calls and who describes them go by the same documents.

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
