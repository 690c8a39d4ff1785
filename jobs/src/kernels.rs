//! Which kernels this process computes with, and the family that its results are of.

use std::ffi::OsStr;

use mr_vision::kernels::{Arithmetic, Kernels};

/// The environment's variable that says which kernels are used, instead of the best that the processor has.
pub const KERNELS: &str = "MR_KERNELS";

/// The best set for each arithmetic that this processor has instructions for; or those that are named in `forced`, a list
/// with commas, and no others.
///
/// # Errors
/// A sentence about the name that is not known here, or that comes twice.
pub fn kernels(forced: Option<&OsStr>) -> Result<Vec<Kernels>, String> {
    // Empty is how service managers say that a variable is not set.
    let forced = forced.map(OsStr::to_string_lossy).filter(|names| !names.trim().is_empty());
    let Some(forced) = forced else {
        return Ok(Arithmetic::ALL.into_iter().filter_map(Kernels::detect).collect());
    };
    let mut kernels: Vec<Kernels> = Vec::new();
    for name in forced.split(',').map(str::trim) {
        let found = Kernels::named(name).ok_or_else(|| {
            let names: Vec<_> = Kernels::available().into_iter().map(Kernels::name).collect();
            format!("`{KERNELS}={forced}`: this machine has no kernels `{name}`; it has {}", names.join(", "))
        })?;
        if let Some(before) = kernels.iter().find(|before| before.arithmetic() == found.arithmetic()) {
            let (before, arithmetic) = (before.name(), found.arithmetic().name());
            return Err(format!("`{KERNELS}={forced}`: `{before}` and `{name}` are both for {arithmetic}; name one"));
        }
        kernels.push(found);
    }
    Ok(kernels)
}

/// What results depend on: the network's arithmetic, and that of the fit's eigenvectors.
pub fn family(kernels: Kernels) -> String {
    format!("{}/{}", kernels.arithmetic().name(), mr_linalg::fit_arithmetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_found_and_others_can_be_forced() {
        let found = kernels(None).unwrap();
        assert_eq!(found[0], Kernels::f32());
        let forced = kernels(Some(OsStr::new("portable, bf16x3-portable"))).unwrap();
        assert_eq!(forced.iter().map(|kernels| kernels.name()).collect::<Vec<_>>(), ["portable", "bf16x3-portable"]);
        assert_eq!(family(forced[0]), family(Kernels::f32()), "how f32 is computed is not seen in results");
        assert!(family(forced[1]).starts_with("bf16x3/"));
        assert!(kernels(Some(OsStr::new("abacus"))).unwrap_err().contains("no kernels `abacus`; it has portable"));
        assert_eq!(kernels(Some(OsStr::new(" "))), kernels(None));
        assert!(kernels(Some(OsStr::new("portable,portable"))).unwrap_err().contains("both for f32"));
    }
}
