//! A server of the web that has one object, for those who name themselves.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

pub struct Web {
    pub address: SocketAddr,
}

impl Web {
    /// Answers requests that hold both the path with its query and the header with these bytes, and no others.
    pub fn with(bytes: Vec<u8>, path: &str, authorization: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
        let address = listener.local_addr().expect("it is bound");
        let wanted = (format!("GET {path} HTTP/1.1"), format!("authorization: {authorization}"));
        let shared = Arc::new((bytes, wanted));
        // Until the test's process ends.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                // Whoever hangs up is not our affair.
                std::thread::spawn(move || _ = answer(stream, &shared.0, &shared.1));
            }
        });
        Self { address }
    }
}

fn answer(mut stream: TcpStream, bytes: &[u8], (line, header): &(String, String)) -> std::io::Result<()> {
    let mut head = Vec::new();
    for said in BufReader::new(stream.try_clone()?).lines() {
        let said = said?;
        if said.is_empty() {
            break;
        }
        head.push(said);
    }
    let knows = head.first() == Some(line) && head.contains(header);
    let (status, bytes) = if knows { ("200 OK", bytes) } else { ("403 Forbidden", &b""[..]) };
    write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", bytes.len())?;
    stream.write_all(bytes)
}
