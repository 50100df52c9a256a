"""Training: set up, fit, validate. The same loop for a model from random weights and for the last
blocks of a pretrained one, whose other blocks were computed beforehand (``trainer/features.py``).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that all of torch's users know

from filterd.errors import SettingsError
from filterd.packing import Packed
from trainer import calibration
from trainer.backbone import Start, first_trainable, trainable_parameters
from trainer.checkpoint import Checkpoint
from trainer.course import Course, Epoch, Look, Trained
from trainer.distributed import ALONE, Workers
from trainer.encoding import View
from trainer.loader import Batches
from trainer.losses import class_weights, cross_entropy, log_odds_of
from trainer.optimising import Average, optimizer, set_rate, share_of_rate
from trainer.progress import progress
from trainer.readers import Reader
from trainer.recipe import Recipe

Say = Callable[[str], None]


def fit(
    recipe: Recipe,
    start: Start,
    readers: tuple[Reader, Reader | None],
    say: Say,
    *,
    workers: Workers = ALONE,
    checkpoint: Checkpoint | None = None,
) -> Trained:
    """Train on the first reader's examples, choose the epoch by the second's, where there is one.

    The same recipe, start, examples, library versions and number of threads give the same weights,
    also after an interruption; on a GPU, whose sums have no order, nearly the same.
    """
    here = start.device
    with torch.random.fork_rng(devices=[here] if here.type == "cuda" else []):
        torch.manual_seed(recipe.seed)
        return _Run(recipe, start, readers, workers, checkpoint).fit(say)


class _Run:
    """One training run: the model that learns and the average of its weights that is measured."""

    def __init__(
        self,
        recipe: Recipe,
        start: Start,
        readers: tuple[Reader, Reader | None],
        workers: Workers,
        checkpoint: Checkpoint | None,
    ) -> None:
        self.recipe, self.workers, self.checkpoint = recipe, workers, checkpoint
        self.start = start
        self.training, self.validation = readers
        self.model = start.build(recipe)
        self.first = first_trainable(recipe, start.config)
        self.trainable = trainable_parameters(self.model, recipe)
        view = self.training.view(0)
        self.hint = None if view.hints is None else self._hint_reader(view.hints)
        if self.hint is not None:
            self.trainable |= {f"hint.{name}": p for name, p in self.hint.named_parameters()}
        self.average = Average(self.trainable, recipe.average)
        self.optimizer = optimizer(self.trainable, recipe)
        self.count = len(view.ids)
        self.weights = class_weights(view.targets, recipe.balance, view.weights)
        self.batches = Batches(recipe, self.count)
        self.course = Course()
        self.kept = self.average.copy()

    def fit(self, say: Say) -> Trained:
        """All epochs that are left; keeps the best by calibrated validation loss, or the last."""
        self._resume(say)
        course, recipe = self.course, self.recipe
        while course.epoch < recipe.epochs:
            train_loss, train_accuracy = self._epoch(course.epoch, say)
            loss, calibrated, accuracy = self._validate()
            course.epoch += 1
            seen = course.epoch * self.batches.examples
            epoch = Epoch(course.epoch, seen, train_loss, train_accuracy, loss, accuracy)
            course.history.append(epoch)
            say(epoch.line(recipe.epochs))
            chosen = recipe.keep == "last" or self.validation is None
            if chosen or calibrated < course.lowest:
                course.lowest, course.best = calibrated, course.epoch
                self.kept = self.average.copy()
            self._save()
        return Trained(
            self.kept,
            tuple(course.history),
            course.best,
            tuple(course.looks),
            tuple(course.step_losses),
        )

    def _hint_reader(self, hints: Tensor) -> nn.Linear:
        """What foretells hints (B, K) from what the head reads; it is not served."""
        head = self.model.head
        return nn.Linear(head.in_features, hints.shape[1]).to(head.weight.device)

    def _epoch(self, epoch: int, say: Say) -> tuple[float, float]:
        """One pass over the training split; its mean loss and accuracy."""
        if self.recipe.order == "length":
            self._seed(epoch)
        view = self.training.view(epoch)
        # Agreed on, for dropout brings the processes' generators apart, and some orders draw there.
        order = self.workers.agree(list(self.batches.of(epoch, [len(span) for span in view.ids])))
        sums = np.zeros(3)  # loss, right, messages
        what = f"epoch {epoch + 1} of {self.recipe.epochs}"
        leads = self.workers.leads
        bar = progress(what, "batch", order, total=self.batches.steps, disable=not leads)
        for batch in bar:
            loss, right = self._learn(epoch, view, batch)
            if not math.isfinite(loss):
                raise SettingsError(
                    f"the loss is {loss} in step {self.course.step}: lower learning_rate"
                )
            sums += (loss * len(batch), right, len(batch))
            self.course.step_losses.append(loss)
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            every = self.recipe.evaluate_every
            if every and (self.course.step - 1) % every == 0:
                self._look(say)
        if self.recipe.evaluate_every:
            self._look(say)
        return float(sums[0] / sums[2]), float(sums[1] / sums[2])

    def _seed(self, epoch: int) -> None:
        """Make dropout a function of seed, epoch and process, so that a run can be resumed."""
        known = f"{self.recipe.seed} {epoch} {self.workers.rank}"
        torch.manual_seed(int.from_bytes(hashlib.sha256(known.encode()).digest()[:8]) >> 1)

    def _learn(self, epoch: int, view: View, batch: Sequence[int]) -> tuple[float, float]:
        """One step of all processes; the batch's plain loss and how many messages were right."""
        self.model.train()
        weight = self._weights(view, batch).sum()
        sums = torch.zeros(2)
        self.optimizer.zero_grad()
        mine = self.workers.share(batch)
        if mine:
            loss, sums = self._loss(epoch, view, mine, (weight, len(batch)))
            loss.backward()  # type: ignore[no-untyped-call]
        self._exchange(sums)
        parameters = list(self.trainable.values())
        if self.recipe.gradient_clip:
            torch.nn.utils.clip_grad_norm_(parameters, self.recipe.gradient_clip)
        steps = self.batches.steps * self.recipe.epochs
        set_rate(self.optimizer, share_of_rate(self.course.step, steps, self.recipe))
        self.optimizer.step()
        self.course.step += 1
        self.average.follow(self.course.step)
        loss_sum, right = sums.tolist()
        return loss_sum / len(batch), right

    def _loss(
        self, epoch: int, view: View, mine: Sequence[int], whole: tuple[Tensor, int]
    ) -> tuple[Tensor, Tensor]:
        """This process's part of the loss; its plain loss's sum and right messages, (2,).

        whole: the weight and the size of all processes' batch.
        """
        hidden, packed = self.training.batch(self.model, epoch, mine)
        read = self._read(hidden, packed)  # (B, C)
        logits = self.model.head(read)  # (B, 2)
        target = view.targets[list(mine)][packed.order].to(logits.device)  # (B,)
        smoothing = self.recipe.label_smoothing
        each = cross_entropy(logits, target * (1 - smoothing) + smoothing / 2)  # (B,)
        weights = self._weights(view, mine)[packed.order].to(each)  # (B,)
        loss = (each * weights).sum() / whole[0]
        if self.hint is not None and view.hints is not None:
            wanted = view.hints[list(mine)][packed.order].to(read)  # (B, K)
            far = F.mse_loss(self.hint(read), wanted, reduction="none").mean(-1)  # (B,)
            loss = loss + self.recipe.hint_weight * far.sum() / whole[1]
        with torch.no_grad():
            right = ((logits[:, 1] >= logits[:, 0]) == (target >= 0.5)).sum()
            plain = cross_entropy(logits, target).sum()
        return loss, torch.stack((plain, right.to(plain))).cpu()

    def _weights(self, view: View, indices: Sequence[int]) -> Tensor:
        """Weights of some messages in the loss, (B,): their own by that of their class."""
        targets, own = view.targets[list(indices)], view.weights[list(indices)]
        ham, spam = self.weights.unbind()
        return own * (ham * (1 - targets) + spam * targets)

    def _exchange(self, sums: Tensor) -> None:
        """Add gradients and sums over all processes."""
        if self.workers.size == 1:
            return
        for parameter in self.trainable.values():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        grads = [p.grad for p in self.trainable.values() if p.grad is not None]
        self.workers.add(grads)
        self.workers.add([sums])

    def _read(self, hidden: Tensor, batch: Packed) -> Tensor:
        """What the head reads, (B, C), from what the first trainable block reads."""
        last = self.model.config.n_layer
        out: Tensor = self.model.final_norm(self.model.through(hidden, batch, self.first, last))
        return out

    def _validate(self) -> tuple[float, float, float]:
        """Loss, calibrated loss and accuracy on the validation split; NaN where there is none."""
        if self.validation is None:
            return math.nan, math.nan, math.nan
        self.model.eval()
        with self.average.in_place():
            log_odds = log_odds_of(self.model, self.first, self.validation)
        spam = self.validation.view(0).targets.numpy().astype(np.float64)
        temperature = calibration.fit_temperature(log_odds, spam)
        accuracy = float(np.mean((log_odds >= 0) == (spam >= 0.5)))
        plain = calibration.loss(log_odds, spam)
        return plain, calibration.loss(log_odds, spam, temperature), accuracy

    def _look(self, say: Say) -> None:
        """The article's evaluation: mean loss and accuracy of a few batches of both splits."""
        most, found = self.recipe.evaluate_batches, []
        self.model.eval()
        with self.average.in_place():
            for reader, shuffled in ((self.training, True), (self.validation, False)):
                if reader is None:
                    found += [math.nan, math.nan]
                    continue
                looks = self.batches.first(most, reader.view(0).ids, shuffled=shuffled)
                found += self._measured(reader, looks)
        step, size = self.course.step, self.recipe.batch_size
        look = Look(step, step * size, found[0], found[2], found[1], found[3])
        self.course.looks.append(look)
        say(
            f"step {step} · train loss {look.train_loss:.3f} accuracy {look.train_accuracy:.2%} · "
            f"validation loss {look.validation_loss:.3f} accuracy {look.validation_accuracy:.2%}"
        )

    @torch.no_grad()
    def _measured(self, reader: Reader, looks: Sequence[Sequence[int]]) -> list[float]:
        """Mean of the batches' mean losses, and accuracy."""
        losses, right = [], 0
        for batch in looks:
            hidden, packed = reader.batch(self.model, 0, batch)
            logits = self.model.head(self._read(hidden, packed))
            target = reader.view(0).targets[list(batch)][packed.order].to(logits.device)
            losses.append(cross_entropy(logits, target).mean().item())
            right += int(((logits[:, 1] >= logits[:, 0]) == (target >= 0.5)).sum())
        return [float(np.mean(losses)), right / sum(map(len, looks))]

    def _save(self) -> None:
        """Keep all that the rest of the run depends on."""
        if self.checkpoint is None or not self.workers.leads:
            return
        self.checkpoint.save(
            {
                "course": self.course.as_plain(),
                "weights": {name: weight.detach() for name, weight in self.trainable.items()},
                "average": self.average.weights,
                "kept": self.kept,
                "optimizer": self.optimizer.state_dict(),
                "random": self._random(),
            }
        )

    def _random(self) -> list[Tensor]:
        """The states of the generators that this run draws from: the CPU's, and its GPU's."""
        device = self.start.device
        there = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
        return [torch.get_rng_state(), *there]

    def _resume(self, say: Say) -> None:
        """Go on where an interrupted run of the same recipe and data ended."""
        found = self.checkpoint.load() if self.checkpoint and self.workers.leads else None
        state = self.workers.agree(found)
        if state is None:
            return
        self.course = Course.from_plain(state["course"])
        with torch.no_grad():
            for name, weight in self.trainable.items():
                weight.copy_(state["weights"][name])
                self.average.weights[name].copy_(state["average"][name])
        self.kept = state["kept"]
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"][0])
        if self.start.device.type == "cuda":
            torch.cuda.set_rng_state(state["random"][1], self.start.device)
        if self.course.epoch < self.recipe.epochs:
            say(f"going on after epoch {self.course.epoch}, where an earlier run was interrupted")
