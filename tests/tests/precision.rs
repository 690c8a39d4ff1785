//! Which kernels compute a job: what the bytes owe to them, and who is given work for them.

use mr_tests::{Coordinator, Scratch, Submit, Worker, assert_same_bytes, drawn, wait_until};
use mr_vision::kernels::{Arithmetic, Kernels};
use std::time::Duration;

/// The sets for that arithmetic that this machine can run, fastest last.
fn names(arithmetic: Arithmetic) -> Vec<&'static str> {
    let sets = Kernels::available().into_iter().filter(|kernels| kernels.arithmetic() == arithmetic);
    sets.map(Kernels::name).collect()
}

fn best_f32() -> &'static str {
    Kernels::f32().name()
}

#[test]
fn one_arithmetic_gives_the_same_bytes_on_all_kernels() {
    let scratch = Scratch::enter("precision: kernels leave no trace in the bytes");
    let photos = drawn(&scratch, "photos", 20, 4);
    let job = |output: &str| Submit::job(&scratch, &photos, output).set("params.components=5");
    let best = job("best").done();
    assert!(best.report.kernel_family.starts_with("f32/"), "{}", best.report.kernel_family);
    for name in names(Arithmetic::F32) {
        assert_same_bytes(&best, &job(name).kernels(name).done());
    }
    let mut fast = Vec::new();
    for name in names(Arithmetic::Bf16x3) {
        fast.push(job(name).kernels(name).set("params.precision=fast").done());
        assert!(fast[0].report.kernel_family.starts_with("bf16x3/"), "{}", fast[0].report.kernel_family);
    }
    if fast.len() == 1 {
        eprintln!("SKIPPED: no AMX here, so nothing to compare its plain definition with");
    }
    for other in &fast[1..] {
        assert_same_bytes(&fast[0], other);
    }
    assert_ne!(fast[0].contents(), best.contents());
    // Those who have both choose the faster when they may.
    let both = format!("{},bf16x3-portable", best_f32());
    assert_same_bytes(&fast[0], &job("auto").kernels(&both).set("params.precision=auto").done());
    assert_same_bytes(&best, &job("not fast").kernels(&both).done());
}

#[test]
fn what_cannot_be_computed_here_is_refused_before_anything_is_read() {
    let scratch = Scratch::enter("precision: refused");
    let job = || Submit::job(&scratch, "no folder", "out");
    let told = ["kernels for f32/", "`params.precision = \"fast\"`", "AMX", "\"auto\""];
    job().kernels(best_f32()).set("params.precision=fast").run().stopped(2, &told);
    let told = ["`MR_KERNELS=abacus`", "no kernels `abacus`", "portable"];
    job().kernels("abacus").run().stopped(2, &told);
    let told = ["`--set params.precision=double`", "\"f32\", \"fast\" or \"auto\""];
    job().set("params.precision=double").run().stopped(2, &told);
    assert!(!scratch.join("out").exists());
}

#[test]
fn a_cluster_gives_work_to_those_who_have_the_kernels() {
    let scratch = Scratch::enter("precision: a mixed cluster");
    let photos = drawn(&scratch, "photos", 40, 5);
    let job = |output: &str| {
        let job = Submit::job(&scratch, &photos, output).set("params.components=5").set("split.objects_max=8");
        job.args(["--json"])
    };
    let here = job("here").kernels("bf16x3-portable").set("params.precision=fast").done();

    let coordinator = Coordinator::start(&scratch, "state", None, &["--unserved-ms", "4000", "--keep-days", "0"]);
    let plain = Worker::start_on(best_f32(), &scratch, &coordinator);
    // With nobody who could, it fails in the end, and says so meanwhile.
    let ended = job("nobody").to(&coordinator).set("params.precision=fast").run();
    let ended = ended.stopped(1, &["no worker in touch has had kernels for it", "f32/", "\"auto\" would take f32"]);
    assert!(ended.stderr.contains("it fails in"), "{ended}");
    assert!(!scratch.join("nobody").exists());

    // One who comes in time is early enough, and the other one is given nothing.
    let mut waiting = job("there").to(&coordinator).set("params.precision=fast").start();
    waiting.until("wait", |submitter| submitter.stderr().contains("it fails in").then_some(()));
    let split = Worker::start_on("bf16x3-portable", &scratch, &coordinator);
    waiting.wait(Duration::from_secs(120)).done();
    let there = mr_tests::Output::open(&scratch.join("there"));
    assert_same_bytes(&here, &there);
    assert_eq!(there.report.workers, 1, "those that had a part in it");

    // Work of both kinds at once.
    let auto = job("auto").to(&coordinator).set("params.precision=auto").start();
    let plainly = job("plain").to(&coordinator).start();
    for running in [auto, plainly] {
        running.wait(Duration::from_secs(120)).done();
    }
    assert_same_bytes(&here, &mr_tests::Output::open(&scratch.join("auto")));
    let alone = job("alone").kernels(best_f32()).done();
    assert_same_bytes(&alone, &mr_tests::Output::open(&scratch.join("plain")));

    wait_until("work files are gone", || {
        let left = std::fs::read_dir(scratch.join("state/work")).map_or(0, |entries| entries.count());
        (left == 0).then_some(())
    });
    plain.terminate();
    split.terminate();
    coordinator.terminate();
}
