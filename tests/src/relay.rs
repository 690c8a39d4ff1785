//! A line between two programs of this machine, which a test can cut: whoever is on it has to come anew.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

pub struct Relay {
    pub address: SocketAddr,
    lines: Arc<Mutex<Lines>>,
}

#[derive(Default)]
struct Lines {
    open: Vec<TcpStream>,
    count: usize,
}

impl Relay {
    /// Whoever calls it speaks to that server.
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
        let address = listener.local_addr().expect("it is bound");
        let lines = Arc::new(Mutex::new(Lines::default()));
        let shared = lines.clone();
        // Until the test's process ends.
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                // Who can't be put through is hung up on.
                _ = put_through(&near, server, &shared);
            }
        });
        Self { address, lines }
    }

    /// How many calls there have been.
    pub fn count(&self) -> usize {
        locked(&self.lines).count
    }

    /// Ends all that are under way.
    pub fn hang_up(&self) {
        for line in locked(&self.lines).open.drain(..) {
            // It may have ended by itself.
            _ = line.shutdown(Shutdown::Both);
        }
    }
}

fn put_through(near: &TcpStream, server: SocketAddr, lines: &Mutex<Lines>) -> io::Result<()> {
    let far = TcpStream::connect(server)?;
    let mut lines = locked(lines);
    lines.count += 1;
    for (from, to) in [(near, &far), (&far, near)] {
        lines.open.push(from.try_clone()?);
        let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
        std::thread::spawn(move || {
            _ = io::copy(&mut from, &mut to);
            // The other direction ends by that as well.
            _ = to.shutdown(Shutdown::Both);
            _ = from.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}

fn locked(lines: &Mutex<Lines>) -> MutexGuard<'_, Lines> {
    lines.lock().expect("nobody panics while it is held")
}
