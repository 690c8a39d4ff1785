//! The template for a cluster in AWS is what its runbook says of it, at a stand-in for AWS; and what holds it to that finds
//! mistakes.

use mr_tests::{Python, Scratch, program};
use std::ffi::OsString;

const CHECKS: &str = "../infra/stack.py";

/// Ours reads what the template writes for it.
fn with_coordinator() -> [OsString; 2] {
    ["--coordinator".into(), program("mr-coordinator").into()]
}

#[test]
fn the_stack_is_made_updated_and_deleted_as_the_runbook_says() {
    let scratch = Scratch::enter_beside("infra: the template at moto");
    let Some(python) = Python::with_moto() else { return };
    python.run(&scratch, CHECKS, with_coordinator());
}

#[test]
fn mistakes_that_are_planted_in_the_template_are_found() {
    let scratch = Scratch::enter_beside("infra: planted mistakes");
    let Some(python) = Python::with_moto() else { return };
    python.run(&scratch, CHECKS, with_coordinator().into_iter().chain(["--plant".into()]));
}
