"""Runs the pure functions of a program over all replicas: recording steps, training, scoring."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from perdure.core.batch import Params, weigh
from perdure.core.errors import PerdureError
from perdure.core.foreign_draws import no_foreign_draws, seeded
from perdure.core.freed_memory import keep_freed
from perdure.core.net import couples_samples
from perdure.core.random import Rng
from perdure.engine.boundary import boundary
from perdure.engine.costs import Clock, Costs
from perdure.engine.data import Data, Place, Sampler
from perdure.engine.fetching import FetchedData, scored
from perdure.engine.film import Camera
from perdure.engine.fitting import check_batches, check_output, least_batch
from perdure.engine.layout import Layouts
from perdure.engine.records import Records
from perdure.engine.replicas import Mapper, Replica, build, convolves, stack, unshare
from perdure.engine.scored import Scored
from perdure.engine.scoring import NOBODY, examine, training_loss
from perdure.engine.step import Program
from perdure.engine.worlds import Worlds
from perdure.scenarios.contract.fetched import Fetched
from perdure.scenarios.contract.part import Part
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.contract.world import World
from perdure.strategies.contract.accepts import Fits
from perdure.strategies.contract.composition import NUMBERS, Composition, apart, parts
from perdure.strategies.contract.phase import Phase
from perdure.strategies.contract.strategy import Strategy
from perdure.training import Training

# Multiply-adds of a step, and of a chunk of scoring, below which a second thread costs more than it brings
# (measured on two cores): a step is many small kernels, a chunk a few large ones.
SMALL_WORK = {"train": 1.5e8, "eval": 2e7}
# Samples (over all replicas) that are scored in one go, and the multiply-adds that this may take.
EVAL_SAMPLES, EVAL_WORK = 10_240, 1.5e9
# What each replica scores at least: a matcher encodes the names of all classes beside it.
LEAST_SCORED = 128

# Where the steps of phases that are a strategy's own business are counted from, for their draws.
APART = 1 << 40


@dataclass
class Engine:
    """One strategy on one stream, all replicas at once.

    Parameters
    ----------
    stream, strategy:
        What is run.
    training:
        How.
    model:
        Builder of the architecture (or a module).
    seeds:
        Seed of each replica.
    points:
        Of each replica the numbers that are its own: ``lr``, ``weight_decay``, and numbers of strategies that
        only scale (``"ewc.strength"``). Without any all are alike.
    pretrained:
        Keep the weights of ``model``, a module, as the start of all replicas.
    """

    stream: Stream
    strategy: Strategy
    training: Training
    model: Callable[..., nn.Module] | nn.Module
    seeds: Sequence[int]
    points: Sequence[Mapping[str, float]] = ()
    pretrained: bool = False

    def __post_init__(self) -> None:
        self.replicas = len(self.seeds)
        self.training = self.training.on(self.stream)
        self.batch_size = self.training.batch_size
        self.device, self.dtype = self.training.place, self.training.numbers
        self._all_threads = torch.get_num_threads()
        keep_freed()
        self.costs = Costs()
        self.step_count = 0
        self.held: Any = {}  # the optimiser's memory during a phase that is a strategy's own business
        self._clock = Clock(self.device)
        scales = {part.scale for part in self.stream.tables} - {None}
        self.place = Place(self.device, self.dtype, next(iter(scales)) if len(scales) == 1 else None)
        self.composition = Composition(parts(self.strategy))
        modules = self._modules()
        self.mapper = Mapper(self.replicas, self.device.type == "cpu" and convolves(modules[0]))
        self.records = Records(modules[0], self.mapper, self.device, self._clock, self.costs)
        masks = self.stream.masks()
        lr, decay = self._own("lr", self.training.lr), self._own("weight_decay", self.training.weight_decay)
        self.program = Program(
            modules[0],
            self.composition,
            self.training.rule,
            None if bool(masks.all()) else masks.to(self.device),
            self.stream.objective,
            Fits.of(self.stream),
            decays=any(decay),
            clip=self.training.clip,
            precision=self.training.autocast,
        )
        untrained = stack(modules, self.device, self.dtype)
        self._untrained: tuple[Params, Params] | None = untrained
        self.work = check_output(self, modules[0], *untrained)
        # Mapping over one replica costs a large model its plain kernels; a small one runs faster mapped.
        alone = self.replicas == 1 and 3 * self.batch_size * self.work >= SMALL_WORK["train"]
        self.mapper.unroll = self.mapper.unroll or alone
        self.hyper = {
            "seed": torch.tensor(list(self.seeds), device=self.device),
            "lr": torch.tensor(lr, dtype=torch.float64, device=self.device),
            "decay": torch.tensor(decay, dtype=self.dtype, device=self.device),
        }
        keys = {key for point in self.points for key in point if "." in key}
        # Of the type of the weights, as a number that a hook multiplies them with would be taken.
        self.numbers = {
            key: torch.tensor([point[key] for point in self.points], dtype=self.dtype, device=self.device)
            for key in sorted(keys)
        }
        exact = couples_samples(modules[0])
        least = least_batch(self, modules[0], untrained)
        self.sampler = Sampler(self.hyper["seed"], self.batch_size, self.dtype, exact, least)

    def _own(self, key: str, value: float) -> list[float]:
        """Return a number for each replica: its own one, or the value of all."""
        return [point.get(key, value) for point in self.points or [{}] * self.replicas]

    # ---- time and threads -----------------------------------------------------------------------------

    @contextmanager
    def during(self, purpose: str) -> Iterator[None]:
        """Count the time spent inside for ``purpose``, with as many threads as it is worth."""
        threads = torch.get_num_threads()
        if purpose in ("train", "eval"):
            torch.set_num_threads(self.threads(purpose))
        try:
            with self._clock.during(self.costs, purpose):
                yield
        finally:
            torch.set_num_threads(threads)

    def threads(self, purpose: str) -> int:
        """Return how many threads a training step, or a chunk of scoring, is worth on the CPU."""
        samples = 3 * self.batch_size if purpose == "train" else self._eval_samples()
        few = self.work * samples * self.replicas < SMALL_WORK[purpose]
        return 1 if few and self.device.type == "cpu" else self._all_threads

    # ---- the start ------------------------------------------------------------------------------------

    def _modules(self) -> list[nn.Module]:
        shape, outputs = self.stream.input_shape, self.stream.outputs
        built: dict[int, nn.Module] = {}
        last: nn.Module | None = None
        with seeded() as seed_all:
            for seed in self.seeds:
                if seed in built:
                    continue
                seed_all(seed)
                if self.pretrained and isinstance(self.model, nn.Module):
                    module = self.model
                else:
                    module = build(self.model, shape, outputs)
                    if module is last:
                        raise PerdureError(
                            "the function given as the model must build a new module at each call; "
                            f"it returned the same {type(module).__name__} twice"
                        )
                    last = module
                built[seed] = self.composition.extend(module, self.stream)
        return [built[seed] for seed in self.seeds]

    def start(self) -> Replica:
        """Return the untrained replicas; asked again, the same ones afresh."""
        program = self.program
        # Training writes on what it is given: the first start gives it what was laid out, others draw anew.
        params, buffers = self._untrained or stack(self._modules(), self.device, self.dtype)
        self._untrained = None

        def init(params: Params, buffers: Params, seed: Tensor, numbers: Params) -> tuple[Any, Any]:
            net = program.net(buffers, Rng(seed, torch.zeros_like(seed), "init/"))
            strategy = program.strategy.owning(numbers)
            return program.optimizer.init(params), strategy.init(net, params, self.stream)

        with torch.no_grad(), no_foreign_draws(self.program.module):
            optim, state = self.mapper(init, params, buffers, self.hyper["seed"], self.numbers, kind="init")
        state = {**state, NUMBERS: self.numbers} if self.numbers else state
        replica = Replica(params, buffers, state, optim)
        check_batches(self, replica)
        return unshare(replica)  # type: ignore[no-any-return]

    def go_on(self, steps: int, costs: Costs, mapped: bool, held: Any) -> None:
        """Take up a run that was stopped after so many steps; ``held`` is what :attr:`held` was."""
        self.step_count, self.held = steps, held
        self.costs = self.records.costs = costs
        self.mapper.refused_before = not mapped

    # ---- data -----------------------------------------------------------------------------------------

    @cached_property
    def layouts(self) -> Layouts:
        """How phases of several tasks are laid out."""
        return Layouts(self)

    def load(self, phase: Phase) -> Data | Worlds:
        """Put the training samples of a phase on the device, or its worlds where the policy makes them."""
        parts = [getattr(self.stream[t], phase.part) for t in phase.tasks]
        if any(isinstance(part, World) for part in parts):
            return Worlds.of(self, phase, parts)
        if any(isinstance(part, Fetched) for part in parts):
            return FetchedData.of(self.place, self.stream, phase.tasks, parts, self.hyper["seed"])
        shared = self.layouts.rows(phase)
        if shared is not None:
            return self.place.shared(self.stream, shared, phase.tasks[-1])
        return self.place.train(self.stream, phase.tasks, phase.part)

    def load_scored(self, some: Sequence[Part | World]) -> Scored:
        """Put the parts of all tasks on the device, to be scored."""
        return scored(self.place, self.stream, some, self._eval_samples())

    @cached_property
    def test(self) -> Scored:
        """The test parts of all tasks."""
        return self.load_scored([t.test for t in self.stream])

    def _eval_samples(self) -> int:
        """Return how many samples each replica scores in one go."""
        most = min(EVAL_SAMPLES, EVAL_WORK / max(self.work, 1.0)) / self.replicas
        return max(LEAST_SCORED, int(most))

    def steps_in(self, phase: Phase, lengths: Sequence[int]) -> int:
        """Return the number of steps of a phase over tasks with so many training samples."""
        first, last, _ = self._span(phase, lengths)
        return last - first

    def _span(self, phase: Phase, lengths: Sequence[int]) -> tuple[int, int, int]:
        """Return the first step of a phase's portion, the one after its last, and the steps in all."""
        total = self.whole(phase, lengths)
        return round(phase.portion[0] * total), round(phase.portion[1] * total), total

    def whole(self, phase: Phase, lengths: Sequence[int]) -> int:
        """Return the number of steps of a phase with all its portions."""
        if phase.steps is not None:
            return phase.steps
        epochs = self.training.epochs if phase.epochs is None else phase.epochs
        assert epochs is not None  # the training is one on a stream
        first = getattr(self.stream[phase.tasks[0]], phase.part)
        epochs *= first.passes if isinstance(first, World) else 1
        return epochs * self._in_epoch(phase, lengths)

    def _in_epoch(self, phase: Phase, lengths: Sequence[int]) -> int:
        """Return the number of steps of an epoch."""
        if phase.batch_per_task:
            return max(lengths) // min(self.batch_size, *lengths)
        return self.sampler.steps(sum(lengths))

    # ---- training -------------------------------------------------------------------------------------

    def train(self, replica: Replica, phase: Phase, data: Data | Worlds) -> Iterator[Replica]:
        """Run the steps of a phase, yielding the replicas after each."""
        lengths = [b - a for a, b in data.spans]
        first, last, total = self._span(phase, lengths)
        each = self._in_epoch(phase, lengths)
        own = apart(self.strategy, phase.name)
        current = torch.tensor(phase.tasks[-1], device=self.device)
        worlds = data if isinstance(data, Worlds) else None
        # Draws go by the step in the stream: steps of a strategy's own phases are counted apart.
        start = self.draws_at(own) - first
        # Laid out at once: a tensor made from a number at every step would wait for a GPU each time.
        steps = torch.arange(start, start + total, device=self.device)
        schedule = self.training.factor
        values = [schedule(i, total) for i in range(total)]
        factors = torch.tensor(values, dtype=torch.float64, device=self.device)
        same = factors[:1].squeeze() if len(set(values)) == 1 else None
        for epoch in range(first // each, -(-last // each)):
            # A portion that begins in the middle of a rollout lives through one of its own.
            if worlds is not None and (epoch % worlds.passes == 0 or data is worlds):
                data = worlds.play(replica, self.step_count)
            assert isinstance(data, Data)
            begins = max(first, epoch * each)
            batches = self.sampler.batches(phase, data, start + epoch)
            batches = islice(batches, begins - epoch * each, last - epoch * each)
            for done, fed in enumerate(data.feed(batches, start + begins), begins):
                arrays, index, weight, count = fed
                factor = factors[done] if same is None else same
                at = {"step": steps[done], "factor": factor, "current": current}
                replica = self._step(replica, phase, arrays, index, weight, at, start + done)
                self.step_count += 1
                self.costs.steps += 1
                self.costs.steps_apart += own
                self.costs.samples_seen += self.layouts.of(phase).learned(phase.name, index.shape[1], count)
                yield replica
        self.records.forget()

    def draws_at(self, own: bool) -> int:
        return APART + self.costs.steps_apart if own else self.step_count - self.costs.steps_apart

    def _step(
        self, replica: Replica, phase: Phase, arrays: dict[str, Tensor], index: Tensor, weight: Tensor,
        at: dict[str, Tensor], step: int,
    ) -> Replica:  # fmt: skip
        entries = len(phase.tasks) if self.layouts.separate(phase) else 0
        # Rows that tasks share are read by what these ask for: a record of other tasks would not do.
        shared = phase.tasks if self.layouts.rows(phase) is not None else ()
        # Bytes become numbers inside the record: one task may have bytes, and the next numbers.
        key = ("step", phase.name, tuple(index.shape), entries, shared, arrays["x"].dtype)

        def mapped(*args: Any) -> Any:
            return self._mapped(phase, *args)

        # A record holds for the strides that it was made with, and tails are laid out otherwise.
        arguments = (replica, self.hyper, arrays, index.contiguous(), weight, at)
        return self.records.run(key, mapped, arguments, step)  # type: ignore[no-any-return]

    def gather(self, arrays: dict[str, Tensor], index: Tensor, weight: Tensor) -> dict[str, Tensor]:
        rows = index.reshape(-1)
        samples = {k: v.index_select(0, rows).view(*index.shape, *v.shape[1:]) for k, v in arrays.items()}
        samples["x"] = self.place.numbers(samples["x"])
        if "weight" not in samples:
            return {**samples, "weight": weight.expand(index.shape)}
        return weigh(samples, weight.expand(index.shape))

    def _mapped(
        self, phase: Phase, replica: Replica, hyper: dict[str, Tensor], arrays: dict[str, Tensor],
        index: Tensor, weight: Tensor, at: dict[str, Tensor],
    ) -> Replica:  # fmt: skip
        samples = self.gather(arrays, index, weight)
        if self.layouts.separate(phase):
            entries = len(phase.tasks)
            slots = torch.arange(entries, device=index.device).repeat_interleave(index.shape[1] // entries)
            samples["slot"] = slots.expand(index.shape)

        def step(replica: Any, hyper: Any, samples: Any, at: Any) -> Any:
            return self.layouts.of(phase).step(replica, hyper, samples, at, phase)

        return self.mapper(step, replica, hyper, samples, at, shared=(3,), kind=("step", phase.name))  # type: ignore[no-any-return]

    def boundary(self, replica: Replica, phase: Phase, data: Data | Worlds, hook: str) -> Replica:
        """Run ``begin_task`` or ``end_task`` on all replicas."""
        return boundary(self, replica, phase, data, hook)

    # ---- scoring --------------------------------------------------------------------------------------

    def evaluate(self, replica: Replica, scored: Scored | None = None) -> Tensor:
        """Score all tasks, ``[replicas, tasks]``, without waiting for the device."""
        return self.examine(replica, scored)[0]

    def examine(
        self, replica: Replica, scored: Scored | None = None, cameras: Mapping[int, Camera] = NOBODY
    ) -> tuple[Tensor, Tensor | None]:
        """Score all tasks, ``[replicas, tasks]``, and count their answers, ``[replicas, label, answer]``.

        The worlds of some tasks have cameras, which change nothing.
        """
        return examine(self, replica, self.test if scored is None else scored, cameras)

    def training_loss(self, replica: Replica, tasks: Sequence[int]) -> Tensor:
        """Mean loss of some training samples of tasks, the model in evaluation mode, ``[replicas]``."""
        return training_loss(self, replica, tasks)

    # ---- costs ----------------------------------------------------------------------------------------

    def one_pass(self, phases: Sequence[Phase]) -> list[float]:
        """Return what a forward and a backward pass over each stage's own data take: 6 flops per weight used.

        Its own is the data of the task that a stage adds, however many it learns from again; a strategy with
        one stage adds all that it learns from.
        """
        stages = [p for p in phases if p.stage]
        every = {t for p in phases for t in p.tasks}
        added = [every] if len(stages) == 1 else [{p.tasks[-1]} for p in stages]
        return [
            6 * self.work * self.layouts.samples(sorted(tasks), phase)
            for tasks, phase in zip(added, stages, strict=True)
        ]

    def report_costs(self, replica: Replica) -> dict[str, float]:
        """Return the costs as results keep them."""
        self._clock.switch(self.costs, "other")
        seconds = self.costs.seconds
        parameters, state = self.sizes(replica)
        return {
            "seconds_train": seconds.get("train", 0.0),
            "seconds_eval": seconds.get("eval", 0.0),
            "seconds_warmup": seconds.get("warmup", 0.0),
            "parameters": parameters,
            "state_bytes": state,
            "samples_seen": self.costs.samples_seen,
            "steps": self.costs.steps,
            "flops": self.costs.flops,
        }

    def diverged(self, replica: Replica) -> Tensor:
        """Tell of each replica whether it has weights that are not finite, ``[replicas]``."""
        finite = [v.flatten(1).isfinite().all(1) for v in replica.params.values()]
        return ~torch.stack(finite).all(0)

    def sizes(self, replica: Replica) -> tuple[int, int]:
        """Return the trained numbers of one replica, and the bytes of its strategy's state."""
        numbers = sum(v[0].numel() for v in replica.params.values())
        held = {k: v for k, v in replica.state.items() if k != NUMBERS}
        state = sum(v.nbytes for v in pytree.tree_leaves(held) if isinstance(v, Tensor))
        return numbers, state // self.replicas
