//! Somebody before AWS's control plane who turns requests away: those that are not permitted, and others as a service does that
//! is asked too often or has troubles.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write, copy};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Well,
    /// Every second request is one too many, by chance of a kind.
    Throttles,
    /// Nobody is told anything.
    Fails,
}

pub struct Front {
    pub address: SocketAddr,
    behind: Arc<Behind>,
}

struct Behind {
    server: SocketAddr,
    /// Actions as the query protocol names them; IAM has them with a service before.
    permitted: BTreeSet<String>,
    used: Mutex<BTreeSet<String>>,
    forbidden: Mutex<BTreeSet<String>>,
    mood: Mutex<Mood>,
    asked: AtomicU64,
    refused: AtomicU64,
}

impl Front {
    /// Of a server that speaks HTTP/1.1 and the query protocol.
    pub fn of(server: SocketAddr, permitted: BTreeSet<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
        let address = listener.local_addr().expect("it is bound");
        let (used, forbidden, asked, refused) = Default::default();
        let mood = Mutex::new(Mood::Well);
        let behind = Arc::new(Behind { server, permitted, used, forbidden, mood, asked, refused });
        let shared = behind.clone();
        // Until the test's process ends.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let behind = shared.clone();
                // Whoever hangs up is not our affair.
                std::thread::spawn(move || _ = behind.answer(stream));
            }
        });
        Self { address, behind }
    }

    pub fn set(&self, mood: Mood) {
        *self.behind.mood.lock().expect("nobody panics while it is held") = mood;
    }

    /// Which of the permitted actions were asked for, and which others.
    pub fn actions(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let read = |actions: &Mutex<BTreeSet<String>>| actions.lock().expect("nobody panics while it is held").clone();
        (read(&self.behind.used), read(&self.behind.forbidden))
    }

    /// How many were turned away in a bad mood.
    pub fn refused(&self) -> u64 {
        self.behind.refused.load(Ordering::Relaxed)
    }
}

impl Behind {
    /// One request, and the connection ends.
    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line == "\r\n" {
                break;
            }
            let lower = line.to_ascii_lowercase();
            if let Some(said) = lower.strip_prefix("content-length:") {
                length = said.trim().parse().map_err(std::io::Error::other)?;
            }
            if !lower.starts_with("connection:") {
                head += &line;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let form = String::from_utf8_lossy(&body);
        let action = form.split('&').find_map(|pair| pair.strip_prefix("Action=")).unwrap_or_default().to_owned();
        let permitted = self.permitted.contains(&action);
        let of = if permitted { &self.used } else { &self.forbidden };
        of.lock().expect("nobody panics while it is held").insert(action);
        if !permitted {
            return told(&mut stream, "403 Forbidden", "AccessDenied");
        }
        let mood = *self.mood.lock().expect("nobody panics while it is held");
        let (status, code) = match mood {
            // Not one after the other, or whoever asks in a rhythm is always the one.
            Mood::Throttles
                if self.asked.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 63 == 1 =>
            {
                ("400 Bad Request", "Throttling")
            }
            Mood::Fails => ("500 Internal Server Error", "InternalFailure"),
            Mood::Well | Mood::Throttles => {
                let mut server = TcpStream::connect(self.server)?;
                write!(server, "{head}connection: close\r\n\r\n")?;
                server.write_all(&body)?;
                copy(&mut server, &mut stream)?;
                return Ok(());
            }
        };
        self.refused.fetch_add(1, Ordering::Relaxed);
        told(&mut stream, status, code)
    }
}

fn told(stream: &mut TcpStream, status: &str, code: &str) -> std::io::Result<()> {
    let told = format!("<ErrorResponse><Error><Code>{code}</Code><Message>a test's</Message></Error></ErrorResponse>");
    let length = told.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: text/xml\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{told}"
    )
}
