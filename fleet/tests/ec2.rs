//! What is asked of EC2, and what is made of its answers, by a stand-in that answers as it is told and remembers what it was
//! asked.

use mr_fleet::Provider;
use mr_fleet::ec2::{Group, GroupSettings, Notice, Notices};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Method and path of a request, and its body.
type Asked = (String, String);
type Answer = dyn Fn(&Asked) -> (u16, String) + Send + Sync;

/// An HTTP server, a thread a connection. All that it was asked is kept.
struct StandIn {
    endpoint: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl StandIn {
    fn new(answer: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let (kept, answer): (_, Arc<Answer>) = (asked.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, answer) = (kept.clone(), answer.clone());
                std::thread::spawn(move || serve(stream, &kept, &*answer));
            }
        });
        Self { endpoint, asked }
    }

    /// The actions that Auto Scaling was asked for since this was last called, with their bodies.
    fn actions(&self) -> Vec<(String, String)> {
        let action = |(_, body): Asked| {
            let name = body.split('&').find_map(|pair| pair.strip_prefix("Action=")).unwrap_or_default().to_owned();
            (name, body)
        };
        std::mem::take(&mut *self.asked.lock().unwrap()).into_iter().map(action).collect()
    }
}

fn serve(stream: TcpStream, kept: &Mutex<Vec<Asked>>, answer: &Answer) -> Option<()> {
    let (mut reader, mut writer) = (BufReader::new(stream.try_clone().ok()?), stream);
    loop {
        let (mut first, mut length) = (String::new(), 0);
        reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            if let Some(said) = line.to_lowercase().strip_prefix("content-length:") {
                length = said.trim().parse().ok()?;
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let path = first.rsplit_once(' ').map_or(&*first, |(request, _)| request).to_owned();
        let asked = (path, String::from_utf8_lossy(&body).into_owned());
        let (status, text) = answer(&asked);
        kept.lock().ok()?.push(asked);
        write!(
            writer,
            "HTTP/1.1 {status} Said\r\nx-aws-ec2-metadata-token-ttl-seconds: 21600\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        )
        .ok()?;
    }
}

/// A group of these instances, each with its state and whether it is protected.
fn group(desired: u32, least: u32, instances: &[(&str, &str, bool)]) -> String {
    let member = |(id, state, protected): &(&str, &str, bool)| {
        format!(
            "<member><InstanceId>{id}</InstanceId><LifecycleState>{state}</LifecycleState>\
             <ProtectedFromScaleIn>{protected}</ProtectedFromScaleIn></member>"
        )
    };
    let members: String = instances.iter().map(member).collect();
    format!(
        "<DescribeAutoScalingGroupsResponse><DescribeAutoScalingGroupsResult><AutoScalingGroups><member>\
         <AutoScalingGroupName>workers</AutoScalingGroupName><MinSize>{least}</MinSize><MaxSize>5</MaxSize>\
         <DesiredCapacity>{desired}</DesiredCapacity><Instances>{members}</Instances>\
         </member></AutoScalingGroups></DescribeAutoScalingGroupsResult></DescribeAutoScalingGroupsResponse>"
    )
}

fn refused(code: &str, message: &str) -> (u16, String) {
    let error = format!("<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>");
    (400, format!("<ErrorResponse>{error}<RequestId>1</RequestId></ErrorResponse>"))
}

/// One that describes a group so, and says `other` to everything else.
fn cloud(described: String, other: impl Fn(&str) -> (u16, String) + Send + Sync + 'static) -> (StandIn, Group) {
    let cloud = StandIn::new(move |(_, body)| {
        if body.contains("Action=DescribeAutoScalingGroups") { (200, described.clone()) } else { other(body) }
    });
    let settings =
        GroupSettings { group: "workers".into(), silence: Duration::from_secs(1800), hook: Some("drain".into()) };
    let group = Group::at(&cloud.endpoint, settings);
    (cloud, group)
}

fn well(body: &str) -> (u16, String) {
    let action = body.split('&').find_map(|pair| pair.strip_prefix("Action=")).unwrap_or_default();
    (200, format!("<{action}Response><{action}Result></{action}Result></{action}Response>"))
}

#[tokio::test]
async fn only_what_is_to_change_is_asked_for() {
    let instances = [("i-1", "InService", true), ("i-2", "InService", true), ("i-3", "Pending", false)];
    let more = [("i-4", "InService", false), ("i-5", "Terminating:Proceed", false), ("i-6", "Warmed:Stopped", false)];
    let (cloud, mut workers) = cloud(group(4, 0, &[&instances[..], &more[..]].concat()), well);
    let machines = workers.look().await.unwrap();
    let there: Vec<_> = machines.iter().map(|machine| (&*machine.id, machine.leaves)).collect();
    assert_eq!(there, [("i-1", false), ("i-2", false), ("i-3", false), ("i-4", false), ("i-5", true)]);
    assert!(workers.owns("i-3") && !workers.owns("i-9"));
    let names = |actions: Vec<(String, String)>| actions.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names(cloud.actions()), ["DescribeAutoScalingGroups", "PutScheduledUpdateGroupAction"]);

    let busy: BTreeSet<_> = ["i-1", "i-3", "i-4"].map(str::to_owned).into();
    workers.protect(&busy).await.unwrap();
    let actions = cloud.actions();
    let protects = |body: &str, id: &str, protected: bool| {
        body.contains(&format!("InstanceIds.member.1={id}"))
            && body.contains(&format!("ProtectedFromScaleIn={protected}"))
    };
    assert_eq!(actions.len(), 2, "{actions:?}");
    assert!(protects(&actions[0].1, "i-4", true) && protects(&actions[1].1, "i-2", false), "{actions:?}");

    workers.resize(4).await.unwrap();
    assert_eq!(cloud.actions(), []);
    workers.resize(2).await.unwrap();
    let actions = cloud.actions();
    assert!(actions.len() == 1 && actions[0].1.contains("DesiredCapacity=2"), "{actions:?}");
    let said = workers.resize(9).await.unwrap_err().to_string();
    assert!(said.contains("MaxSize is 5"), "{said}");
    assert!(cloud.actions()[0].1.contains("DesiredCapacity=5"), "as many as there may be are asked for");
    // The end of all is put off now and then, and not with each look.
    workers.look().await.unwrap();
    assert_eq!(names(cloud.actions()), ["DescribeAutoScalingGroups"]);
}

#[tokio::test]
async fn one_that_goes_lowers_the_size_where_that_may_be() {
    for (least, lowers) in [(1, true), (2, false)] {
        let (cloud, mut workers) = cloud(group(2, least, &[("i-1", "InService", false)]), well);
        workers.look().await.unwrap();
        cloud.actions();
        workers.end("i-1").await.unwrap();
        let actions = cloud.actions();
        assert_eq!((actions.len(), &*actions[0].0), (1, "TerminateInstanceInAutoScalingGroup"));
        assert!(actions[0].1.contains(&format!("ShouldDecrementDesiredCapacity={lowers}")), "{actions:?}");
        workers.end("i-9").await.unwrap();
        assert_eq!(cloud.actions(), [], "it is not there");
        // What was lowered is known without another look.
        workers.resize(2).await.unwrap();
        assert_eq!(cloud.actions().len(), usize::from(lowers));
    }
}

#[tokio::test]
async fn one_that_waits_in_its_hook_is_let_go_once() {
    let instances = [("i-1", "Terminating:Wait", false), ("i-2", "Terminating:Proceed", false)];
    let (cloud, mut workers) = cloud(group(0, 0, &instances), |body| {
        if body.contains("Action=CompleteLifecycleAction") {
            return refused("ValidationError", "No active Lifecycle Action found with instance ID i-1");
        }
        well(body)
    });
    assert!(workers.look().await.unwrap().iter().all(|machine| machine.leaves));
    cloud.actions();
    workers.end("i-1").await.unwrap();
    workers.end("i-2").await.unwrap();
    let actions = cloud.actions();
    assert_eq!((actions.len(), &*actions[0].0), (1, "CompleteLifecycleAction"), "{actions:?}");
    for part in ["LifecycleHookName=drain", "InstanceId=i-1", "LifecycleActionResult=CONTINUE"] {
        assert!(actions[0].1.contains(part), "{actions:?}");
    }
}

#[tokio::test]
async fn what_is_refused_is_told_in_its_own_words() {
    let forbidden = || refused("AccessDenied", "you may not");
    let (_cloud, mut workers) =
        cloud(
            group(0, 0, &[]),
            move |body| {
                if body.contains("Action=SetDesiredCapacity") { forbidden() } else { well(body) }
            },
        );
    workers.look().await.unwrap();
    let said = workers.resize(1).await.unwrap_err().to_string();
    assert_eq!(said, "setting the group's size: you may not (AccessDenied)");
}

/// A metadata service that has these things under `meta-data/`.
fn metadata(has: &'static [(&'static str, &'static str)]) -> StandIn {
    StandIn::new(move |(request, _)| match request.as_str() {
        "PUT /latest/api/token" => (200, "token".into()),
        get => {
            let path = get.strip_prefix("GET /latest/meta-data/").unwrap_or_default();
            match has.iter().find(|(name, _)| *name == path) {
                Some((_, said)) => (200, (*said).into()),
                None => (404, String::new()),
            }
        }
    })
}

#[tokio::test]
async fn each_notice_is_heard() {
    for (has, notice) in [
        (&[("spot/instance-action", "{\"action\": \"stop\"}")], Notice::Spot),
        (&[("events/recommendations/rebalance", "{\"noticeTime\": \"2030-01-01T00:00:00Z\"}")], Notice::Rebalance),
        (&[("autoscaling/target-lifecycle-state", "Terminated")], Notice::Terminated),
    ] {
        let service = metadata(has);
        let heard = tokio::time::timeout(Duration::from_secs(10), Notices::at(&service.endpoint).next(None)).await;
        assert_eq!(heard.ok(), Some(notice));
    }
    let service = metadata(&[("instance-id", "i-0123"), ("autoscaling/target-lifecycle-state", "InService")]);
    let notices = Notices::at(&service.endpoint);
    assert_eq!(notices.instance_id().await, Ok("i-0123".into()));
    let heard = tokio::time::timeout(Duration::from_secs(3), notices.next(None)).await;
    assert!(heard.is_err(), "it may stay");
    // Who has been warned waits for what comes after that.
    let service = metadata(&[("events/recommendations/rebalance", "{}"), ("spot/instance-action", "{}")]);
    assert_eq!(Notices::at(&service.endpoint).next(Some(Notice::Rebalance)).await, Notice::Spot);
    let service = metadata(&[("events/recommendations/rebalance", "{}")]);
    let warned = Notices::at(&service.endpoint);
    let heard = tokio::time::timeout(Duration::from_secs(3), warned.next(Some(Notice::Rebalance))).await;
    assert!(heard.is_err(), "it has been told that already");
}

#[tokio::test]
async fn a_service_that_says_no_is_told_in_a_sentence() {
    let service = StandIn::new(|_| (403, "denied".into()));
    let said = Notices::at(&service.endpoint).instance_id().await.unwrap_err();
    assert!(
        said.starts_with("asking the instance metadata service who this is: ") && said.contains("`--ec2`"),
        "{said}"
    );
    assert!(!said.contains(['{', '\n']), "nothing is dumped: {said}");
}
