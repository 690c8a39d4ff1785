//! The scheduler's rules, one story each. The language of the stories is in `script`.

mod script;

use mr_scheduler::Config;
use script::{check, check_with};

const START: &str = "a is listing\nprepare a\na is running\n";

/// A story that begins with job `a` listed, told of what comes after.
#[track_caller]
fn check_listed(listing: &str, story: &str, expected: &str) {
    check(&format!("submit a; {listing}; {story}"), &format!("{START}{expected}"));
}

#[test]
fn a_job_goes_through_its_stages_and_is_committed() {
    check(
        "submit a; poll w1 2; list a 2 features
         done w1 a/0/0#1; done w1 a/0/1#1; show a; done w1 a/1/0#1; done w1 a/2/0#1; done w1 a/2/1#1; show a
         committed a; show a",
        "a is listing
         prepare a
         a is running
         w1 runs a/0/0#1
         w1 runs a/0/1#1
         w1 runs a/1/0#1
         a: embed 2+0/2 fit 0+1/1 project 0+0/2, 20 = 20 + 0, family avx
         w1 runs a/2/0#1
         w1 runs a/2/1#1
         a is committing
         commit a
         a: embed 2+0/2 fit 1+0/1 project 2+0/2, 20 = 20 + 0, family avx
         a is committed
         clean up a
         a: embed 2+0/2 fit 1+0/1 project 2+0/2, 20 = 20 + 0, family avx",
    );
}

#[test]
fn the_same_submission_twice_is_one_job() {
    check(
        "submit a; submit a; list a 1; submit a; list a 3; show a",
        &format!("{START}a: write 0+0/1, 10 = 0 + 0, family open"),
    );
}

#[test]
fn slots_are_filled_from_the_front_and_over_all_workers() {
    check_listed(
        "poll w1 1; poll w2 2; list a 4",
        "done w2 a/0/2#1",
        "
         w1 runs a/0/1#1
         w2 runs a/0/0#1
         w2 runs a/0/2#1
         w2 runs a/0/3#1",
    );
}

#[test]
fn the_deepest_stage_goes_first_and_the_first_job_before_the_second() {
    check(
        "submit b; submit a; list a 1; list b 1 features; poll w1 1; done w1 b/0/0#1; submit c; list c 1
         done w1 b/1/0#1; done w1 b/2/0#1",
        "b is listing
         prepare b
         a is listing
         prepare a
         a is running
         b is running
         w1 runs b/0/0#1
         w1 runs b/1/0#1
         c is listing
         prepare c
         c is running
         w1 runs b/2/0#1
         b is committing
         commit b
         w1 runs a/0/0#1",
    );
}

#[test]
fn an_answer_that_is_lost_is_given_again() {
    check_listed("list a 1", "poll w1 1 deaf; poll w1; poll w1", "w1 runs a/0/0#1");
}

#[test]
fn an_old_poll_changes_nothing() {
    check_listed(
        "list a 2",
        "poll w1 1; poll w1 9 old; show a",
        "
         w1 runs a/0/0#1
         a: write 0+1/2, 20 = 0 + 0, family avx",
    );
}

#[test]
fn a_silent_worker_loses_its_lease_and_nobody_is_charged() {
    check(
        "submit a attempts=1; list a 1; poll w1 1; wait 14s; poll w2 1; wait 1s; ask w1; poll w1",
        &format!(
            "{START}
         w1 runs a/0/0#1
         w1 stops a/0/0#1
         w2 runs a/0/0#2
         w1 is known: false"
        ),
    );
}

#[test]
fn a_poll_renews_what_the_worker_has() {
    check_listed(
        "list a 1",
        "poll w1 1; wait 10s; poll w1; wait 10s; poll w1; wait 14.9s; show a; wait 1s; show a",
        "
         w1 runs a/0/0#1
         a: write 0+1/1, 10 = 0 + 0, family avx
         w1 stops a/0/0#1
         a: write 0+0/1, 10 = 0 + 0, family open",
    );
}

#[test]
fn a_clock_that_goes_back_stands_still() {
    check_listed(
        "list a 1",
        "poll w1 1; wait 10s; back 10s; poll w1; wait 14s; show a",
        "
         w1 runs a/0/0#1
         a: write 0+1/1, 10 = 0 + 0, family avx",
    );
}

#[test]
fn a_late_success_wins_if_it_is_the_first() {
    check_listed(
        "list a 1",
        "poll w1 1; poll w2 1; wait 14s; poll w2; wait 1s; done w1 a/0/0#1",
        "
         w1 runs a/0/0#1
         w1 stops a/0/0#1
         w2 runs a/0/0#2
         a is committing
         commit a
         w2 stops a/0/0#2",
    );
}

#[test]
fn a_second_success_changes_nothing() {
    check_listed(
        "list a 3",
        "poll w1 1 deaf; poll w2 1; wait 14s; poll w2; wait 1s; done w2 a/0/1#1; done w2 a/0/0#2
         done w1 a/0/0#1 rows=3 quarantined=7; poll w1; show a; done w2 a/0/2#1; show a",
        "
         w2 runs a/0/1#1
         w2 runs a/0/0#2
         w2 runs a/0/2#1
         a: write 2+1/3, 30 = 20 + 0, family avx
         a is committing
         commit a
         a: write 3+0/3, 30 = 30 + 0, family avx",
    );
}

#[test]
fn a_success_counts_whoever_brings_it() {
    check_listed(
        "list a 2",
        "poll w1 1; poll w2 1; done w2 a/0/0#1; done w2 a/0/1#1",
        "
         w1 runs a/0/0#1
         w2 runs a/0/1#1
         w1 stops a/0/0#1
         a is committing
         commit a",
    );
}

#[test]
fn a_result_that_is_told_again_is_charged_once() {
    check(
        "submit a attempts=2; list a 1; poll w1 1; poll w1 deaf; fail w1 a/0/0#1 application; poll w1; poll w1; show a",
        &format!(
            "{START}
         w1 runs a/0/0#1
         w1 runs a/0/0#2
         a: write 0+1/1, 10 = 0 + 0, family avx"
        ),
    );
}

#[test]
fn what_was_never_given_cannot_be_done() {
    check_listed(
        "list a 1",
        "poll w1 1; done w1 a/0/0#2; done w1 a/0/7#1; done w1 a/9/0#1; done w1 b/0/0#1; show a",
        "
         w1 runs a/0/0#1
         a: write 0+1/1, 10 = 0 + 0, family avx",
    );
}

#[test]
fn application_failures_are_counted_and_the_last_one_is_told() {
    check(
        "submit a attempts=3; list a 2; poll w1 1; fail w1 a/0/0#1 application; fail w1 a/0/0#2 application
         fail w1 a/0/0#3 application",
        &format!(
            "{START}
         w1 runs a/0/0#1
         w1 runs a/0/0#2
         w1 runs a/0/0#3
         a is failed, application: task 0 of stage `write` has failed 3 times, last on worker w1: it broke
         clean up a"
        ),
    );
}

#[test]
fn a_task_that_failed_goes_to_another_worker() {
    check_listed(
        "list a 2",
        "poll w1 1; poll w2 1; fail w1 a/0/0#1 application; done w2 a/0/1#1",
        "
         w1 runs a/0/0#1
         w2 runs a/0/1#1
         w2 runs a/0/0#2",
    );
}

#[test]
fn failures_for_good_are_not_tried_again() {
    check_listed(
        "list a 2",
        "poll w1 1; poll w2 1; fail w2 a/0/1#1 permanent; poll w1",
        "
         w1 runs a/0/0#1
         w2 runs a/0/1#1
         a is failed, permanent: task 1 of stage `write` has failed for good, last on worker w2: it broke
         clean up a
         w1 stops a/0/0#1",
    );
    check_listed(
        "list a 1",
        "poll w1 1; fail w1 a/0/0#1 refused",
        "
         w1 runs a/0/0#1
         a is failed, refused: task 0 of stage `write` has failed for good, last on worker w1: it broke
         clean up a",
    );
}

#[test]
fn a_store_that_is_away_gets_time_to_come_back() {
    let config = Config { transients_per_attempt: 3, pause_ms: 1000, pause_max_ms: 2000, ..Config::default() };
    check_with(
        config,
        "submit a attempts=1; list a 1; poll w1 1
         fail w1 a/0/0#1 transient; wait 0.9s; show a; wait 0.1s
         fail w1 a/0/0#2 transient; wait 1.9s; show a; wait 0.1s
         fail w1 a/0/0#3 transient",
        &format!(
            "{START}
         w1 runs a/0/0#1
         a: write 0+0/1, 10 = 0 + 0, family avx
         w1 runs a/0/0#2
         a: write 0+0/1, 10 = 0 + 0, family avx
         w1 runs a/0/0#3
         a is failed, transient: task 0 of stage `write` has met 3 transient failures, last on worker w1: it broke
         clean up a"
        ),
    );
}

#[test]
fn a_draining_worker_gets_nothing_new_and_hands_back_uncharged() {
    check(
        "submit a attempts=1; list a 2; poll w1 1; poll w1 1 draining; fail w1 a/0/0#1 lost; poll w1; poll w2 1",
        &format!(
            "{START}
         w1 runs a/0/0#1
         w2 runs a/0/0#2"
        ),
    );
}

#[test]
fn a_draining_worker_may_finish_and_is_gone_with_its_last_result() {
    check_listed(
        "list a 2",
        "poll w1 1; poll w1 draining; ask w1; show a; done w1 a/0/0#1; ask w1; show a",
        "
         w1 runs a/0/0#1
         w1 is known: true
         a: write 0+1/2, 20 = 0 + 0, family avx, waits for avx
         w1 is known: false
         a: write 1+0/2, 20 = 10 + 0, family avx, waits for avx",
    );
}

#[test]
fn a_coordinator_that_stood_still_hears_what_was_said_meanwhile() {
    check_listed(
        "list a 1",
        "poll w1 1; sleep 60s; poll w1; wait 14s; show a; wait 1s; show a; poll w1; sleep 60s; wait 5s; show a",
        "
         w1 runs a/0/0#1
         a: write 0+1/1, 10 = 0 + 0, family avx
         w1 stops a/0/0#1
         a: write 0+0/1, 10 = 0 + 0, family open
         w1 runs a/0/0#2
         w1 stops a/0/0#2
         a: write 0+0/1, 10 = 0 + 0, family open",
    );
}

#[test]
fn an_order_that_a_draining_worker_did_not_get_is_taken_back() {
    check_listed("list a 1", "poll w1 1 deaf; poll w1 draining; poll w2 1", "w2 runs a/0/0#2");
}

#[test]
fn a_task_that_takes_its_workers_down_fails_in_the_end() {
    let config = Config { losses_max: 3, ..Config::default() };
    check_with(
        config,
        "submit a attempts=1; list a 1; poll w1 1; wait 15s; poll w2 1; wait 15s; poll w3 1; wait 15s",
        &format!(
            "{START}
         w1 runs a/0/0#1
         w1 stops a/0/0#1
         w2 runs a/0/0#2
         w2 stops a/0/0#2
         w3 runs a/0/0#3, a probe of 0..5
         a is failed, workerlost: task 0 of stage `write` has lost its worker 3 times, the last one w3
         clean up a
         w3 stops a/0/0#3"
        ),
    );
}

#[test]
fn orders_ahead_leave_a_wave_for_the_others() {
    // Three slots at the other worker: with four tasks left it may take one ahead, and no more.
    check_listed(
        "poll w1 1+3; poll w2 3; list a 8",
        "show a; done w2 a/0/1#1",
        "
         w1 runs a/0/2#1
         w1 runs a/0/4#1
         w2 runs a/0/0#1
         w2 runs a/0/1#1
         w2 runs a/0/3#1
         a: write 0+5/8, 80 = 0 + 0, family avx
         w2 runs a/0/5#1",
    );
    // Alone, there is nobody to leave anything for.
    check_listed(
        "poll w1 1+2; list a 4",
        "show a",
        "
         w1 runs a/0/0#1
         w1 runs a/0/1#1
         w1 runs a/0/2#1
         a: write 0+3/4, 40 = 0 + 0, family avx",
    );
}

#[test]
fn a_job_is_bound_to_the_kernels_that_began_it() {
    check_listed(
        "list a 3",
        "poll w1 1; poll w2 1 family=neon; done w1 a/0/0#1; wait 14s; poll w2; wait 1s; show a",
        "
         w1 runs a/0/0#1
         w1 runs a/0/1#1
         w1 stops a/0/1#1
         a: write 1+0/3, 30 = 10 + 0, family avx, waits for avx, turns 1 away",
    );
}

#[test]
fn a_job_with_nothing_done_may_begin_again_elsewhere() {
    check_listed(
        "list a 2",
        "poll w1 1; poll w2 1 family=neon; wait 14s; poll w2; wait 1s; done w1 a/0/0#1; show a",
        "
         w1 runs a/0/0#1
         w1 stops a/0/0#1
         w2 runs a/0/0#2
         a: write 0+1/2, 20 = 0 + 0, family neon, turns 1 away",
    );
}

#[test]
fn a_job_gets_the_kernels_that_it_would_rather_have() {
    let story = "submit a wish=tiles,avx; poll w1 4; poll w2 1 family=avx,tiles; list a 2; ask w2; show a";
    check(
        story,
        "a is listing
         prepare a
         a is running
         w2 runs a/0/0#1
         w2 is known: true
         a: write 0+1/2, 20 = 0 + 0, family tiles, turns 1 away",
    );
}

#[test]
fn without_a_wish_a_worker_uses_its_first_kernels() {
    check(
        "submit a; poll w1 1 family=avx,tiles; list a 1; show a",
        "a is listing
         prepare a
         a is running
         w1 runs a/0/0#1
         a: write 0+1/1, 10 = 0 + 0, family avx",
    );
}

#[test]
fn a_job_is_for_workers_that_have_its_code_and_its_kernels() {
    check(
        "submit a wish=tiles,avx; poll w1 1 family=avx; poll w2 1 family=tiles,avx; poll w3 1 family=neon; \
         poll w4 1 jobs=other.1; takers a; list a 1; takers a",
        "a is listing
         prepare a
         a is for w1 w2
         a is running
         w2 runs a/0/0#1
         a is for w2",
    );
}

#[test]
fn what_nobody_has_kernels_for_fails_when_others_have_been_in_touch_for_long() {
    let config = Config { unserved_ms: 20_000, ..Config::default() };
    check_with(
        config.clone(),
        "submit a wish=tiles; list a 1; wait 60s; poll w1 1; wait 10s; poll w1; wait 9s; poll w1; show a; wait 1s",
        "a is listing
         prepare a
         a is running
         a: write 0+0/1, 10 = 0 + 0, family open, waits for kernels
         a is failed, permanent: for 20 s no worker in touch has had kernels for it, only `avx`: it wishes so
         clean up a",
    );
    // One that comes in time is early enough.
    check_with(
        config,
        "submit a wish=tiles; list a 1; poll w1 1; wait 10s; poll w1; poll w2 1 family=tiles/x; wait 14s; poll w1; poll w2; \
         wait 14s; show a",
        "a is listing
         prepare a
         a is running
         w2 runs a/0/0#1
         a: write 0+1/1, 10 = 0 + 0, family tiles/x, turns 1 away",
    );
}

#[test]
fn a_job_that_has_begun_waits_for_its_kernels_and_gives_up_too() {
    let config = Config { unserved_ms: 20_000, ..Config::default() };
    check_with(
        config,
        "submit a; poll w1 1; list a 2; done w1 a/0/0#1; wait 14s; poll w2 1 family=neon; wait 1s; wait 10s; poll w2; \
         wait 9s; poll w2; wait 1s",
        "a is listing
         prepare a
         a is running
         w1 runs a/0/0#1
         w1 runs a/0/1#1
         w1 stops a/0/1#1
         a is failed, permanent: the job began on kernel family `avx`, and for 20 s no worker in touch has had it, only \
         `neon`; start one that has it and submit the job again
         clean up a",
    );
}

#[test]
fn with_nobody_in_touch_a_job_waits_for_ever() {
    // The only worker in touch is lost when the job would give up.
    let config = Config { unserved_ms: 15_000, ..Config::default() };
    check_with(
        config,
        "submit a wish=tiles; list a 1; poll w1 1; wait 15s; wait 900s; show a",
        "a is listing
         prepare a
         a is running
         a: write 0+0/1, 10 = 0 + 0, family open",
    );
}

#[test]
fn a_coordinator_that_stood_still_does_not_give_up_before_it_has_listened() {
    let config = Config { unserved_ms: 12_000, ..Config::default() };
    check_with(
        config,
        "submit a wish=tiles; list a 1; poll w1 1; sleep 40s; poll w2 1 family=tiles; show a",
        "a is listing
         prepare a
         a is running
         w2 runs a/0/0#1
         a: write 0+1/1, 10 = 0 + 0, family tiles, turns 1 away",
    );
}

#[test]
fn results_of_other_kernels_do_not_count() {
    check(
        "submit a attempts=2; poll w1 1 family=avx,tiles; list a 1; done w1 a/0/0#1 family=tiles; show a; \
         done w1 a/0/0#2 family=tiles",
        "a is listing
         prepare a
         a is running
         w1 runs a/0/0#1
         w1 runs a/0/0#2
         a: write 0+1/1, 10 = 0 + 0, family avx
         a is failed, application: task 0 of stage `write` has failed 2 times, last on worker w1: its kernels were `tiles` and \
         not `avx`
         clean up a",
    );
}

#[test]
fn the_family_with_most_slots_begins() {
    check_listed(
        "poll w1 1; poll w2 2 family=neon; list a 2",
        "show a",
        "
         w2 runs a/0/0#1
         w2 runs a/0/1#1
         a: write 0+2/2, 20 = 0 + 0, family neon, turns 1 away",
    );
}

#[test]
fn outputs_that_do_not_add_up_are_failures_of_the_application() {
    check(
        "submit a attempts=2; list a 1; poll w1 1; done w1 a/0/0#1 records=9; done w1 a/0/0#2 rows=9",
        &format!(
            "{START}
         w1 runs a/0/0#1
         w1 runs a/0/0#2
         a is failed, application: task 0 of stage `write` has failed 2 times, last on worker w1: \
         the books of its output are wrong: it reports 10 records, but 9 rows and 0 quarantined
         clean up a"
        ),
    );
    check(
        "submit a attempts=1; list a 1 features; poll w1 1; done w1 a/0/0#1; done w1 a/1/0#1; done w1 a/2/0#1 records=11",
        &format!(
            "{START}
         w1 runs a/0/0#1
         w1 runs a/1/0#1
         w1 runs a/2/0#1
         a is failed, application: task 0 of stage `project` has failed once, last on worker w1: \
         the books of its output are wrong: it reports 11 records, but what it reads has 10 rows
         clean up a"
        ),
    );
}

#[test]
fn quarantined_objects_are_in_the_books() {
    check_listed(
        "list a 2 features",
        "poll w1 2; done w1 a/0/0#1 quarantined=2; done w1 a/0/1#1; done w1 a/1/0#1
         done w1 a/2/0#1; done w1 a/2/1#1; show a",
        "
         w1 runs a/0/0#1
         w1 runs a/0/1#1
         w1 runs a/1/0#1
         w1 runs a/2/0#1
         w1 runs a/2/1#1
         a is committing
         commit a
         a: embed 2+0/2 fit 1+0/1 project 2+0/2, 20 = 18 + 2, family avx",
    );
}

#[test]
fn books_are_open_until_all_that_is_listed_is_embedded_or_set_aside_and_again_when_that_is_lost() {
    check(
        "submit a; books a; list a 2 features; poll w1 2; done w1 a/0/0#1; books a; done w1 a/0/1#1 quarantined=1; books a
         poll w2 1; fail w1 a/1/0#1 application lost=a/0/0#1; fail w2 a/1/0#2 application lost=a/0/0#1; books a
         done w1 a/0/0#2; books a",
        "a is listing
         prepare a
         a's books are open
         a is running
         w1 runs a/0/0#1
         w1 runs a/0/1#1
         a's books are open
         w1 runs a/1/0#1
         a's books are closed
         w2 runs a/1/0#2
         w1 runs a/0/0#2
         a's books are open
         w1 runs a/1/0#3
         a's books are closed",
    );
}

#[test]
fn too_many_quarantined_fail_the_job_with_the_first_reasons() {
    check(
        "submit a share=0.05; list a 4; poll w1 1; done w1 a/0/0#1 quarantined=2; done w1 a/0/1#1 quarantined=1",
        &format!(
            "{START}
         w1 runs a/0/0#1
         w1 runs a/0/1#1
         a is failed, permanent: 3 of 40 listed objects are quarantined, more than limits.quarantine_share_max = 0.05 allows (raise it to go on without them): \
         0-0.jpg (undecodable: no marker); 0-1.jpg (undecodable: no marker); 1-0.jpg (undecodable: no marker)
         clean up a"
        ),
    );
}

#[test]
fn a_job_that_cannot_be_carried_out_fails_unless_it_commits() {
    check_listed(
        "list a 1",
        "poll w1 1; broken a; broken a; done w1 a/0/0#1",
        "
         w1 runs a/0/0#1
         a is failed, permanent: it can't be
         clean up a
         w1 stops a/0/0#1",
    );
    check_listed(
        "list a 1",
        "poll w1 1; done w1 a/0/0#1; broken a; committed a; broken a",
        "
         w1 runs a/0/0#1
         a is committing
         commit a
         a is committed
         clean up a",
    );
}

#[test]
fn a_job_can_be_cancelled_until_it_commits() {
    check(
        "submit a; cancel a; list a 1; cancel a",
        "
         a is listing
         prepare a
         a is cancelled
         clean up a
         clean up a",
    );
    check_listed(
        "list a 1",
        "poll w1 1; cancel a; done w1 a/0/0#1; list a 1",
        "
         w1 runs a/0/0#1
         a is cancelled
         clean up a
         w1 stops a/0/0#1",
    );
    check_listed(
        "list a 1",
        "poll w1 1; done w1 a/0/0#1; cancel a; committed a; cancel a; committed a; uncommitted a",
        "
         w1 runs a/0/0#1
         a is committing
         commit a
         a is committed
         clean up a",
    );
}

#[test]
fn a_commit_that_fails_fails_the_job() {
    check_listed(
        "list a 1",
        "committed a; poll w1 1; done w1 a/0/0#1; uncommitted a; committed a",
        "
         w1 runs a/0/0#1
         a is committing
         commit a
         a is failed, permanent: the table has changed
         clean up a",
    );
}

#[test]
fn an_input_that_can_not_be_worked_on_ends_the_job() {
    check(
        "submit a; list a 0",
        "
         a is listing
         prepare a
         a is failed, refused: the input holds no object for this job
         clean up a",
    );
    check(
        "submit a; list a fails; list a 3",
        "
         a is listing
         prepare a
         a is failed, refused: there is no such folder
         clean up a
         clean up a",
    );
    check(
        "submit a; list a wrong",
        "
         a is listing
         prepare a
         a is failed, permanent: stage `write` maps 3 splits, but the listing has 2
         clean up a",
    );
}

#[test]
fn only_so_many_ended_jobs_are_remembered() {
    check_with(
        Config { finished_jobs_kept: 1, ..Config::default() },
        "submit a; submit b; cancel a; cancel b",
        "
         a is listing
         prepare a
         b is listing
         prepare b
         a is cancelled
         clean up a
         b is cancelled
         a is forgotten
         clean up b",
    );
}

#[test]
fn a_worker_without_slots_is_only_known() {
    check_listed(
        "list a 1",
        "poll w1 0+3; ask w1; show a",
        "
         w1 is known: true
         a: write 0+0/1, 10 = 0 + 0, family open",
    );
}

#[test]
fn a_straggler_gets_one_backup_on_another_worker_when_nothing_is_left_to_give() {
    // Two of three are done in a second each; the third takes four times as long.
    check_listed(
        "poll w1 2; poll w2 1; list a 3",
        "wait 1s; done w1 a/0/0#1; done w2 a/0/2#1; wait 3s; poll w1; poll w2; done w2 a/0/1#2; poll w1",
        "
         w1 runs a/0/0#1
         w1 runs a/0/1#1
         w2 runs a/0/2#1
         w2 runs a/0/1#2
         a is committing
         commit a
         w1 stops a/0/1#1",
    );
}

#[test]
fn what_a_slow_worker_has_is_backed_up_at_once_and_its_queue_too() {
    // w1 takes five seconds for what w2 does in one. At the end it has one in its slot and one in its queue.
    check_listed(
        "poll w1 1+1; poll w2 1; list a 9",
        "wait 1s; done w2 a/0/1#1; wait 1s; done w2 a/0/3#1; wait 1s; done w2 a/0/4#1; wait 1s; done w2 a/0/5#1
         wait 1s; done w1 a/0/0#1; done w2 a/0/6#1; wait 1s; done w2 a/0/8#1; done w2 a/0/2#2; done w2 a/0/7#2",
        "
         w1 runs a/0/0#1
         w1 runs a/0/2#1
         w2 runs a/0/1#1
         w2 runs a/0/3#1
         w2 runs a/0/4#1
         w2 runs a/0/5#1
         w2 runs a/0/6#1
         w1 runs a/0/7#1
         w2 runs a/0/8#1
         w2 runs a/0/2#2
         w1 stops a/0/2#1
         w2 runs a/0/7#2
         a is committing
         commit a
         w1 stops a/0/7#1",
    );
}

#[test]
fn a_straggler_that_ends_first_wins_and_its_backup_is_stopped() {
    check_listed(
        "poll w1 2; poll w2 1; list a 3",
        "wait 1s; done w1 a/0/0#1; done w2 a/0/2#1; wait 3s; poll w2; done w1 a/0/1#1; poll w2",
        "
         w1 runs a/0/0#1
         w1 runs a/0/1#1
         w2 runs a/0/2#1
         w2 runs a/0/1#2
         a is committing
         commit a
         w2 stops a/0/1#2",
    );
}

#[test]
fn when_one_of_two_attempts_is_lost_the_other_goes_on() {
    check_listed(
        "poll w1 2; poll w2 1; list a 3",
        "wait 1s; done w1 a/0/0#1; done w2 a/0/2#1; wait 3s; poll w2; wait 12s; poll w2; show a; done w2 a/0/1#2",
        "
         w1 runs a/0/0#1
         w1 runs a/0/1#1
         w2 runs a/0/2#1
         w2 runs a/0/1#2
         w1 stops a/0/1#1
         a: write 2+1/3, 30 = 20 + 0, family avx
         a is committing
         commit a",
    );
}

#[test]
fn a_worker_that_fails_much_is_set_aside_unless_it_is_the_only_one() {
    check_listed(
        "list a 5; poll w1 1",
        "fail w1 a/0/0#1 application; fail w1 a/0/0#2 application; poll w2 1
         fail w1 a/0/0#3 application; mark aside; wait 10s; poll w1; poll w2; wait 10s; poll w1; poll w2
         wait 9s; poll w1; mark 29 s; wait 1s; poll w1",
        "
         w1 runs a/0/0#1
         w1 runs a/0/0#2
         w1 runs a/0/0#3
         w2 runs a/0/1#1
         aside
         29 s
         w1 runs a/0/2#1",
    );
    // Alone it never is.
    check_listed(
        "list a 5; poll w1 1",
        "fail w1 a/0/0#1 application; fail w1 a/0/0#2 application; fail w1 a/0/0#3 application; mark on",
        "
         w1 runs a/0/0#1
         w1 runs a/0/0#2
         w1 runs a/0/0#3
         w1 runs a/0/0#4
         on",
    );
}

#[test]
fn a_straggler_gets_its_backup_when_it_is_time_though_nobody_says_anything() {
    check_listed(
        "poll w1 2; poll w2 1; list a 3",
        "wait 1s; done w1 a/0/0#1; done w2 a/0/2#1; mark 1 s; wait 0.9s; mark 1.9 s; wait 0.1s; mark 2 s",
        "
         w1 runs a/0/0#1
         w1 runs a/0/1#1
         w2 runs a/0/2#1
         1 s
         1.9 s
         w2 runs a/0/1#2
         2 s",
    );
}

#[test]
fn with_no_other_worker_a_second_attempt_of_the_same_one_is_a_second_opinion() {
    check_listed(
        "list a 1; poll w1 1",
        "fail w1 a/0/0#1 application blames=0-0.jpg; fail w1 a/0/0#2 application blames=0-0.jpg",
        "
         w1 runs a/0/0#1
         w1 runs a/0/0#2
         w1 runs a/0/0#3 without 1",
    );
    // The same attempt, told again, is none; and with another worker the same one is not enough.
    check(
        "submit a attempts=2; list a 1; poll w1 1; poll w2 1; fail w1 a/0/0#1 application blames=0-0.jpg
         fail w2 a/0/0#2 transient; wait 1s; poll w1; fail w1 a/0/0#3 application blames=0-0.jpg
         fail w2 a/0/0#4 application",
        &format!(
            "{START}
         w1 runs a/0/0#1
         w2 runs a/0/0#2
         w1 runs a/0/0#3
         w2 runs a/0/0#4
         a is failed, application: task 0 of stage `write` has failed 2 times, last on worker w2: it broke
         clean up a"
        ),
    );
}

#[test]
fn what_is_known_of_one_record_says_nothing_of_another() {
    check_listed(
        "list a 1; poll w1 1; poll w2 1",
        "fail w1 a/0/0#1 application blames=0-0.jpg; fail w2 a/0/0#2 application blames=0-0.jpg
         done w1 a/0/0#3 changed=2; show a; done w2 a/0/0#4 changed=2",
        "
         w1 runs a/0/0#1
         w2 runs a/0/0#2
         w1 runs a/0/0#3 without 1
         w2 runs a/0/0#4 without 1
         a: write 0+1/1, 10 = 0 + 0, family avx
         a is committing
         commit a",
    );
}

#[test]
fn the_only_worker_is_believed_when_it_says_so_twice() {
    check_listed(
        "list a 1; poll w1 1",
        "done w1 a/0/0#1 changed=1; show a; done w1 a/0/0#2 changed=1",
        "
         w1 runs a/0/0#1
         w1 runs a/0/0#2
         a: write 0+1/1, 10 = 0 + 0, family avx
         a is committing
         commit a",
    );
}

#[test]
fn what_another_job_has_made_is_taken_over_if_it_fits() {
    check_listed(
        "poll w1 1; list a 3",
        "found a/0/1 family=neon; found a/0/1 records=9; show a; found a/0/1; found a/0/0; show a; found a/0/1; done w1 a/0/2#1",
        "
         w1 runs a/0/0#1
         a: write 0+1/3, 30 = 0 + 0, family avx
         w1 stops a/0/0#1
         w1 runs a/0/2#1
         a: write 2+1/3, 30 = 20 + 0, family avx
         a is committing
         commit a",
    );
}

#[test]
fn a_probe_waits_for_a_worker_that_has_left_everything() {
    check_listed(
        "list a 1; poll w1 1",
        "wait 15s; poll w2 1; wait 15s; poll w3 1 lingers; mark it is still at something; poll w3 1",
        "
         w1 runs a/0/0#1
         w1 stops a/0/0#1
         w2 runs a/0/0#2
         w2 stops a/0/0#2
         it is still at something
         w3 runs a/0/0#3, a probe of 0..5",
    );
}

#[test]
fn want_of_memory_has_a_budget_of_its_own() {
    check(
        "submit a attempts=1; list a 1; poll w1 1; fail w1 a/0/0#1 memory; wait 0.2s; mark 0.2 s; wait 0.1s
         fail w1 a/0/0#2 transient; wait 1s; fail w1 a/0/0#3 memory; wait 2s; fail w1 a/0/0#4 memory",
        &format!(
            "{START}
         w1 runs a/0/0#1
         0.2 s
         w1 runs a/0/0#2
         w1 runs a/0/0#3
         w1 runs a/0/0#4
         a is failed, outofmemory: task 0 of stage `write` was given up 3 times for want of memory, last on worker w1: it broke
         clean up a"
        ),
    );
}

#[test]
fn a_record_that_two_workers_blame_is_condemned_and_costs_no_attempt() {
    check_listed(
        "list a 1; poll w1 1; poll w2 1",
        "fail w1 a/0/0#1 application blames=0-0.jpg; fail w2 a/0/0#2 application blames=0-0.jpg; done w1 a/0/0#3 changed=1",
        "
         w1 runs a/0/0#1
         w2 runs a/0/0#2
         w1 runs a/0/0#3 without 1
         a is committing
         commit a",
    );
}

#[test]
fn what_one_worker_says_of_a_changed_object_another_has_to_see() {
    check_listed(
        "list a 1; poll w1 1; poll w2 1",
        "done w1 a/0/0#1 changed=1; show a; done w2 a/0/0#2 changed=1; show a",
        "
         w1 runs a/0/0#1
         w2 runs a/0/0#2
         a: write 0+1/1, 10 = 0 + 0, family avx
         a is committing
         commit a
         a: write 1+0/1, 10 = 9 + 1, family avx",
    );
}

#[test]
fn a_record_that_kills_its_workers_is_found_by_halving_and_condemned_alone() {
    // The seventh of ten. Each worker dies of what it was given last.
    check_listed(
        "list a 1; poll w1 1",
        "wait 15s; poll w2 1; wait 15s
         poll w3 1; done w3 a/0/0#3 probed; wait 15s
         poll w4 1; wait 15s; poll w5 1; done w5 a/0/0#6 probed; wait 15s
         poll w6 1; poll w7 1; wait 15s; poll w8 1; done w8 a/0/0#9 quarantined=1",
        "
         w1 runs a/0/0#1
         w1 stops a/0/0#1
         w2 runs a/0/0#2
         w2 stops a/0/0#2
         w3 runs a/0/0#3, a probe of 0..5
         w3 runs a/0/0#4, a probe of 5..8
         w3 stops a/0/0#4
         w4 runs a/0/0#5, a probe of 5..7
         w4 stops a/0/0#5
         w5 runs a/0/0#6, a probe of 5..6
         w5 runs a/0/0#7, a probe of 6..7
         w5 stops a/0/0#7
         w6 runs a/0/0#8, a probe of 6..7
         w6 stops a/0/0#8
         w8 runs a/0/0#9 without 1
         a is committing
         commit a",
    );
}

#[test]
fn a_worker_that_comes_back_was_not_killed_by_what_it_had() {
    // Twice lost and twice back: nothing is suspected.
    check_listed(
        "list a 1; poll w1 1",
        "wait 15s; poll w1; wait 15s; poll w1",
        "
         w1 runs a/0/0#1
         w1 stops a/0/0#1
         w1 runs a/0/0#2
         w1 stops a/0/0#2
         w1 runs a/0/0#3",
    );
    // One that was lost on the first record comes back, and two more have to be lost on it.
    check_listed(
        "list a 1; poll w1 1",
        "wait 15s; poll w2 1; wait 15s; poll w3 1; wait 15s; poll w4 1; wait 15s; poll w5 1; wait 15s
         poll w6 1; wait 15s; poll w6 1; wait 15s; poll w7 1; wait 15s; poll w8 1",
        "
         w1 runs a/0/0#1
         w1 stops a/0/0#1
         w2 runs a/0/0#2
         w2 stops a/0/0#2
         w3 runs a/0/0#3, a probe of 0..5
         w3 stops a/0/0#3
         w4 runs a/0/0#4, a probe of 0..3
         w4 stops a/0/0#4
         w5 runs a/0/0#5, a probe of 0..2
         w5 stops a/0/0#5
         w6 runs a/0/0#6, a probe of 0..1
         w6 stops a/0/0#6
         w6 runs a/0/0#7, a probe of 0..1
         w6 stops a/0/0#7
         w7 runs a/0/0#8, a probe of 0..1
         w7 stops a/0/0#8
         w8 runs a/0/0#9 without 1",
    );
}

#[test]
fn one_who_hears_of_a_successor_is_doubted() {
    check_listed(
        "poll w1 1; list a 1",
        "done w1 a/0/0#2.1; show a; done w1 a/0/0#1",
        "
         w1 runs a/0/0#1
         it is doubted
         a: write 0+1/1, 10 = 0 + 0, family avx
         a is committing
         commit a",
    );
}

#[test]
fn a_new_coordinator_commits_again_what_was_being_committed_and_cleans_up_what_has_ended() {
    check_listed(
        "list a 1; poll w1 1",
        "done w1 a/0/0#1; restart; committed a; restart",
        "
         w1 runs a/0/0#1
         a is committing
         commit a
         commit a
         a is committed
         clean up a
         clean up a",
    );
}

#[test]
fn what_was_taken_up_and_is_no_longer_held_is_begun_anew_under_another_number() {
    check_listed(
        "list a 1; poll w1 1",
        "restart; poll w1; drops w1 a/0/0#1; poll w1; done w1 a/0/0#2.1",
        "
         w1 runs a/0/0#1
         w1 runs a/0/0#2.1
         a is committing
         commit a",
    );
}

#[test]
fn a_probe_that_ends_otherwise_is_tried_again_and_one_of_a_coordinator_before_shows_nothing() {
    check_listed(
        "list a 1; poll w1 1",
        "wait 15s; poll w2 1; wait 15s; poll w3 1; fail w3 a/0/0#3 transient; wait 1s; poll w3
         restart; poll w3; done w3 a/0/0#4 probed; done w3 a/0/0#2.1",
        "
         w1 runs a/0/0#1
         w1 stops a/0/0#1
         w2 runs a/0/0#2
         w2 stops a/0/0#2
         w3 runs a/0/0#3, a probe of 0..5
         w3 runs a/0/0#4, a probe of 0..5
         w3 runs a/0/0#2.1
         a is committing
         commit a",
    );
}

#[test]
fn a_new_coordinator_takes_up_all_that_a_worker_holds_though_it_would_take_less_now() {
    check_listed(
        "list a 3; poll w1 3",
        "restart; poll w1 1; show a; done w1 a/0/0#1; done w1 a/0/1#1; show a; done w1 a/0/2#1",
        "
         w1 runs a/0/0#1
         w1 runs a/0/1#1
         w1 runs a/0/2#1
         a: write 0+3/3, 30 = 0 + 0, family avx
         a: write 2+1/3, 30 = 20 + 0, family avx
         a is committing
         commit a",
    );
}

#[test]
fn kernels_that_a_worker_would_not_use_by_itself_are_for_those_who_wish_for_them() {
    check_listed(
        "list a 1; poll w1 1 family=neon,avx; show a",
        "",
        "
         w1 runs a/0/0#1
         a: write 0+1/1, 10 = 0 + 0, family neon",
    );
}

#[test]
fn a_new_coordinator_goes_on_with_what_is_written_and_what_is_held() {
    check_listed(
        "poll w1 2; list a 2 features",
        "done w1 a/0/0#1; restart; show a; poll w1; show a; done w1 a/0/1#1; poll w1",
        "
         w1 runs a/0/0#1
         w1 runs a/0/1#1
         a: embed 1+0/2 fit 0+0/1 project 0+0/2, 20 = 10 + 0, family avx, waits for avx
         a: embed 1+1/2 fit 0+0/1 project 0+0/2, 20 = 10 + 0, family avx
         w1 runs a/1/0#2.1",
    );
}

/// `a` has embedded two splits, and two workers have what comes next.
const EMBEDDED: &str = "list a 2 features; poll w1 1; poll w2 1; done w1 a/0/0#1; done w2 a/0/1#1";

#[test]
fn a_file_that_two_workers_miss_is_made_again_and_what_waits_for_it_waits() {
    check_listed(
        EMBEDDED,
        "fail w1 a/1/0#1 application lost=a/0/1#1; mark one misses it; fail w2 a/1/0#2 application lost=a/0/1#1; show a
         done w1 a/0/1#2; show a; done w1 a/1/0#3; done w1 a/2/0#1; done w2 a/2/1#1; committed a",
        "
         w1 runs a/0/0#1
         w2 runs a/0/1#1
         w1 runs a/1/0#1
         w2 runs a/1/0#2
         one misses it
         w1 runs a/0/1#2
         a: embed 1+1/2 fit 0+0/1 project 0+0/2, 20 = 10 + 0, family avx
         w1 runs a/1/0#3
         a: embed 2+0/2 fit 0+1/1 project 0+0/2, 20 = 20 + 0, family avx
         w1 runs a/2/0#1
         w2 runs a/2/1#1
         a is committing
         commit a
         a is committed
         clean up a",
    );
}

#[test]
fn a_file_that_one_of_two_workers_misses_is_not() {
    check_listed(
        EMBEDDED,
        "fail w1 a/1/0#1 application lost=a/0/0#1,a/0/1#1; done w2 a/1/0#2; show a
         fail w1 a/2/0#1 application lost=a/0/0#1; show a",
        "
         w1 runs a/0/0#1
         w2 runs a/0/1#1
         w1 runs a/1/0#1
         w2 runs a/1/0#2
         w1 runs a/2/0#1
         w2 runs a/2/1#1
         a: embed 2+0/2 fit 1+0/1 project 0+2/2, 20 = 20 + 0, family avx
         a: embed 2+0/2 fit 1+0/1 project 0+1/2, 20 = 20 + 0, family avx",
    );
}

#[test]
fn what_is_missed_by_a_worker_alone_is_made_again_after_its_second_try_and_what_nobody_made_is_the_tasks_own_failure() {
    check(
        "submit a attempts=2; list a 1 features; poll w1 1; done w1 a/0/0#1
         fail w1 a/1/0#1 application lost=a/0/0#1; fail w1 a/1/0#2 application lost=a/0/0#1; show a; done w1 a/0/0#2
         fail w1 a/1/0#3 application lost=a/0/0#1; fail w1 a/1/0#4 application lost=nobody's",
        &format!(
            "{START}
         w1 runs a/0/0#1
         w1 runs a/1/0#1
         w1 runs a/1/0#2
         w1 runs a/0/0#2
         a: embed 0+1/1 fit 0+0/1 project 0+0/1, 10 = 0 + 0, family avx
         w1 runs a/1/0#3
         w1 runs a/1/0#4
         a is failed, application: task 0 of stage `fit` has failed 2 times, last on worker w1: it broke
         clean up a"
        ),
    );
}

#[test]
fn what_is_lost_as_often_as_a_task_may_be_tried_fails_the_job() {
    check(
        "submit a attempts=2; list a 1 features; poll w1 1; done w1 a/0/0#1
         fail w1 a/1/0#1 application lost=a/0/0#1; fail w1 a/1/0#2 application lost=a/0/0#1; done w1 a/0/0#2
         fail w1 a/1/0#3 application lost=a/0/0#2; fail w1 a/1/0#4 application lost=a/0/0#2",
        &format!(
            "{START}
         w1 runs a/0/0#1
         w1 runs a/1/0#1
         w1 runs a/1/0#2
         w1 runs a/0/0#2
         w1 runs a/1/0#3
         w1 runs a/1/0#4
         a is failed, application: what task 0 of stage `embed` wrote has been lost 2 times, the last time: it broke
         clean up a"
        ),
    );
}

#[test]
fn attempts_that_read_what_is_to_be_made_again_are_stopped_and_not_believed_later() {
    check_listed(
        "list a 2 features; poll w1 2; poll w2 1; done w1 a/0/0#1; done w1 a/0/1#1; done w1 a/1/0#1",
        "fail w1 a/2/0#1 application lost=a/1/0#1; fail w2 a/2/0#2 application lost=a/1/0#1; done w1 a/2/1#1; show a
         done w1 a/1/0#2; show a",
        "
         w1 runs a/0/0#1
         w1 runs a/0/1#1
         w1 runs a/1/0#1
         w1 runs a/2/0#1
         w1 runs a/2/1#1
         w2 runs a/2/0#2
         w1 stops a/2/1#1
         w1 runs a/1/0#2
         a: embed 2+0/2 fit 0+1/1 project 0+0/2, 20 = 20 + 0, family avx
         w1 runs a/2/0#3
         w1 runs a/2/1#2
         a: embed 2+0/2 fit 1+0/1 project 0+2/2, 20 = 20 + 0, family avx",
    );
}

#[test]
fn a_commit_that_misses_a_part_waits_until_it_is_made_again() {
    check_listed(
        "list a 2; poll w1 2; done w1 a/0/0#1; done w1 a/0/1#1",
        "uncommitted a lost=a/0/1#1; show a; committed a round=1; mark that one is over; done w1 a/0/1#2
         uncommitted a round=1; mark told twice; committed a",
        "
         w1 runs a/0/0#1
         w1 runs a/0/1#1
         a is committing
         commit a
         a is running
         w1 runs a/0/1#2
         a: write 1+1/2, 20 = 10 + 0, family avx
         that one is over
         a is committing
         commit a
         told twice
         a is committed
         clean up a",
    );
    check_listed(
        "list a 1; poll w1 1; done w1 a/0/0#1",
        "uncommitted a lost=nobody's",
        "
         w1 runs a/0/0#1
         a is committing
         commit a
         a is failed, permanent: the table has changed
         clean up a",
    );
}

#[test]
fn what_comes_to_something_else_takes_with_it_what_was_made_of_the_first() {
    let before = "list a 2 features; poll w1 1; poll w2 1; done w1 a/0/0#1; done w2 a/0/1#1; done w1 a/1/0#1
         fail w1 a/2/0#1 application lost=a/0/0#1; fail w2 a/2/1#1 application; fail w2 a/2/0#2 application lost=a/0/0#1";
    let told = "
         w1 runs a/0/0#1
         w2 runs a/0/1#1
         w1 runs a/1/0#1
         w1 runs a/2/0#1
         w2 runs a/2/1#1
         w1 runs a/2/1#2
         w2 runs a/2/0#2
         w2 runs a/0/0#2";
    // The same again: what was made of the first stays.
    check_listed(
        before,
        "done w2 a/0/0#2; show a",
        &format!(
            "{told}
         w2 runs a/2/0#3
         a: embed 2+0/2 fit 1+0/1 project 0+2/2, 20 = 20 + 0, family avx"
        ),
    );
    check_listed(
        before,
        "done w2 a/0/0#2 quarantined=1; show a; done w1 a/1/0#2; done w1 a/2/0#3 rows=9; done w2 a/2/1#3; show a",
        &format!(
            "{told}
         w1 stops a/2/1#2
         w1 runs a/1/0#2
         a: embed 2+0/2 fit 0+1/1 project 0+0/2, 20 = 19 + 1, family avx
         w1 runs a/2/0#3
         w2 runs a/2/1#3
         a is committing
         commit a
         a: embed 2+0/2 fit 1+0/1 project 2+0/2, 20 = 19 + 1, family avx"
        ),
    );
}

#[test]
fn what_is_to_be_made_again_is_so_under_the_next_coordinator_too() {
    let before = "list a 2 features; poll w1 1; poll w2 1; done w1 a/0/0#1; done w2 a/0/1#1; done w1 a/1/0#1
         done w1 a/2/0#1; fail w2 a/2/1#1 application lost=a/0/1#1; fail w1 a/2/1#2 application lost=a/0/1#1; show a";
    let told = "
         w1 runs a/0/0#1
         w2 runs a/0/1#1
         w1 runs a/1/0#1
         w1 runs a/2/0#1
         w2 runs a/2/1#1
         w1 runs a/2/1#2
         w1 runs a/0/1#2
         a: embed 1+1/2 fit 1+0/1 project 1+0/2, 20 = 10 + 0, family avx
         w1 runs a/2/1#EPOCH.1
         a: embed 2+0/2 fit 1+0/1 project 1+1/2, 20 = 20 + 0, family avx
         a is committing
         commit a";
    let after = "poll w1; poll w2; done w1 a/0/1#2; show a; done w1 a/2/1#EPOCH.1";
    for (how, epoch) in [("restart", "2"), ("shorten; restart", "2"), ("restart; shorten; restart", "3")] {
        check_listed(before, &format!("{how}; {after}").replace("EPOCH", epoch), &told.replace("EPOCH", epoch));
    }
}

#[test]
fn before_half_of_a_stage_is_done_nobody_is_thought_slow() {
    // w1 takes four times as long as w2, and nothing is left to give.
    check_listed(
        "poll w1 3; poll w2 1; list a 4",
        "wait 1s; done w2 a/0/3#1; wait 9s; poll w1; poll w2; mark 10 s; done w1 a/0/0#1; poll w2; mark half is done",
        "
         w1 runs a/0/0#1
         w1 runs a/0/1#1
         w1 runs a/0/2#1
         w2 runs a/0/3#1
         10 s
         w2 runs a/0/1#2
         half is done",
    );
}

#[test]
fn an_attempt_of_no_task_is_nobodys() {
    check_listed(
        "list a 1; poll w1 1",
        "done w1 a/0/1#1; done w1 a/1/0#1; fail w1 a/7/0#1 application; done w1 b/0/0#1; show a",
        "
         w1 runs a/0/0#1
         a: write 0+1/1, 10 = 0 + 0, family avx",
    );
}

#[test]
fn who_was_condemned_is_so_in_a_shortened_journal_too() {
    let (before, after) = (
        "list a 2; poll w1 1; fail w1 a/0/0#1 application blames=0-0.jpg; fail w1 a/0/0#2 application blames=0-0.jpg",
        "restart; drops w1 a/0/0#3; poll w1",
    );
    for how in ["", "shorten"] {
        check_listed(
            before,
            &format!("{how}; {after}"),
            "
             w1 runs a/0/0#1
             w1 runs a/0/0#2
             w1 runs a/0/0#3 without 1
             w1 runs a/0/0#2.1 without 1",
        );
    }
}

#[test]
fn stages_tell_how_far_they_are_and_when_they_began_and_ended() {
    check_listed(
        "list a 2 features; poll w1 1",
        "wait 1s; done w1 a/0/0#1 quarantined=1; sums a; wait 1s; done w1 a/0/1#1; wait 1s; sums a; done w1 a/1/0#1
         done w1 a/2/0#1; sums a",
        "
         w1 runs a/0/0#1
         w1 runs a/0/1#1
         a: embed 10 of 20 records, 9 rows, 0 s to -
         a: fit 0 of ? records, 0 rows, - to -
         a: project 0 of ? records, 0 rows, - to -
         w1 runs a/1/0#1
         a: embed 20 of 20 records, 19 rows, 0 s to 2 s
         a: fit 0 of ? records, 0 rows, 2 s to -
         a: project 0 of 19 records, 0 rows, - to -
         w1 runs a/2/0#1
         w1 runs a/2/1#1
         a: embed 20 of 20 records, 19 rows, 0 s to 2 s
         a: fit 10 of ? records, 10 rows, 2 s to 3 s
         a: project 9 of 19 records, 9 rows, 3 s to -",
    );
}

#[test]
fn a_tick_that_is_a_little_late_is_none_that_slept() {
    // A third of a lease is the grace.
    for (late, lost) in [("19s", true), ("20s", true), ("20.1s", false)] {
        let told = if lost { "w1 stops a/0/0#1" } else { "" };
        check_listed("list a 1; poll w1 1", &format!("sleep {late}"), &format!("w1 runs a/0/0#1\n{told}"));
    }
}

#[test]
fn attempts_of_before_go_on_with_a_worker_that_leaves() {
    check_listed(
        "list a 2; poll w1 1",
        "restart; poll w1 draining; show a; poll w2 1; done w1 a/0/0#1; ask w1; show a",
        "
         w1 runs a/0/0#1
         a: write 0+1/2, 20 = 0 + 0, family avx, waits for avx
         w2 runs a/0/1#2.1
         w1 is known: false
         a: write 1+1/2, 20 = 10 + 0, family avx",
    );
}

#[test]
fn a_job_with_nothing_to_give_waits_for_nobody() {
    let config = || Config { unserved_ms: 5000, ..Config::default() };
    check_with(
        config(),
        "submit a; list a 1; poll w1 1; poll w1 draining; poll w2 1 family=neon; wait 10s; show a",
        &format!(
            "{START}
         w1 runs a/0/0#1
         a: write 0+1/1, 10 = 0 + 0, family avx, waits for avx, turns 1 away"
        ),
    );
}

#[test]
fn a_probe_of_before_shows_the_next_coordinator_nothing_and_costs_nothing() {
    check(
        "submit a attempts=1; list a 1; poll w1 1; wait 15s; poll w2 1; wait 15s; poll w3 1; restart; poll w3
         done w3 a/0/0#3 probed; show a",
        &format!(
            "{START}
         w1 runs a/0/0#1
         w1 stops a/0/0#1
         w2 runs a/0/0#2
         w2 stops a/0/0#2
         w3 runs a/0/0#3, a probe of 0..5
         w3 runs a/0/0#2.1
         a: write 0+1/1, 10 = 0 + 0, family avx"
        ),
    );
}

#[test]
fn what_was_lost_is_not_taken_again_though_it_is_told_again() {
    check_listed(
        "list a 2; poll w1 2; done w1 a/0/0#1; poll w1 deaf; done w1 a/0/1#1",
        "uncommitted a lost=a/0/1#1; poll w1; show a; done w1 a/0/1#2",
        "
         w1 runs a/0/0#1
         w1 runs a/0/1#1
         a is committing
         commit a
         a is running
         w1 runs a/0/1#2
         a: write 1+1/2, 20 = 10 + 0, family avx
         a is committing
         commit a",
    );
}

#[test]
fn what_comes_to_something_else_after_the_commit_has_begun_fails_the_job() {
    for how in ["", "shorten; restart; poll w1", "restart; shorten; restart; poll w1"] {
        let story = format!("uncommitted a lost=a/0/1#1; {how}; done w1 a/0/1#2 quarantined=1");
        check_listed(
            "list a 2; poll w1 2; done w1 a/0/0#1; done w1 a/0/1#1",
            &story,
            "
             w1 runs a/0/0#1
             w1 runs a/0/1#1
             a is committing
             commit a
             a is running
             w1 runs a/0/1#2
             a is failed, permanent: what task 1 of stage `write` wrote was lost while it was committed, and comes to \
             something else now, since the input has changed: submit the job again
             clean up a",
        );
    }
}

#[test]
fn a_job_of_which_all_is_undone_stays_bound_and_its_journal_can_be_shortened() {
    check_listed(
        "list a 1 features; poll w1 1; done w1 a/0/0#1; fail w1 a/1/0#1 application lost=a/0/0#1
         fail w1 a/1/0#2 application lost=a/0/0#1",
        "wait 15s; poll w2 1 family=neon; show a; shorten; restart; show a; poll w1; show a",
        "
         w1 runs a/0/0#1
         w1 runs a/1/0#1
         w1 runs a/1/0#2
         w1 runs a/0/0#2
         w1 stops a/0/0#2
         a: embed 0+0/1 fit 0+0/1 project 0+0/1, 10 = 0 + 0, family avx, waits for avx, turns 1 away
         a: embed 0+0/1 fit 0+0/1 project 0+0/1, 10 = 0 + 0, family avx, waits for avx
         w1 runs a/0/0#2.1
         a: embed 0+1/1 fit 0+0/1 project 0+0/1, 10 = 0 + 0, family avx",
    );
}

#[test]
fn a_late_result_is_not_believed_that_may_have_read_what_was_lost() {
    check_listed(
        "list a 2 features; poll w1 2; poll w2 1; done w1 a/0/0#1; done w1 a/0/1#1; done w1 a/1/0#1",
        "fail w1 a/2/0#1 application lost=a/1/0#1; fail w2 a/2/0#2 application lost=a/1/0#1; done w1 a/1/0#2
         done w2 a/2/1#1; show a; done w1 a/2/1#2; show a",
        "
         w1 runs a/0/0#1
         w1 runs a/0/1#1
         w1 runs a/1/0#1
         w1 runs a/2/0#1
         w1 runs a/2/1#1
         w2 runs a/2/0#2
         w1 stops a/2/1#1
         w1 runs a/1/0#2
         w1 runs a/2/0#3
         w1 runs a/2/1#2
         a: embed 2+0/2 fit 1+0/1 project 0+2/2, 20 = 20 + 0, family avx
         a: embed 2+0/2 fit 1+0/1 project 1+1/2, 20 = 20 + 0, family avx",
    );
}

#[test]
fn what_was_lost_twice_is_not_taken_a_third_time() {
    check_listed(
        "list a 1; poll w1 1; done w1 a/0/0#1",
        "uncommitted a lost=a/0/0#1; done w1 a/0/0#2; uncommitted a lost=a/0/0#2; done w1 a/0/0#1; done w1 a/0/0#2; show a",
        "
         w1 runs a/0/0#1
         a is committing
         commit a
         a is running
         w1 runs a/0/0#2
         a is committing
         commit a
         a is running
         w1 runs a/0/0#3
         a: write 0+1/1, 10 = 0 + 0, family avx",
    );
}

#[test]
fn what_another_job_made_of_something_else_is_not_taken_over() {
    // It comes late, when this job has mapped its split by itself.
    for (own, taken) in [("", true), ("quarantined=1", false)] {
        check_listed(
            "list a 1 features; poll w1 1",
            &format!("done w1 a/0/0#1 {own}; found a/0/0,a/1/0; poll w1; mark found"),
            &format!(
                "w1 runs a/0/0#1
                 w1 runs a/1/0#1
                 {}found",
                if taken { "w1 stops a/1/0#1\nw1 runs a/2/0#1\n" } else { "" }
            ),
        );
    }
}

#[test]
fn a_job_is_given_to_workers_whose_program_has_it_in_its_version() {
    check(
        "submit a job=x.2; poll w1 2 jobs=x.1,y.2; poll w2 1 jobs=x.2; poll w3 1 jobs=x.1,x.2; list a 5; show a; \
         submit b job=x.1; list b 1; show b",
        "a is listing
         prepare a
         a is running
         w2 runs a/0/0#1
         w3 runs a/0/1#1
         a: write 0+2/5, 50 = 0 + 0, family avx, turns 1 away
         b is listing
         prepare b
         b is running
         w1 runs b/0/0#1
         b: write 0+1/1, 10 = 0 + 0, family avx, turns 1 away",
    );
}

#[test]
fn what_nobody_has_the_program_of_fails_when_others_have_been_in_touch_for_long() {
    let config = Config { unserved_ms: 20_000, ..Config::default() };
    let story = |workers: &str| {
        format!(
            "submit a job=x.2; list a 1; wait 60s; {workers}; wait 10s; {workers}; wait 9s; {workers}; show a; wait 1s"
        )
    };
    let end = |told: &str| {
        format!(
            "a is listing
             prepare a
             a is running
             a: write 0+0/1, 10 = 0 + 0, family open, waits for job `x` version 2, turns {told}: start workers of the \
             program that it was submitted with, and submit the job again
             clean up a"
        )
    };
    let failed = "away\na is failed, permanent: for 20 s no worker in touch has had job `x` version 2";
    check_with(config.clone(), &story("poll w1 1 jobs=y.2"), &end(&format!("1 {failed}")));
    check_with(config.clone(), &story("poll w1 1 jobs=x.1"), &end(&format!("1 {failed}; w1 has version 1")));
    check_with(
        config,
        &story("poll w1 1 jobs=x.1; poll w2 1 jobs=x.3; poll w3 1 jobs=x.1; poll w4 1 jobs=x.1"),
        &end(&format!("4 {failed}; w1 and 2 more have version 1, w2 has version 3")),
    );
}

#[test]
fn a_worker_that_has_the_job_is_given_it_as_soon_as_it_comes() {
    let config = Config { unserved_ms: 20_000, ..Config::default() };
    check_with(
        config,
        "submit a job=x.2; list a 2; poll w1 1 jobs=x.1; wait 14s; poll w1; wait 5s; mark it comes; poll w2 1 jobs=x.2; \
         wait 10s; poll w1; poll w2; wait 10s; show a",
        "a is listing
         prepare a
         a is running
         it comes
         w2 runs a/0/0#1
         a: write 0+1/2, 20 = 0 + 0, family avx, turns 1 away",
    );
}

#[test]
fn kernels_and_program_are_to_be_had_together() {
    let config = Config { unserved_ms: 20_000, ..Config::default() };
    let begins = "submit a; poll w1 1; poll w2 1 jobs=y.1; poll w3 1 family=neon";
    // Nothing was done: it begins anew on the family of those that have it.
    check_with(
        config.clone(),
        &format!("{begins}; list a 1; wait 14s; poll w2; poll w3; wait 1s; show a"),
        "a is listing
         prepare a
         a is running
         w1 runs a/0/0#1
         w1 stops a/0/0#1
         w3 runs a/0/0#2
         a: write 0+1/1, 10 = 0 + 0, family neon, turns 1 away",
    );
    // Something was.
    check_with(
        config,
        &format!(
            "{begins} draining; list a 2; done w1 a/0/0#1; poll w4 1 family=neon; wait 14s; poll w2; poll w4; wait 1s; show a; \
             wait 13s; poll w2; poll w4; wait 10s"
        ),
        "a is listing
         prepare a
         a is running
         w1 runs a/0/0#1
         w1 runs a/0/1#1
         w1 stops a/0/1#1
         a: write 1+0/2, 20 = 10 + 0, family avx, waits for avx, turns 2 away
         a is failed, permanent: the job began on kernel family `avx`, and for 20 s no worker in touch that has the job has \
         had it, only `neon`; start one that has it and submit the job again
         clean up a",
    );
}

#[test]
fn where_no_other_has_the_job_a_worker_is_its_own_second_opinion() {
    check(
        "submit a job=x.1; poll w1 1 jobs=x.1; poll w2 4 jobs=y.1; list a 1; done w1 a/0/0#1 changed=1; \
         done w1 a/0/0#2 changed=1; show a",
        "a is listing
         prepare a
         a is running
         w1 runs a/0/0#1
         w1 runs a/0/0#2
         a is committing
         commit a
         a: write 1+0/1, 10 = 9 + 1, family avx",
    );
}

#[test]
fn orders_ahead_wait_for_no_slot_of_a_worker_without_the_job() {
    check(
        "submit a job=x.1; poll w1 1+1 jobs=x.1; poll w2 4 jobs=y.1; list a 3",
        "a is listing
         prepare a
         a is running
         w1 runs a/0/0#1
         w1 runs a/0/1#1",
    );
}

#[test]
fn a_worker_of_another_program_than_before_has_nothing_any_more() {
    check_listed(
        "poll w1 1; list a 1; poll w2 1; poll w1 jobs=y.1",
        "show a",
        "
         w1 runs a/0/0#1
         w1 stops a/0/0#1
         w2 runs a/0/0#2
         a: write 0+1/1, 10 = 0 + 0, family avx, turns 1 away",
    );
}

#[test]
fn after_a_restart_a_job_is_still_for_those_that_have_it() {
    for shorten in ["", "shorten; "] {
        check(
            &format!(
                "submit a job=x.1; poll w1 2 jobs=x.1; list a 2; {shorten}restart; poll w1 jobs=y.1; show a; \
                 poll w2 1 jobs=x.1"
            ),
            "a is listing
             prepare a
             a is running
             w1 runs a/0/0#1
             w1 runs a/0/1#1
             w1 stops a/0/0#1
             w1 stops a/0/1#1
             a: write 0+0/2, 20 = 0 + 0, family avx, waits for job `x` version 1, turns 1 away
             w2 runs a/0/0#2.1",
        );
    }
}
