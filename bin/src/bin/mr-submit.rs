//! `mr-submit`: the facade's program with the jobs that ship.

fn main() -> std::process::ExitCode {
    match mr_jobs::kernels(std::env::var(mr_jobs::KERNELS).ok().as_deref()) {
        Ok(kernels) => mr::submit(mr_jobs::registry(kernels)),
        Err(why) => mr::refuse(&why),
    }
}
