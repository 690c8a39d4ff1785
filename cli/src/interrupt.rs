//! Ctrl-C, and what means the same: a polite end of the process or of its terminal.

use tokio::signal::unix::{Signal, SignalKind, signal};

pub struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    /// `None`: the process was started to outlive its terminal.
    hang_up: Option<Signal>,
}

impl Interrupts {
    /// From here on signals no longer end the process by themselves.
    ///
    /// # Errors
    /// When the system takes no handler.
    pub fn listen() -> std::io::Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let hang_up = if ignores_hang_up(&status) { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())?, hang_up })
    }

    pub async fn next(&mut self) {
        let hung_up = async {
            match &mut self.hang_up {
                Some(hang_up) => _ = hang_up.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = hung_up => {}
        }
    }
}

/// As `nohup` starts a process. proc_pid_status(5): a mask in hexadecimal, whose lowest bit is of signal 1.
fn ignores_hang_up(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nohup_is_known_by_what_the_process_ignores() {
        for (mask, ignores) in [("0000000000000001", true), ("0000000000001005", true), ("0000000000001004", false)] {
            let status = format!("SigBlk:\t0000000000000001\nSigIgn:\t{mask}\nSigCgt:\t0000000000000001\n");
            assert_eq!(ignores_hang_up(&status), ignores, "{mask}");
        }
        assert!(!ignores_hang_up(""));
    }
}
