//! What the guard sees, and what it lets pass.

use super::*;
use proptest::prelude::*;

fn veto(one: &str, other: &str, guard: Guard) -> Option<Veto> {
    let found = Facts::of(one).veto(&Facts::of(other), guard);
    assert_eq!(found, Facts::of(other).veto(&Facts::of(one), guard), "{one} | {other}");
    found
}

#[test]
fn what_differs_in_what_matters_is_vetoed() {
    for (one, other, why) in [
        ("Refund within 10 days?", "Refund within 14 days?", Veto::Number),
        ("Refund within ten days?", "Refund within two days?", Veto::Number),
        ("Is 1,000 the limit?", "Is 10,000 the limit?", Veto::Number),
        ("Does the A100 fit?", "Does the A10 fit?", Veto::Number),
        ("What does \"out for delivery\" mean?", "What does \"in transit\" mean?", Veto::Quote),
        ("Can I return worn shoes?", "Can't I return worn shoes?", Veto::Negation),
        ("Pay with a card", "Pay without a card", Veto::Negation),
        ("How do I enable alerts?", "How do I disable alerts?", Veto::Opposite),
        ("When do you ship?", "Where do you ship?", Veto::Opposite),
        ("Is it open on Monday?", "Is it open on Sunday?", Veto::Opposite),
        ("What is the weather in Berlin?", "What is the weather in Paris?", Veto::Name),
        ("Who runs NASA?", "Who runs ESA?", Veto::Name),
    ] {
        assert_eq!(veto(one, other, Guard::Facts), Some(why), "{one} | {other}");
        assert_eq!(veto(one, other, Guard::Off), None);
    }
}

#[test]
fn one_word_for_another_is_vetoed_where_the_rest_is_the_same() {
    for (one, other) in [
        ("How do I reset my password?", "How do I change my password?"),
        ("Cancel my subscription", "Pause my subscription"),
        ("weather in berlin today", "weather in paris today"),
        ("How do I get from the airport to the hotel?", "How do I get from the hotel to the airport?"),
        ("Is the blanket washable?", "Is the blanket machine washable?"),
    ] {
        assert_eq!(veto(one, other, Guard::Facts), None, "{one} | {other}");
        assert_eq!(veto(one, other, Guard::Strict), Some(Veto::Word), "{one} | {other}");
    }
}

#[test]
fn the_same_said_otherwise_passes() {
    for (one, other) in [
        ("How do I reset my password?", "how can I reset my password please"),
        ("Refund within 10 days?", "Is a refund possible within ten days?"),
        ("Is 1,000 the limit?", "is 1000 the limit"),
        ("Do you deliver to Berlin?", "deliver to berlin?"),
        ("I don't see my order", "My orders do not show up anywhere, can I see them"),
        ("Where is my parcel?", "I would love to learn the whereabouts of the package that was ordered"),
        ("What does “in transit” mean?", "Meaning of \"In transit\"?"),
    ] {
        assert_eq!(veto(one, other, Guard::Strict), None, "{one} | {other}");
    }
}

proptest! {
    #[test]
    fn a_question_agrees_with_itself_and_reading_never_panics(text in ".{0,60}", other in "\\PC{0,60}") {
        prop_assert_eq!(veto(&text, &text, Guard::Strict), None);
        veto(&text, &other, Guard::Strict);
    }
}
