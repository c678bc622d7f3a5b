//! Asking a recording client for all of its metadata (RFC 7866 section 9.2; the body is that of RFC 7865 section 7).
//!
//! ```text
//! SRS                                          SRC
//!  │ UPDATE, application/rs-metadata-request    │
//!  │   <requestsnapshot><requestreason>…        │
//!  ├───────────────────────────────────────────►│
//!  │                                     200 OK │
//!  │◄───────────────────────────────────────────┤
//!  │ UPDATE or re-INVITE, <datamode>complete    │
//!  │◄───────────────────────────────────────────┤
//! ```

use quick_xml::escape::escape;

use super::NAMESPACE;
use crate::request::RequestInfo;

/// The content types under which clients take such a request, as their `Accept` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotForm {
    /// `application/rs-metadata-request`: what clients name that know it by a name of its own.
    Request,
    /// `application/rs-metadata+xml` (RFC 9806).
    MetadataXml,
    /// `application/rs-metadata`, as RFC 7866 had it.
    Metadata,
}

impl SnapshotForm {
    const ALL: [Self; 3] = [Self::Request, Self::MetadataXml, Self::Metadata];

    /// The content type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Request => "application/rs-metadata-request",
            Self::MetadataXml => "application/rs-metadata+xml",
            Self::Metadata => "application/rs-metadata",
        }
    }

    /// How the client that sent this INVITE may be asked; none where it does not show that it can be: it is no SIPREC
    /// client, does not take UPDATE, or takes none of the types.
    #[must_use]
    pub fn of(request: &RequestInfo) -> Option<Self> {
        let lists = |header: &str, wanted: &str| {
            let values = request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(header));
            let mut tokens = values.flat_map(|(_, value)| value.split(','));
            tokens
                .any(|token| token.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(wanted))
        };
        if !request.siprec || !lists("Allow", "UPDATE") {
            return None;
        }
        match request.header("Accept") {
            Some(_) => Self::ALL.into_iter().find(|form| lists("Accept", form.content_type())),
            None => Some(Self::Request),
        }
    }
}

/// The body of the request.
#[must_use]
pub fn request_snapshot(reason: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<requestsnapshot xmlns=\"{NAMESPACE}\">\r\n<requestreason xml:lang=\"en\">{}</requestreason>\r\n</requestsnapshot>\r\n",
        escape(reason)
    )
}
