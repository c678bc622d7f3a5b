//! The list of file operations. There is no other: a test that goes through them all goes by it.

/// Whether an operation can be cut in the middle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Nature {
    /// It writes octets: of which half may be all that gets there.
    Writes,
    /// It is done or it is not.
    Whole,
}

macro_rules! operations {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $nature:ident;)+) => {
        /// A file operation.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Operation {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Operation {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its name in a rule.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// Whether it can be cut in the middle.
            #[must_use]
            pub const fn nature(self) -> Nature {
                match self {
                    $(Self::$variant => Nature::$nature,)+
                }
            }
        }
    };
}

operations! {
    // Of a volume as such.
    /// Reads what names a volume.
    Identity = "identity", Whole;
    /// Writes it, when a volume is used for the first time.
    IdentityWrite = "identity-write", Writes;
    /// Reads which volumes this node knows.
    Memory = "memory", Whole;
    /// Writes it.
    MemoryWrite = "memory-write", Writes;
    /// Opens and locks what keeps a second process off a volume.
    Lock = "lock", Whole;
    /// Writes the file that proves that a volume takes one.
    Prove = "prove", Writes;
    /// Asks how much room there is.
    FreeSpace = "free-space", Whole;
    /// Makes durable all that was written to a volume.
    Sync = "sync", Whole;

    // Of a recording.
    /// Lists a directory.
    List = "list", Whole;
    /// Opens a file for reading.
    Read = "read", Whole;
    /// Makes the directory of a call.
    MakeDir = "make-dir", Whole;
    /// Marks a segment as live, in the file of markers of its volume.
    Mark = "mark", Writes;
    /// Takes the marker of one that is sealed away.
    Unmark = "unmark", Writes;
    /// Makes a file that must not exist: a manifest, a part.
    Create = "create", Writes;
    /// Appends to a part or a sidecar.
    Append = "append", Writes;
    /// Writes over a part's head.
    Patch = "patch", Writes;
    /// Writes a manifest into another file than the one that is there.
    Replace = "replace", Writes;
    /// Exchanges the two.
    Exchange = "exchange", Whole;
    /// Where names are not exchanged, puts the new one in its place; gives a file that was fetched its name.
    Rename = "rename", Whole;
    /// Appends a line to a call's log.
    AppendLine = "append-line", Writes;
    /// Makes that durable, when a person waits for it.
    SyncLine = "sync-line", Whole;
    /// Cuts a part behind its last whole block, or empties a file that a manifest left.
    Truncate = "truncate", Whole;
    /// Removes a file: what was begun in vain, the marker of a version before, what is given up; a directory then.
    Remove = "remove", Whole;
    /// Opens a redo file of a volume, or makes it.
    RedoOpen = "redo-open", Whole;
    /// Writes to it what was flushed.
    RedoAppend = "redo-append", Writes;
    /// Empties it.
    RedoEmpty = "redo-empty", Whole;
    /// Reads it, at a start.
    RedoRead = "redo-read", Whole;

    // Of the catalog, apart from what its database does.
    /// Makes the file of a catalog, or sees that there is one.
    CatalogMake = "catalog-make", Whole;
    /// Moves a damaged catalog aside.
    CatalogAside = "catalog-aside", Whole;
    /// Notes that the catalog lacks something.
    ReindexNote = "reindex-note", Whole;
    /// Opens the journal.
    JournalOpen = "journal-open", Whole;
    /// Appends to it, durably.
    JournalAppend = "journal-append", Writes;
    /// Reads from it.
    JournalRead = "journal-read", Whole;
    /// Empties it.
    JournalClear = "journal-clear", Whole;

    // Of a start.
    /// Makes the data directory.
    DataDir = "data-dir", Whole;
    /// Reads the access token of the page.
    Token = "token", Whole;
    /// Makes it.
    TokenWrite = "token-write", Writes;

    // Of webhooks.
    /// Reads how far a webhook has come.
    WebhookPlace = "webhook-place", Whole;
    /// Writes it, or moves aside what cannot be read.
    WebhookPlaceWrite = "webhook-place-write", Writes;

    // Of commands.
    /// Writes a piece of a backup.
    BackupWrite = "backup-write", Writes;
    /// Gives a backup its name.
    BackupPublish = "backup-publish", Whole;
    /// Unpacks a file of a backup beside its place.
    RestoreWrite = "restore-write", Writes;
    /// Puts it in its place, or what was there aside.
    RestoreSwap = "restore-swap", Whole;
    /// Writes the users of trunks.
    UsersWrite = "users-write", Writes;
    /// Writes what was exported or listened to.
    Output = "output", Writes;
}
