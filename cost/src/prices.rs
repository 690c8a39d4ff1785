//! A table of prices: of the repository, with its dates and where they were read, or a file of the user's in the same form.

use mr_core::{StoreCounts, StoreOutcome, StoreRequest};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Requests and instance types of one region, in US dollars.
#[derive(Clone, Debug, PartialEq)]
pub struct Prices {
    table: Table,
    /// As it was read.
    text: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    region: String,
    currency: String,
    requests: Requests,
    #[serde(default)]
    instances: Instances,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Requests {
    date: String,
    source: String,
    /// PUT, COPY, POST and LIST, the requests of an upload in parts among them.
    put_usd_per_thousand: f64,
    /// GET, HEAD and all others.
    get_usd_per_thousand: f64,
    /// DELETE, and uploads that are given up.
    delete_usd_per_thousand: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Instances {
    date: String,
    source: String,
    types: BTreeMap<String, Instance>,
}

/// A type of instances.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    pub vcpus: u32,
    pub usd_per_hour: f64,
}

const BUILT_IN: &str = include_str!("../prices.toml");

impl Prices {
    /// The repository's table.
    pub fn built_in() -> Self {
        Self::parse(BUILT_IN).expect("a test reads it")
    }

    /// # Errors
    /// A sentence about what is wrong with the text, lines of it shown.
    pub fn parse(text: &str) -> Result<Self, String> {
        let table: Table = toml::from_str(text).map_err(|error| format!("it is no table of prices: {error}"))?;
        if table.currency != "USD" {
            return Err(format!("its currency is {:?}, and everything here is in USD", table.currency));
        }
        let Requests { put_usd_per_thousand, get_usd_per_thousand, delete_usd_per_thousand, .. } = table.requests;
        let of_requests = [
            ("put_usd_per_thousand", put_usd_per_thousand),
            ("get_usd_per_thousand", get_usd_per_thousand),
            ("delete_usd_per_thousand", delete_usd_per_thousand),
        ];
        if let Some((name, usd)) = of_requests.into_iter().find(|(_, usd)| !is_price(*usd)) {
            return Err(format!("its `{name}` is {usd}, and a price is a number from 0 on"));
        }
        if let Some((name, of)) = table.instances.types.iter().find(|(_, of)| !is_price(of.usd_per_hour)) {
            return Err(format!("its `{name}` costs {} an hour, and a price is a number from 0 on", of.usd_per_hour));
        }
        if let Some((name, _)) = table.instances.types.iter().find(|(_, of)| of.vcpus == 0) {
            return Err(format!("its `{name}` has no vCPUs"));
        }
        Ok(Self { table, text: text.to_owned() })
    }

    /// The text that it was read from.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn instance(&self, name: &str) -> Option<Instance> {
        self.table.instances.types.get(name).copied()
    }

    /// Names of the types of instances that there are, in their order.
    pub fn instances(&self) -> impl Iterator<Item = &str> {
        self.table.instances.types.keys().map(String::as_str)
    }

    /// What the requests cost that S3 bills: those that it answered, but with an error of its own or a wish for fewer.
    pub fn of_requests(&self, counts: &StoreCounts) -> f64 {
        let cost = |(&(request, outcome), &count): (&(StoreRequest, StoreOutcome), &u64)| match outcome {
            StoreOutcome::Accepted | StoreOutcome::Refused => self.per_thousand(request) * count as f64 / 1000.0,
            StoreOutcome::Throttled | StoreOutcome::Failed => 0.0,
        };
        // Not `-0.0`, which an empty sum would be.
        counts.requests.iter().map(cost).sum::<f64>() + 0.0
    }

    fn per_thousand(&self, request: StoreRequest) -> f64 {
        let requests = &self.table.requests;
        match request {
            StoreRequest::CompleteUpload
            | StoreRequest::Copy
            | StoreRequest::CreateUpload
            | StoreRequest::List
            | StoreRequest::Put
            | StoreRequest::UploadPart => requests.put_usd_per_thousand,
            StoreRequest::Get | StoreRequest::Head => requests.get_usd_per_thousand,
            StoreRequest::AbortUpload | StoreRequest::Delete => requests.delete_usd_per_thousand,
        }
    }

    /// Where the prices of requests come from, and of when they are.
    pub fn requests_from(&self) -> String {
        let Requests { date, source, .. } = &self.table.requests;
        format!("list prices of {date}, {}: {source}", self.table.region)
    }

    /// The same of the instances.
    pub fn instances_from(&self) -> String {
        let Instances { date, source, .. } = &self.table.instances;
        format!("list prices of {date}, {}: {source}", self.table.region)
    }
}

fn is_price(usd: f64) -> bool {
    usd.is_finite() && usd >= 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(counts: &[(StoreRequest, StoreOutcome, u64)]) -> StoreCounts {
        let mut sum = StoreCounts::default();
        counts.iter().for_each(|&(request, outcome, count)| sum.note(request, outcome, count));
        sum
    }

    #[test]
    fn the_built_in_table_can_be_read_and_every_row_has_a_date_and_a_source() {
        let prices = Prices::built_in();
        assert_eq!(prices.instance("c7i.large"), Some(Instance { vcpus: 2, usd_per_hour: 0.08925 }));
        assert_eq!(prices.instance("c7i.tiny"), None);
        for from in [prices.requests_from(), prices.instances_from()] {
            assert!(from.starts_with("list prices of 2") && from.contains("us-east-1: AWS, "), "{from}");
        }
        // A size has twice the vCPUs of the one below it, for twice the price.
        for name in prices.instances().filter(|name| name.ends_with(".large")) {
            let (small, large) = (prices.instance(name), prices.instance(&name.replace(".large", ".xlarge")));
            let (small, large) = (small.expect("it is listed"), large.expect("both are listed"));
            assert_eq!(large.vcpus, 2 * small.vcpus);
            assert!((large.usd_per_hour - 2.0 * small.usd_per_hour).abs() < 1e-9, "{name}");
        }
    }

    #[test]
    fn requests_cost_by_their_kind_and_those_that_s3_does_not_bill_nothing() {
        use StoreOutcome::{Accepted, Failed, Refused, Throttled};
        let prices = Prices::built_in();
        let cost = |of: &[_]| prices.of_requests(&counts(of));
        let near = |is: f64, wanted: f64| assert!((is - wanted).abs() < 1e-12, "{is} instead of {wanted}");
        near(cost(&[(StoreRequest::Get, Accepted, 1_000_000)]), 0.4);
        near(cost(&[(StoreRequest::Put, Accepted, 1_000), (StoreRequest::List, Refused, 1_000)]), 0.01);
        near(cost(&[(StoreRequest::UploadPart, Accepted, 10), (StoreRequest::Copy, Accepted, 10)]), 0.0001);
        near(cost(&[(StoreRequest::Put, Throttled, 9), (StoreRequest::Put, Failed, 9)]), 0.0);
        near(cost(&[(StoreRequest::Delete, Accepted, 9), (StoreRequest::AbortUpload, Accepted, 9)]), 0.0);
        assert!(cost(&[]).is_sign_positive());
    }

    #[test]
    fn a_table_of_the_users_own_is_read_or_refused_with_its_fault() {
        let own = "region = \"x\"\ncurrency = \"USD\"\n[requests]\ndate = \"1\"\nsource = \"me\"\n\
                   put_usd_per_thousand = 1\nget_usd_per_thousand = 0\ndelete_usd_per_thousand = 0\n";
        let prices = Prices::parse(own).unwrap();
        assert_eq!((prices.requests_from().as_str(), prices.instances().count()), ("list prices of 1, x: me", 0));
        assert_eq!(Prices::parse(prices.text()), Ok(prices.clone()));
        for (from, to, said) in [
            ("USD", "EUR", "its currency is \"EUR\""),
            ("thousand = 1\n", "thousand = -1\n", "its `put_usd_per_thousand` is -1"),
            ("thousand = 1\n", "thousand = nan\n", "a price is a number"),
            ("put_usd", "putt_usd", "unknown field `putt_usd_per_thousand`"),
            ("region = \"x\"\n", "", "missing field `region`"),
        ] {
            let error = Prices::parse(&own.replace(from, to)).unwrap_err();
            assert!(error.contains(said), "{said}: {error}");
        }
        let types = format!("{own}[instances]\ndate = \"2\"\nsource = \"me\"\n[instances.types]\n");
        for (row, said) in [
            ("a = { vcpus = 1, usd_per_hour = -0.5 }", "its `a` costs -0.5 an hour"),
            ("a = { vcpus = 0, usd_per_hour = 0.5 }", "its `a` has no vCPUs"),
        ] {
            let error = Prices::parse(&format!("{types}{row}\n")).unwrap_err();
            assert!(error.contains(said), "{said}: {error}");
        }
    }
}
