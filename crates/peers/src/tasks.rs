//! The tasks of one link, which end with it: HTTP/2 has some of its own, and one that writes to a peer that does not
//! read would wait for ever.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::rt::Executor;
use tokio::task::JoinSet;

/// What HTTP/2 begins a task with. The tasks have it too, so that it does not end with whoever holds the link.
#[derive(Clone, Default)]
pub(crate) struct Tasks(Arc<Mutex<JoinSet<()>>>);

/// What does: it ends the tasks when it is dropped.
pub(crate) struct TasksOfLink(pub(crate) Tasks);

impl Tasks {
    fn end(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}

impl Drop for TasksOfLink {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, future: F) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What has ended is let go of here: there is no other moment for it.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            future.await;
        });
    }
}
