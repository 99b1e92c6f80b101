//! The newest report, asked for at most once at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::backups;
use crate::engine::report::Report;

/// Asks the engine how it is; `None` = it did not answer in time. It may block for a few seconds.
pub type Source = Arc<dyn Fn() -> Option<Box<Report>> + Send + Sync>;

/// An answer is good for this long: many questions cost the engine no more than one.
const FRESH: Duration = Duration::from_millis(100);

/// See the module.
pub(super) struct Latest {
    source: Source,
    state: Mutex<State>,
}

struct State {
    asked: Option<Instant>,
    report: Option<Arc<Report>>,
    answered: Instant,
}

impl Latest {
    /// Nothing is asked yet. The time until the first answer counts from now.
    pub(super) fn new(source: Source) -> Self {
        Self { source, state: Mutex::new(State { asked: None, report: None, answered: Instant::now() }) }
    }

    /// The report, and how long ago the engine last answered.
    pub(super) async fn get(&self) -> (Option<Arc<Report>>, Duration) {
        let mut state = self.state.lock().await;
        if state.asked.is_none_or(|at| at.elapsed() >= FRESH) {
            let source = Arc::clone(&self.source);
            let asking = tokio::task::spawn_blocking(move || {
                let mut report = source()?;
                backups::count(&mut report);
                Some(report)
            });
            // A source that panicked has not answered.
            let report = asking.await.unwrap_or_default();
            let now = Instant::now();
            state.asked = Some(now);
            if report.is_some() {
                state.answered = now;
            }
            state.report = report.map(|report| Arc::new(*report));
        }
        (state.report.clone(), state.answered.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn many_questions_at_once_are_one_for_the_engine() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let latest = Arc::new(Latest::new(Arc::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
            Some(Box::default())
        })));
        let questions: Vec<_> = (0..20)
            .map(|_| {
                let latest = Arc::clone(&latest);
                tokio::spawn(async move { latest.get().await.0.is_some() })
            })
            .collect();
        for question in questions {
            assert!(question.await.unwrap());
        }
        assert!(asked.load(Ordering::Relaxed) < 20);
    }

    #[tokio::test]
    async fn an_engine_that_does_not_answer_is_told() {
        let latest = Latest::new(Arc::new(|| None));
        tokio::time::sleep(Duration::from_millis(5)).await;
        let (report, ago) = latest.get().await;
        assert!(report.is_none() && ago >= Duration::from_millis(5));
    }
}
