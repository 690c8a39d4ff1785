//! `mr-submit`: the facade's program with the jobs that ship.

fn main() -> std::process::ExitCode {
    mr::submit(mr_jobs::registry())
}
