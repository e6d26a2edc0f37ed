//! Short word lists: function words, negations, opposites, the calendar.

/// Words that hold sentences together; they carry little of what a claim says.
pub(crate) fn is_function(word: &str) -> bool {
    FUNCTION.binary_search(&word).is_ok()
}

/// Months and weekdays.
pub(crate) fn is_calendar(word: &str) -> bool {
    CALENDAR.contains(&word)
}

/// Words that turn a statement into its opposite.
pub(crate) fn is_negation(word: &str) -> bool {
    NEGATIONS.contains(&word) || word.ends_with("n't")
}

/// Words that say how sure or how general a statement is.
pub(crate) fn is_hedge(word: &str) -> bool {
    HEDGES.contains(&word)
}

/// Words that mean the opposite of a word.
pub(crate) fn opposites(word: &str) -> impl Iterator<Item = &'static str> + '_ {
    OPPOSITES.iter().filter_map(move |(a, b)| {
        if *a == word {
            Some(*b)
        } else if *b == word {
            Some(*a)
        } else {
            None
        }
    })
}

const NEGATIONS: &[&str] = &[
    "not", "no", "never", "none", "nobody", "nothing", "neither", "nor", "without", "cannot", "cant", "dont", "didnt",
    "doesnt", "isnt", "wasnt", "wont", "hardly", "barely", "lack", "lacks", "lacked", "lacking", "fail", "fails",
    "failed", "refuse", "refused", "refuses", "deny", "denied", "denies", "false", "unable", "nowhere", "n't", "t",
];

const HEDGES: &[&str] = &[
    "may", "might", "could", "possibly", "perhaps", "likely", "probably", "sometimes", "often", "usually", "some",
    "reportedly", "allegedly", "expected", "plans", "planned", "potentially", "suspected", "alleged", "would", "if",
];

const CALENDAR: &[&str] = &[
    "january", "february", "march", "april", "june", "july", "august", "september", "october", "november", "december",
    "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec", "monday", "tuesday",
    "wednesday", "thursday", "friday", "saturday", "sunday",
];

const OPPOSITES: &[(&str, &str)] = &[
    ("increase", "decrease"), ("increased", "decreased"), ("increases", "decreases"), ("increasing", "decreasing"),
    ("rise", "fall"), ("rose", "fell"), ("rising", "falling"), ("up", "down"), ("higher", "lower"),
    ("highest", "lowest"), ("high", "low"), ("more", "less"), ("more", "fewer"), ("most", "least"), ("above", "below"),
    ("before", "after"), ("first", "last"), ("earlier", "later"), ("early", "late"), ("win", "lose"), ("won", "lost"),
    ("wins", "loses"), ("winning", "losing"), ("victory", "defeat"), ("success", "failure"),
    ("successful", "unsuccessful"), ("successfully", "unsuccessfully"), ("accept", "reject"),
    ("accepted", "rejected"), ("approve", "reject"), ("approved", "rejected"), ("allow", "ban"), ("allowed", "banned"),
    ("allow", "prevent"), ("support", "oppose"), ("supported", "opposed"), ("supports", "opposes"), ("agree", "disagree"),
    ("agreed", "disagreed"), ("positive", "negative"), ("good", "bad"), ("best", "worst"), ("better", "worse"),
    ("strong", "weak"), ("stronger", "weaker"), ("strengthen", "weaken"), ("large", "small"), ("larger", "smaller"),
    ("largest", "smallest"), ("big", "small"), ("long", "short"), ("longer", "shorter"), ("old", "new"),
    ("old", "young"), ("older", "younger"), ("oldest", "youngest"), ("male", "female"), ("man", "woman"),
    ("men", "women"), ("boy", "girl"), ("he", "she"), ("his", "her"), ("husband", "wife"), ("father", "mother"),
    ("son", "daughter"), ("brother", "sister"), ("king", "queen"), ("north", "south"), ("northern", "southern"),
    ("east", "west"), ("eastern", "western"), ("left", "right"), ("buy", "sell"), ("bought", "sold"), ("open", "close"),
    ("opened", "closed"), ("open", "closed"), ("begin", "end"), ("began", "ended"), ("start", "end"),
    ("start", "stop"), ("started", "ended"), ("started", "stopped"), ("gain", "loss"), ("gain", "lose"),
    ("gained", "lost"), ("profit", "loss"), ("guilty", "innocent"), ("alive", "dead"), ("born", "died"),
    ("birth", "death"), ("legal", "illegal"), ("public", "private"), ("indoor", "outdoor"), ("inside", "outside"),
    ("internal", "external"), ("always", "never"), ("all", "none"), ("major", "minor"), ("maximum", "minimum"),
    ("many", "few"), ("often", "rarely"), ("common", "rare"), ("easy", "difficult"), ("hot", "cold"), ("love", "hate"),
    ("improve", "worsen"), ("improved", "worsened"), ("expand", "shrink"), ("add", "remove"), ("added", "removed"),
    ("include", "exclude"), ("included", "excluded"), ("including", "excluding"), ("join", "leave"),
    ("joined", "left"), ("arrive", "depart"), ("true", "false"), ("safe", "dangerous"), ("safe", "unsafe"),
    ("likely", "unlikely"), ("possible", "impossible"), ("able", "unable"), ("known", "unknown"),
    ("confirmed", "denied"), ("confirm", "deny"), ("rich", "poor"), ("domestic", "foreign"), ("same", "different"),
    ("similar", "different"), ("full", "empty"), ("fast", "slow"), ("near", "far"), ("wet", "dry"), ("day", "night"),
    ("morning", "evening"), ("summer", "winter"), ("with", "without"), ("only", "also"), ("encourage", "discourage"),
    ("encouraged", "discouraged"), ("happy", "unhappy"), ("happy", "sad"), ("optimistic", "pessimistic"),
    ("temporary", "permanent"), ("voluntary", "mandatory"), ("optional", "required"), ("directly", "indirectly"),
    ("majority", "minority"), ("hired", "fired"), ("upgrade", "downgrade"), ("upgraded", "downgraded"),
    ("exceed", "miss"), ("outperform", "underperform"), ("surplus", "deficit"), ("import", "export"),
];

const FUNCTION: &[&str] = &[
    "a", "about", "above", "across", "after", "again", "against", "ago", "all", "along", "already", "also", "although",
    "always", "am", "among", "an", "and", "another", "any", "are", "aren't", "as", "at", "away", "back", "be", "because",
    "been", "before", "being", "below", "between", "both", "but", "by", "can", "can't", "cannot", "could", "couldn't", "did",
    "didn't", "do", "does", "doesn't", "doing", "don't", "down", "during", "each", "either", "else", "etc", "even", "ever",
    "every", "few", "for", "from", "further", "get", "gets", "getting", "got", "had", "has", "hasn't", "have", "haven't",
    "having", "he", "he's", "her", "here", "hers", "herself", "him", "himself", "his", "how", "however", "i", "i'd",
    "i'll", "i'm", "i've", "if", "in", "into", "is", "isn't", "it", "it's", "its", "itself", "just", "like", "ll", "m",
    "make", "may", "me", "might", "more", "most", "much", "must", "my", "myself", "n't", "neither", "no", "nor", "not", "now",
    "of", "off", "on", "once", "one", "only", "or", "other", "others", "our", "ours", "out", "over", "own", "per", "quite",
    "rather", "re", "really", "s", "same", "shall", "she", "she's", "should", "since", "so", "some", "still", "such", "t",
    "than", "that", "that's", "the", "their", "theirs", "them", "themselves", "then", "there", "there's", "these", "they",
    "they're", "this", "those", "though", "through", "thus", "to", "together", "too", "toward", "towards", "under", "until",
    "up", "upon", "us", "ve", "very", "via", "was", "wasn't", "we", "we're", "were", "weren't", "what", "when",
    "where", "whether", "which", "while", "who", "whom", "whose", "why", "will", "with", "within", "without", "won't",
    "would", "wouldn't", "yes", "yet", "you", "you're", "your", "yours", "yourself",
];

#[cfg(test)]
mod tests {
    use super::FUNCTION;

    #[test]
    fn the_list_is_sorted_so_that_it_can_be_searched() {
        assert!(FUNCTION.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
