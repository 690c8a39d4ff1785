//! `mr-submit plan`, and the same estimate held against the budget of a job that is to be submitted.

use crate::args::{Assumed, Cli, Plan};
use crate::location::Place;
use crate::plan::Planned;
use crate::stop::Stop;
use crate::submit::{cores, prepare};
use crate::talk::say;
use crate::{commands, estimate, estimate_text, keys, output};
use mr_cost::{Estimate, over_budget};
use mr_mapreduce::Registry;
use serde::Serialize;

/// An estimate for machines, with why such a job would not be begun.
#[derive(Serialize)]
struct Said<'a> {
    #[serde(flatten)]
    estimate: &'a Estimate,
    over_budget: Option<&'a str>,
    refused: Option<&'a str>,
}

/// What the job would be, without any of it done.
///
/// # Errors
/// Why it could not be said, or that it would cost more than it may.
pub async fn plan_only(cli: &Cli, args: &Plan, registry: Registry) -> Result<(), Stop> {
    let place = Place::now()
        .map_err(|error| Stop::Refused(format!("the folder that this was called in can't be found: {error}")))?;
    let planned = prepare((&args.changes, false), &args.job, &registry, &place).await?;
    let estimate = estimated(cli, &planned, &registry, &args.assumed, cores()).await?;
    let budget = planned.plan.spec.limits.budget_max_usd;
    let over = budget.and_then(|budget| over_budget(&estimate.usd, budget));
    let refused = mr_coordinator::refusal(&planned.plan.spec).await;
    if cli.json {
        output::json(&Said { estimate: &estimate, over_budget: over.as_deref(), refused: refused.as_deref() })?;
    } else {
        output::text(&estimate_text::of(&planned.plan.spec, &estimate))?;
    }
    // Whoever plans may not have made up their mind yet.
    if let Some(why) = refused {
        say(&format!("as it stands the job would be refused: {why}"));
    }
    match over {
        Some(over) => Err(Stop::Refused(over)),
        None => Ok(()),
    }
}

async fn estimated(
    cli: &Cli,
    planned: &Planned,
    registry: &Registry,
    assumed: &Assumed,
    slots: u32,
) -> Result<Estimate, Stop> {
    let terms = match cli.coordinator() {
        Some(_) => Some(commands::cluster(cli)?.terms().await?),
        None => None,
    };
    let place = Place::now().map_err(|error| Stop::Failed(format!("finding the folder of this process: {error}")))?;
    estimate::estimated(planned, registry, (assumed, &place), terms.as_ref(), slots).await
}

/// Holds the estimate against the budget, before anything is written anywhere.
///
/// # Errors
/// When it is above, or can't be made.
pub async fn within_budget(cli: &Cli, planned: &Planned, registry: &Registry, slots: u32) -> Result<(), Stop> {
    let Some(budget) = planned.plan.spec.limits.budget_max_usd else { return Ok(()) };
    let estimate = estimated(cli, planned, registry, &cli.run.assumed, slots).await?;
    if let Some(over) = over_budget(&estimate.usd, budget) {
        return Err(Stop::Refused(format!("{over}; `mr-submit plan` shows what it comes of. Nothing was submitted")));
    }
    if estimate.usd.workers.is_none() {
        say(&format!("`{}` is held against requests alone: {}", keys::BUDGET_MAX_USD, estimate_text::lacks(&estimate)));
    }
    Ok(())
}
