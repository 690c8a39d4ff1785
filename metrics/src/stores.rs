//! What this process has asked of stores.

use crate::Page;
use mr_storage::pace;

/// Adds the requests and bytes of each bucket, since the process began.
pub fn stores(page: &mut Page) {
    for (place, counts) in pace::counts() {
        for ((request, outcome), count) in &counts.requests {
            let labels = [("place", &*place), ("operation", request.name()), ("outcome", outcome.name())];
            page.counter("mr_store_requests", "Requests to a bucket, each try", &labels, *count as f64);
        }
        let place = [("place", &*place)];
        page.counter("mr_store_read_bytes", "Bytes read from a bucket", &place, counts.read_bytes as f64);
        page.counter("mr_store_written_bytes", "Bytes written to a bucket", &place, counts.written_bytes as f64);
    }
}
