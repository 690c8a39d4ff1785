//! Ctrl-C, and what means the same: a polite end of the process or of its terminal.

use tokio::signal::unix::{Signal, SignalKind, signal};

pub struct Interrupts {
    kinds: [Signal; 3],
}

impl Interrupts {
    /// From here on signals no longer end the process by themselves.
    ///
    /// # Errors
    /// When the system takes no handler.
    pub fn listen() -> std::io::Result<Self> {
        let [interrupt, terminate, hang_up] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        Ok(Self { kinds: [interrupt?, terminate?, hang_up?] })
    }

    pub async fn next(&mut self) {
        let [interrupt, terminate, hang_up] = &mut self.kinds;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
    }
}
