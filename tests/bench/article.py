"""How fast the article's method trains here, beside a plain implementation of its loop.

    python -m tests.bench.article [--json] [--messages N] [--epochs 5] [--blocks 12] [--width 768]
        [--pooling padded-last|last|both] [--threads N] [--data FOLDER]

The plain side is the method written straight down in torch: every message padded to the longest,
all blocks at every step, the head at every position. Ours is the ``article`` recipe. Both start
from the same random weights and the same generator, see the same batches in the same order, and
run one after another, each in a process of its own. The clock of each starts with texts and
weights in memory and stops with trained weights: tokenising and building the model count in both,
in ours also hashing the weights, features, checkpoints, and the whole validation split an epoch.
The plain side's norm and GELU are torch's own, faster than the ones that the article writes out.

Frozen features are computed once, so the ratio grows with the epochs: E epochs take E * p plain
and f + E * q here; ``ratio_at_5`` is 5 * p / (f + 5 * q) from the measured p, f and q. Part of f
and q is the same for any number of messages (models, hashes): few messages understate the ratio.
``--messages`` takes the first N of the training split, and N / 7 (40 at least) to validate, padded
as all would be.

Floating-point operations, counted from shapes (two a multiply-add; norms, GELU, softmax, the head
and AdamW are left out), for a message of T tokens, width C, L blocks:

    a block, whole squares of attention        D = 24 T C^2 + 4 T^2 C
    a block, attention up to each token        A = 24 T C^2 + 2 T (T + 1) C
    the last block, for the last token alone   Z = 4 T C^2 + 20 C^2 + 4 T C
    plain: a message scored L D, learned (L + 2) D (the last block's backward pass is twice D)
    ours:  a message's features (L - 1) A, once; scored Z, learned 3 Z

The ratio of these sums is printed as ``ceiling``: what both sides would show at the same share of
the machine's peak. The peak is the median rate of the model's own products in fp32, measured
before, between and after the sides; a side's share is of the mean of the two beside it.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that all of torch's users know
from torch.utils.data import DataLoader, Dataset

from filterd import artifact
from filterd.model import ModelConfig, SpamModel
from filterd.tokenizer import Tokenizer
from trainer import make, recipe
from trainer.backbone import Start
from trainer.dataset import Message, article_splits, read_messages
from trainer.distributed import Workers
from trainer.fitting import Fitting
from trainer.pretrained.vocabularies import of_pair
from trainer.training import Look

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
TOLERANCE = 1e-3
"""In nats: how far the losses of a step may lie apart."""
OURS = ("padded-last", "last")
PEAK_S = 2.0
Batch = tuple[Tensor, Tensor]
Loader = DataLoader[Batch]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Method:
    """The article's numbers. every: steps between looks · looked_at: batches of each split."""

    epochs: int = 5
    batch_size: int = 8
    learning_rate: float = 5e-5
    weight_decay: float = 0.1
    every: int = 50
    looked_at: int = 5
    seed: int = 123


@dataclass(frozen=True, slots=True)
class Case:
    """What both sides are given. length: tokens of a padded message."""

    learned: list[Message]
    checked: list[Message]
    tokenizer: Tokenizer
    config: ModelConfig
    length: int
    method: Method

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return len(self.learned) // self.method.batch_size

    def weights(self) -> dict[str, Tensor]:
        """The weights both sides start from, by SpamModel's names."""
        model = SpamModel(self.config)
        model.initialise(torch.Generator().manual_seed(self.method.seed))
        return {name: weight.detach() for name, weight in model.state_dict().items()}


@dataclass(frozen=True, slots=True)
class Course:
    """What a side's run showed.

    losses: each step's · looks: train's and validation's loss, or at an epoch's end accuracy.
    """

    losses: list[float]
    looks: list[tuple[float, float]]
    features_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Side:
    """A side's course and its cost. rate: of the matmuls beside it, operations a second."""

    course: Course
    seconds: float
    cpu_s: float
    peak_bytes: int
    flop: float
    rate: float = math.nan

    def row(self) -> dict[str, float]:
        """Its figures by name."""
        return {
            "seconds": self.seconds,
            "cpu_s": self.cpu_s,
            "features_s": self.course.features_s,
            "peak_mib": self.peak_bytes / 2**20,
            "tflop": self.flop / 1e12,
            "peak_gflops": self.rate / 1e9,
            "share_of_peak": self.flop / self.seconds / self.rate,
        }


class PlainAttention(nn.Module):
    """Causal attention over rows of one length, the whole square of weights written out."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.n_embd
        self.heads = config.n_head
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.c_proj = nn.Linear(width, width)

    def forward(self, hidden: Tensor, future: Tensor) -> Tensor:
        """(B, T, C) to (B, T, C); future (T, T): what no token may see."""
        query, key, value = (
            layer(hidden).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )  # (B, H, T, D)
        scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
        shares = scores.masked_fill(future, -math.inf).softmax(dim=-1)  # (B, H, T, T)
        return self.c_proj((shares @ value).transpose(1, 2).flatten(2))


class PlainBlock(nn.Module):
    """Attention and MLP, each behind a norm and beside a residual."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.n_embd
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = PlainAttention(config)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width)
        )

    def forward(self, hidden: Tensor, future: Tensor) -> Tensor:
        """(B, T, C) to (B, T, C)."""
        hidden = hidden + self.attn(self.ln_1(hidden), future)
        return hidden + self.mlp(self.ln_2(hidden))


class PlainGPT2(nn.Module):
    """GPT-2 with a head of two classes at every position, all but its end frozen."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.h = nn.ModuleList(PlainBlock(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd)
        self.head = nn.Linear(config.n_embd, 2)
        square = torch.ones(config.n_positions, config.n_positions, dtype=torch.bool)
        self.register_buffer("future", square.triu(1), persistent=False)
        self.requires_grad_(False)
        for module in (self.h[-1], self.ln_f, self.head):
            module.requires_grad_(True)

    def forward(self, ids: Tensor) -> Tensor:
        """Ids (B, T) to logits (B, T, 2)."""
        length = ids.shape[1]
        hidden = self.wte(ids) + self.wpe(torch.arange(length))
        for block in self.h:
            hidden = block(hidden, self.future[:length, :length])
        return self.head(self.ln_f(hidden))


def plain_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """SpamModel's weights under the plain model's names."""
    renamed = {}
    for name, weight in weights.items():
        name = name.replace("mlp.c_fc", "mlp.0").replace("mlp.c_proj", "mlp.2")
        parts = weight.chunk(3) if "c_attn" in name else (weight,)
        layers = ("query", "key", "value") if "c_attn" in name else ("c_attn",)
        renamed |= {name.replace("c_attn", to): w for to, w in zip(layers, parts, strict=True)}
    return renamed


class PaddedMessages(Dataset[Batch]):
    """Messages tokenised, cut and filled up to one length, with their classes."""

    def __init__(self, messages: Sequence[Message], tokenizer: Tokenizer, length: int) -> None:
        filling = [tokenizer.end_of_text] * length
        encoded = (tokenizer.encode(message.text) for message in messages)
        self._rows = [(ids + filling)[:length] for ids in encoded]
        self._classes = [int(message.label == "spam") for message in messages]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Batch:
        return torch.tensor(self._rows[index]), torch.tensor(self._classes[index])


class PlainLoop:
    """The article's training: a step a batch, looks in between, accuracy behind each epoch."""

    def __init__(self, case: Case, weights: dict[str, Tensor], say: Say) -> None:
        method = case.method
        self.method, self.say = method, say
        self.model = PlainGPT2(case.config)
        self.model.load_state_dict(plain_weights(weights))
        split = [
            PaddedMessages(m, case.tokenizer, case.length) for m in (case.learned, case.checked)
        ]
        self.loaders: tuple[Loader, Loader] = (
            DataLoader(split[0], method.batch_size, shuffle=True, drop_last=True),
            DataLoader(split[1], method.batch_size),
        )
        self.optimizer = torch.optim.AdamW(
            [parameter for parameter in self.model.parameters() if parameter.requires_grad],
            lr=method.learning_rate,
            weight_decay=method.weight_decay,
        )
        self.course = Course([], [])

    def run(self) -> Course:
        """All epochs."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.method.seed)
            for _ in range(self.method.epochs):
                self.model.train()
                for ids, classes in self.loaders[0]:
                    self._step(ids, classes)
                    if (len(self.course.losses) - 1) % self.method.every == 0:
                        self._look("loss", self._loss)
                self._look("accuracy", self._accuracy)
        return self.course

    def _step(self, ids: Tensor, classes: Tensor) -> None:
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(ids)[:, -1], classes)
        loss.backward()
        self.optimizer.step()
        self.course.losses.append(loss.item())

    @torch.no_grad()
    def _look(self, what: str, measure: Callable[[Loader], float]) -> None:
        self.model.eval()
        found = (measure(self.loaders[0]), measure(self.loaders[1]))
        self.model.train()
        self.course.looks.append(found)
        self.say(
            f"step {len(self.course.losses)} · {what} {found[0]:.3f}, validation {found[1]:.3f}"
        )

    def _loss(self, loader: Loader) -> float:
        return statistics.fmean(
            F.cross_entropy(logits, classes).item() for logits, classes in self._scored(loader)
        )

    def _accuracy(self, loader: Loader) -> float:
        right = [(logits.argmax(-1) == classes) for logits, classes in self._scored(loader)]
        return torch.cat(right).float().mean().item()

    def _scored(self, loader: Loader) -> Iterator[Batch]:
        """Logits (B, 2) and classes (B,) of the loader's first batches."""
        for ids, classes in islice(loader, self.method.looked_at):
            yield self.model(ids)[:, -1], classes


def learn_ours(
    case: Case,
    weights: dict[str, Tensor],
    folder: Path,
    say: Say,
    overrides: Sequence[str] = (),
) -> Course:
    """The ``article`` recipe, with features and checkpoints in ``folder``."""
    own = recipe.load("article", [f"epochs={case.method.epochs}", *overrides])
    length = own.max_length or case.length
    started = time.perf_counter()
    start = Start(case.config, case.tokenizer, weights)
    fitting = Fitting(own, start, length, folder, Workers(), say)
    learned = fitting.reader(make.labelled(case.learned))
    checked = fitting.reader(make.labelled(case.checked), plain=True)
    features_s = time.perf_counter() - started
    say(f"features after {features_s:.1f} s")
    trained = fitting.fit("run", learned, checked)
    return Course(list(trained.step_losses), _as_plain(trained.looks, case), features_s)


def _as_plain(looks: Sequence[Look], case: Case) -> list[tuple[float, float]]:
    """Our looks as the plain side takes them: losses, but accuracies behind an epoch.

    Each epoch's last look is that one; the others are at steps.
    """
    found, left = [], list(looks)
    while left:
        look = left.pop(0)
        ends = look.step % case.steps == 0 and (not left or left[0].step > look.step)
        one = (look.train_accuracy, look.validation_accuracy)
        found.append(one if ends else (look.train_loss, look.validation_loss))
    return found


def overrides(case: Case, pooling: str) -> list[str]:
    """What the recipe needs for a pooling; ``last`` reads whole messages and the end of text."""
    return (
        [] if pooling == "padded-last" else [f"pooling={pooling}", f"max_length={case.length + 1}"]
    )


def flop(case: Case, name: str) -> float:
    """Floating-point operations of a whole run, by the formulas above."""
    method, blocks, width = case.method, case.config.n_layer, case.config.n_embd
    learned, checked = (
        [min(len(case.tokenizer.encode(m.text)) + 1, case.length + 1) for m in messages]
        if name == "last"
        else [case.length] * len(messages)
        for messages in (case.learned, case.checked)
    )
    steps = case.steps * method.epochs
    looks = math.ceil(steps / method.every) + method.epochs
    most = method.looked_at * method.batch_size
    seen = looks * min(case.steps * method.batch_size, most)

    def whole(t: int) -> float:
        return 24 * t * width**2 + 4 * t * t * width

    def causal(t: int) -> float:
        return 24 * t * width**2 + 2 * t * (t + 1) * width

    def last(t: int) -> float:
        return 4 * t * width**2 + 20 * width**2 + 4 * t * width

    def mean(of: Callable[[int], float], lengths: Sequence[int]) -> float:
        return statistics.fmean(map(of, lengths))

    batched = steps * method.batch_size
    if name == "plain":
        seen += looks * min(len(checked), most)
        return ((blocks + 2) * batched + blocks * seen) * whole(case.length)
    features = (blocks - 1) * sum(map(causal, [*learned, *checked]))
    validated = looks * min(len(checked), most) + method.epochs * len(checked)
    return features + (3 * batched + seen) * mean(last, learned) + validated * mean(last, checked)


def matmul_rate(width: int, rows: int) -> float:
    """Floating-point operations a second in the products of a block, fp32, the median pass."""
    shapes = ((width, 3 * width), (width, width), (width, 4 * width), (4 * width, width))
    pairs = [(torch.randn(rows, given), torch.randn(made, given)) for given, made in shapes]
    passes, until = [], time.perf_counter() + PEAK_S
    while len(passes) < 3 or time.perf_counter() < until:
        started = time.perf_counter()
        for hidden, weight in pairs:
            F.linear(hidden, weight)
        passes.append(time.perf_counter() - started)
    return 24 * rows * width**2 / statistics.median(passes[1:])


def case_of(options: argparse.Namespace) -> Case:
    """The article's split with GPT-2's vocabulary, else the sample with the starter's."""
    source = options.data / "sms_spam_collection" / "SMSSpamCollection"
    vocabulary = of_pair(options.data / "gpt2_vocab")
    sample = Path(str(files("filterd"))) / "sample" / "messages.tsv"
    parts, _ = article_splits((source if source.is_file() else sample).read_bytes())
    learned, checked = (read_messages(f"{n}.csv", parts[n]) for n in ("train", "validation"))
    tokenizer = vocabulary.tokenizer if vocabulary else artifact.load().tokenizer
    length = max(len(tokenizer.encode(message.text)) for message in learned)
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size,
        n_positions=1024,
        n_layer=options.blocks,
        n_head=max(1, options.width // 64),
        n_embd=options.width,
    )
    if options.messages and options.messages < len(learned):
        learned = learned[: options.messages]
        checked = checked[: max(40, options.messages // 7)]
    return Case(learned, checked, tokenizer, config, length, Method(epochs=options.epochs))


def run_side(name: str, case: Case, folder: Path) -> Side:
    """One side in this process."""
    weights = case.weights()
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])  # the first imports for seconds
    started, began = time.perf_counter(), time.process_time()

    def say(line: str) -> None:
        print(f"{name} {time.perf_counter() - started:7.1f} s · {line}", file=sys.stderr)  # noqa: T201

    if name == "plain":
        loop = PlainLoop(case, weights, say)
        del weights  # the model has its own: they need not stay
        course = loop.run()
    else:
        course = learn_ours(case, weights, folder, say, overrides(case, name))
    seconds, cpu_s = time.perf_counter() - started, time.process_time() - began
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return Side(course, seconds, cpu_s, peak, flop(case, name))


def in_process(name: str, folder: Path) -> Side:
    """One side in a process of its own, with this one's options."""
    command = [sys.executable, "-m", __spec__.name, *sys.argv[1:], "--side", name]
    done = subprocess.run(
        [*command, "--folder", str(folder)], stdout=subprocess.PIPE, check=True, cwd=ROOT
    )
    values = json.loads(done.stdout)
    return Side(**values | {"course": Course(**values["course"])})


def compared(name: str, ours: Side, plain: Side, epochs: int) -> dict[str, float]:
    """Our side's figures beside the plain side's."""
    features_s = ours.course.features_s
    plain_epoch_s, epoch_s = plain.seconds / epochs, (ours.seconds - features_s) / epochs
    row = {
        **ours.row(),
        "ratio": plain.seconds / ours.seconds,
        "ratio_of_cpu_s": plain.cpu_s / ours.cpu_s,
        "ratio_at_5": 5 * plain_epoch_s / (features_s + 5 * epoch_s),
        "ceiling": plain.flop / ours.flop,
    }
    if name == "padded-last":
        row["step_difference"] = apart(ours.course.losses, plain.course.losses)
        row["look_difference"] = apart(
            *([v for pair in side.course.looks for v in pair] for side in (ours, plain))
        )
    return row


def apart(first: Sequence[float], second: Sequence[float]) -> float:
    """The largest difference between two courses of one length."""
    return max(abs(one - other) for one, other in zip(first, second, strict=True))


def measure(names: Sequence[str], case: Case) -> dict[str, Any]:
    """All sides, the peak measured between them."""
    rows = case.method.batch_size * case.length
    rates, sides = [matmul_rate(case.config.n_embd, rows)], {}
    for name in ("plain", *names):
        with tempfile.TemporaryDirectory(prefix="fd-") as folder:
            side = in_process(name, Path(folder))
        rates.append(matmul_rate(case.config.n_embd, rows))
        sides[name] = replace(side, rate=statistics.fmean(rates[-2:]))
    plain = sides.pop("plain")
    return {"plain": plain.row()} | {
        name: compared(name, side, plain, case.method.epochs) for name, side in sides.items()
    }


def main() -> None:
    """Measure and print; fails where the two sides' losses of a step differ."""
    options = parsed()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends the side, deletes its folder
    if options.threads:
        torch.set_num_threads(options.threads)
    case = case_of(options)
    if options.side:
        print(json.dumps(asdict(run_side(options.side, case, options.folder))))  # noqa: T201
        return
    names = OURS if options.pooling == "both" else (options.pooling,)
    about = {
        "messages": len(case.learned),
        "validation": len(case.checked),
        "length": case.length,
        "epochs": case.method.epochs,
        "blocks": case.config.n_layer,
        "width": case.config.n_embd,
        "threads": torch.get_num_threads(),
    }
    found = measure(names, case)
    if options.json:
        print(json.dumps({**about, **found}))  # noqa: T201
    else:
        print(" · ".join(f"{name} {value}" for name, value in about.items()))  # noqa: T201
        for side, row in found.items():
            for name, value in row.items():
                print(f"{side:12} {name:16} {value:12.6g}")  # noqa: T201
    if found.get("padded-last", {}).get("step_difference", 0) > TOLERANCE:
        raise SystemExit(f"the two sides' losses differ by more than {TOLERANCE} at a step")


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="one object")
    parser.add_argument("--messages", type=int, default=0, help="to learn from; 0: all")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--blocks", type=int, default=12)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--pooling", choices=(*OURS, "both"), default="both", help="of our side")
    parser.add_argument("--threads", type=int, default=0, help="0: as many as torch takes")
    parser.add_argument(
        "--data",
        type=Path,
        default=DATA,
        help="folder with sms_spam_collection/ and gpt2_vocab/",
    )
    parser.add_argument("--side", choices=("plain", *OURS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
