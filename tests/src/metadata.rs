//! The instance metadata service of a machine on EC2, as far as its worker asks it. It takes tokens, as IMDSv2 does.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What it says, by paths under `meta-data/`; of all else it knows nothing.
type Said = Mutex<BTreeMap<&'static str, String>>;

pub struct Metadata {
    address: SocketAddr,
    said: Arc<Said>,
}

impl Metadata {
    /// Of the machine with this id, until the test's process ends.
    pub fn of(instance: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
        let address = listener.local_addr().expect("it is bound");
        let said = Arc::new(Said::default());
        let shared = said.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Whoever hangs up is not our affair.
                _ = answer(stream, &shared);
            }
        });
        let this = Self { address, said };
        this.say("instance-id", instance);
        this
    }

    /// As `AWS_EC2_METADATA_SERVICE_ENDPOINT` has it.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The spot capacity of this machine is wanted back.
    pub fn give_spot_notice(&self) {
        self.say("spot/instance-action", r#"{"action": "terminate", "time": "2030-01-01T00:00:00Z"}"#);
    }

    /// The machine's group ends it, and has it wait in a lifecycle hook.
    pub fn end(&self) {
        self.say("autoscaling/target-lifecycle-state", "Terminated");
    }

    fn say(&self, path: &'static str, text: &str) {
        self.said.lock().expect("nobody panics while it is held").insert(path, text.to_owned());
    }
}

/// One request, and the connection ends.
fn answer(mut stream: TcpStream, said: &Said) -> std::io::Result<()> {
    let (mut first, mut token, mut reader) = (String::new(), false, BufReader::new(stream.try_clone()?));
    reader.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        token |= line.to_lowercase().starts_with("x-aws-ec2-metadata-token:");
        if line.trim().is_empty() {
            break;
        }
    }
    let found = match first.split_whitespace().collect::<Vec<_>>()[..] {
        ["PUT", "/latest/api/token", _] => Some("token".to_owned()),
        ["GET", path, _] if token => {
            let path = path.strip_prefix("/latest/meta-data/").unwrap_or_default();
            said.lock().expect("nobody panics while it is held").get(path).cloned()
        }
        _ => None,
    };
    let status = if found.is_some() { "200 OK" } else { "404 Not Found" };
    let body = found.unwrap_or_default();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nx-aws-ec2-metadata-token-ttl-seconds: 21600\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    )
}
