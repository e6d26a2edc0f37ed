"""Trains a cross-encoder for the grounding detector: all-MiniLM-L6-v2, reading a claim and its evidence as one text.

None is shipped yet: docs/DETECTOR.md says what the first one gained.

    cargo run --release -p inference --example grounding_features -- train.jsonl.gz train.features
    python augment.py train.jsonl.gz synthetic.jsonl; python records.py records.jsonl; cat records.jsonl >> synthetic.jsonl
    cargo run --release -p inference --example grounding_features -- synthetic.jsonl synthetic.features
    python train_cross_encoder.py train --model MODEL_DIR --data train.jsonl.gz train.features \
        --synthetic synthetic.jsonl synthetic.features --out runs/one --steps 2000
    python train_cross_encoder.py score --model MODEL_DIR --run runs/one --data train.jsonl.gz train.features --out train.scores
    python train_cross_encoder.py export --run runs/one --out grounding.safetensors

Pairs come from the program itself (`grounding_features`), so that training reads what the program will. Labels are of answers: the
probability that an answer is unsupported is that of any of its claims being so (noisy or). Of made-up claims it is known which
words are unsupported; a second head learns these. Word embeddings are not trained: what is exported are the layers only.
The data sets of HELD and one group of contexts in seven are never trained on: stack.py measures on them.

A GPU is used when there is one; on a CPU, `--workers` processes of one thread each share a step's batch, in bfloat16 where the
processor has it. The seed is fixed; sums over threads and devices round differently, so weights repeat only nearly.
"""

import argparse
import gzip
import json
import os
import time
import zlib
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional as F

SEED = 5
HELD = {"bump", "expertqa-claims", "q2-wow"}
ONE_CLASS = {"wice"}
MOST_TOKENS = 256
HIDDEN, HEADS, LAYERS, INNER, EPSILON = 384, 12, 6, 1536, 1e-12
# How much a made-up claim's words count beside its label, and made-up rows beside real ones.
WORDS_COUNT = 0.5
SYNTHETIC_COUNTS = 0.7


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.key, self.value, self.output = (nn.Linear(HIDDEN, HIDDEN) for _ in range(4))
        self.up, self.down = nn.Linear(HIDDEN, INNER), nn.Linear(INNER, HIDDEN)
        self.output_norm, self.norm = nn.LayerNorm(HIDDEN, EPSILON), nn.LayerNorm(HIDDEN, EPSILON)
        self.drop = nn.Dropout(0.1)

    def forward(self, rows, mask):
        batch, tokens, _ = rows.shape
        heads = lambda part: part(rows).view(batch, tokens, HEADS, -1).transpose(1, 2)
        found = F.scaled_dot_product_attention(heads(self.query), heads(self.key), heads(self.value), attn_mask=mask)
        found = found.transpose(1, 2).reshape(batch, tokens, HIDDEN)
        rows = self.output_norm(rows + self.drop(self.output(found)))
        return self.norm(rows + self.drop(self.down(F.gelu(self.up(rows)))))


class Encoder(nn.Module):
    """A BERT over frozen embeddings, with a head for the claim and one for each of its words."""

    def __init__(self, layers=LAYERS, frozen=0):
        super().__init__()
        self.words = nn.Embedding(30522, HIDDEN)
        self.positions = nn.Embedding(512, HIDDEN)
        self.types = nn.Embedding(2, HIDDEN)
        self.norm = nn.LayerNorm(HIDDEN, EPSILON)
        self.layers = nn.ModuleList(Layer() for _ in range(layers))
        self.first = nn.Linear(HIDDEN, 1)
        self.mean = nn.Linear(HIDDEN, 1, bias=False)
        self.token = nn.Linear(HIDDEN, 1)
        self.most = nn.Parameter(torch.tensor(0.5))
        for part in (self.first, self.mean, self.token):
            nn.init.normal_(part.weight, std=0.02)
        still = [self.words, self.positions] + ([self.types, self.norm, *self.layers[:frozen]] if frozen else [])
        for part in still:
            part.requires_grad_(False)

    def forward(self, ids, types, lengths, own):
        """Log odds that claims are unsupported, and of each token of theirs. `own` marks the claim's tokens."""
        place = torch.arange(ids.shape[1], device=ids.device)
        rows = self.norm(self.words(ids) + self.positions(place) + self.types(types))
        rows = F.dropout(rows, 0.1, self.training)
        mask = (place < lengths[:, None])[:, None, None, :]
        for layer in self.layers:
            rows = layer(rows, mask)
        # The heads are small: they keep single precision.
        with torch.autocast(rows.device.type, enabled=False):
            rows = rows.float()
            own = own.float()
            mean = (rows * own[..., None]).sum(1) / own.sum(1, keepdim=True).clamp(min=1)
            token = self.token(rows).squeeze(-1)
            most = token.masked_fill(own == 0, -1e4).amax(1).clamp(min=-20)
            whole = self.first(rows[:, 0]).squeeze(-1) + self.mean(mean).squeeze(-1) + self.most * most
            return whole, token


NAMES = dict(query="attention.self.query", key="attention.self.key", value="attention.self.value", output="attention.output.dense",
             up="intermediate.dense", down="output.dense", output_norm="attention.output.LayerNorm", norm="output.LayerNorm")
EMBEDDINGS = {"words": "word_embeddings", "positions": "position_embeddings", "types": "token_type_embeddings", "norm": "LayerNorm"}


def published(key):
    """The name that a parameter has in the family's checkpoints."""
    part, _, rest = key.partition(".")
    if part == "layers":
        number, name, kind = rest.split(".")
        return f"encoder.layer.{number}.{NAMES[name]}.{kind}"
    return f"embeddings.{EMBEDDINGS[part]}.{rest}" if part in EMBEDDINGS else f"head.{key}"


def begin(model, directory):
    """Takes what the published checkpoint has; the heads stay as they are."""
    known = load_file(Path(directory) / "model.safetensors")
    state = model.state_dict()
    for key in state:
        if published(key) in known:
            state[key] = known[published(key)]
    model.load_state_dict(state)


def lines(path):
    opened = gzip.open(path, "rb") if str(path).endswith(".gz") else open(path, "rb")
    with opened as file:
        return [line for line in file.read().decode().split("\n") if line.strip()]


def read(data, features, tokenizer):
    """Rows with their claims as (ids, types, own, words), where `words` says which tokens are unsupported, if known."""
    rows = []
    for line, found in zip(lines(data), lines(features)[1:], strict=True):
        row, found = json.loads(line), json.loads(found)
        spans = row.get("spans") if row["dataset"] == "synthetic" else None
        claims = []
        for pair in found["pairs"]:
            if pair is None:
                claims.append(None)
                continue
            one = tokenizer.encode(pair["claim"], pair["evidence"])
            own = [int(part == 0) for part in one.sequence_ids]
            words = None
            if spans is not None and len(found["pairs"]) == 1 and pair["claim"] == row["answer"]:
                words = [int(o and any(a < s["end"] and s["start"] < b for s in spans)) for o, (a, b) in zip(own, one.offsets)]
            claims.append((one.ids, one.type_ids, own, words))
        rows.append(dict(dataset=row["dataset"], source=row.get("source", row["dataset"]), group=row["group"], label=row["label"],
                         claims=claims, shortcut=found["claims"] and min(c[1] for c in found["claims"])))
    return rows


def is_held(row, groups):
    return row["source"] in HELD or row["group"] in groups or zlib.crc32(row["group"].encode()) % 7 == 0


def weigh(rows):
    """Labels of a data set weigh the same, and so do its thirds by word coverage as far as labels go; small sets weigh more per row."""
    for name in sorted({row["dataset"] for row in rows}):
        own = [row for row in rows if row["dataset"] == name]
        order = sorted(row["shortcut"] or 0 for row in own)
        edges = [order[len(order) * n // 6] for n in range(1, 6)]
        cell = [sum((row["shortcut"] or 0) > edge for edge in edges) for row in own]
        for label in (0, 1):
            total = sum(row["label"] == label for row in own)
            of = {c: sum(k == c and row["label"] == label for k, row in zip(cell, own)) for c in set(cell)}
            for k, row in zip(cell, own):
                if row["label"] == label:
                    row["weight"] = ((of[k] + 3) / (total + 18) * 6) ** -0.5
            scale = len(own) ** 0.7 / 2 / sum(row["weight"] for row in own if row["label"] == label)
            for row in own:
                if row["label"] == label:
                    row["weight"] *= scale * (SYNTHETIC_COUNTS if name == "synthetic" else 1)
    mean = sum(row["weight"] for row in rows) / len(rows)
    for row in rows:
        row["weight"] /= mean


def batches(rows, tokens, seed):
    """Rows of like length together, at most so many padded tokens; the order is random."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(rows), generator=generator).tolist()
    longest = lambda at: max(len(claim[0]) for claim in rows[at]["claims"])
    out = []
    for start in range(0, len(order), 2048):
        batch, width, count = [], 0, 0
        for at in sorted(order[start:start + 2048], key=lambda at: (longest(at), at)):
            wide, more = max(width, longest(at)), len(rows[at]["claims"])
            if batch and wide * (count + more) > tokens:
                out.append(batch)
                batch, width, count = [], 0, 0
                wide = longest(at)
            batch.append(rows[at])
            width, count = wide, count + more
        out.append(batch)
    return [out[at] for at in torch.randperm(len(out), generator=generator).tolist()]


def padded(claims, device):
    width = max(len(claim[0]) for claim in claims)
    pad = lambda values: values + [0] * (width - len(values))
    stack = lambda at: torch.tensor([pad(claim[at]) for claim in claims], device=device)
    return stack(0), stack(1), torch.tensor([len(claim[0]) for claim in claims], device=device), stack(2)


def loss_of(model, batch, device):
    claims = [claim for row in batch for claim in row["claims"]]
    ids, types, lengths, own = padded(claims, device)
    with torch.autocast(device.type, torch.bfloat16):
        whole, token = model(ids, types, lengths, own)
    owner = torch.tensor([i for i, row in enumerate(batch) for _ in row["claims"]], device=device)
    # log P(no claim is unsupported) = sum of log(1 - p).
    none = torch.zeros(len(batch), device=device).index_add(0, owner, F.logsigmoid(-whole))
    label = torch.tensor([float(row["label"]) for row in batch], device=device)
    weight = torch.tensor([row["weight"] for row in batch], device=device)
    count = torch.tensor([float(len(row["claims"])) for row in batch], device=device)
    some = torch.log(-torch.expm1(none.clamp(max=-1e-6)))
    loss = (weight * -torch.where(label > 0, some, none / count.sqrt())).sum() / weight.sum().clamp(min=1e-6)
    known = [i for i, claim in enumerate(claims) if claim[3] is not None]
    if known:
        width = ids.shape[1]
        words = torch.tensor([claims[i][3] + [0] * (width - len(claims[i][3])) for i in known], device=device).float()
        mine = own[known].float()
        # Few words are unsupported: those count five times.
        each = F.binary_cross_entropy_with_logits(token[known], words, reduction="none", pos_weight=torch.tensor(5.0, device=device))
        loss = loss + WORDS_COUNT * (each * mine).sum() / mine.sum().clamp(min=1)
    return loss


def share_gradients(model, world):
    if world == 1:
        return
    with_gradient = [p for p in model.parameters() if p.requires_grad]
    flat = torch.cat([(p.grad if p.grad is not None else torch.zeros_like(p)).flatten() for p in with_gradient])
    dist.all_reduce(flat)
    at = 0
    for p in with_gradient:
        p.grad = flat[at:at + p.numel()].view_as(p) / world
        at += p.numel()


def work(rank, given):
    torch.set_num_threads(1)
    torch.manual_seed(SEED + rank)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    world = 1 if device.type == "cuda" else given.workers
    if world > 1:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(given.port))
        dist.init_process_group("gloo", rank=rank, world_size=world, timeout=timedelta(hours=2))
    model = Encoder(frozen=given.frozen)
    begin(model, given.model)
    if given.start:
        model.load_state_dict(torch.load(given.start, weights_only=True))
    model.to(device).train()
    rows = torch.load(Path(given.out) / "rows.pt", weights_only=False)
    decay = [p for p in model.parameters() if p.requires_grad and p.dim() > 1]
    plain = [p for p in model.parameters() if p.requires_grad and p.dim() <= 1]
    optimizer = torch.optim.AdamW([dict(params=decay, weight_decay=0.01), dict(params=plain, weight_decay=0.0)], lr=given.rate)
    step, epoch, started, mean, seen = 0, 0, time.time(), None, 0
    log = open(Path(given.out) / "log.txt", "a") if rank == 0 else None
    done = False
    while not done:
        parts = batches(rows, given.tokens, SEED + 100 * epoch + given.epoch)
        for at in range(0, len(parts) - world + 1, world):
            progress = step / given.steps
            if given.minutes:
                elapsed = torch.tensor([time.time() - started])
                if world > 1:
                    dist.broadcast(elapsed, 0)
                progress = float(elapsed) / 60 / given.minutes
            if progress >= 1:
                done = True
                break
            for group in optimizer.param_groups:
                group["lr"] = given.rate * min(1.0, (step + 1) / given.warm) * max(0.02, 1 - progress)
            loss = loss_of(model, parts[at + rank], device)
            optimizer.zero_grad()
            loss.backward()
            share_gradients(model, world)
            nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
            optimizer.step()
            step += 1
            seen += world * given.tokens
            mean = loss.item() if mean is None else 0.98 * mean + 0.02 * loss.item()
            if rank == 0 and step % 20 == 0:
                log.write(f"step {step} epoch {epoch} {at}/{len(parts)} loss {mean:.4f} {time.time() - started:.0f} s {progress:.3f}\n")
                log.flush()
            if rank == 0 and step % 100 == 0:
                save(model, given.out)
        epoch += 1
    if rank == 0:
        save(model, given.out)
        log.write(f"done after {step} steps\n")
        log.close()


def save(model, out):
    torch.save(model.state_dict(), Path(out) / "next.pt")
    os.replace(Path(out) / "next.pt", Path(out) / "last.pt")


def tokenizer_of(directory):
    tokenizer = Tokenizer.from_file(str(Path(directory) / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MOST_TOKENS)
    return tokenizer


def train(given):
    Path(given.out).mkdir(parents=True, exist_ok=True)
    tokenizer = tokenizer_of(given.model)
    real = [row for row in read(*given.data, tokenizer) if row["dataset"] not in ONE_CLASS]
    groups = {row["group"] for row in real if row["dataset"] in HELD}
    rows = real + (read(*given.synthetic, tokenizer) if given.synthetic else [])
    rows = [row for row in rows if not is_held(row, groups)]
    for row in rows:
        row["claims"] = [claim for claim in row["claims"] if claim is not None][:12]
    rows = [row for row in rows if row["claims"]]
    weigh(rows)
    torch.save(rows, Path(given.out) / "rows.pt")
    tokens = sum(len(claim[0]) for row in rows for claim in row["claims"])
    print(f"{len(rows)} rows, {sum(len(row['claims']) for row in rows)} pairs, {tokens} tokens", flush=True)
    workers = 1 if torch.cuda.is_available() else given.workers
    if workers == 1:
        work(0, given)
        return
    context = torch.multiprocessing.get_context("spawn")
    others = [context.Process(target=work, args=(rank, given), daemon=True) for rank in range(1, workers)]
    for other in others:
        other.start()
    work(0, given)
    for other in others:
        other.join()


@torch.no_grad()
def score(given):
    """The log odds of each claim, and the greatest of its words': one line a row."""
    torch.set_num_threads(given.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = Encoder()
    begin(model, given.model)
    model.load_state_dict(torch.load(Path(given.run) / "last.pt", weights_only=True))
    model.to(device).eval()
    rows = read(*given.data, tokenizer_of(given.model))
    groups = {row["group"] for row in rows if row["dataset"] in HELD}
    keep = [not given.held or is_held(row, groups) for row in rows]
    flat = [(i, j, claim) for i, row in enumerate(rows) if keep[i] for j, claim in enumerate(row["claims"]) if claim]
    flat.sort(key=lambda one: len(one[2][0]))
    found = [[None] * len(row["claims"]) for row in rows]
    for at in range(0, len(flat), 32):
        part = flat[at:at + 32]
        ids, types, lengths, own = padded([one[2] for one in part], device)
        with torch.autocast(device.type, torch.bfloat16):
            whole, token = model(ids, types, lengths, own)
        most = token.masked_fill(own == 0, -1e4).amax(1)
        for (i, j, _), z, m in zip(part, whole.tolist(), most.tolist()):
            found[i][j] = [round(z, 4), round(m, 4)]
    with open(given.out, "w") as out:
        for row, one, kept in zip(rows, found, keep):
            out.write(json.dumps(dict(dataset=row["dataset"], label=row["label"], scores=one if kept else None)) + "\n")


def export(given):
    """Layers and heads in half precision; the embeddings are those of the published model."""
    state = torch.load(Path(given.run) / "last.pt", weights_only=True)
    kept = {published(key): value.to(torch.float16).contiguous().reshape(value.shape or (1,)) for key, value in state.items()
            if not key.startswith(("words.", "positions."))}
    # Some words' vectors, by which the program knows whether it has the same table.
    words = state["words.weight"]
    kept["base.words"] = words[len(words) // 2:][:4].to(torch.float16).contiguous()
    save_file(kept, given.out, metadata={"base": "all-MiniLM-L6-v2", "version": given.version})


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("train")
    command.add_argument("--model", required=True)
    command.add_argument("--data", nargs=2, required=True)
    command.add_argument("--synthetic", nargs=2)
    command.add_argument("--out", required=True)
    command.add_argument("--start")
    command.add_argument("--steps", type=int, default=2000)
    command.add_argument("--minutes", type=float, help="end after so long instead, whatever the number of steps")
    command.add_argument("--rate", type=float, default=1.2e-4)
    command.add_argument("--warm", type=int, default=60)
    command.add_argument("--tokens", type=int, default=3072, help="padded tokens of a worker's batch")
    command.add_argument("--workers", type=int, default=2)
    command.add_argument("--frozen", type=int, default=0, help="layers that are not trained any further, the lowest first")
    command.add_argument("--epoch", type=int, default=0, help="shuffle as from this epoch on")
    command.add_argument("--port", type=int, default=29517)
    command = commands.add_parser("score")
    command.add_argument("--model", required=True)
    command.add_argument("--run", required=True)
    command.add_argument("--data", nargs=2, required=True)
    command.add_argument("--out", required=True)
    command.add_argument("--held", action="store_true", help="only what was not trained on")
    command.add_argument("--threads", type=int, default=1)
    command = commands.add_parser("export")
    command.add_argument("--run", required=True)
    command.add_argument("--out", required=True)
    command.add_argument("--version", default="grounding-2")
    given = parser.parse_args()
    dict(train=train, score=score, export=export)[given.command](given)


if __name__ == "__main__":
    main()
