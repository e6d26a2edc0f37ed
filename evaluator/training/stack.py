"""Says what a trained cross-encoder adds to words: every data set is held out once and scored by a head that never saw it.

    python train_cross_encoder.py score --held ... --data train.jsonl.gz train.features --out train.scores
    python stack.py train.jsonl.gz train.features train.scores

The lexical stage's trees are carried on with some that know what the cross-encoder said, on rows that it was not trained on. Only such a
gain on data sets held out, and then on the validation sets, would make its weights worth shipping; see docs/DETECTOR.md.
"""

import argparse
import json

import lightgbm as lgb
import numpy as np
from sklearn.metrics import roc_auc_score

import train_head as head

MORE_TREES = 40
MORE = dict(head.FOREST, learning_rate=0.1, num_leaves=6, min_data_in_leaf=60, feature_fraction=0.7)


def carry_on(rows, claims, weight, direction, begun):
    """As `train_head.fit_claims`, on top of trees that were fitted before."""
    count = np.array([len(one) for one in claims])
    owner = np.repeat(np.arange(len(rows)), count)
    label = np.array([row["label"] for row in rows])
    table = np.concatenate(claims)
    start = np.concatenate([[0], np.cumsum(count)])
    parameters = dict(MORE, monotone_constraints=[-one for one in direction])

    def fit(keep, target, weigh):
        data = lgb.Dataset(table[keep], target[keep], weight=weigh[keep], free_raw_data=False)
        return lgb.train(parameters, data, MORE_TREES, init_model=begun)

    risk = fit(count[owner] == 1, label[owner], weight[owner]).predict(table)
    keep, target, weigh = np.zeros(len(table), bool), np.zeros(len(table)), weight[owner].copy()
    for i in range(len(rows)):
        a, b = start[i], start[i + 1]
        if label[i]:
            worst = a + int(np.argmax(risk[a:b]))
            keep[worst], target[worst] = True, 1
        else:
            keep[a:b] = True
            weigh[a:b] /= (b - a) ** 0.5
    return fit(keep, target, weigh)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data")
    parser.add_argument("features")
    parser.add_argument("scores")
    given = parser.parse_args()
    with open(given.scores, "rb") as file:
        readings = [json.loads(line)["scores"] for line in head.lines(file.read().decode())]
    # train_head.read leaves rows out; the position tells which reading is whose.
    rows, claims, read = [], [], []
    names, every, tables = head.read_all(given.data, given.features)
    direction = [one for _, one in names["claim"]][: tables[0].shape[1]] + [-1, -1]
    for row, table, reading in zip(every, tables, readings, strict=True):
        if row["dataset"] not in head.ONE_CLASS and len(table):
            known = bool(reading) and None not in reading
            read.append(known)
            rows.append(row)
            claims.append(np.c_[table, np.array(reading, np.float32) if known else np.zeros((len(table), 2), np.float32)])
    silent = [i for i, one in enumerate(direction) if one == 0]
    for one in claims:
        one[:, silent] = 0
    words = [np.c_[one[:, :-2], np.zeros((len(one), 2), np.float32)] for one in claims]
    label = np.array([row["label"] for row in rows])
    name = np.array([row["dataset"] for row in rows])
    read = np.array(read)
    of = lambda what, where: [what[i] for i in where]
    means = []
    for one in sorted(set(name)):
        inside, outside = np.where(name != one)[0], np.where((name == one) & read)[0]
        begun = head.fit_claims(of(rows, inside), of(words, inside), head.weights(of(rows, inside)), direction)
        seen = inside[read[inside]]
        weight = head.weights(of(rows, seen))
        model = carry_on(of(rows, seen), of(claims, seen), weight, direction, begun)
        found = []
        for trees, table in ((begun, words), (model, claims)):
            beta, base = head.fit_answers(head.risks(trees, of(table, seen)), label[seen], weight)
            found.append(roc_auc_score(label[outside], head.risks(trees, of(table, outside)) @ beta + base))
        means.append(found)
        print(f"held out {one}: words {found[0]:.3f}, with the cross-encoder {found[1]:.3f}, of {len(outside)}")
    print("mean: words {:.3f}, with the cross-encoder {:.3f}".format(*np.mean(means, axis=0)))


if __name__ == "__main__":
    main()
