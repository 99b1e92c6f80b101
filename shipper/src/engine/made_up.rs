//! An engine for tests.

use std::path::Path;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};

use super::{Engine, Now, Setup};
use crate::lane::{Delivery, Gate, Outlet};
use crate::plan::Plan;
use crate::plan::resolve::resolve;
use crate::state::commit::Committer;
use crate::state::store::{self, Store};

/// A policy with two sources, and a sink that takes the first; `switches` are those that are engaged.
pub(super) fn plan(dir: &Path, switches: &[&str]) -> Plan {
    let switch = |scope| {
        let thrown = "killSwitch: {engaged: true, reason: drill, requestedBy: me}";
        if switches.contains(&scope) { thrown } else { "" }
    };
    let text = format!(
        "apiVersion: waybill.dev/v1alpha1\nkind: AuditPolicy\nmetadata: {{name: p}}\nspec:\n  {policy}\n  sources:\n    \
         - name: a\n      type: File\n      format: Text\n      file: {{paths: [\"{dir}/a.log\"]}}\n      {a}\n    \
         - name: b\n      type: File\n      format: Text\n      file: {{paths: [\"{dir}/b.log\"]}}\n      {b}\n  sinks:\n    \
         - name: out\n      type: File\n      sources: [a]\n      file: {{path: \"{dir}/out/out.log\", retention: {{maxFiles: 1}}}}\n      {out}\n",
        policy = switch("policy"),
        a = switch("a"),
        b = switch("b"),
        out = switch("out"),
        dir = dir.display(),
    );
    let resolved = resolve(&text, Some(&dir.join("out")), None);
    resolved.plan.unwrap_or_else(|| panic!("{:?}\n{text}", resolved.findings))
}

/// An engine with that policy over two lines, the sink's end, and what it is handed.
pub(super) fn engine(dir: &Path) -> (Engine, Outlet, Receiver<Delivery>) {
    std::fs::create_dir(dir.join("state")).unwrap();
    std::fs::write(dir.join("a.log"), "one\ntwo\n").unwrap();
    let (log, model, _) = store::load(&dir.join("state"), false).unwrap();
    let (deliveries, inbox) = unbounded();
    let gate = Gate::default;
    let outlet = Outlet { deliveries, health: std::sync::Arc::default(), gate: gate(), letters: gate() };
    let outlets = vec![("out".to_owned(), outlet.clone())];
    let store = Store::new(model, Committer::inline(log));
    (Engine::new(store, Setup::default(), plan(dir, &[]), outlets, None, Now::read()), outlet, inbox)
}

/// The first records of a file that are handed out.
pub(super) fn delivered(engine: &mut Engine, inbox: &Receiver<Delivery>) -> Delivery {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        engine.turn(Now::read());
        match inbox.recv_timeout(Duration::from_millis(20)) {
            Ok(delivery) if engine.streams.contains_key(&delivery.chunk.stream) => return delivery,
            _ => assert!(Instant::now() < deadline, "nothing is delivered"),
        }
    }
}
