//! `mr-worker`: the facade's program with the jobs that ship.

fn main() -> std::process::ExitCode {
    mr::worker(mr_jobs::registry())
}
