//! Whatever callers do, in whatever order: nobody is lost, nobody is served twice, and no slot is idle that somebody may have.

use super::*;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Enter {
        tenant: usize,
        band: usize,
        output: u64,
    },
    /// A caller goes away, whether it waits, was just called or is being served.
    Leave(prop::sample::Index),
    Finish(prop::sample::Index, Option<u64>),
    /// Those who were called notice.
    Look,
    Advance(u64),
    Limit(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..4usize, 0..3usize, 0..500u64).prop_map(|(tenant, band, output)| Step::Enter { tenant, band, output }),
        2 => any::<prop::sample::Index>().prop_map(Step::Leave),
        4 => (any::<prop::sample::Index>(), prop::option::of(0..2_000u64)).prop_map(|(who, output)| Step::Finish(who, output)),
        3 => Just(Step::Look),
        1 => (0..30_000u64).prop_map(Step::Advance),
        1 => (0..8u32).prop_map(Step::Limit),
    ]
}

struct Caller {
    of: (usize, usize),
    entering: Entering,
}

struct World {
    queue: Queue,
    limit: u32,
    /// In order of arrival.
    callers: Vec<Caller>,
    slots: Vec<Slot>,
}

impl World {
    /// Takes in those who were called; each tenant's in the order in which they came.
    fn look(&mut self) -> Result<(), TestCaseError> {
        let mut passed_over = Vec::new();
        for mut caller in std::mem::take(&mut self.callers) {
            match poll(&mut caller.entering) {
                Poll::Ready(slot) => {
                    prop_assert!(!passed_over.contains(&caller.of), "somebody was passed over");
                    self.slots.push(slot.unwrap());
                }
                Poll::Pending => {
                    passed_over.push(caller.of);
                    self.callers.push(caller);
                }
            }
        }
        Ok(())
    }

    fn check(&self, ran: u64) -> Result<(), TestCaseError> {
        let view = self.queue.view();
        let count = (self.callers.len() + self.slots.len()) as u64;
        prop_assert_eq!(view.running + u64::from(view.waiting), count, "somebody is lost, or twice here");
        prop_assert!(view.running >= self.slots.len() as u64);
        if self.limit == 0 {
            prop_assert_eq!(view.waiting, 0);
            return Ok(());
        }
        // More run than may only where there were as many before the limit fell.
        prop_assert!(view.running <= u64::from(self.limit).max(ran), "{} run", view.running);
        // Whoever waits sees all slots taken that the more urgent bands do not keep.
        let mut taken = view.running;
        let mut is_full = false;
        for (band, kept_percent) in view.bands.iter().zip([0, 20, 30]) {
            let kept = (u64::from(self.limit) * kept_percent).div_ceil(100);
            is_full |= taken >= (u64::from(self.limit) - kept).max(1);
            prop_assert!(
                is_full || band.waiting == 0,
                "idle while {} calls of {} wait",
                band.waiting,
                band.band
            );
            taken = view
                .bands
                .iter()
                .filter(|other| other.band > band.band)
                .map(|other| u64::from(other.running))
                .sum();
        }
        Ok(())
    }
}

fn run(steps: Vec<Step>, first_limit: u32) -> Result<(), TestCaseError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async move {
        let policy_of = |limit| Policy { max_wait_ms: 86_400_000, ..policy(limit) };
        let queue = Queue::new(&policy_of(first_limit));
        let mut world = World { queue, limit: first_limit, callers: Vec::new(), slots: Vec::new() };
        let mut ran = 0;
        for step in steps {
            match step {
                Step::Enter { tenant, band, output } => {
                    let ticket = Ticket {
                        weight: NonZeroU32::new(1 + u32::try_from(tenant).unwrap()).unwrap(),
                        band: Band::ALL[band],
                        expected_output_tokens: Some(output),
                        ..ticket(&format!("t-{tenant}"))
                    };
                    let mut entering = entering(&world.queue, ticket);
                    match poll(&mut entering) {
                        Poll::Ready(slot) => world.slots.push(slot.unwrap()),
                        Poll::Pending => world.callers.push(Caller { of: (tenant, band), entering }),
                    }
                }
                Step::Leave(who) => {
                    if !world.callers.is_empty() {
                        let who = who.index(world.callers.len());
                        drop(world.callers.remove(who));
                    }
                }
                Step::Finish(who, output) => {
                    if !world.slots.is_empty() {
                        let mut slot = world.slots.swap_remove(who.index(world.slots.len()));
                        if let Some(tokens) = output {
                            slot.charge(tokens / 2);
                            slot.charge(tokens - tokens / 2);
                        }
                    }
                }
                Step::Look => world.look()?,
                Step::Advance(ms) => advance(Duration::from_millis(ms)).await,
                Step::Limit(limit) => {
                    world.limit = limit;
                    world.queue.update(&policy_of(limit));
                }
            }
            world.check(ran)?;
            ran = world.queue.view().running;
        }
        // Everybody who stayed is served, once.
        while !world.callers.is_empty() {
            let before = world.callers.len();
            world.slots.clear();
            world.look()?;
            prop_assert!(world.callers.len() < before || !world.slots.is_empty(), "nobody moves");
        }
        world.slots.clear();
        let view = world.queue.view();
        prop_assert_eq!((view.running, view.waiting), (0, 0));
        Ok(())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nobody_is_lost_and_no_slot_is_idle(steps in prop::collection::vec(step(), 1..120), limit in 0..8u32) {
        run(steps, limit)?;
    }
}

/// Many threads at once: what the paused clock cannot show.
#[test]
fn threads_never_run_more_than_may() {
    use std::sync::atomic::AtomicU32;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
    let queue = Queue::new(&policy(3));
    let running = Arc::new(AtomicU32::new(0));
    let calls = (0..2_000u32).map(|number| {
        let (queue, running) = (queue.clone(), running.clone());
        runtime.spawn(async move {
            let entering = queue.enter(Ticket { band: Band::ALL[number as usize % 3], ..ticket(&format!("t-{}", number % 7)) });
            if number % 5 == 0 {
                // Gone after a few turns of the executor.
                tokio::select! {
                    biased;
                    () = async { for _ in 0..number % 11 { tokio::task::yield_now().await; } } => return false,
                    _slot = entering => return false,
                }
            }
            let Ok(slot) = entering.await else { return false };
            assert!(running.fetch_add(1, Ordering::SeqCst) < 3);
            tokio::task::yield_now().await;
            running.fetch_sub(1, Ordering::SeqCst);
            drop(slot);
            true
        })
    });
    let calls: Vec<_> = calls.collect();
    let done = runtime.block_on(async {
        let mut done = 0;
        for call in calls {
            done += u32::from(call.await.unwrap());
        }
        done
    });
    let view = queue.view();
    assert_eq!((view.running, view.waiting), (0, 0));
    let refused: u64 = view.bands.iter().map(|band| band.refused.total()).sum();
    assert!(u64::from(done) + refused >= 1_600, "{done} served, {refused} refused");
}
