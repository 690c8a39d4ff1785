//! `mr-coordinator`: the facade's program. It knows no job.

fn main() -> std::process::ExitCode {
    mr::coordinator()
}
