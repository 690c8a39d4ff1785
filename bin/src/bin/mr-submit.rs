//! `mr-submit`: the facade's program with the jobs that ship.

fn main() -> std::process::ExitCode {
    match mr_jobs::kernels(std::env::var_os(mr_jobs::KERNELS).as_deref()) {
        Ok(kernels) => mr::submit(mr_jobs::registry(kernels)),
        Err(why) => mr::refuse(&why),
    }
}
