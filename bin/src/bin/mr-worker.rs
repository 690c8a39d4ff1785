//! `mr-worker`: the facade's program with the jobs that ship.

fn main() -> std::process::ExitCode {
    match mr_jobs::registry() {
        Ok(registry) => mr::worker(registry),
        Err(why) => mr::refuse(&why),
    }
}
