//! Each file operation with the ways in which it is made to fail, and how that is tried. The list of operations is
//! the product's own, and the `match` has no branch for the rest: who adds an operation says here what it costs when
//! it fails.

use faults::{Nature, Operation};

/// How a fault is tried, and what it may cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tried {
    /// Under one of two calls: it goes on in another segment, the first is tagged, and the other call is whole.
    InMidCall,
    /// While one of two segments is sealed: nothing is lost; that it was given up for a while is said.
    AtTheEnd,
    /// While a call is opened: that one is refused.
    AtTheBeginning,
    /// Again and again beside a call, which loses nothing: an alarm of this kind says so with these words.
    BesideACall(&'static str, &'static str),
    /// From the start on, beside a call, which loses nothing: its media go straight to their files, and an alarm says so.
    WithoutARedo,
    /// Again and again while a start repairs what a crash left: the next start does.
    AfterACrash,
    /// At a start, which fails with these words; the next one does not.
    AtAStart(&'static str),
    /// While the catalog is in trouble: no call is lost to it, and the log has these words.
    WithTheCatalog(Trouble, &'static str),
    /// In a process with a webhook, from its start on: all is told, and the log has these words.
    WithAWebhook(&'static str),
    /// While a person's note is written: the person is told, and tries again.
    InANote,
    /// In a command, which says so, fails, and changes nothing.
    InACommand,
}

/// What ails the catalog.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// Only the fault itself, from the start on.
    Nothing,
    /// Somebody holds its lock.
    Locked,
    /// Something else is in its place.
    Garbage,
}

/// What is tried of an operation: what happens to it, as a rule says it, and how.
pub fn cases(operation: Operation) -> &'static [(&'static str, Tried)] {
    use Operation as O;
    use Tried::{
        AfterACrash, AtAStart, AtTheBeginning, AtTheEnd, BesideACall, InACommand, InANote, InMidCall,
        WithAWebhook, WithTheCatalog, WithoutARedo,
    };
    match operation {
        O::Identity => &[
            ("fail@1+", AtTheBeginning),
            ("fail@1+", BesideACall("volume-away", "volume repository is not there")),
        ],
        O::IdentityWrite => &[("fail", AtAStart("cannot use")), ("torn", AtAStart("cannot use"))],
        O::Memory => &[("fail@1+", AtAStart("volumes.json"))],
        O::MemoryWrite => &[("fail", AtAStart("volumes.json")), ("torn", AtAStart("volumes.json"))],
        O::Lock => &[("fail", AtAStart("cannot use"))],
        O::Prove => &[
            ("fail@1+", BesideACall("unwritable", "cannot be written")),
            ("torn@1+", BesideACall("unwritable", "cannot be written")),
        ],
        O::FreeSpace => &[("fail@1+", BesideACall("disk-space", "does not say how much space"))],
        O::Sync => &[("fail@1+", BesideACall("unsynced", "cannot be synced")), ("fail@1+", AfterACrash)],
        O::List => &[("fail@1+", AfterACrash)],
        O::Read => &[("fail", AtTheEnd), ("fail@1+", AfterACrash)],
        O::MakeDir => &[("fail", AtTheBeginning)],
        O::Mark => &[("fail", AtTheBeginning), ("torn", AtTheBeginning)],
        O::Unmark => &[
            ("fail@1+", BesideACall("unsynced", "does not let go of a marker")),
            ("torn@1+", BesideACall("unsynced", "does not let go of a marker")),
            ("fail@1+", AfterACrash),
        ],
        O::Create => &[("fail", AtTheBeginning), ("torn", AtTheBeginning), ("torn@2", AtTheBeginning)],
        O::Append => &[("fail", InMidCall), ("torn", InMidCall), ("fail@3", InMidCall)],
        O::Patch => &[("fail", InMidCall), ("torn", InMidCall)],
        O::Replace => &[("fail", InMidCall), ("torn", InMidCall), ("fail@1+", AfterACrash)],
        O::Exchange => &[("fail", InMidCall), ("fail", AtTheEnd)],
        // What repairs uses no spare files.
        O::Rename => &[("fail@1+", AfterACrash)],
        O::AppendLine => &[
            ("fail", AtTheEnd),
            ("torn", AtTheEnd),
            ("fail@1+", AfterACrash),
            ("fail", InANote),
            ("torn", InANote),
        ],
        O::SyncLine => &[("fail", InANote)],
        O::Truncate => &[("fail", InMidCall), ("fail@1+", AfterACrash)],
        O::Remove => &[("fail@1+", AfterACrash)],
        O::RedoOpen => &[("fail@1+", WithoutARedo)],
        O::RedoAppend => &[("fail@1+", WithoutARedo), ("torn@1+", WithoutARedo), ("fail@9+", WithoutARedo)],
        O::RedoEmpty => &[("fail@1+", WithoutARedo), ("fail@1+", AfterACrash)],
        O::RedoRead => &[("fail@1+", AfterACrash)],
        O::CatalogMake => &[("fail@1+", WithTheCatalog(Trouble::Nothing, "the catalog is not up to date"))],
        O::CatalogAside => &[("fail@1+", WithTheCatalog(Trouble::Garbage, "cannot be set aside"))],
        O::ReindexNote => &[("fail@1+", WithTheCatalog(Trouble::Garbage, "a restart would forget it"))],
        O::JournalOpen => &[("fail@1+", WithTheCatalog(Trouble::Nothing, "the journal cannot be opened"))],
        O::JournalAppend => &[
            ("fail@1+", WithTheCatalog(Trouble::Locked, "changes stay in memory")),
            ("torn@1+", WithTheCatalog(Trouble::Locked, "changes stay in memory")),
        ],
        O::JournalRead => &[("fail@1+", WithTheCatalog(Trouble::Locked, "the journal cannot be read"))],
        O::JournalClear => &[("fail@1+", WithTheCatalog(Trouble::Locked, "the journal cannot be emptied"))],
        O::DataDir => &[("fail", AtAStart("cannot make the directory"))],
        O::Token => &[("fail", AtAStart("cannot use the token file"))],
        O::TokenWrite => &[
            ("fail", AtAStart("cannot make the token file")),
            ("torn", AtAStart("cannot make the token file")),
        ],
        O::WebhookPlace => &[("fail@1+", WithAWebhook("how far it had come cannot be read"))],
        O::WebhookPlaceWrite => &[
            ("fail@1+", WithAWebhook("how far it has come cannot be written")),
            ("torn@1+", WithAWebhook("how far it has come cannot be written")),
        ],
        O::BackupWrite => &[("fail", InACommand), ("torn", InACommand), ("fail@2", InACommand)],
        O::BackupPublish => &[("fail", InACommand)],
        O::RestoreWrite => &[("fail", InACommand), ("torn", InACommand), ("fail@2", InACommand)],
        O::RestoreSwap => &[("fail", InACommand), ("fail@2", InACommand), ("fail@5", InACommand)],
        O::UsersWrite => &[("fail", InACommand), ("torn", InACommand)],
        O::Output => &[("fail", InACommand), ("torn", InACommand)],
    }
}

/// All cases that are tried in a way.
pub fn tried(how: impl Fn(Tried) -> bool) -> Vec<(Operation, &'static str, Tried)> {
    let of = |operation: &Operation| {
        let operation = *operation;
        cases(operation).iter().map(move |(what, tried)| (operation, *what, *tried))
    };
    let found: Vec<_> = Operation::ALL.iter().flat_map(of).filter(|(_, _, tried)| how(*tried)).collect();
    assert!(!found.is_empty(), "nothing is tried");
    found
}

/// Operations whose cases leave something out.
pub fn gaps() -> Vec<String> {
    let lacks =
        |operation: &Operation, what: &str| !cases(*operation).iter().any(|(w, _)| w.starts_with(what));
    let mut gaps = Vec::new();
    for operation in Operation::ALL {
        if lacks(operation, "fail") {
            gaps.push(format!("{} never fails", operation.name()));
        }
        if operation.nature() == Nature::Writes && lacks(operation, "torn") {
            gaps.push(format!("{} is never torn", operation.name()));
        }
    }
    gaps
}
