//! A lifecycle hook for instances that are terminated, of a group at a server that has none: whoever goes there is still shown,
//! in `Terminating:Wait`, until somebody completes its lifecycle action.

use std::collections::BTreeSet;
use std::sync::Mutex;

#[derive(Default)]
pub struct Hook {
    /// `None`: there is no hook.
    waiting: Mutex<Option<BTreeSet<String>>>,
}

impl Hook {
    pub fn put_up(&self) {
        self.with(|waiting| _ = waiting.get_or_insert_default());
    }

    /// The group ends it.
    pub fn hold(&self, instance: &str) {
        self.with(|waiting| waiting.as_mut().map(|waiting| waiting.insert(instance.to_owned())));
    }

    /// Whether it waited.
    pub fn let_go(&self, instance: &str) -> bool {
        self.with(|waiting| waiting.as_mut().is_some_and(|waiting| waiting.remove(instance)))
    }

    pub fn waiting(&self) -> BTreeSet<String> {
        self.with(|waiting| waiting.clone().unwrap_or_default())
    }

    /// The group as the server describes it, and beside its instances those that wait.
    pub fn shown(&self, described: &str) -> String {
        let gone = |id: &String| !described.contains(&format!("<InstanceId>{id}</InstanceId>"));
        let member = |id: &String| {
            format!(
                "<member><InstanceId>{id}</InstanceId><LifecycleState>Terminating:Wait</LifecycleState>\
                 <ProtectedFromScaleIn>false</ProtectedFromScaleIn></member>"
            )
        };
        let members: String = self.waiting().iter().filter(|id| gone(id)).map(member).collect();
        if members.is_empty() {
            return described.to_owned();
        }
        let listed = described.replace("<Instances/>", "<Instances></Instances>");
        assert!(listed.contains("</Instances>"), "a group without a list of instances: {described}");
        listed.replacen("</Instances>", &format!("{members}</Instances>"), 1)
    }

    fn with<T>(&self, then: impl FnOnce(&mut Option<BTreeSet<String>>) -> T) -> T {
        then(&mut self.waiting.lock().expect("nobody panics while it is held"))
    }
}
