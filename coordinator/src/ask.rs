//! Questions to the shell, whose answers can't stay away.

use crate::shell::Message;
use tokio::sync::{mpsc, oneshot};

/// What the shell answers to this message. `None` when it is stopping.
pub async fn ask<T>(shell: &mpsc::Sender<Message>, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Option<T> {
    let (reply, mut answer) = oneshot::channel();
    shell.send(message(reply)).await.ok()?;
    tokio::select! {
        answer = &mut answer => answer.ok(),
        // A message that is sent in the moment in which the receiver goes may lie in the channel from then on, neither read
        // nor dropped, for as long as anyone could send another.
        () = shell.closed() => answer.try_recv().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mr_metrics::Page;
    use std::time::Duration;
    use tokio_util::sync::CancellationToken;

    const LIMIT: Duration = Duration::from_secs(60);

    /// As a coordinator that stands by ends: it is told to, and at the same time it is asked.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_that_is_asked_while_the_shell_goes_has_its_answer() {
        for _ in 0..20_000 {
            let (shell, messages) = mpsc::channel(1024);
            let stop = CancellationToken::new();
            let told = stop.clone();
            let goes = tokio::spawn(async move {
                told.cancelled().await;
                drop(messages);
            });
            tokio::task::yield_now().await;
            stop.cancel();
            let asked = async {
                // From the first try to the last, the receiver goes in between.
                while !shell.is_closed() {
                    assert!(ask(&shell, |reply| Message::Metrics { reply }).await.is_none());
                }
            };
            tokio::time::timeout(LIMIT, asked).await.expect("nobody waits for one that is gone");
            goes.await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_was_answered_before_the_shell_went_is_told() {
        let (shell, mut messages) = mpsc::channel(1);
        let answers = async move {
            let Some(Message::Metrics { reply }) = messages.recv().await else { panic!("it is asked") };
            _ = reply.send(Page::default());
        };
        let (answer, ()) = tokio::join!(ask(&shell, |reply| Message::Metrics { reply }), answers);
        assert!(answer.is_some());
    }
}
