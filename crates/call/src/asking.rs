//! Whether a client is to be asked for all of its metadata (RFC 7866 section 9.2): once for each cause, a few times in
//! a dialog, and only if it shows that it can be asked.

use sip::RequestInfo;
use sip::siprec::{Lack, SnapshotForm};

/// Requests in one dialog: a client whose documents stay unreadable is not asked for ever.
const ASKED_MAX: u8 = 4;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Asking {
    form: Option<SnapshotForm>,
    /// What is missing, and was not asked for yet.
    wanted: Option<Lack>,
    /// What was asked for since the metadata were complete.
    asked: Vec<Lack>,
    count: u8,
}

impl Asking {
    /// By the request that begins the dialog.
    pub(crate) fn of(request: &RequestInfo) -> Self {
        Self { form: SnapshotForm::of(request), ..Self::default() }
    }

    /// Of a dialog that another front had: how it may be asked. What its metadata told is not known here.
    pub(crate) fn adopted(form: Option<SnapshotForm>) -> Self {
        Self { form, ..Self::default() }
    }

    /// How the client may be asked.
    pub(crate) const fn form(&self) -> Option<SnapshotForm> {
        self.form
    }

    /// Something is missing.
    pub(crate) fn want(&mut self, lack: Lack) {
        if self.form.is_some() && self.count < ASKED_MAX && !self.asked.contains(&lack) {
            self.wanted = Some(lack);
        }
    }

    /// All that the client knows has come: what is missing after that is another cause.
    pub(crate) fn satisfied(&mut self) {
        self.wanted = None;
        self.asked.clear();
    }

    /// What to ask now, and why.
    pub(crate) fn take(&mut self) -> Option<(SnapshotForm, &'static str)> {
        let lack = self.wanted.take()?;
        self.asked.push(lack);
        self.count += 1;
        let why = match lack {
            Lack::Unreadable => "recording metadata could not be read",
            Lack::Unknown => "an update refers to what was never told",
        };
        self.form.map(|form| (form, why))
    }
}
