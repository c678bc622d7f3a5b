//! Memory that the kernel may write to.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

/// Pages at an address that stays.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: it is memory without any tie to the thread that asked for it; whoever has the value decides about access.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Zeroed pages; at least one.
    ///
    /// # Errors
    /// When there is no memory.
    pub(crate) fn new(length: usize) -> io::Result<Self> {
        Self::map(length, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)
    }

    /// The memory behind a descriptor.
    ///
    /// # Errors
    /// When there is none of that length.
    pub(crate) fn of(descriptor: BorrowedFd<'_>, length: usize) -> io::Result<Self> {
        Self::map(length, libc::MAP_SHARED, descriptor.as_raw_fd())
    }

    fn map(length: usize, flags: libc::c_int, descriptor: libc::c_int) -> io::Result<Self> {
        let (length, access) = (length.max(1), libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: a mapping where the kernel finds room touches nothing that exists.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), length, access, flags, descriptor, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, length })
    }

    /// The first octet, aligned to a page.
    pub(crate) const fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// The piece at that place; none when it is not all inside.
    pub(crate) fn piece(&self, at: usize, length: usize) -> Option<NonNull<u8>> {
        let end = at.checked_add(length)?;
        // SAFETY: `at` is inside of the mapping, as its end is.
        (end <= self.length).then(|| unsafe { self.start.add(at) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: these pages are ours, and whoever let the kernel write to them has had it let go before.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}
