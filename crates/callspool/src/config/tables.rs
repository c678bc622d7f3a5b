//! What there can be any number of: named tables, `[trunk.acme]`, with type, default, unit and meaning of each
//! key. How a kind is declared says [`super::declare`].
//!
//! `docs/configuration.md` is made from this file too.

use std::path::PathBuf;

use model::TenantId;

use super::declare::tables;
use super::values::{AddressRange, CredentialsFor, DtmfRule, InactiveMeans, Tag};

/// Each is a few hundred octets, and is looked at for every call that begins: a thousand are some microseconds.
const TRUNKS_MAX: usize = 1_000;
/// As many as there may be trunks to bring them calls.
const TENANTS_MAX: usize = 1_000;

tables! {
    /// Who may send calls, and how they are taken: an SBC, a PBX, a carrier. Without any, everybody may; with one, only those that are written.
    trunk: TrunkConfig, at most TRUNKS_MAX {
        /// Addresses that calls come from; the longest range that holds an address wins. Empty: all that no other trunk has; only `[trunk.default]` may be.
        from: Vec<AddressRange> = "", "list of IP or IP/bits";
        /// Owner of the calls; empty: `recording.tenant`. Another one must have a table, `[tenant.NAME]`.
        tenant: Option<TenantId> = "", "name";
        /// Calls recorded at once from it; beyond it new ones are refused with 503. 0: as many as `recording.max_calls`.
        max_calls: usize = "0", "calls";
        /// What `a=inactive` in SDP means, as in `recording.inactive_means`; empty: as there.
        inactive_means: Option<InactiveMeans> = "", "hold or pause";
        /// What is noted in the data of each call.
        tags: Vec<Tag> = "", "list of key=value";
        /// What becomes of digits that are pressed, as in `recording.dtmf`; empty: as there.
        dtmf: Option<DtmfRule> = "", "keep or mask";
        /// File of those who may send, with what stands for their passwords: then credentials are asked for (digest authentication). `callspool trunks password` writes it. Empty: nobody is asked.
        users_file: PathBuf = "", "path";
        /// Realm of these users, as clients are told it; passwords are set for a realm.
        realm: String = "callspool", "text";
        /// What credentials are asked for: `calls`: INVITEs that begin one; `all`: OPTIONS and requests within calls too.
        credentials_for: CredentialsFor = "calls", "calls or all";
    }

    /// Who owns calls. The owner that `recording.tenant` names needs no table.
    tenant: TenantConfig, at most TENANTS_MAX {
        /// Calls recorded at once for it; beyond it new ones are refused with 503. 0: as many as `recording.max_calls`.
        max_calls: usize = "0", "calls";
    }
}
