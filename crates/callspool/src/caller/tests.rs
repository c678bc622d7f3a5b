//! The caller against a small recorder of its own: the same agent on the same sockets, answering.

mod against_uas;
mod ladders;
mod packets;
