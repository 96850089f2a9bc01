//! Connections to backends that are configured no more: closed a few at a time, so that no request waits for the last of them.

use std::rc::Rc;
use std::time::Duration;

use super::Worker;

/// How long others are served before more are closed.
const INTERVAL: Duration = Duration::from_millis(1);

/// Closes them whenever a configuration has been taken up; for as long as the worker serves. Dropped, it leaves them to the
/// worker's end.
pub(super) async fn part(worker: Rc<Worker>) {
    loop {
        worker.parting.notified().await;
        while worker.pool.part() {
            tokio::time::sleep(INTERVAL).await;
        }
    }
}
