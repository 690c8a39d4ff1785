//! Questions to the shell, whose answers can't stay away.

use crate::shell::Message;
use tokio::sync::{mpsc, oneshot};

/// What the shell answers to this message. `None` when it is stopping.
pub async fn ask<T>(shell: &mpsc::Sender<Message>, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Option<T> {
    let (reply, mut answer) = oneshot::channel();
    shell.reserve().await.ok()?.send(message(reply));
    tokio::select! {
        answer = &mut answer => answer.ok(),
        // A message that is put there in the moment in which the receiver goes lies in the channel from then on, neither read
        // nor dropped, for as long as anyone could send another.
        () = shell.closed() => answer.try_recv().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mr_metrics::Page;
    use std::time::Duration;

    const LIMIT: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn nobody_waits_for_a_shell_that_goes_in_the_moment_in_which_it_is_asked() {
        let (shell, messages) = mpsc::channel(1);
        let asked = ask(&shell, |reply| {
            // There is room for the message already.
            drop(messages);
            Message::Metrics { reply }
        });
        assert!(tokio::time::timeout(LIMIT, asked).await.expect("it is told that it is gone").is_none());
    }

    #[tokio::test]
    async fn what_was_answered_before_the_shell_went_is_told() {
        // Of two that are there it is chance which is seen first.
        for _ in 0..64 {
            let (shell, mut messages) = mpsc::channel(1);
            let answers = async move {
                let Some(Message::Metrics { reply }) = messages.recv().await else { panic!("it is asked") };
                _ = reply.send(Page::default());
            };
            let (answer, ()) = tokio::join!(ask(&shell, |reply| Message::Metrics { reply }), answers);
            assert!(answer.is_some());
        }
    }
}
