//! What signals say of small examples, and that none leaves its range.

use super::*;
use inference::grounding::DetectorOptions;
use proptest::prelude::*;
use std::time::Duration;

const CONTEXT: &str = "Marie Curie was born in Warsaw in 1867. She won two Nobel prizes.";

fn request(context: &'static [&'static str]) -> Request<'static> {
    Request { prompt: "Who was Marie Curie?", context, ..Request::default() }
}

fn says(text: &str) -> Answer<'_> {
    Answer { text, ..Answer::default() }
}

#[test]
fn what_the_context_does_not_say_is_known_less() {
    let request = request(&[CONTEXT]);
    let view = RequestView::new(&request);
    let detector = Detector::new(DetectorOptions::default());
    let look = |text| view.lexical(&says(text), None).or(&view.grounding(&says(text), &detector, None));
    let good = look("She was born in Warsaw in 1867.");
    let bad = look("Albert Einstein taught in Princeton until 1955.");
    for signal in [Signal::KnownWords, Signal::KnownNumbers, Signal::Grounding, Signal::LeastSupport] {
        assert!(good.get(signal) > bad.get(signal), "{signal:?} {good:?} {bad:?}");
    }
    assert_eq!(good.get(Signal::Question), Some(1.0));
    assert_eq!(good.get(Signal::StructuredContext), Some(0.0));
    assert_eq!(good.get(Signal::Agreement), None);
}

#[test]
fn without_a_context_nothing_is_said_of_grounding() {
    let request = request(&[]);
    let view = RequestView::new(&request);
    let signals = view.lexical(&says("Paris"), Some(&says("It is Paris")));
    assert_eq!(signals.get(Signal::KnownWords), None);
    assert!(signals.get(Signal::Agreement).is_some_and(|agreement| agreement > 0.4 && agreement < 0.6));
    let detector = Detector::new(DetectorOptions::default());
    assert_eq!(view.grounding(&says("Paris"), &detector, None), Signals::default());
}

#[test]
fn a_passage_within_the_prompt_is_not_part_of_the_question() {
    let prompt = format!("{CONTEXT}\n\nWho was Marie Curie?");
    let with = Request { prompt: &prompt, context: &[CONTEXT], ..Request::default() };
    let without = request(&[CONTEXT]);
    let (with, without) = (RequestView::new(&with), RequestView::new(&without));
    assert_eq!(with.signals(), without.signals());
    let detector = Detector::new(DetectorOptions::default());
    let answer = says("She won two prizes in Warsaw, and taught in Princeton.");
    assert_eq!(with.grounding(&answer, &detector, None), without.grounding(&answer, &detector, None));
}

#[test]
fn a_detector_out_of_time_is_late_and_says_nothing() {
    let request = request(&[CONTEXT]);
    let view = RequestView::new(&request);
    let detector = Detector::new(DetectorOptions::default());
    let past = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
    let signals = view.grounding(&says("She was born in Warsaw."), &detector, Some(past));
    assert!(signals.is_late() && signals.get(Signal::Grounding).is_none());
}

#[test]
fn log_probabilities_are_gathered_by_their_mean() {
    let answer = Answer { text: "a", logprobs: &[-0.2, -0.4], ..Answer::default() };
    let signals = RequestView::new(&request(&[])).lexical(&answer, None);
    assert!((signals.get(Signal::LogprobConfidence).unwrap() - (-0.3_f64).exp()).abs() < 1e-6);
}

proptest! {
    #[test]
    fn signals_stay_within_0_and_1(prompt in "\\PC{0,60}", context in "\\PC{0,200}", one in "\\PC{0,120}", other in "\\PC{0,120}") {
        let context = [context.as_str()];
        let request = Request { prompt: &prompt, context: &context, ..Request::default() };
        let view = RequestView::new(&request);
        let detector = Detector::new(DetectorOptions::default());
        let signals = view.lexical(&says(&one), Some(&says(&other))).or(&view.grounding(&says(&one), &detector, None));
        for (signal, value) in signals.iter() {
            prop_assert!((0.0..=1.0).contains(&value), "{signal:?} {value}");
        }
    }
}
