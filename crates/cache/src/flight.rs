//! One flight per key: while one request's answer is under way, the same request waits for it instead of asking the model again.
//!
//! Who leads holds a [`Seat`]. It lands with an answer for all who wait, releases them to go on by themselves, or (dropped, because
//! its call failed or its client left) hands itself over to who has waited longest.

use crate::question::ExactKey;
use crate::store::Hit;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

type Waiting = HashMap<ExactKey, VecDeque<oneshot::Sender<Turn>>>;

/// The flights of one shelf.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flights(Arc<Mutex<Waiting>>);

/// What a request that joins a flight is.
#[derive(Debug)]
pub(crate) enum Joined {
    Lead(Seat),
    Wait(oneshot::Receiver<Turn>),
}

/// How a wait ends.
#[derive(Debug)]
pub(crate) enum Turn {
    Answer(Hit),
    /// The one before left.
    Lead(Seat),
    /// There is no answer that others may have.
    Alone,
}

/// The right to ask the model for a key.
#[derive(Debug)]
pub(crate) struct Seat {
    flights: Flights,
    key: ExactKey,
    taken: bool,
}

impl Flights {
    /// Joins the flight of a key, or begins it.
    pub(crate) fn join(&self, key: ExactKey) -> Joined {
        let mut waiting = self.lock();
        let Some(queue) = waiting.get_mut(&key) else {
            waiting.insert(key, VecDeque::new());
            return Joined::Lead(self.seat(key));
        };
        // Those who left are cleared out now and then, so that a long flight's queue stays as long as there are callers.
        if queue.len() >= 64 && queue.len().is_power_of_two() {
            queue.retain(|waiter| !waiter.is_closed());
        }
        let (waiter, turn) = oneshot::channel();
        queue.push_back(waiter);
        Joined::Wait(turn)
    }

    /// How many flights are under way.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn seat(&self, key: ExactKey) -> Seat {
        Seat { flights: self.clone(), key, taken: true }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Gives all who wait an answer.
    pub(crate) fn land(mut self, hit: &Hit) {
        for waiter in self.end() {
            // Who left needs no answer.
            let _ = waiter.send(Turn::Answer(hit.clone()));
        }
    }

    /// Lets all who wait go on by themselves.
    pub(crate) fn release(mut self) {
        for waiter in self.end() {
            let _ = waiter.send(Turn::Alone);
        }
    }

    fn end(&mut self) -> VecDeque<oneshot::Sender<Turn>> {
        self.taken = false;
        self.flights.lock().remove(&self.key).unwrap_or_default()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        while self.taken {
            let mut waiting = self.flights.lock();
            let next = waiting.get_mut(&self.key).and_then(VecDeque::pop_front);
            let Some(next) = next else {
                waiting.remove(&self.key);
                return;
            };
            drop(waiting);
            // Who left before taking it drops it, and so hands it on; who left before it was sent gives it back here.
            match next.send(Turn::Lead(self.flights.seat(self.key))) {
                Ok(()) => self.taken = false,
                Err(Turn::Lead(mut back)) => back.taken = false,
                Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Status;
    use crate::testing::{NOW, entry};
    use proptest::prelude::*;

    const KEY: ExactKey = ExactKey([1; 32]);

    fn hit() -> Hit {
        Hit::new(Arc::new(entry("acme", KEY, "x")), Status::HitExact, None, NOW)
    }

    fn lead(flights: &Flights) -> Seat {
        match flights.join(KEY) {
            Joined::Lead(seat) => seat,
            Joined::Wait(_) => panic!("somebody leads"),
        }
    }

    fn wait(flights: &Flights) -> oneshot::Receiver<Turn> {
        match flights.join(KEY) {
            Joined::Wait(turn) => turn,
            Joined::Lead(_) => panic!("nobody leads"),
        }
    }

    #[test]
    fn all_who_wait_get_the_answer() {
        let flights = Flights::default();
        let seat = lead(&flights);
        let turns: Vec<_> = (0..100).map(|_| wait(&flights)).collect();
        seat.land(&hit());
        for mut turn in turns {
            assert!(matches!(turn.try_recv(), Ok(Turn::Answer(_))));
        }
        assert_eq!(flights.len(), 0);
    }

    #[test]
    fn who_leaves_hands_over_to_who_has_waited_longest() {
        let flights = Flights::default();
        let seat = lead(&flights);
        let gone = wait(&flights);
        let mut second = wait(&flights);
        let mut third = wait(&flights);
        drop(gone);
        drop(seat);
        let Ok(Turn::Lead(seat)) = second.try_recv() else { panic!("it is the second's turn") };
        assert!(third.try_recv().is_err());
        seat.release();
        assert!(matches!(third.try_recv(), Ok(Turn::Alone)));
        assert_eq!(flights.len(), 0);
    }

    #[test]
    fn a_seat_that_nobody_takes_is_handed_on() {
        let flights = Flights::default();
        let seat = lead(&flights);
        let second = wait(&flights);
        let mut third = wait(&flights);
        drop(seat);
        // It lies in the second's hands, who never looks.
        drop(second);
        assert!(matches!(third.try_recv(), Ok(Turn::Lead(_))));
        drop(third);
        drop(lead(&flights));
        assert_eq!(flights.len(), 0);
    }

    proptest! {
        #[test]
        fn there_is_one_leader_and_nobody_waits_for_nobody(steps in prop::collection::vec((0_u8..6, 0_usize..8), 0..120)) {
            let flights = Flights::default();
            let mut seat: Option<Seat> = None;
            let mut turns: Vec<oneshot::Receiver<Turn>> = Vec::new();
            for (step, which) in steps {
                match step {
                    0..=2 => match flights.join(KEY) {
                        Joined::Lead(new) => {
                            prop_assert!(seat.is_none());
                            seat = Some(new);
                        }
                        Joined::Wait(turn) => turns.push(turn),
                    },
                    3 if which < turns.len() => drop(turns.swap_remove(which)),
                    4 => drop(seat.take()),
                    5 => if let Some(seat) = seat.take() {
                        if which % 2 == 0 { seat.land(&hit()) } else { seat.release() }
                    },
                    _ => {}
                }
                let mut still = Vec::new();
                for mut turn in turns.drain(..) {
                    match turn.try_recv() {
                        Ok(Turn::Lead(new)) => {
                            prop_assert!(seat.is_none());
                            seat = Some(new);
                        }
                        Ok(_) => {}
                        Err(oneshot::error::TryRecvError::Empty) => still.push(turn),
                        Err(oneshot::error::TryRecvError::Closed) => prop_assert!(false, "forgotten"),
                    }
                }
                turns = still;
                prop_assert!(seat.is_some() || turns.is_empty());
                prop_assert_eq!(flights.len(), usize::from(seat.is_some()));
            }
        }
    }
}
