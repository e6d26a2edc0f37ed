//! The detector as a whole: hand-made claims for each reason, and what must hold for any text.

use super::split::pieces;
use super::{Assessment, ClaimKind, Detector, DetectorOptions, Passage, Reason, Stage, Subject};
use proptest::prelude::*;
use std::time::{Duration, Instant};

const CONTEXT: &str = "Marie Curie was born in Warsaw in 1867. She won the Nobel Prize in Physics in 1903 together with \
     Pierre Curie and Henri Becquerel. The laboratory in Paris was not open to visitors.";

fn assess(context: &str, answer: &str) -> Assessment {
    let context = [Passage { id: "", text: context }];
    Detector::new(DetectorOptions::default())
        .assess(&Subject { question: None, context: &context, answer }, None)
}

/// The reason given for the answer's only claim, and the reasons given for its details.
fn reasons(answer: &str) -> (f64, Option<Reason>, Vec<Reason>) {
    let found = assess(CONTEXT, answer);
    let (details, main): (Vec<_>, Vec<_>) = found.claims.iter().partition(|c| c.kind.is_detail());
    assert_eq!(main.len(), 1, "{answer}");
    (main[0].support, main[0].reason, details.iter().filter_map(|d| d.reason).collect())
}

#[test]
fn the_compiled_in_weights_are_sound() {
    assert_ne!(assess("a", "").version, "none");
}

#[test]
fn a_copied_sentence_is_supported_and_its_evidence_is_where_it_stands() {
    let found = assess(CONTEXT, "Marie Curie was born in Warsaw in 1867.");
    assert!(found.hallucination < 0.5 && found.coverage > 0.99, "{found:?}");
    let evidence = found.claims[0].evidence.as_ref().unwrap();
    assert_eq!(&CONTEXT[evidence.range.clone()], "Marie Curie was born in Warsaw in 1867.");
    assert!(found.claims.iter().all(|c| c.reason.is_none()), "{found:?}");
    assert_eq!(found.stage, Stage::Lexical);
}

#[test]
fn another_number_is_named_as_such() {
    let (_, _, details) = reasons("Marie Curie was born in Warsaw in 1871.");
    assert_eq!(details, [Reason::NumberMismatch]);
}

#[test]
fn a_name_that_the_context_lacks_is_named_as_such() {
    let (_, _, details) = reasons("Marie Curie was born in Budapest in 1867.");
    assert_eq!(details, [Reason::UnsupportedEntity]);
}

#[test]
fn a_claim_without_evidence_says_so() {
    let (support, reason, _) = reasons("Tomatoes need plenty of sunshine and regular watering.");
    assert!(support < 0.5);
    assert_eq!(reason, Some(Reason::NoEvidence));
}

#[test]
fn a_denial_of_the_evidence_lowers_support() {
    let (said, _, _) = reasons("The laboratory in Paris was not open to visitors.");
    let (denied, _, _) = reasons("The laboratory in Paris was open to visitors.");
    assert!(denied < said, "{denied} {said}");
}

#[test]
fn spellings_of_a_number_are_one_number() {
    for answer in
        ["The hall seats 1000 people.", "The hall seats one thousand people.", "The hall seats 1k people."]
    {
        let found = assess("The hall seats 1,000 people.", answer);
        assert!(found.claims.iter().all(|c| c.reason != Some(Reason::NumberMismatch)), "{answer}: {found:?}");
    }
    let found = assess("{\"hours\": {\"Monday\": \"9:0-21:0\"}}", "On Monday it is open from 9 AM to 9 PM.");
    assert!(found.claims.iter().all(|c| c.reason != Some(Reason::NumberMismatch)), "{found:?}");
}

#[test]
fn items_and_cells_are_claims_and_headings_are_not() {
    let answer = "# Result\n- First item here.\n2. Second item here.\n\n| City | People |\n|---|---|\n| Paris | 2 million |\n";
    let found: Vec<_> = pieces(answer).into_iter().map(|p| (p.kind, answer[p.range].to_owned())).collect();
    let expected = [
        (ClaimKind::ListItem, "First item here."),
        (ClaimKind::ListItem, "Second item here."),
        (ClaimKind::TableCell, "Paris"),
        (ClaimKind::TableCell, "2 million"),
    ];
    assert_eq!(found, expected.map(|(kind, text)| (kind, text.to_owned())));
}

#[test]
fn an_abbreviation_does_not_end_a_sentence() {
    let answer = "Dr. J. Smith of the U.S. Army left at 5 p.m. on Monday. He came back.";
    assert_eq!(pieces(answer).len(), 2);
}

#[test]
fn citations_count_for_the_passages_that_hold_their_claim() {
    let context = [
        Passage { id: "a", text: "The tower is 330 metres tall." },
        Passage { id: "b", text: "Bananas grow in warm countries." },
    ];
    let of = |answer| {
        let subject = Subject { question: None, context: &context, answer };
        Detector::new(DetectorOptions::default()).assess(&subject, None).citation_validity
    };
    assert_eq!(of("The tower is 330 metres tall [1]."), Some(1.0));
    assert_eq!(of("The tower is 330 metres tall [a]."), Some(1.0));
    assert_eq!(of("The tower is 330 metres tall [2]."), Some(0.0));
    assert_eq!(of("The tower is 330 metres tall [9]."), Some(0.0));
    assert_eq!(of("The tower is 330 metres tall."), None);
}

#[test]
fn the_same_input_gives_the_same_result() {
    let answer = "Marie Curie won the Nobel Prize in 1911. She was born in Paris, not in Warsaw.";
    assert_eq!(assess(CONTEXT, answer), assess(CONTEXT, answer));
}

#[test]
fn after_the_deadline_claims_are_listed_without_judgement() {
    let answer = "One sentence stands here. ".repeat(2_000);
    let context = [Passage { id: "", text: CONTEXT }];
    let subject = Subject { question: None, context: &context, answer: &answer };
    let past = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
    let found = Detector::new(DetectorOptions::default()).assess(&subject, Some(past));
    assert_eq!(found.claims.len(), 2_000);
    assert!(found.claims.iter().all(|c| c.evidence.is_none() && (c.support - 0.5).abs() < 1e-9));
}

#[test]
fn an_answer_is_read_within_its_budget_and_the_riskiest_claims_first() {
    let copied =
        "She won the Nobel Prize in Physics in 1903 together with Pierre Curie and Henri Becquerel. ";
    let answer =
        format!("{}Tomatoes need sunshine and plenty of water in their first weeks.", copied.repeat(400));
    let context = [Passage { id: "", text: CONTEXT }];
    let subject = Subject { question: None, context: &context, answer: &answer };
    let features = Detector::new(DetectorOptions { max_claims: 1_000, ..DetectorOptions::default() })
        .features(&subject)
        .unwrap();
    let read: usize =
        features.pairs.iter().flatten().map(|pair| pair.claim.len() + pair.evidence.len()).sum();
    assert!(read < 52_000, "{read}");
    assert!(features.pairs.iter().any(Option::is_none), "the budget is for fewer claims than these");
    let last = features.pairs.last().unwrap().as_ref().unwrap();
    assert!(last.claim.starts_with("Tomatoes"), "{last:?}");
}

#[test]
fn evidence_is_the_part_of_the_context_that_speaks_of_the_claim() {
    let filler = "Nothing of this has to do with anything that anybody asked about here. ".repeat(40);
    let context = format!("{filler}The bridge over the Elbe was opened in 1893 by the king. {filler}");
    let subject = |answer| Subject { question: None, context: &[], answer };
    let passages = [Passage { id: "", text: &context }];
    let of = |answer| {
        let subject = Subject { context: &passages, ..subject(answer) };
        Detector::default().features(&subject).unwrap().pairs.remove(0).unwrap()
    };
    let pair = of("The king opened the bridge over the Elbe in 1890.");
    assert!(pair.evidence.contains("The bridge over the Elbe was opened in 1893 by the king."), "{pair:?}");
    assert!(pair.evidence.len() < 600, "{pair:?}");
    let none = Detector::default().features(&subject("The king opened the bridge.")).unwrap();
    assert_eq!(none.pairs[0].as_ref().unwrap().evidence, "");
}

#[test]
fn fields_are_read_with_their_keys() {
    let context = "{\"name\": \"Finch\", \"attributes\": {\"OutdoorSeating\": false, \"WiFi\": \"free\"}}";
    let passages = [Passage { id: "", text: context }];
    let subject = Subject { question: None, context: &passages, answer: "It has outdoor seating." };
    let pair = Detector::default().features(&subject).unwrap().pairs.remove(0).unwrap();
    assert!(pair.evidence.contains("Outdoor Seating: attributes: false"), "{pair:?}");
}

#[test]
fn a_megabyte_of_anything_is_taken() {
    let deep = format!("{}{}", "[{\"a\":".repeat(80_000), "1");
    let table = "| a | b |\n".repeat(50_000);
    let unbroken = "\u{1f600}x".repeat(200_000);
    for text in
        [deep.as_str(), table.as_str(), unbroken.as_str(), &"a.".repeat(400_000), &"word ".repeat(200_000)]
    {
        let found = assess(text, text);
        assert!((0.0..=1.0).contains(&found.hallucination));
    }
}

fn sound(text: &str, found: &Assessment, context: &str) {
    let mut last = 0;
    for claim in &found.claims {
        assert!(text.get(claim.range.clone()).is_some_and(|t| !t.is_empty()), "{claim:?} in {text:?}");
        assert!((0.0..=1.0).contains(&claim.support));
        if !claim.kind.is_detail() {
            assert!(claim.range.start >= last, "claims overlap: {found:?}");
            last = claim.range.end;
        }
        if let Some(evidence) = &claim.evidence {
            assert!(context.get(evidence.range.clone()).is_some());
        }
    }
    assert!((0.0..=1.0).contains(&found.hallucination) && (0.0..=1.0).contains(&found.coverage));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_text_is_split_on_character_boundaries(answer in "\\PC{0,200}", context in "\\PC{0,200}") {
        sound(&answer, &assess(&context, &answer), &context);
    }

    #[test]
    fn any_text_is_paired_within_bounds(answer in "\\PC{0,200}", context in "\\PC{0,900}") {
        let passages = [Passage { id: "", text: &context }];
        let subject = Subject { question: None, context: &passages, answer: &answer };
        let found = Detector::default().features(&subject).unwrap();
        prop_assert_eq!(found.pairs.len(), found.claims.len());
        for pair in found.pairs.iter().flatten() {
            prop_assert!(!pair.claim.is_empty() && pair.claim.len() <= 500 && pair.evidence.len() <= 1_500);
        }
    }

    #[test]
    fn markup_and_odd_scripts_are_split_as_well(
        answer in "(\\| ?|\n|\u{2028}|- |[0-9]{1,4}[.,:]?|\u{5d0}\u{5d1} |\u{1f468}\u{200d}\u{1f469}|[A-Z][a-z]{1,6} |\\[1\\]|\\{\"k\": ?|\"\\}|\u{65e5}\u{672c}\u{3002}|[.!?] ?){0,60}",
    ) {
        sound(&answer, &assess(&answer, &answer), &answer);
    }

    #[test]
    fn prose_is_covered(words in prop::collection::vec("[a-z]{1,8}[.!?,]?", 1..60)) {
        let text = words.join(" ");
        let covered = pieces(&text);
        for (at, _) in text.char_indices().filter(|(_, c)| c.is_alphanumeric()) {
            prop_assert_eq!(covered.iter().filter(|p| p.range.contains(&at)).count(), 1);
        }
    }
}
