//! A ring of io_uring on its way to the thread that uses it.
//!
//! The kernel takes requests from one thread (`SINGLE_ISSUER`), also the one by which it lets go of memory: a ring that another
//! thread drops would give back memory that the kernel still writes to. So what may change threads is not what can be used.

use std::io;
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;

use io_uring::IoUring;

use crate::multishot::Multishot;
use crate::sending::Sending;

/// Belongs to one thread.
pub(crate) type OneThread = PhantomData<*const ()>;

/// One that was made, with all that can fail but for want of rights done. The kernel has no request of it.
///
/// ```compile_fail
/// fn to_another_thread<T: Send>() {}
/// to_another_thread::<rings::Sending>();
/// ```
/// ```compile_fail
/// fn to_another_thread<T: Send>() {}
/// to_another_thread::<rings::Multishot>();
/// ```
/// ```
/// fn to_another_thread<T: Send>() {}
/// to_another_thread::<rings::Prepared<rings::Sending>>();
/// to_another_thread::<rings::Prepared<rings::Multishot>>();
/// ```
pub struct Prepared<R>(Box<R>);

// SAFETY: such a ring is made disabled (`R_DISABLED`), so that the kernel has neither a request of it nor a thread that it is
// of, and nothing but `begin` enables it. Pointers in it are null, or to memory that is of no thread (`Mapping`).
unsafe impl Send for Prepared<Multishot> {}
// SAFETY: as above.
unsafe impl Send for Prepared<Sending> {}

impl<R> Prepared<R> {
    pub(crate) fn new(ring: R) -> Self {
        Self(Box::new(ring))
    }

    fn enable(self, ring: impl FnOnce(&R) -> &IoUring) -> io::Result<Box<R>> {
        ring(&self.0).submitter().register_enable_rings()?;
        Ok(self.0)
    }
}

impl Prepared<Multishot> {
    /// From now on a write to this eventfd ends a [`Multishot::wait`], the one that is on or else the next. It need not be
    /// read.
    ///
    /// # Errors
    /// When there is no descriptor for another one of it.
    pub fn wake_by(&mut self, wake: BorrowedFd<'_>) -> io::Result<()> {
        self.0.wake_by(wake)
    }

    /// From now on this thread uses it.
    ///
    /// # Errors
    /// When the kernel refuses; it does so on no kernel that let it be made.
    pub fn begin(self) -> io::Result<Box<Multishot>> {
        self.enable(|ring| &ring.ring)
    }
}

impl Prepared<Sending> {
    /// From now on this thread uses it.
    ///
    /// # Errors
    /// When the kernel refuses; it does so on no kernel that let it be made.
    pub fn begin(self) -> io::Result<Box<Sending>> {
        self.enable(|ring| &ring.ring)
    }
}
