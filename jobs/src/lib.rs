//! What we compute: one file for each job, and the list of their names.

mod image_features;

pub use image_features::ImageFeatures;

use mr_mapreduce::Registry;
use std::sync::LazyLock;

/// Every job that ships, by name.
pub fn registry() -> Registry {
    Registry::new(kernel_family()).with(ImageFeatures::default())
}

/// The arithmetic that results depend on: the network's, and that of the fit's eigenvectors.
pub fn kernel_family() -> &'static str {
    static NAME: LazyLock<String> =
        LazyLock::new(|| format!("{}/{}", mr_vision::kernel_family(), mr_linalg::fit_arithmetic()));
    &NAME
}
