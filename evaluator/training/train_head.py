"""Trains the grounding detector's head and writes it as the JSON that the program compiles in.

Features come from the program itself (one implementation); this script only fits weights:

    cargo run --release -p inference --example grounding_features -- train.jsonl.gz train.features 6
    python train_head.py train.jsonl.gz train.features ../../crates/inference/src/grounding/head.json

The lexical stage is fitted on every row, the full stage on those rows for which the embedder's features were computed
(the 6 above: every sixth). With --check, every data set is held out once and scored by a head that never saw it; nothing is written.
Needs numpy, scikit-learn, scipy and lightgbm. The seed is fixed and one thread is used: same input, same output.
"""

import argparse
import gzip
import json
import re

import lightgbm as lgb
import numpy as np
from scipy.optimize import minimize
from sklearn.metrics import roc_auc_score

VERSION = "grounding-1"
SEED = 7
# Labels are balanced for training; probabilities are given for this share of unsupported answers.
BASE_RATE = 0.4
# How far the mix is balanced against the lexical shortcut: 0 not at all, 1 fully.
NEUTRAL = 0.5
ONE_CLASS = {"wice"}
TREES = 60
FOREST = dict(
    objective="binary", learning_rate=0.1, num_leaves=8, min_data_in_leaf=40, feature_fraction=0.5,
    bagging_fraction=0.7, bagging_freq=1, lambda_l2=5.0, max_bin=63, seed=SEED, deterministic=True,
    force_row_wise=True, num_threads=1, verbose=-1,
)


def lines(text):
    return [line for line in text.split("\n") if line.strip()]


def read_all(data, features):
    opened = gzip.open(data, "rb") if data.endswith(".gz") else open(data, "rb")
    with opened as file:
        rows = [json.loads(line) for line in lines(file.read().decode())]
    with open(features, "rb") as file:
        found = [json.loads(line) for line in lines(file.read().decode())]
    head, found = found[0], found[1:]
    assert len(rows) == len(found), "features were made from another file"
    return head, rows, [np.array(row["claims"], dtype=np.float32) for row in found]


def read(data, features):
    head, rows, claims = read_all(data, features)
    kept = [i for i, row in enumerate(rows) if row["dataset"] not in ONE_CLASS and len(claims[i])]
    return head, [rows[i] for i in kept], [claims[i] for i in kept]


def lexical(row):
    """The shortcut: the share of answer words that the context lacks."""
    words = re.findall(r"\w+", row["answer"].lower())
    known = set(re.findall(r"\w+", row["context"].lower()))
    return 1 - sum(word in known for word in words) / max(1, len(words))


def weights(rows):
    """Equal weight for every data set and label; within both, less where the shortcut already tells the label."""
    weight = np.ones(len(rows))
    name = np.array([row["dataset"] for row in rows])
    label = np.array([row["label"] for row in rows])
    shortcut = np.array([lexical(row) for row in rows])
    for one in sorted(set(name)):
        member = np.where(name == one)[0]
        edges = np.unique(np.quantile(shortcut[member], np.linspace(0, 1, 9)[1:-1]))
        bins = np.digitize(shortcut[member], edges)
        for cell in sorted(set(bins)):
            for value in (0, 1):
                of = member[(bins == cell) & (label[member] == value)]
                if len(of):
                    share = (len(of) + 3) / (np.sum(label[member] == value) + 24)
                    weight[of] *= share ** -NEUTRAL
        for value in (0, 1):
            of = member[label[member] == value]
            weight[of] /= weight[of].sum()
    return weight * len(rows) / weight.sum()


def fit_claims(rows, claims, weight, direction):
    """First on answers of one claim; then on all: in an unsupported answer, the riskiest claim carries the label."""
    label = np.array([row["label"] for row in rows])
    count = np.array([len(one) for one in claims])
    owner = np.repeat(np.arange(len(rows)), count)
    table = np.concatenate(claims)
    start = np.concatenate([[0], np.cumsum(count)])
    parameters = dict(FOREST, monotone_constraints=[-one for one in direction])

    def fit(keep, target, weigh):
        return lgb.train(parameters, lgb.Dataset(table[keep], target[keep], weight=weigh[keep]), TREES)

    model = fit(count[owner] == 1, label[owner], weight[owner])
    risk = model.predict(table)
    keep = np.zeros(len(table), bool)
    target = np.zeros(len(table))
    weigh = weight[owner].copy()
    for i in range(len(rows)):
        a, b = start[i], start[i + 1]
        if label[i]:
            worst = a + int(np.argmax(risk[a:b]))
            keep[worst] = True
            target[worst] = 1
        else:
            keep[a:b] = True
            weigh[a:b] /= (b - a) ** 0.5
    return fit(keep, target, weigh)


def gather(risk):
    """As `answer.rs` gathers the risks of an answer's claims."""
    ordered = np.sort(risk)[::-1]
    second = ordered[1] if len(ordered) > 1 else 0.0
    return [ordered[0], second, risk.mean(), 1 - np.prod(1 - risk), (risk > 0.5).mean()]


def risks(model, claims):
    score = model.predict(np.concatenate(claims))
    start = np.concatenate([[0], np.cumsum([len(one) for one in claims])])
    return np.array([gather(score[start[i]:start[i + 1]]) for i in range(len(claims))])


def fit_answers(table, label, weight):
    """Logistic regression in which no risk may speak for support."""
    mean, spread = table.mean(0), table.std(0) + 1e-6
    scaled = (table - mean) / spread
    weight = weight / weight.sum()

    def loss(beta):
        z = scaled @ beta[1:] + beta[0]
        p = 1 / (1 + np.exp(-z))
        value = -(weight * (label * np.log(p + 1e-9) + (1 - label) * np.log(1 - p + 1e-9))).sum()
        slope = weight * (p - label)
        penalty = 0.003
        return value + penalty * (beta[1:] ** 2).sum(), np.r_[slope.sum(), scaled.T @ slope + 2 * penalty * beta[1:]]

    bounds = [(None, None)] + [(0, None)] * table.shape[1]
    beta = minimize(loss, np.zeros(table.shape[1] + 1), jac=True, bounds=bounds, method="L-BFGS-B").x
    weights = beta[1:] / spread
    return weights, float(beta[0] - (weights * mean).sum())


def fit_curve(score, label, weight):
    """Platt's curve on scores of answers that the head did not see, then moved to the base rate."""
    def loss(ab):
        z = ab[0] * score + ab[1]
        p = 1 / (1 + np.exp(-z))
        return -(weight * (label * np.log(p + 1e-9) + (1 - label) * np.log(1 - p + 1e-9))).mean()

    slope, shift = minimize(loss, np.array([1.0, 0.0]), method="Nelder-Mead").x
    return float(slope), float(shift + np.log(BASE_RATE / (1 - BASE_RATE)))


def flat(tree):
    """A tree of LightGBM's dump as arrays; see `head.rs`."""
    feature, threshold, left, right, leaf = [], [], [], [], []

    def walk(node):
        if "leaf_value" in node:
            leaf.append(round(node["leaf_value"], 6))
            return -len(leaf)
        at = len(feature)
        feature.append(node["split_feature"])
        threshold.append(round(node["threshold"], 6))
        left.append(0)
        right.append(0)
        left[at] = walk(node["left_child"])
        right[at] = walk(node["right_child"])
        return at

    walk(tree["tree_structure"])
    return dict(feature=feature, threshold=threshold, left=left, right=right, leaf=leaf)


def fit_stage(names, answer_names, rows, claims, check):
    """Holds every data set out once, for the figures and the curve; then fits on all."""
    direction = [one for _, one in names]
    # What speaks neither for nor against support tells data sets apart rather than answers.
    silent = [i for i, one in enumerate(direction) if one == 0]
    for one in claims:
        one[:, silent] = 0
    label = np.array([row["label"] for row in rows])
    name = np.array([row["dataset"] for row in rows])
    unseen = np.zeros(len(rows))
    found = []
    for one in sorted(set(name)):
        inside, outside = np.where(name != one)[0], np.where(name == one)[0]
        some, their = [rows[i] for i in inside], [claims[i] for i in inside]
        weight = weights(some)
        model = fit_claims(some, their, weight, direction)
        beta, base = fit_answers(risks(model, their), label[inside], weight)
        unseen[outside] = risks(model, [claims[i] for i in outside]) @ beta + base
        found.append(roc_auc_score(label[outside], unseen[outside]))
        print(f"held out {one}: AUROC {found[-1]:.3f}")
    print(f"mean {np.mean(found):.3f}")
    weight = weights(rows)
    slope, shift = fit_curve(unseen, label, weight)
    print(f"curve: slope {slope:.3f}, shift {shift:.3f}")
    if check:
        return None
    model = fit_claims(rows, claims, weight, direction)
    beta, base = fit_answers(risks(model, claims), label, weight)
    trees = [flat(tree) for tree in model.dump_model()["tree_info"]]
    return dict(
        claim=dict(features=[one for one, _ in names], base=0.0, trees=trees),
        answer=dict(features=answer_names, base=round(base, 6), weights=[round(float(one), 6) for one in beta]),
        curve=dict(slope=round(slope, 6), shift=round(shift, 6)),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data")
    parser.add_argument("features")
    parser.add_argument("head", nargs="?")
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    head, rows, claims = read(given.data, given.features)
    check = given.check or not given.head
    names, answer = head["claim"], head["answer"]
    narrow, wide = min(one.shape[1] for one in claims), len(names)
    print("lexical stage")
    lexical = fit_stage(names[:narrow], answer, rows, [one[:, :narrow].copy() for one in claims], check)
    seen = [i for i, one in enumerate(claims) if one.shape[1] == wide]
    full = None
    if narrow < wide and seen:
        print("full stage, and words alone on the same rows")
        some = [rows[i] for i in seen]
        fit_stage(names[:narrow], answer, some, [claims[i][:, :narrow].copy() for i in seen], True)
        full = fit_stage(names, answer, some, [claims[i] for i in seen], check)
    if check:
        return
    with open(given.head, "w") as file:
        json.dump(dict(version=VERSION, lexical=lexical, full=full), file, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main()
