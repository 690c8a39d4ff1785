//! What we compute: one file or folder for each job, and the list of their names.

mod grep;
mod image_dedup;
mod image_features;
mod inverted_index;
mod kernels;
mod label;
mod label_stats;
mod stream;
mod tera_sort;
mod word_count;

pub use grep::Grep;
pub use image_dedup::ImageDedup;
pub use image_features::ImageFeatures;
pub use inverted_index::InvertedIndex;
pub use label_stats::LabelStats;
pub use stream::Stream;
pub use tera_sort::TeraSort;
pub use word_count::WordCount;

/// Records for `tera-sort`, and whether they are sorted.
pub mod records {
    pub use crate::tera_sort::records::{KEY, RECORD, Sum, record};
    pub use crate::tera_sort::{generate, sum, validate};
}

use mr_mapreduce::Registry;

/// Every job that ships, by name, on the kernels that this process is to use.
///
/// # Errors
/// A sentence about what `MR_KERNELS` names.
pub fn registry() -> Result<Registry, String> {
    let kernels = kernels::kernels(std::env::var_os(kernels::KERNELS).as_deref())?;
    let (first, others) = kernels.split_first().expect("plain Rust runs anywhere, and a list has a name");
    let registry = Registry::new(kernels::family(*first));
    let registry = others.iter().fold(registry, |registry, other| registry.with_kernels(kernels::family(*other)));
    Ok(registry
        .with(ImageFeatures::new(kernels))
        .with(ImageDedup)
        .with(Stream)
        .with(TeraSort)
        .with_map_only::<Grep>()
        .with_map_reduce::<InvertedIndex>()
        .with_map_reduce::<LabelStats>()
        .with_map_reduce::<WordCount>())
}
