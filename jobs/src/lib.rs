//! What we compute: one file for each job, and the list of their names.

mod image_features;
mod kernels;

pub use image_features::ImageFeatures;
pub use kernels::{KERNELS, kernels};

use mr_mapreduce::Registry;
use mr_vision::kernels::Kernels;

/// Every job that ships, by name, on these kernels: one set for each arithmetic, as [`kernels`] has them.
///
/// # Panics
/// Without any kernels.
pub fn registry(kernels: Vec<Kernels>) -> Registry {
    let families = kernels.iter().map(|kernels| kernels::family(*kernels));
    let registry = families.fold(None, |registry: Option<Registry>, family| match registry {
        None => Some(Registry::new(family)),
        Some(registry) => Some(registry.with_kernels(family)),
    });
    registry.expect("a process has kernels").with(ImageFeatures::new(kernels))
}
