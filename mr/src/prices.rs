//! `[prices]` of the coordinator's file: what requests and workers cost, for bills and for whoever plans a job.

use anyhow::{Context, ensure};
use mr_cost::{Prices, Rates};
use serde::Deserialize;
use std::path::PathBuf;

/// As it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PriceSettings {
    /// A table in the form of the one that is built in, to be used in its place.
    file: Option<PathBuf>,
    /// What workers run on, by its name in the table.
    instance_type: Option<String>,
}

impl PriceSettings {
    /// `usd_per_worker_hour` of a fleet counts more than the table, unless it is nothing.
    ///
    /// # Errors
    /// When the table can't be read, or does not have that type.
    pub fn rates(self, usd_per_worker_hour: Option<f64>) -> anyhow::Result<Rates> {
        let prices = match &self.file {
            None => Prices::built_in(),
            Some(path) => {
                let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
                Prices::parse(&text).map_err(|error| anyhow::anyhow!("reading {}: {error}", path.display()))?
            }
        };
        let of_type = self.instance_type.as_ref().map(|name| {
            let known = || prices.instances().collect::<Vec<_>>().join(", ");
            let instance = prices.instance(name);
            instance.with_context(|| format!("`instance_type`: the table has no `{name}`; it has {}", known()))
        });
        let of_type = of_type.transpose()?;
        let said = usd_per_worker_hour.filter(|usd| *usd > 0.0);
        ensure!(
            said.is_none() || of_type.is_none(),
            "`instance_type` and `usd_per_worker_hour` of `[fleet]` are two prices of a worker: leave one of them out"
        );
        let (usd_per_worker_hour, worker_from) = match (said, of_type) {
            (Some(usd), _) => (Some(usd), "as the coordinator's file says".to_owned()),
            (None, Some(of)) => {
                let name = self.instance_type.unwrap_or_default();
                (Some(of.usd_per_hour), format!("{name}, {}", prices.instances_from()))
            }
            (None, None) => (None, String::new()),
        };
        Ok(Rates { prices, usd_per_worker_hour, worker_from })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(text: &str, of_fleet: Option<f64>) -> anyhow::Result<Rates> {
        toml::from_str::<PriceSettings>(text)?.rates(of_fleet)
    }

    #[test]
    fn a_worker_costs_what_the_fleet_says_or_its_type_does_or_nobody_knows() {
        assert_eq!(rates("", None).unwrap(), Rates::default());
        assert_eq!(rates("", Some(0.0)).unwrap().usd_per_worker_hour, None);
        assert_eq!(rates("", Some(0.03)).unwrap().usd_per_worker_hour, Some(0.03));
        let of_type = rates("instance_type = \"c7i.large\"", Some(0.0)).unwrap();
        assert_eq!(of_type.usd_per_worker_hour, Some(0.08925));
        assert!(of_type.worker_from.starts_with("c7i.large, list prices of 2"), "{}", of_type.worker_from);
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for (text, of_fleet, said) in [
            ("instance_type = \"c7i.tiny\"", None, "has no `c7i.tiny`; it has c6a.2xlarge, "),
            ("instance_type = \"c7i.large\"", Some(0.1), "are two prices of a worker"),
            ("file = \"/not/there.toml\"", None, "reading /not/there.toml"),
            ("fil = \"x\"", None, "unknown field `fil`"),
        ] {
            let error = format!("{:#}", rates(text, of_fleet).unwrap_err());
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
