//! The code of stages that run on this host, made once and shared by all slots: weights are packed once and not once a
//! task. Whatever an attempt does not use for a while is let go, since an idle worker has no business with it.

use crate::StageCode;
use mr_core::Failure;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;

type Code = Arc<dyn StageCode>;

/// Stages of running jobs at most, so that what is kept has a bound; attempts of those beyond make their code again.
const KEPT: usize = 16;

#[derive(Default)]
pub(crate) struct Codes {
    by_stage: Mutex<BTreeMap<String, Kept>>,
}

struct Kept {
    code: Arc<OnceCell<Code>>,
    used: Instant,
}

impl Codes {
    /// The code of that stage. Whoever comes first makes it while the others wait.
    pub(crate) async fn get(
        &self,
        stage: &str,
        make: impl Future<Output = Result<Code, Failure>>,
    ) -> Result<Code, Failure> {
        let code = self.place(stage);
        code.get_or_try_init(|| make).await.cloned()
    }

    fn place(&self, stage: &str) -> Arc<OnceCell<Code>> {
        let mut stages = self.by_stage.lock().expect("no one panics while holding it");
        if !stages.contains_key(stage) && stages.len() >= KEPT {
            let oldest = stages.iter().min_by_key(|(_, kept)| kept.used).map(|(stage, _)| stage.clone());
            stages.remove(&oldest.expect("there are some"));
        }
        let kept =
            stages.entry(stage.to_owned()).or_insert_with(|| Kept { code: Arc::default(), used: Instant::now() });
        kept.used = Instant::now();
        kept.code.clone()
    }

    /// Attempts that are under way keep theirs.
    pub(crate) fn forget(&self, unused_for: Duration) {
        let mut stages = self.by_stage.lock().expect("no one panics while holding it");
        stages.retain(|_, kept| kept.used.elapsed() < unused_for);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Weak;

    struct Nothing;

    impl StageCode for Nothing {}

    async fn get(codes: &Codes, stage: &str) -> Weak<dyn StageCode> {
        let code: Code = codes.get(stage, async { Ok(Arc::new(Nothing) as Code) }).await.unwrap();
        Arc::downgrade(&code)
    }

    #[tokio::test]
    async fn code_is_kept_while_it_is_used_and_there_is_room() {
        let codes = Codes::default();
        let first = get(&codes, "job/first").await;
        let second = get(&codes, "job/second").await;
        assert!(Weak::ptr_eq(&first, &get(&codes, "job/first").await));
        for number in 2..=KEPT {
            get(&codes, &format!("other/{number}")).await;
        }
        assert!(first.upgrade().is_some() && second.upgrade().is_none(), "the one used longest ago goes");
        codes.forget(Duration::from_secs(60));
        assert!(first.upgrade().is_some());
        codes.forget(Duration::ZERO);
        assert!(first.upgrade().is_none());
    }

    #[tokio::test]
    async fn a_failure_is_not_kept() {
        let codes = Codes::default();
        let failed = codes.get("job/stage", async { Err(Failure::transient("not now")) }).await.err();
        assert_eq!(failed, Some(Failure::transient("not now")));
        assert!(codes.get("job/stage", async { Ok(Arc::new(Nothing) as Code) }).await.is_ok());
    }
}
