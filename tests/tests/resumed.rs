//! A job that was cancelled goes on where it was, submitted again or retried by its id, with the bytes, the books and the
//! files of one that was never stopped.

use mr_tests::{Asks, Cluster, Heir, House, submit};

/// How many files tasks have written since points were armed.
fn work(house: &House) -> usize {
    house.points.seen().iter().filter(|seen| Asks::Work.is(seen)).count()
}

/// Cancels the job once some of it is done, and says how much.
fn cancelled(house: &House, cluster: &mut Cluster<'_>) -> (String, usize) {
    let mut submitter = house.submit(cluster);
    let id = submitter.submitted();
    cluster.until("some of it is done", |_| (work(house) >= 4).then_some(()));
    submit(&house.scratch, ["--coordinator", &cluster.urls(), "cancel", &id]).done();
    cluster.until("the submitter ends", |_| submitter.is_over().then_some(()));
    let ended = house.ended(submitter);
    assert_eq!(ended.code(), Some(1), "{ended}");
    assert!(house.s3.keys(&cluster.output()).iter().all(|key| !key.contains(&id)), "the output is as it was");
    // Attempts that were under way then may still write.
    cluster.until("the workers have let go", |cluster| {
        let shown = submit(&house.scratch, ["--coordinator", &cluster.urls(), "status", &id]).done();
        shown.stdout.contains("cancelled").then_some(())
    });
    (id, work(house))
}

#[test]
fn a_cancelled_job_goes_on_from_what_was_done() {
    let house = House::enter("resumed: after a cancel");
    house.points.arm(&[]);
    let mut cluster = Cluster::start(&house, "whole", Heir::Restarted, &[]);
    let mut submitter = house.submit(&cluster);
    cluster.until("the submitter ends", |_| submitter.is_over().then_some(()));
    house.ended_well(submitter);
    house.holds(cluster);
    let whole = work(&house);

    for retried in [false, true] {
        house.points.arm(&[]);
        let mut cluster = Cluster::start(&house, if retried { "retried" } else { "again" }, Heir::Restarted, &[]);
        let (id, before) = cancelled(&house, &mut cluster);
        if retried {
            let again = submit(&house.scratch, ["--coordinator", &cluster.urls(), "retry", &id]).done();
            assert!(again.stdout.starts_with("96 images embedded, 0 quarantined"), "{again}");
        } else {
            let mut submitter = house.submit(&cluster);
            cluster.until("the submitter ends", |_| submitter.is_over().then_some(()));
            house.ended_well(submitter);
        }
        let after = work(&house) - before;
        house.tell(&format!("{whole} files of work for the whole, {before} before the cancel and {after} after it"));
        assert!(after < whole, "all of it was done again");
        house.holds(cluster);
    }
}
