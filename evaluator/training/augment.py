"""Makes claims whose support is known from the contexts of the training data, so that the cross-encoder sees contradictions.

    python augment.py train.jsonl.gz synthetic.jsonl [--rows 24000] [--sets a,b,c]

A sentence of a context is copied, cut or reworded (supported), or has a name, number, word or denial changed, or is tied to the
end of another sentence, or is taken out of its context (unsupported). For a part of the changes the context is changed alike, which
makes the claim supported again: whether a sentence reads oddly must say nothing. Rows have the form of the training data, with
`spans` for the characters that are not supported. Uses nothing but the contexts; the seed is fixed.
"""

import argparse
import gzip
import itertools
import json
import random
import re

SEED = 11
# Words of a context kept on either side of the chosen sentence: often few, since reading takes its time by the word.
AROUND = [12, 25, 40, 130]
NAME = re.compile(r"(?<=[a-z,;] )(?:[A-Z][\w'-]+)(?: (?:of |the |de )?[A-Z][\w'-]+)*")
NUMBER = re.compile(r"(?<![\w.,])\d[\d,]*(?:\.\d+)?(?![\w])")
WORD = re.compile(r"\b[a-z]{5,}\b")
AUXILIARY = re.compile(r"\b(is|was|are|were|has|have|had|can|could|will|would|should|does|did|do)\b(?! not|n't)")
DENIED = re.compile(r"\b(is|was|are|were|has|have|had|could|will|would|should|does|did|do) not\b|\bcannot\b")
SPOKEN = "zero one two three four five six seven eight nine ten eleven twelve".split()
OPPOSITES = dict()
for pair in """increase/decrease increased/decreased more/less more/fewer before/after first/last won/lost higher/lower north/south
    eastern/western northern/southern male/female began/ended start/end best/worst oldest/youngest largest/smallest early/late
    rise/fall rose/fell above/below always/never all/none many/few most/least major/minor allowed/banned accepted/rejected
    success/failure successful/unsuccessful positive/negative inside/outside husband/wife father/mother son/daughter
    brother/sister king/queen man/woman men/women boys/girls young/old long/short high/low large/small big/small strong/weak
    win/lose gain/loss profit/loss import/export buy/sell bought/sold arrived/left opened/closed open/closed public/private
    include/exclude included/excluded with/without support/oppose supported/opposed agree/disagree agreed/refused possible/impossible
    likely/unlikely common/rare earlier/later better/worse greater/smaller longer/shorter faster/slower cause/prevent
    same/different upper/lower top/bottom front/back day/night summer/winter spring/autumn black/white hot/cold rich/poor
    over/under may/will might/will some/all often/rarely usually/seldom partly/fully approximately/exactly reduce/raise
    improve/worsen improved/worsened effective/ineffective safe/dangerous legal/illegal native/foreign domestic/international
    American/British French/German Democratic/Republican Monday/Friday Tuesday/Saturday January/July March/October""".split():
    one, other = pair.split("/")
    OPPOSITES.setdefault(one, []).append(other)
    OPPOSITES.setdefault(other, []).append(one)
SAME = dict()
for group in """said/stated/noted big/large/huge begin/start began/started buy/purchase film/movie show/demonstrate showed/demonstrated
    help/assist use/employ used/employed but/however also/additionally approximately/around near/close_to many/numerous
    people/individuals children/kids died/passed_away killed/slain killed/slew car/automobile doctor/physician illness/disease
    quickly/rapidly important/significant find/discover found/discovered give/provide gave/provided
    made/created make/create later/afterwards job/occupation known/famous popular/well-liked wife/spouse husband/spouse
    end/conclude ended/concluded need/require needs/requires needed/required allow/permit allows/permits keep/retain kept/retained
    among/amongst while/whilst almost/nearly often/frequently sometimes/occasionally mainly/primarily usually/normally
    city/town country/nation company/firm study/research results/findings whole/entire choose/select
    chosen/selected build/construct built/constructed happen/occur happened/occurred hard/difficult easy/simple rich/wealthy
    sick/ill fast/quick lawyer/attorney ask/inquire told/informed tell/inform lives/resides located/situated
    became/turned_into several/a_number_of percent/per_cent""".split():
    names = [name.replace("_", " ") for name in group.split("/")]
    for name in names:
        SAME.setdefault(name, []).extend(other for other in names if other != name)


def sentences(text):
    parts = re.split(r"(?<=[a-z0-9)\"'] \.) |(?<=[a-z0-9)\"'][.!?]) +(?=[A-Z\"'])|\n+", text)
    return [part.strip() for part in parts if part.strip()]


def put(text, start, end, new):
    """The text with a part replaced, and where the new part stands."""
    return text[:start] + new + text[end:], [(start, start + len(new))]


def case_like(word, other):
    return other[:1].upper() + other[1:] if word[:1].isupper() else other


class Maker:
    def __init__(self, pool, seed):
        self.pool = pool
        # A long context has more to say than a sentence does.
        reach = [min(15, 1 + len(row["context"]) // 120) for row in pool]
        self.reach = list(itertools.accumulate(reach))
        self.random = random.Random(seed)

    # Each change gives (text, spans, (old, new)) or None.

    def name(self, text, context):
        own = list(NAME.finditer(text))
        others = sorted(set(NAME.findall(context if self.random.random() < 0.7 else self.foreign())))
        if not own:
            return None
        chosen = self.random.choice(own)
        words = set(chosen.group().split())
        others = [other for other in others if not words & set(other.split())]
        if not others:
            return None
        new = self.random.choice(others)
        return *put(text, *chosen.span(), new), (chosen.group(), new)

    def number(self, text, context):
        own = list(NUMBER.finditer(text))
        if not own:
            return None
        chosen = self.random.choice(own)
        old = chosen.group()
        others = [other for other in NUMBER.findall(context) if other != old and len(other) == len(old)]
        if others and self.random.random() < 0.5:
            new = self.random.choice(others)
        else:
            digits = [i for i, c in enumerate(old) if c.isdigit()]
            at = self.random.choice(digits[1:] if len(digits) > 1 and len(old) == 4 else digits)
            new = old[:at] + self.random.choice([d for d in "123456789" if d != old[at]]) + old[at + 1:]
        return *put(text, *chosen.span(), new), (old, new)

    def denial(self, text, context):
        denied = DENIED.search(text)
        if denied:
            new = denied.group().replace(" not", "").replace("cannot", "can")
            return *put(text, *denied.span(), new), None
        found = list(AUXILIARY.finditer(text))
        if not found:
            return None
        chosen = self.random.choice(found[:2])
        return *put(text, *chosen.span(), chosen.group() + " not"), None

    def opposite(self, text, context):
        found = [m for m in re.finditer(r"\b\w+\b", text) if m.group() in OPPOSITES or m.group().lower() in OPPOSITES]
        if not found:
            return None
        chosen = self.random.choice(found)
        word = chosen.group()
        new = case_like(word, self.random.choice(OPPOSITES.get(word) or OPPOSITES[word.lower()]))
        return *put(text, *chosen.span(), new), (word, new)

    def word(self, text, context):
        own = list(WORD.finditer(text))
        if not own:
            return None
        chosen = self.random.choice(own)
        old = chosen.group()
        source = context if self.random.random() < 0.6 else self.foreign()
        ending = re.search(r"(ing|ed|ly|ion|ions|ment|er|ers|ies|s|al|ive|ity)?$", old).group()
        others = sorted({w for w in WORD.findall(source) if w != old and w[:4] != old[:4] and w.endswith(ending)})
        others = [w for w in others if ending or not w.endswith(("s", "ed", "ing", "ly"))]
        if not others:
            return None
        new = self.random.choice(others)
        return *put(text, *chosen.span(), new), (old, new)

    def crossed(self, text, context):
        """The beginning of one sentence with the end of another."""
        ends = [s for s in sentences(context) if s != text]
        self.random.shuffle(ends)
        here = AUXILIARY.search(text)
        if not here or here.start() < 8:
            return None
        for other in ends:
            there = re.search(rf"\b{here.group()}\b", other)
            if there and 15 < len(other) - there.end() < 160 and other[: there.start()].strip() != text[: here.start()].strip():
                new = other[there.start():]
                return text[: here.start()] + new, [(here.start(), here.start() + len(new))], None
        return None

    # Each rewording gives a text that says no more than before.

    def cut(self, text):
        """Without an aside, an opening or an end that the rest does not need."""
        shorter = re.sub(r" ?\([^()]*\)| ?-LRB-.*?-RRB-", "", text)
        pieces = shorter.split(", ")
        if len(pieces) >= 3 and self.random.random() < 0.6:
            middle = self.random.randrange(1, len(pieces) - 1)
            if not re.search(r"\b(and|or|not|no)\b", pieces[middle]) and len(pieces[middle].split()) > 2:
                shorter = " ".join(pieces[:middle]) + " " + ", ".join(pieces[middle + 1:])
        elif len(pieces) == 2 and len(pieces[0].split()) >= 5:
            shorter = pieces[0].rstrip(" .") + "."
        shorter = re.sub(r"^(However|But|And|Also|Moreover|In addition|Meanwhile|Instead|Then|So),? ", "", shorter)
        return shorter[:1].upper() + shorter[1:]

    def reworded(self, text):
        out = []
        # Parts of decimals, sections and dates are no numbers of their own.
        plain = not re.search(r"\d[.:/-]\d|(January|February|March|April|May|June|July|August|September|October|November|December) \d", text)
        for word in re.split(r"(\b\w+\b)", text):
            same = SAME.get(word.lower())
            if same and self.random.random() < 0.6:
                word = case_like(word, self.random.choice(same))
            elif word.isdecimal() and len(word) < 3 and int(word) < len(SPOKEN) and plain and self.random.random() < 0.5:
                word = SPOKEN[int(word)]
            elif word in SPOKEN and self.random.random() < 0.5:
                word = str(SPOKEN.index(word))
            out.append(word)
        text = "".join(out)
        if self.random.random() < 0.3:
            text = re.sub(r"(\d),(\d{3})", r"\1\2", text)
        if self.random.random() < 0.3:
            text = text.replace(" did not ", " didn't ").replace(" was not ", " wasn't ").replace(" is not ", " isn't ")
        moved = re.match(r"^((?:In|On|At|During|After|Before|Since) [^,]{3,40}), (?:the |a |he |she |it |they |[A-Z])", text)
        if moved and self.random.random() < 0.6:
            rest = text[moved.end(1) + 2:].rstrip(" .")
            text = f"{rest[:1].upper() + rest[1:]} {moved.group(1)[:1].lower() + moved.group(1)[1:]}."
        if self.random.random() < 0.3:
            found = [m for m in NAME.finditer(text) if len(m.group().split()) == 2]
            if found:
                text, _ = put(text, *found[0].span(), found[0].group().split()[-1])
        return text

    def foreign(self):
        return self.random.choice(self.pool)["context"][:4000]

    def styled(self, text, spans):
        """Some claims as tokenised corpora write them: the label must not hang on it."""
        if self.random.random() < 0.08 and text.endswith("."):
            text = text[:-1] + " ."
        elif self.random.random() < 0.08:
            text = text.lower()
        elif self.random.random() < 0.1:
            text = text.rstrip(" .")
        return text, [(a, min(b, len(text))) for a, b in spans]

    def row(self, number):
        source = self.random.choices(self.pool, cum_weights=self.reach)[0]
        parts = [s for s in sentences(source["context"]) if 5 <= len(s.split()) <= 45 and s[0].isalnum()]
        if not parts:
            return None
        sentence = self.random.choice(parts)
        at = source["context"].find(sentence)
        before, after = source["context"][:at].split(" "), source["context"][at + len(sentence):].split(" ")
        # Their line breaks stay: they part headings and items from sentences.
        around = self.random.choice(AROUND)
        before, after = " ".join(before[-around:]), " ".join(after[:around])
        context = before + sentence + after
        claim = sentence
        draw = self.random.random()
        if self.random.random() < 0.5:
            claim = self.cut(claim)
        if self.random.random() < 0.5:
            claim = self.reworded(claim)
        label, spans, kind = 0, [], "same"
        if draw < 0.62:
            kinds = ["name", "number", "denial", "opposite", "word", "crossed"]
            kind = self.random.choices(kinds, [5, 4, 3, 3, 4, 2])[0]
            made = getattr(self, kind)(claim, context)
            if made is None:
                return None
            claim, spans, swap = made
            label = 1
            if swap and self.random.random() < 0.25:
                # The context says so too: supported.
                context = re.sub(rf"\b{re.escape(swap[0])}\b", lambda _: swap[1], context)
                label, spans, kind = 0, [], kind + "-both"
        elif draw < 0.70:
            # On the subject, but said nowhere.
            context, label, kind = before + after, 1, "removed"
            known = set(re.findall(r"\w{4,}", context.lower()))
            new = [m for m in re.finditer(r"\w{4,}", claim) if m.group().lower() not in known]
            if len(new) < 3:
                return None
            spans = [m.span() for m in new]
        elif draw < 0.74:
            context = " ".join(self.foreign().split(" ")[: 2 * around])
            if sentence in context:
                return None
            label, kind, spans = 1, "foreign", [(0, len(claim))]
        claim, spans = self.styled(claim, spans)
        return dict(dataset="synthetic", id=number, context=context, question=None, answer=claim, model=None, label=label,
                    spans=[dict(start=a, end=b, type=kind) for a, b in spans], kind=kind, source=source["dataset"],
                    group=source["group"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data")
    parser.add_argument("out")
    parser.add_argument("--rows", type=int, default=24_000)
    parser.add_argument("--sets", default="")
    parser.add_argument("--seed", type=int, default=SEED)
    given = parser.parse_args()
    with gzip.open(given.data, "rb") as file:
        rows = [json.loads(line) for line in file.read().decode().split("\n") if line.strip()]
    wanted = set(given.sets.split(",")) if given.sets else {row["dataset"] for row in rows}
    pool = list({row["group"]: row for row in rows if row["dataset"] in wanted}.values())
    maker = Maker(pool, given.seed)
    made = 0
    with open(given.out, "w") as out:
        for number in range(given.rows * 20):
            row = maker.row(number)
            if row and len(row["answer"].split()) >= 4:
                out.write(json.dumps(row) + "\n")
                made += 1
                if made == given.rows:
                    break


if __name__ == "__main__":
    main()
