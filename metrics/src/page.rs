//! The numbers of one moment.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::fmt;

/// Families in the order in which they were begun, and in each its samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page(Vec<Family>);

#[derive(Clone, Debug, PartialEq)]
struct Family {
    name: &'static str,
    help: &'static str,
    counts: bool,
    samples: Vec<(Labels, f64)>,
}

type Labels = Vec<(&'static str, String)>;

impl Page {
    /// What goes up and down. One name always comes with the same help and the same labels.
    pub fn gauge(&mut self, name: &'static str, help: &'static str, labels: &[(&'static str, &str)], value: f64) {
        self.add(name, help, false, labels, value);
    }

    /// What only grows, from the start of the process on. The name is written without `_total`.
    pub fn counter(&mut self, name: &'static str, help: &'static str, labels: &[(&'static str, &str)], value: f64) {
        self.add(name, help, true, labels, value);
    }

    fn add(
        &mut self,
        name: &'static str,
        help: &'static str,
        counts: bool,
        labels: &[(&'static str, &str)],
        value: f64,
    ) {
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let at = self.0.iter().position(|family| family.name == name).unwrap_or_else(|| {
            self.0.push(Family { name, help, counts, samples: Vec::new() });
            self.0.len() - 1
        });
        self.0[at].samples.push((labels, value));
    }

    /// In OpenMetrics' text format, version 1.0.0.
    pub fn text(self) -> String {
        let (mut text, mut registry) = (String::new(), Registry::default());
        registry.register_collector(Box::new(self));
        text::encode(&mut text, &registry).expect("a string takes anything");
        text
    }
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for Family { name, help, counts, samples } in &self.0 {
            let kind = if *counts { MetricType::Counter } else { MetricType::Gauge };
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for (labels, value) in samples {
                let mut sample = family.encode_family(labels)?;
                if *counts {
                    sample.encode_counter::<NoLabelSet, _, f64>(value, None)?;
                } else {
                    sample.encode_gauge(value)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_stand_together_and_labels_may_hold_anything() {
        let mut page = Page::default();
        page.gauge("mr_slots", "Slots of workers in touch", &[], 4.0);
        page.counter("mr_attempts", "Attempts that have ended", &[("outcome", "done")], 17.0);
        page.gauge("mr_other", "Else", &[("name", "a \"b\"\n\\c")], 0.5);
        page.counter("mr_attempts", "Attempts that have ended", &[("outcome", "transient")], 2.0);
        assert_eq!(
            page.text(),
            "# HELP mr_slots Slots of workers in touch\n# TYPE mr_slots gauge\nmr_slots 4.0\n\
             # HELP mr_attempts Attempts that have ended\n# TYPE mr_attempts counter\n\
             mr_attempts_total{outcome=\"done\"} 17.0\nmr_attempts_total{outcome=\"transient\"} 2.0\n\
             # HELP mr_other Else\n# TYPE mr_other gauge\nmr_other{name=\"a \\\"b\\\"\\n\\\\c\"} 0.5\n# EOF\n"
        );
        assert_eq!(Page::default().text(), "# EOF\n");
    }
}
