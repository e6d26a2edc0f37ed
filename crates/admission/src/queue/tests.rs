//! The queue, step by step, under a clock that stands still unless it is moved.

mod random;

use super::*;
use contracts::policy::queue::Lane;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::time::advance;

type Entering = Pin<Box<dyn Future<Output = Result<Slot, Refused>>>>;

fn policy(concurrency: u32) -> Policy {
    Policy { concurrency: NonZeroU32::new(concurrency), ..Policy::default() }
}

fn ticket(tenant: &str) -> Ticket {
    Ticket {
        tenant: tenant.parse().unwrap(),
        weight: NonZeroU32::MIN,
        band: Band::Standard,
        input_tokens: 100,
        expected_output_tokens: Some(100),
        deadline: None,
    }
}

fn entering(queue: &Queue, ticket: Ticket) -> Entering {
    let queue = queue.clone();
    Box::pin(async move { queue.enter(ticket).await })
}

fn poll(entering: &mut Entering) -> Poll<Result<Slot, Refused>> {
    entering.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// Enters and waits: polled once.
fn waiting(queue: &Queue, ticket: Ticket) -> Entering {
    let mut entering = entering(queue, ticket);
    assert!(poll(&mut entering).is_pending());
    entering
}

fn slot(entering: &mut Entering) -> Option<Slot> {
    match poll(entering) {
        Poll::Ready(slot) => Some(slot.unwrap()),
        Poll::Pending => None,
    }
}

/// The places in `order` in which those who wait are served when calls end one by one.
fn served(mut entering: Vec<Entering>, first: Slot) -> Vec<usize> {
    let mut order = Vec::new();
    let mut running = Some(first);
    let mut is_done = vec![false; entering.len()];
    while order.len() < entering.len() {
        drop(running.take());
        for (place, one) in entering.iter_mut().enumerate() {
            if !is_done[place]
                && let Some(slot) = slot(one)
            {
                is_done[place] = true;
                order.push(place);
                assert!(running.replace(slot).is_none(), "two run");
            }
        }
        assert!(running.is_some(), "nobody runs");
    }
    order
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_all_start() {
    let queue = Queue::new(&Policy::default());
    let mut slots = Vec::new();
    for _ in 0..1_000 {
        slots.push(queue.enter(ticket("a")).await.unwrap());
    }
    assert_eq!(queue.view().running, 1_000);
    slots.truncate(10);
    assert_eq!(queue.view().running, 10);
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_comes_counts_those_who_run_and_one_that_goes_lets_all_start() {
    let queue = Queue::new(&Policy::default());
    let old = queue.enter(ticket("a")).await.unwrap();
    queue.update(&policy(1));
    let mut next = waiting(&queue, ticket("a"));
    drop(old);
    let held = slot(&mut next).unwrap();
    let mut others: Vec<_> = (0..5).map(|_| waiting(&queue, ticket("b"))).collect();
    queue.update(&policy(3));
    assert_eq!(others.iter_mut().filter_map(slot).map(std::mem::forget).count(), 2);
    queue.update(&Policy::default());
    assert_eq!(queue.view().waiting, 0);
    assert_eq!(queue.view().running, 6);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn tenants_take_turns_whoever_came_first() {
    let queue = Queue::new(&policy(1));
    let first = queue.enter(ticket("noisy")).await.unwrap();
    let tenants = ["noisy", "noisy", "noisy", "quiet", "noisy", "quiet"];
    let all = tenants.iter().map(|tenant| waiting(&queue, ticket(tenant))).collect();
    assert_eq!(served(all, first), [3, 0, 5, 1, 2, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_heavier_tenant_gets_more_turns() {
    let queue = Queue::new(&policy(1));
    let first = queue.enter(ticket("x")).await.unwrap();
    let heavy = Ticket { weight: NonZeroU32::new(3).unwrap(), ..ticket("heavy") };
    let all = (0..24).map(|n| waiting(&queue, if n % 2 == 0 { heavy.clone() } else { ticket("light") }));
    let order = served(all.collect(), first);
    assert_eq!(order[..12].iter().filter(|place| **place % 2 == 0).count(), 9);
}

#[tokio::test(start_paused = true)]
async fn long_answers_cost_turns() {
    let queue = Queue::new(&policy(1));
    let mut first = queue.enter(ticket("wordy")).await.unwrap();
    let all = vec![
        waiting(&queue, ticket("wordy")),
        waiting(&queue, ticket("terse")),
        waiting(&queue, ticket("terse")),
        waiting(&queue, ticket("terse")),
    ];
    // Its running call comes to 700 tokens more than expected: two turns of 300 weighted tokens, and a part.
    first.charge(100);
    first.charge(390);
    assert_eq!(served(all, first), [1, 2, 3, 0]);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_used_is_given_back() {
    let queue = Queue::new(&policy(1));
    let mut first =
        queue.enter(Ticket { expected_output_tokens: Some(10_000), ..ticket("a") }).await.unwrap();
    first.charge(7);
    drop(first);
    let _running = queue.enter(ticket("b")).await.unwrap();
    let _waits = waiting(&queue, ticket("a"));
    assert_eq!(queue.view().bands[1].tenants[0].charged_tokens, 100 + 2 * 7);
}

#[tokio::test(start_paused = true)]
async fn unknown_output_is_taken_from_the_tenants_last_calls() {
    let queue = Queue::new(&policy(8));
    let unknown = Ticket { expected_output_tokens: None, ..ticket("a") };
    let mut first = queue.enter(unknown.clone()).await.unwrap();
    assert_eq!(queue.view().bands[1].tenants[0].charged_tokens, 100 + 2 * 256);
    first.charge(10);
    drop(first);
    let _second = queue.enter(unknown).await.unwrap();
    assert_eq!(queue.view().bands[1].tenants[0].charged_tokens, 2 * (100 + 2 * 10));
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_nothing_is_known_of_is_taken_to_be_like_others() {
    let queue = Queue::new(&policy(8));
    let unknown = |tenant| Ticket { expected_output_tokens: None, ..ticket(tenant) };
    let mut first = queue.enter(unknown("a")).await.unwrap();
    first.charge(10);
    drop(first);
    let _second = queue.enter(unknown("b")).await.unwrap();
    let charged = |tenant: &str| {
        let tenants = queue.view().bands[1].tenants.clone();
        tenants.into_iter().find(|view| view.tenant.as_str() == tenant).unwrap().charged_tokens
    };
    assert_eq!(charged("b"), 100 + 2 * 10);
}

#[tokio::test(start_paused = true)]
async fn what_many_calls_give_back_together_puts_nobody_far_behind() {
    let queue = Queue::new(&policy(32));
    // Nothing is known of anybody: all are charged for long answers.
    let unknown = |tenant| Ticket { expected_output_tokens: None, ..ticket(tenant) };
    let mut running = Vec::new();
    for _ in 0..31 {
        running.push(queue.enter(unknown("noisy")).await.unwrap());
    }
    let mut quiet = queue.enter(unknown("quiet")).await.unwrap();
    let mut noise: Vec<_> = (0..200).map(|_| waiting(&queue, unknown("noisy"))).collect();
    for mut slot in running.drain(..) {
        slot.charge(10);
    }
    quiet.charge(10);
    drop(quiet);
    running.extend(noise.iter_mut().filter_map(slot));
    noise.drain(..running.len());
    assert_eq!(running.len(), 32);
    let mut quiet = waiting(&queue, unknown("quiet"));
    let before = (0..200).position(|_| {
        let mut ends = running.remove(0);
        ends.charge(10);
        drop(ends);
        if noise.first_mut().and_then(slot).map(|slot| running.push(slot)).is_some() {
            drop(noise.remove(0));
        }
        slot(&mut quiet).is_some()
    });
    assert!(before.is_some_and(|before| before <= 10), "its turn came after {before:?} others");
}

#[tokio::test(start_paused = true)]
async fn the_more_urgent_goes_first_and_the_patient_is_not_starved() {
    let queue = Queue::new(&policy(1));
    let in_band = |band| Ticket { band, ..ticket("a") };
    let first = queue.enter(ticket("a")).await.unwrap();
    let batch = waiting(&queue, in_band(Band::Batch));
    let mut all = vec![batch];
    all.extend((0..60).map(|_| waiting(&queue, in_band(Band::Interactive))));
    let order = served(all, first);
    let place = order.iter().position(|place| *place == 0).unwrap();
    assert_eq!(place, 20, "a twentieth of the tokens is sure");
}

#[tokio::test(start_paused = true)]
async fn patient_bands_leave_slots_free_while_the_urgent_one_is_in_use() {
    let queue = Queue::new(&policy(10));
    let in_band = |band| Ticket { band, ..ticket("a") };
    let enter = |band| poll(&mut entering(&queue, in_band(band)));
    let mut held = vec![queue.enter(in_band(Band::Interactive)).await.unwrap()];
    held.clear();
    while let Poll::Ready(slot) = enter(Band::Batch) {
        held.push(slot.unwrap());
    }
    // Two for interactive; nobody has asked as standard.
    assert_eq!(held.len(), 8);
    assert!(enter(Band::Standard).is_pending());
    for _ in 0..2 {
        held.push(queue.enter(in_band(Band::Interactive)).await.unwrap());
    }
    assert!(enter(Band::Interactive).is_pending());
    held.truncate(8);
    advance(Duration::from_secs(61)).await;
    held.push(queue.enter(in_band(Band::Batch)).await.unwrap_or_else(|refused| panic!("{refused}")));
}

#[tokio::test(start_paused = true)]
async fn a_lane_without_reserve_may_be_filled() {
    let lane = Lane::default();
    let bands =
        contracts::policy::queue::Bands { interactive: lane.clone(), standard: lane.clone(), batch: lane };
    let queue = Queue::new(&Policy { bands, ..policy(4) });
    let _urgent = queue.enter(Ticket { band: Band::Interactive, ..ticket("a") }).await.unwrap();
    let batch = Ticket { band: Band::Batch, ..ticket("a") };
    let mut slots = Vec::new();
    for _ in 0..3 {
        slots.push(queue.enter(batch.clone()).await.unwrap());
    }
    assert_eq!(queue.view().running, 4);
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded_and_leaves_places_for_others() {
    let queue = Queue::new(&Policy { max_waiting: 90, max_waiting_per_tenant: 1_000, ..policy(1) });
    let _running = queue.enter(ticket("noisy")).await.unwrap();
    let mut waits = Vec::new();
    let refused = loop {
        let mut entering = entering(&queue, ticket("noisy"));
        match poll(&mut entering) {
            Poll::Pending => waits.push(entering),
            Poll::Ready(refused) => break refused.unwrap_err(),
        }
    };
    assert_eq!(waits.len(), 80, "eight for each place left");
    assert_eq!(refused.reason, Reason::TenantFull);
    assert!(refused.is_own_fault());
    for place in 0..10 {
        waits.push(waiting(&queue, ticket(&format!("quiet-{place}"))));
    }
    let refused = queue.enter(ticket("quiet-11")).await.unwrap_err();
    assert_eq!(refused.reason, Reason::Full);
    assert!(!refused.is_own_fault());
    let view = queue.view().bands[1].refused;
    assert_eq!((view.full, view.tenant_full, view.total()), (1, 1, 2));
}

/// Ends calls one by one, so that the queue learns that one takes a second.
async fn learn_a_second(queue: &Queue) {
    for _ in 0..4 {
        let slot = queue.enter(ticket("a")).await.unwrap();
        advance(Duration::from_secs(1)).await;
        drop(slot);
    }
}

#[tokio::test(start_paused = true)]
async fn who_would_come_too_late_is_refused_at_once() {
    let queue = Queue::new(&policy(1));
    learn_a_second(&queue).await;
    let _running = queue.enter(ticket("a")).await.unwrap();
    let by =
        |seconds| Ticket { deadline: Some(Instant::now() + Duration::from_secs(seconds)), ..ticket("a") };
    let _waits = [waiting(&queue, ticket("a")), waiting(&queue, ticket("a"))];
    let refused = queue.enter(by(2)).await.unwrap_err();
    assert_eq!(refused.reason, Reason::TooLate { expected: Duration::from_secs(3) });
    assert_eq!(refused.retry_after, Duration::from_secs(1));
    let _fits = waiting(&queue, by(3));
    // Of another tenant only its share is ahead.
    let _other = waiting(&queue, Ticket { tenant: "b".parse().unwrap(), ..by(2) });
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_ends_the_wait() {
    let queue = Queue::new(&policy(1));
    let _running = queue.enter(ticket("a")).await.unwrap();
    let start = Instant::now();
    let by = start + Duration::from_millis(300);
    let refused = queue.enter(Ticket { deadline: Some(by), ..ticket("a") }).await.unwrap_err();
    assert!(matches!(refused.reason, Reason::TimedOut { .. }));
    assert!(start.elapsed() < Duration::from_millis(310));
    assert!(refused.retry_after > Duration::ZERO);
    let refused = queue.enter(ticket("a")).await.unwrap_err();
    assert!(matches!(refused.reason, Reason::TimedOut { waited } if waited >= Duration::from_mins(1)));
    assert_eq!(queue.view().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn a_slot_on_its_way_to_one_who_left_goes_to_the_next() {
    let queue = Queue::new(&policy(1));
    let first = queue.enter(ticket("a")).await.unwrap();
    let gone = waiting(&queue, ticket("a"));
    let left = waiting(&queue, ticket("a"));
    let mut next = waiting(&queue, ticket("a"));
    drop(left);
    // Handed to `gone`, which is dropped before it looks.
    drop(first);
    drop(gone);
    advance(Duration::from_millis(5)).await;
    let slot = slot(&mut next).unwrap();
    assert_eq!(slot.waited(), Duration::ZERO);
    let view = queue.view();
    assert_eq!((view.running, view.waiting, view.bands[1].cancelled), (1, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn tenants_that_are_gone_are_forgotten() {
    let queue = Queue::new(&policy(4));
    for tenant in 0..10_000 {
        drop(queue.enter(ticket(&format!("t-{tenant}"))).await.unwrap());
    }
    let known = queue.0.state().lines[1].shares.iter().count();
    assert!(known < 400, "{known}");
}
