//! What a process tells of itself, as Prometheus reads it: <https://prometheus.io/docs/specs/om/open_metrics_spec/>.

mod crowd;
mod page;
mod serve;
mod stores;

pub use crowd::Crowd;
pub use page::Page;
pub use serve::{Health, serve};
pub use stores::stores;
