"""Our embedder beside onnxruntime: same weights, same texts, same core, in turns.

Ours is timed from text to vectors; onnxruntime from token ids to the last layer, so the comparison leans towards it. The texts of
a round all have the same number of tokens, so that onnxruntime pads nothing.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import numpy as np
import onnxruntime
import tokenizers

import graph

WORDS = (
    "the gateway admits routes and prices every call before it answers while the collector keeps what happened in order "
    "and the console shows which tenant spent how much on which model during the last month of a long cold winter"
).split()


def session(directory, fused, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    model = graph.build(directory, fused)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def text_of(tokens, seed, tokenizer):
    """A text of exactly so many tokens, marks included."""
    words = [WORDS[(seed * 7 + i * (seed % 5 + 1)) % len(WORDS)] for i in range(tokens - 2)]
    text = " ".join(words)
    encoding = tokenizer.encode(text)
    if len(encoding.ids) > tokens:
        text = text[: encoding.offsets[tokens - 2][1]]
    return text


class Ours:
    def __init__(self, program, threads, model):
        self.process = subprocess.Popen(
            [program, str(threads), model], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, texts):
        self.process.stdin.write(json.dumps(texts) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"the embedder ended with {self.process.wait()}")
        answer = json.loads(line)
        return answer["wall"], np.array(answer["vectors"], np.float32)


def peer_run(peer, feed, batch):
    begun = time.perf_counter()
    parts = []
    for at in range(0, len(feed["input_ids"]), batch):
        piece = {name: values[at : at + batch] for name, values in feed.items()}
        parts.append(peer.run(None, piece)[0])
    wall = time.perf_counter() - begun
    pooled = np.concatenate(parts).mean(1)
    return wall, pooled / np.linalg.norm(pooled, axis=1, keepdims=True)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--program", required=True)
    arguments.add_argument("--model", required=True)
    arguments.add_argument("--rounds", type=int, default=9)
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--tokens", default="16,64,256")
    arguments.add_argument("--core", type=int, default=0)
    given = arguments.parse_args()

    if given.threads == 1:
        os.sched_setaffinity(0, {given.core})
    tokenizer = tokenizers.Tokenizer.from_file(str(pathlib.Path(given.model) / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    peers = {name: session(given.model, name == "fused", given.threads) for name in ("plain", "fused")}
    ours = Ours(given.program, given.threads, given.model)

    print(f"onnxruntime {onnxruntime.__version__}, {given.threads} thread(s), {given.rounds} rounds in turns, sentences/s (medians)")
    print("| tokens | sentences | ours | onnxruntime | graph, batch | ratio | ratio by round (quartiles) | least cosine |")
    print("|---:|---:|---:|---:|---|---:|---|---:|")
    ratios = []
    for tokens in map(int, given.tokens.split(",")):
        count = max(8, 4096 // tokens)
        for label, sentences in ((str(tokens), count), (f"{tokens}, one at a time", 1)):
            texts = [text_of(tokens, seed, tokenizer) for seed in range(sentences)]
            ids = np.array([tokenizer.encode(text).ids for text in texts], np.int64)
            feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
            repeats = 1 if sentences > 1 else max(1, 512 // tokens)
            # The peer's best way to run this, found before the rounds: which graph, and how many sentences at a time.
            ways = [(name, batch) for name in peers for batch in (1, 4, 8, 16, 32, 64) if batch <= sentences]
            trial = {way: min(peer_run(peers[way[0]], feed, way[1])[0] for _ in range(3)) for way in ways}
            name, batch = min(trial, key=trial.get)
            mine, theirs, cosine = [], [], 1.0
            ours.run(texts)
            for _ in range(given.rounds):
                walls = [0.0, 0.0]
                for _ in range(repeats):
                    wall, vectors = ours.run(texts)
                    walls[0] += wall
                    wall, expected = peer_run(peers[name], feed, batch)
                    walls[1] += wall
                mine.append(sentences * repeats / walls[0])
                theirs.append(sentences * repeats / walls[1])
                cosine = min(cosine, float((vectors * expected).sum(1).min()))
            by_round = [a / b for a, b in zip(mine, theirs)]
            low, middle, high = statistics.quantiles(by_round, n=4)
            ratio = statistics.median(mine) / statistics.median(theirs)
            if sentences > 1:
                ratios.append(middle)
            print(
                f"| {label} | {sentences} | {statistics.median(mine):.1f} | {statistics.median(theirs):.1f} | {name}, {batch} "
                f"| {ratio:.2f} | {low:.2f} – {high:.2f} | {cosine:.6f} |",
                flush=True,
            )
    ours.process.stdin.close()
    ours.process.wait()
    print(f"least ratio of the batches: {min(ratios):.2f} (target 0.70)")


main()
