//! Somebody before AWS's control plane who turns requests away: those that are not permitted, and others as a service
//! does that is asked too often or has troubles. It can have a [`Hook`], which the service behind it does not. A test may
//! ask as well: it is answered as programs are, and what it asked is not counted as theirs.

use crate::hook::Hook;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
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

/// By actions as the query protocol names them (IAM has them with a service before), what each may be done to.
pub type Permitted = BTreeMap<String, String>;

/// With whose access key a test asks for itself.
const TEST: &str = "a-test";

/// Somebody else's group, and a machine of it.
pub const OTHERS: &str = "somebody-elses";
pub const OF_OTHERS: &str = "i-somebody-elses";

/// Asks this of a service, in the query protocol, and gives the whole answer. Nobody here looks at signatures.
pub fn ask(server: SocketAddr, service: &str, form: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(server)?;
    write!(
        stream,
        "POST / HTTP/1.1\r\nhost: {server}\r\ncontent-type: application/x-www-form-urlencoded\r\n\
         authorization: AWS4-HMAC-SHA256 Credential={TEST}/20260101/us-east-1/{service}/aws4_request, \
         SignedHeaders=host, Signature=0\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{form}",
        form.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// As IAM does: the group that a request names, or whose machine it names, is what it is about.
fn permits(permitted: &Permitted, action: &str, group: &str) -> bool {
    let arn =
        format!("arn:aws:autoscaling:us-east-1:123456789012:autoScalingGroup:any-id:autoScalingGroupName/{group}");
    permitted.get(action).is_some_and(|resource| match resource.split_once('*') {
        Some((before, after)) => arn.starts_with(before) && arn.ends_with(after),
        None => arn == *resource,
    })
}

pub struct Front {
    pub address: SocketAddr,
    behind: Arc<Behind>,
}

struct Behind {
    server: SocketAddr,
    permitted: Permitted,
    /// Whose all machines are but [`OF_OTHERS`].
    group: &'static str,
    used: Mutex<BTreeSet<String>>,
    forbidden: Mutex<BTreeSet<String>>,
    mood: Mutex<Mood>,
    hook: Hook,
    asked: AtomicU64,
    refused: AtomicU64,
}

impl Front {
    /// Of a server that speaks HTTP/1.1 and the query protocol, and has this one group.
    pub fn of(server: SocketAddr, permitted: Permitted, group: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
        let address = listener.local_addr().expect("it is bound");
        let (used, forbidden, hook, asked, refused) = Default::default();
        let mood = Mutex::new(Mood::Well);
        let behind = Arc::new(Behind { server, permitted, group, used, forbidden, mood, hook, asked, refused });
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

    pub fn hook(&self) -> &Hook {
        &self.behind.hook
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
        let field = |name| form.split('&').find_map(|pair| pair.strip_prefix(name)).unwrap_or_default();
        let (action, instance) = (field("Action="), field("InstanceId="));
        let group = match field("AutoScalingGroupName=") {
            "" if instance == OF_OTHERS => OTHERS,
            "" => self.group,
            named => named,
        };
        let permitted = permits(&self.permitted, action, group);
        if !head.contains(&format!("Credential={TEST}/")) {
            let of = if permitted { &self.used } else { &self.forbidden };
            of.lock().expect("nobody panics while it is held").insert(action.to_owned());
        }
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
                if action == "CompleteLifecycleAction" {
                    return if self.hook.let_go(instance) {
                        say(&mut stream, "200 OK", "<CompleteLifecycleActionResponse/>")
                    } else {
                        told(&mut stream, "400 Bad Request", "ValidationError")
                    };
                }
                if action == "TerminateInstanceInAutoScalingGroup" {
                    self.hook.hold(instance);
                }
                let mut server = TcpStream::connect(self.server)?;
                write!(server, "{head}connection: close\r\n\r\n")?;
                server.write_all(&body)?;
                let mut answer = Vec::new();
                server.read_to_end(&mut answer)?;
                if action == "DescribeAutoScalingGroups"
                    && let Some((_, described)) = String::from_utf8_lossy(&answer).split_once("\r\n\r\n")
                {
                    return say(&mut stream, "200 OK", &self.hook.shown(described));
                }
                return stream.write_all(&answer);
            }
        };
        self.refused.fetch_add(1, Ordering::Relaxed);
        told(&mut stream, status, code)
    }
}

fn told(stream: &mut TcpStream, status: &str, code: &str) -> std::io::Result<()> {
    let told = format!("<ErrorResponse><Error><Code>{code}</Code><Message>a test's</Message></Error></ErrorResponse>");
    say(stream, status, &told)
}

fn say(stream: &mut TcpStream, status: &str, said: &str) -> std::io::Result<()> {
    let length = said.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: text/xml\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{said}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_about_one_group() {
        let of_group = "arn:aws:autoscaling:us-east-1:123456789012:autoScalingGroup:*:autoScalingGroupName/ours";
        let permitted = [("Describe", "*"), ("Set", of_group)].map(|(action, of)| (action.to_owned(), of.to_owned()));
        let permitted = Permitted::from(permitted);
        for (action, group, may) in [
            ("Describe", "ours", true),
            ("Describe", "theirs", true),
            ("Set", "ours", true),
            ("Set", "theirs", false),
            ("Set", "not-ours", false),
            ("Set", "", false),
            ("Delete", "ours", false),
        ] {
            assert_eq!(permits(&permitted, action, group), may, "{action} {group}");
        }
    }
}
