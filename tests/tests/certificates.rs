//! A cluster in which all show certificates: what it writes is what one without them writes, it goes on while certificates
//! and the CA are replaced, and nobody without one gets in or in the way.

use mr_tests::{
    Certs, Coordinator, Ended, Relay, Running, S3Server, Scratch, Submit, Web, Worker, address, client, drawn, program,
};
use mr_tests::{allow_many_files, assert_same_bytes, skipped, submit, wait_until};
use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

fn list(scratch: &Scratch, coordinator: &Coordinator, certs: &str) -> Ended {
    submit(scratch, ["--coordinator", coordinator.url(), "--certs", certs, "--patience", "2", "list"])
}

#[test]
fn what_all_write_who_show_certificates_is_what_one_process_writes_and_no_secret_is_logged() {
    let scratch = Scratch::enter_beside("certificates: a job over S3");
    let photos = drawn(&scratch, "photos", 200, 3);
    let s3 = S3Server::start(&scratch, &photos, 100);
    let embedded = Submit::over(&scratch, s3.input(), "embedded", Some(&s3)).done();
    let certs = Certs::init(&scratch);
    let mut command = client(&scratch, "mr-coordinator", &s3, "coordinator");
    let listen = address();
    command.args([
        "--listen",
        &listen.to_string(),
        "--state",
        "s3://photos/state/",
        "--certs",
        &certs.of("coordinator"),
    ]);
    // The words of temporary credentials are secrets as well.
    let token = "a-token-that-nobody-may-read";
    command.env("MR_LOG", "trace").env("AWS_SESSION_TOKEN", token);
    let mut coordinator = Running::start(command, &scratch);
    let url = coordinator.first_line();
    assert_eq!(url, format!("https://{listen}"));
    let mut command = client(&scratch, "mr-worker", &s3, "worker");
    let own = scratch.join("own").display().to_string();
    command.args(["--coordinator", &url, "--certs", &certs.of("worker"), "--scratch", &own]);
    command.env("MR_LOG", "trace").env("AWS_SESSION_TOKEN", token);
    let worker = Running::start(command, &scratch);
    // Those of an object that is shared lie in its URL. These are the weights that are built in.
    let signed = "/w.onnx?X-Amz-Signature=a-signature-that-nobody-may-read";
    let weights = fs::read(xtask::shell::root().join("vision/weights/mobilenet_v2.onnx")).unwrap();
    let web = Web::with(weights, signed, "Basic dXNlcjpodW50ZXIy");
    let shared = |signed: &str| format!("params.weights=http://user:hunter2@{}{signed}", web.address);
    let job = |weights: &str| {
        let job = Submit::job(&scratch, s3.input(), "s3://photos/out/").args(["--coordinator", &url]).set(weights);
        job.keeping().certs(&certs.of("submitter")).says_all(token).run()
    };
    // The first is told no, and says where.
    let refused = job(&shared(&signed.replace("w.onnx", "other.onnx")));
    let said = format!("fetching http://{}/other.onnx?…: permission denied", web.address);
    assert!(refused.code() == Some(2) && refused.stderr.contains(&said), "{refused}");
    let submitted = job(&shared(signed)).done();
    assert_same_bytes(&embedded, &s3.output(&scratch, "out/"));
    // Where they came from is kept, and in clear text, so that what is looked for below would be found.
    let kept = s3.keys_with("/w.onnx?…".as_bytes());
    for place in ["state/journal/", "out/_report.json", "out/_runs/"] {
        assert!(kept.iter().any(|key| key.starts_with(place)), "{place} is not among {kept:?}");
    }

    let mut secrets: Vec<String> = s3.secrets();
    secrets.extend([token, "hunter2", "dXNlcjpodW50ZXIy", "a-signature-that-nobody-may-read"].map(str::to_owned));
    for name in ["certs/ca-key.pem", "certs/coordinator/key.pem", "certs/worker/key.pem", "certs/submitter/key.pem"] {
        let key = fs::read_to_string(scratch.join(name)).unwrap();
        secrets.push(key.lines().nth(1).expect("it has lines").to_owned());
    }
    for ended in [worker.terminate(), coordinator.terminate(), refused, submitted] {
        assert!(ended.stderr.contains(" TRACE "), "it was asked to say all");
        for secret in &secrets {
            assert!(!ended.stderr.contains(secret), "{} says {secret}", ended.line);
            assert!(!ended.stdout.contains(secret), "{} says {secret}", ended.line);
        }
    }
    for secret in &secrets {
        let keys = s3.keys_with(secret.as_bytes());
        assert!(keys.is_empty(), "{secret} is in {keys:?}");
    }
}

#[test]
fn who_has_no_certificate_of_the_right_role_is_told_so() {
    let scratch = Scratch::enter_beside("certificates: the wrong ones");
    let certs = Certs::init(&scratch);
    let others = Certs::init_in(&scratch, "others");
    let coordinator = Coordinator::start(&scratch, "state", None, &["--certs", &certs.of("coordinator")]);
    list(&scratch, &coordinator, &certs.of("submitter")).done();
    let worker = certs.of("worker");
    list(&scratch, &coordinator, &worker)
        .stopped(2, &["--certs: ", "it is of worker `worker`, and a submitter's is needed"]);
    list(&scratch, &coordinator, &certs.of("nobody"))
        .stopped(2, &["nobody/ca.pem", "`mr-coordinator certs` makes them"]);
    let told = list(&scratch, &coordinator, &others.of("submitter"));
    told.stopped(3, &["can't reach the coordinator at https://", "the coordinator's certificate is of another CA"]);
    // It believes this CA, and is not of it.
    fs::copy(certs.of("submitter/ca.pem"), others.of("submitter/ca.pem")).unwrap();
    let told = list(&scratch, &coordinator, &others.of("submitter"));
    told.stopped(3, &["it does not accept this certificate"]);
    wait_until("the coordinator says so", || {
        coordinator.stderr().contains("is sent away: its certificate is of another CA").then_some(())
    });

    // Nor does it start workers that it would send away.
    let fleet = |name: &str, folder: &str| {
        let text = format!("[fleet]\nprovider = \"local\"\ncerts = {folder:?}\n");
        scratch.write(&format!("{name}.toml"), text).display().to_string()
    };
    fs::create_dir(others.of("half")).unwrap();
    for (name, from) in [("ca.pem", &certs), ("cert.pem", &others), ("key.pem", &others)] {
        fs::copy(from.of(&format!("worker/{name}")), others.of(&format!("half/{name}"))).unwrap();
    }
    for (name, folder, why) in [
        ("others", others.of("worker"), "the coordinator's certificate is of another CA"),
        ("half", others.of("half"), "it does not accept this certificate"),
        ("role", certs.of("submitter"), "it is of submitter `submitter`, and a worker's is needed"),
    ] {
        let config = fleet(name, &folder);
        let args =
            ["--listen", "127.0.0.1:0", "--state", "none", "--certs", &certs.of("coordinator"), "--config", &config];
        refused(&scratch, "mr-coordinator", &args, &["`[fleet]`: `certs`", why]);
    }

    // In plain text nobody answers, and without certificates nobody is asked.
    let plain = coordinator.url().replace("https", "http");
    submit(&scratch, ["--coordinator", &plain, "--patience", "1", "list"]).stopped(3, &["can't reach the coordinator"]);
    submit(&scratch, ["--coordinator", coordinator.url(), "list"]).stopped(2, &["`--certs DIR` is needed"]);
    let open = Coordinator::start(&scratch, "open-state", None, &[]);
    let tls = open.url().replace("http", "https");
    let args = ["--coordinator", &tls, "--certs", &certs.of("submitter"), "--patience", "1", "list"];
    submit(&scratch, args).stopped(3, &["it hung up before both had shown their certificates"]);
    wait_until("it says why", || open.stderr().contains("this coordinator has no `--certs`").then_some(()));
    open.terminate();

    // What the CA would write over is left alone.
    certs.run(&["init"]).stopped(2, &["has a CA already"]);
    certs.run(&["issue", "worker", "--name", "worker"]).stopped(2, &["is there already"]);
    certs.run(&["issue", "root", "--name", "r"]).stopped(2, &["`root` is no role: coordinator, worker or submitter"]);
    certs.run(&["issue", "worker", "--name", "../w"]).stopped(2, &["can't be a certificate's name"]);
    let alice = certs.run(&["issue", "submitter", "--name", "alice", "--days", "7"]).done();
    assert!(alice.stdout.ends_with("certs/alice\tsubmitter `alice`\n"), "{alice}");
    list(&scratch, &coordinator, &certs.of("alice")).done();
    coordinator.terminate();
}

/// A program that is started wrongly, and says so.
fn refused(scratch: &Scratch, name: &str, args: &[&str], said: &[&str]) {
    let mut command = Command::new(program(name));
    command.current_dir(scratch.path()).args(args);
    Running::start(command, scratch).wait(LIMIT).stopped(2, said);
}

#[test]
fn plain_text_leaves_the_machine_only_when_somebody_says_so() {
    let scratch = Scratch::enter_beside("certificates: plain text");
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let args = ["--listen", listen, "--state", "state"];
        refused(&scratch, "mr-coordinator", &args, &["`--certs DIR`", "`--insecure`"]);
    }
    assert!(!scratch.join("state").exists(), "nothing was begun");
    let metrics = ["--state", "state", "--metrics", "0.0.0.0:0"];
    let would = ["`--metrics 0.0.0.0:0` would answer anyone, in plain text", "`--metrics-insecure`"];
    refused(&scratch, "mr-coordinator", &metrics, &would);
    // What holds for one port is not said of the other.
    refused(&scratch, "mr-coordinator", &[&metrics[..], &["--insecure"]].concat(), &would);
    let worker = ["--coordinator", "http://127.0.0.1:9", "--scratch", "s", "--metrics", "0.0.0.0:0", "--insecure"];
    refused(&scratch, "mr-worker", &worker, &would);
    let args = ["--listen", "0.0.0.0:0", "--state", "state", "--metrics-insecure"];
    refused(&scratch, "mr-coordinator", &args, &["`--certs DIR`", "`--insecure`"]);
    assert!(!scratch.join("state").exists(), "nothing was begun");
    let said = ["would be spoken to in plain text", "`--certs DIR`", "`--insecure`"];
    refused(&scratch, "mr-worker", &["--coordinator", "http://198.18.0.1:7171", "--scratch", "s"], &said);
    refused(&scratch, "mr-submit", &["--coordinator", "http://coordinator:7171", "list"], &said);

    // Said, it is done, with a warning.
    let mut command = Command::new(program("mr-coordinator"));
    command.current_dir(scratch.path()).args(["--listen", "0.0.0.0:0", "--state", "state", "--insecure"]);
    command.args(["--metrics", "0.0.0.0:0"]).env("MR_METRICS_INSECURE", "yes");
    let mut coordinator = Running::start(command, &scratch);
    let url = coordinator.first_line().replace("0.0.0.0", "127.0.0.1");
    submit(&scratch, ["--coordinator", &url, "list"]).done();
    assert!(
        coordinator.stderr().contains("in plain text: whoever reaches it may submit jobs"),
        "{}",
        coordinator.stderr()
    );
    let said = "`--metrics 0.0.0.0:0` answers whoever reaches it, in plain text";
    assert!(coordinator.stderr().contains(said), "{}", coordinator.stderr());
    coordinator.terminate();
}

/// As an operator hands a folder of certificates to a machine.
fn hand_over(from: &str, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in ["ca.pem", "key.pem", "cert.pem"] {
        fs::copy(Path::new(from).join(file), to.join(file)).unwrap();
    }
}

#[test]
fn certificates_and_their_ca_are_replaced_while_the_same_processes_run() {
    let scratch = Scratch::enter_beside("certificates: replaced under way");
    let photos = drawn(&scratch, "photos", 120, 5);
    let certs = Certs::init(&scratch);
    let given = certs.of("coordinator");
    // Each job is done anew, and nothing taken over from the one before.
    let args = ["--certs", &given, "--lease-ms", "2000", "--keep-days", "0"];
    let coordinator = Coordinator::start(&scratch, "state", None, &args);
    // A connection lasts for up to an hour: the worker's is cut at each step, so that it makes another.
    let (_, at) = coordinator.url().split_once("://").expect("it is a URL");
    let relay = Relay::to(at.parse().expect("it is an address"));
    let worker = |certs: &str, own: &str| {
        let mut command = Command::new(program("mr-worker"));
        command.current_dir(scratch.path()).args(["--slots", "1", "--scratch", own, "--certs", certs]);
        command.args(["--coordinator", &format!("https://{}", relay.address)]);
        Running::start(command, &scratch)
    };
    let mut hired = worker(&certs.of("worker"), "own");
    let job = |output: &str| {
        let job = Submit::job(&scratch, &photos, &scratch.join(output).display().to_string());
        job.set("split.objects_max=5").certs(&certs.of("submitter")).to(&coordinator).start()
    };
    job("before").wait(LIMIT).done();
    // Those who are given nothing new.
    for name in ["submitter", "worker"] {
        hand_over(&certs.of(name), &scratch.join(format!("old-{name}")));
    }
    let old = |name: &str| scratch.join(format!("old-{name}")).display().to_string();

    let rotates = |args: &[&str], name: &str| {
        let mut under_way = job(&format!("under-way-{name}"));
        under_way.submitted();
        let told = certs.run(args).done();
        let before = relay.count();
        relay.hang_up();
        wait_until("the worker comes again", || (relay.count() > before).then_some(()));
        under_way.wait(LIMIT).done();
        // Nor does whoever submits know anybody from before.
        job(name).wait(LIMIT).done();
        told
    };
    let rotated = rotates(&["rotate", "--days", "30"], "renewed");
    assert_eq!(rotated.stdout.lines().count(), 3, "{rotated}");
    assert!(rotated.stderr.contains("without a restart"), "{rotated}");
    assert!(coordinator.stderr().contains("have changed, and are in use"), "{}", coordinator.stderr());
    // The same CA has signed what it has.
    list(&scratch, &coordinator, &old("submitter")).done();

    for (step, said) in ["Step 1 of 3", "Step 2 of 3", "Step 3 of 3"].into_iter().enumerate() {
        let told = rotates(&["rotate", "--ca"], &format!("step-{}", step + 1));
        assert!(told.stderr.contains(said), "{told}");
        if step == 0 {
            list(&scratch, &coordinator, &old("submitter")).done();
        }
    }
    assert!(!hired.is_over(), "{}", hired.stderr());

    // Who has nothing new believes nobody, and whoever believes the new CA is not believed with what the old one has
    // signed.
    list(&scratch, &coordinator, &old("submitter")).stopped(3, &["the coordinator's certificate is of another CA"]);
    for name in ["submitter", "worker"] {
        fs::copy(certs.of("coordinator/ca.pem"), scratch.join(format!("old-{name}/ca.pem"))).unwrap();
    }
    hired.terminate();
    let away = "is sent away: its certificate is of another CA";
    assert!(!coordinator.stderr().contains(away), "{}", coordinator.stderr());
    let mut left_behind = worker(&old("worker"), "own-2");
    left_behind.until("find nobody", |worker| worker.stderr().contains("can't be reached").then_some(()));
    wait_until("the coordinator sends it away", || coordinator.stderr().contains(away).then_some(()));
    list(&scratch, &coordinator, &old("submitter")).stopped(3, &["it does not accept this certificate"]);
    left_behind.terminate();
    coordinator.terminate();
}

#[test]
fn ten_thousand_silent_connections_keep_no_job_from_its_end() {
    let scratch = Scratch::enter_beside("certificates: ten thousand connections");
    if allow_many_files() < 11_000 {
        return skipped("this test needs 11,000 open files: `ulimit -Hn` says how many there may be");
    }
    let photos = drawn(&scratch, "photos", 60, 6);
    let certs = Certs::init(&scratch);
    for (name, args) in [("secured", &["--certs", &certs.of("coordinator")][..]), ("plain", &[])] {
        let coordinator = Coordinator::start(&scratch, &format!("state-{name}"), None, args);
        let at = coordinator.url().split_once("://").expect("it is a URL").1.to_owned();
        let worker = match name {
            "secured" => Worker::start_with_certs(&certs.of("worker"), &scratch, &coordinator, None),
            _ => Worker::start(&scratch, &coordinator, None),
        };
        let mut silent = Vec::new();
        for _ in 0..10_000 {
            silent.push(TcpStream::connect(&at).expect("there is room for a connection"));
        }
        let mut job = Submit::job(&scratch, &photos, &scratch.join(format!("out-{name}")).display().to_string());
        if name == "secured" {
            job = job.certs(&certs.of("submitter"));
        }
        let ended = job.to(&coordinator).run().done();
        assert!(ended.stdout.starts_with("60 images embedded"), "{ended}");
        assert!(coordinator.stderr().contains("the longest silent are sent away"), "{}", coordinator.stderr());
        drop(silent);
        worker.terminate();
        coordinator.terminate();
    }
}
