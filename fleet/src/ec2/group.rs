//! An EC2 Auto Scaling group, whose size the coordinator sets.
//!
//! The group starts machines, and takes away none by itself that is at work: those are protected. Who is to go is ended by name,
//! with the size lowered by one in the same request. Should the coordinator be gone for good, a scheduled action that it
//! puts off again and again sets the size to nothing.

use super::in_words;
use crate::provider::{Machine, Provider, ProviderError};
use async_trait::async_trait;
use aws_config::BehaviorVersion;
use aws_sdk_autoscaling::Client;
use aws_sdk_autoscaling::config::{Credentials, Region};
use aws_sdk_autoscaling::error::ProvideErrorMetadata;
use aws_sdk_autoscaling::primitives::DateTime;
use aws_sdk_autoscaling::types::{AutoScalingGroup, Instance, LifecycleState};
use std::collections::BTreeSet;
use std::error::Error;
use std::time::{Duration, Instant, SystemTime};

/// How many instances a request may name (Amazon EC2 Auto Scaling quotas, `SetInstanceProtection`).
const NAMED_MAX: usize = 50;
/// How often the end of all is put off, as a part of the time that it is put off for.
const RENEWALS: u32 = 6;
/// The scheduled action's name.
const DEAD_MAN: &str = "mr-coordinator-is-silent";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// The Auto Scaling group's name, in the region of the environment.
    pub group: String,
    /// When nothing is heard of a coordinator for so long, the group is set to no machines.
    pub silence: Duration,
    /// The lifecycle hook for instances that are terminated which waits for workers to drain, if there is one.
    pub hook: Option<String>,
}

pub struct Group {
    settings: GroupSettings,
    client: Option<Client>,
    /// As of the last look.
    seen: Option<AutoScalingGroup>,
    renewed: Option<Instant>,
}

impl Group {
    pub fn new(settings: GroupSettings) -> Self {
        Self { settings, client: None, seen: None, renewed: None }
    }

    /// At a server that the environment does not name, which takes any credentials.
    pub fn at(endpoint: &str, settings: GroupSettings) -> Self {
        let config = aws_sdk_autoscaling::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .credentials_provider(Credentials::new("any", "any", None, None, "given"))
            .region(Region::from_static("us-east-1"))
            .endpoint_url(endpoint)
            .build();
        Self { client: Some(Client::from_conf(config)), ..Self::new(settings) }
    }

    /// Credentials, region and endpoint come from where AWS's own tools look for them.
    async fn client(&mut self) -> Client {
        if let Some(client) = &self.client {
            return client.clone();
        }
        let config = aws_config::defaults(BehaviorVersion::latest()).load().await;
        self.client.insert(Client::new(&config)).clone()
    }

    fn instances(&self) -> &[Instance] {
        self.seen.as_ref().map_or(&[], AutoScalingGroup::instances)
    }

    fn find(&self, id: &str) -> Option<&Instance> {
        self.instances().iter().find(|instance| instance.instance_id() == Some(id))
    }

    /// Puts off the end of all.
    async fn renew(&mut self) -> Result<(), ProviderError> {
        let silence = self.settings.silence;
        if self.renewed.is_some_and(|at| at.elapsed() < silence / RENEWALS) {
            return Ok(());
        }
        let at = DateTime::from(SystemTime::now() + silence);
        let group = self.settings.group.clone();
        let action = self.client().await.put_scheduled_update_group_action().auto_scaling_group_name(group);
        let action = action.scheduled_action_name(DEAD_MAN).start_time(at).min_size(0).desired_capacity(0);
        match action.send().await.map_err(|error| told("putting off the end of the group", &error)) {
            Ok(_) => self.renewed = Some(Instant::now()),
            // There is time to try again before it would end.
            Err(error) if self.renewed.is_some_and(|at| at.elapsed() < silence / 2) => tracing::debug!("{}", error.0),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn set_protection(&mut self, ids: Vec<String>, protected: bool) -> Result<(), ProviderError> {
        for ids in ids.chunks(NAMED_MAX) {
            let group = self.settings.group.clone();
            let request = self.client().await.set_instance_protection().auto_scaling_group_name(group);
            let request = request.set_instance_ids(Some(ids.to_vec())).protected_from_scale_in(protected);
            request.send().await.map_err(|error| told("protecting instances", &error))?;
        }
        Ok(())
    }

    /// Lets one go that waits for its worker to drain.
    async fn complete(&mut self, id: &str) -> Result<(), ProviderError> {
        let Some(hook) = self.settings.hook.clone() else { return Ok(()) };
        let group = self.settings.group.clone();
        let request = self.client().await.complete_lifecycle_action().auto_scaling_group_name(group);
        let request = request.lifecycle_hook_name(hook).instance_id(id).lifecycle_action_result("CONTINUE");
        match request.send().await {
            Ok(_) => Ok(()),
            // It was completed before, by us or in the end.
            Err(error) if error.message().is_some_and(|said| said.contains("No active Lifecycle Action")) => Ok(()),
            Err(error) => Err(told("completing a lifecycle action", &error)),
        }
    }
}

#[async_trait]
impl Provider for Group {
    fn name(&self) -> String {
        format!("the Auto Scaling group `{}`", self.settings.group)
    }

    fn owns(&self, machine: &str) -> bool {
        self.find(machine).is_some()
    }

    /// All of an account's requests to Auto Scaling share one bucket of tokens.
    fn rest(&self) -> Duration {
        Duration::from_secs(2)
    }

    async fn look(&mut self) -> Result<Vec<Machine>, ProviderError> {
        let group = self.settings.group.clone();
        let groups = self.client().await.describe_auto_scaling_groups().auto_scaling_group_names(&group).send().await;
        let groups = groups.map_err(|error| told("looking at the group", &error))?;
        let seen = groups.auto_scaling_groups.unwrap_or_default().into_iter().next();
        self.seen = Some(seen.ok_or_else(|| ProviderError(format!("there is no Auto Scaling group `{group}` here")))?);
        // A group that would not end without us is not worked with.
        self.renew().await?;
        Ok(self.instances().iter().filter_map(machine).collect())
    }

    async fn resize(&mut self, size: u32) -> Result<(), ProviderError> {
        let Some(seen) = &self.seen else { return Ok(()) };
        let wanted = i32::try_from(size).unwrap_or(i32::MAX);
        let (least, most) = (seen.min_size().unwrap_or(0), seen.max_size().unwrap_or(i32::MAX));
        let asked = wanted.clamp(least, most.max(least));
        if seen.desired_capacity() != Some(asked) {
            let group = self.settings.group.clone();
            let request = self.client().await.set_desired_capacity().auto_scaling_group_name(group);
            let request = request.desired_capacity(asked).honor_cooldown(false);
            request.send().await.map_err(|error| told("setting the group's size", &error))?;
        }
        if asked < wanted {
            return Err(ProviderError(format!(
                "{wanted} machines are wanted, and the group's MaxSize is {most}: raise it, or lower `workers_max`"
            )));
        }
        Ok(())
    }

    async fn protect(&mut self, busy: &BTreeSet<String>) -> Result<(), ProviderError> {
        let (mut to_protect, mut to_free) = (Vec::new(), Vec::new());
        for instance in self.instances() {
            let in_service = instance.lifecycle_state() == Some(&LifecycleState::InService);
            let (Some(id), true) = (instance.instance_id(), in_service) else { continue };
            match (busy.contains(id), instance.protected_from_scale_in().unwrap_or_default()) {
                (true, false) => to_protect.push(id.to_owned()),
                (false, true) => to_free.push(id.to_owned()),
                (true, true) | (false, false) => {}
            }
        }
        self.set_protection(to_protect, true).await?;
        self.set_protection(to_free, false).await
    }

    async fn end(&mut self, machine: &str) -> Result<(), ProviderError> {
        let Some(instance) = self.find(machine) else { return Ok(()) };
        if waits_to_go(instance) {
            return self.complete(machine).await;
        }
        if leaves(instance) {
            return Ok(());
        }
        // A size that is the least cannot be lowered: then another comes in its place.
        let (size, least) =
            self.seen.as_ref().map_or((None, 0), |seen| (seen.desired_capacity(), seen.min_size().unwrap_or(0)));
        let lowers = size.is_some_and(|size| size > least);
        let request = self.client().await.terminate_instance_in_auto_scaling_group().instance_id(machine);
        let ended = request.should_decrement_desired_capacity(lowers).send().await;
        ended.map_err(|error| told("ending an instance", &error))?;
        if let Some(seen) = self.seen.as_mut().filter(|_| lowers) {
            seen.desired_capacity = size.map(|size| size - 1);
        }
        Ok(())
    }
}

/// One that is there for its worker, or will be; none that the group keeps warm, or that is no longer of it.
fn machine(instance: &Instance) -> Option<Machine> {
    let state = instance.lifecycle_state().map_or("", LifecycleState::as_str);
    let elsewhere = state.starts_with("Warmed") || matches!(state, "Terminated" | "Detached" | "Standby");
    let id = instance.instance_id().filter(|_| !elsewhere)?;
    Some(Machine { id: id.to_owned(), leaves: leaves(instance) })
}

fn leaves(instance: &Instance) -> bool {
    let state = instance.lifecycle_state().map_or("", LifecycleState::as_str);
    ["Terminating", "Detaching", "EnteringStandby"].iter().any(|leaving| state.starts_with(leaving))
}

fn waits_to_go(instance: &Instance) -> bool {
    instance.lifecycle_state() == Some(&LifecycleState::TerminatingWait)
}

fn told(doing: &str, error: &(impl ProvideErrorMetadata + Error + 'static)) -> ProviderError {
    ProviderError(match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{doing}: {message} ({code})"),
        _ => format!("{doing}: {}", in_words(error)),
    })
}
