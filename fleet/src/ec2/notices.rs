//! What a machine is told of its own end, by the instance metadata service (IMDSv2): that spot capacity is wanted back, that
//! that is likely soon, and that its Auto Scaling group lets it go.

use super::in_words;
use aws_config::imds::Client;
use aws_config::imds::client::error::ImdsError;
use std::fmt;
use std::time::Duration;

/// A spot instance is taken two minutes after its notice.
const LOOK_EVERY: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// `spot/instance-action`: it is stopped, put to sleep or ended in two minutes.
    Spot,
    /// `events/recommendations/rebalance`: a spot notice is more likely than usual.
    Rebalance,
    /// `autoscaling/target-lifecycle-state`: its group ends it, be it in a lifecycle hook.
    Terminated,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Notice::Spot => "its spot capacity is wanted back",
            Notice::Rebalance => "its spot capacity is likely to be wanted back soon",
            Notice::Terminated => "its Auto Scaling group lets it go",
        })
    }
}

pub struct Notices {
    client: Client,
}

impl Notices {
    /// At 169.254.169.254, or where `AWS_EC2_METADATA_SERVICE_ENDPOINT` says.
    pub fn open() -> Self {
        Self { client: Client::builder().build() }
    }

    /// At a service that the environment does not name.
    ///
    /// # Panics
    /// When that is no URL.
    pub fn at(endpoint: &str) -> Self {
        Self { client: Client::builder().endpoint(endpoint).expect("it is a URL").build() }
    }

    /// The id of this machine.
    ///
    /// # Errors
    /// When it is none of EC2's, or does not say.
    pub async fn instance_id(&self) -> Result<String, String> {
        let id = self.client.get("/latest/meta-data/instance-id").await;
        id.map(String::from).map_err(|error| {
            format!(
                "asking the instance metadata service who this is: {}; away from EC2 leave `--ec2` out",
                in_words(&error)
            )
        })
    }

    /// Waits for a notice, other than that one. A service that fails is asked again.
    pub async fn next(&self, but: Option<Notice>) -> Notice {
        let mut failing = false;
        loop {
            match self.look().await {
                Ok(Some(notice)) if Some(notice) != but => return notice,
                Ok(_) => failing = false,
                Err(error) if !failing => {
                    failing = true;
                    tracing::warn!(
                        "the instance metadata service does not say whether this machine may stay: {}",
                        in_words(&error)
                    );
                }
                Err(_) => {}
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn look(&self) -> Result<Option<Notice>, ImdsError> {
        if self.get("spot/instance-action").await?.is_some() {
            return Ok(Some(Notice::Spot));
        }
        if self.get("autoscaling/target-lifecycle-state").await?.is_some_and(|state| state.trim() == "Terminated") {
            return Ok(Some(Notice::Terminated));
        }
        Ok(self.get("events/recommendations/rebalance").await?.map(|_| Notice::Rebalance))
    }

    /// `None`: there is no such notice.
    async fn get(&self, what: &str) -> Result<Option<String>, ImdsError> {
        match self.client.get(format!("/latest/meta-data/{what}")).await {
            Ok(said) => Ok(Some(said.into())),
            Err(ImdsError::ErrorResponse(error)) if error.response().status().as_u16() == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }
}
