"""Runs the pure functions of a program over all replicas: recording steps, training, scoring."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils.flop_counter import FlopCounterMode

from perdure.engine.costs import Clock, Costs
from perdure.engine.data import Data, Place, Sampler, Scored
from perdure.engine.optim import Optimizer
from perdure.engine.replicas import Mapper, build, convolves, stack, unshare
from perdure.engine.step import Program, Replica
from perdure.engine.trace import Traced
from perdure.errors import PerdureError
from perdure.net import Params, couples_samples
from perdure.random import Rng
from perdure.scenarios.stream import Stream
from perdure.scenarios.task import Part
from perdure.strategies.base import Composition, Phase, Strategy, TaskData, acting, apart, overrides, parts

# Multiply-adds of a step below which a second thread costs more than it brings (measured on two cores).
SMALL_WORK = 1.5e8
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
    stream, strategy, optimizer:
        What is run.
    model:
        Builder of the architecture (or a module).
    seeds:
        Seed of each replica.
    lr, decay:
        Learning rate and weight decay of each replica.
    schedule:
        Factor of the learning rate from the step and the number of steps of a phase.
    batch_size, epochs:
        As usual; a stream that is online has one epoch.
    device, dtype, precision:
        Where and in what numbers.
    pretrained:
        Keep the weights of ``model``, a module, as the start of all replicas.
    """

    stream: Stream
    strategy: Strategy
    optimizer: Optimizer
    model: Callable[..., nn.Module] | nn.Module
    seeds: Sequence[int]
    lr: Sequence[float]
    decay: Sequence[float]
    schedule: Callable[[int, int], float]
    batch_size: int = 32
    epochs: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    precision: torch.dtype | None = None
    pretrained: bool = False

    def __post_init__(self) -> None:
        self.replicas = len(self.seeds)
        self._all_threads = torch.get_num_threads()
        self.costs = Costs()
        self.step_count = 0
        self._records: dict[Any, Traced] = {}
        self._held: Any = {}  # the optimiser's memory during a phase that is a strategy's own business
        self._clock = Clock(self.device)
        scales = {part.scale for task in self.stream for part in (task.train, task.val, task.test)} - {None}
        self.place = Place(self.device, self.dtype, next(iter(scales)) if len(scales) == 1 else None)
        self.composition = Composition(parts(self.strategy))
        modules = self._modules()
        self.mapper = Mapper(self.replicas, self.device.type == "cpu" and convolves(modules[0]))
        masks = self.stream.masks()
        self.program = Program(
            modules[0],
            self.composition,
            self.optimizer,
            None if bool(masks.all()) else masks.to(self.device),
            self.stream.tasks[0].objective,
            decays=any(self.decay),
            precision=self.precision,
        )
        self.params, self.buffers = stack(modules, self.device, self.dtype)
        self.work = self._check_output(modules[0])
        # Mapping over one replica costs a large model its plain kernels; a small one runs faster mapped.
        alone = self.replicas == 1 and 3 * self.batch_size * self.work >= SMALL_WORK
        self.mapper.unroll = self.mapper.unroll or alone
        self.hyper = {
            "seed": torch.tensor(list(self.seeds), device=self.device),
            "lr": torch.tensor(list(self.lr), dtype=torch.float64, device=self.device),
            "decay": torch.tensor(list(self.decay), dtype=self.dtype, device=self.device),
        }
        exact = couples_samples(modules[0])
        self.sampler = Sampler(self.hyper["seed"], self.batch_size, self.dtype, exact)

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
        few = self.work * samples * self.replicas < SMALL_WORK
        return 1 if few and self.device.type == "cpu" else self._all_threads

    # ---- the start ------------------------------------------------------------------------------------

    def _modules(self) -> list[nn.Module]:
        shape, outputs = self.stream.input_shape, self.stream.outputs
        built: dict[int, nn.Module] = {}
        with torch.random.fork_rng(devices=[]):
            for seed in self.seeds:
                if seed in built:
                    continue
                torch.manual_seed(seed)
                if self.pretrained and isinstance(self.model, nn.Module):
                    module = self.model
                else:
                    module = build(self.model, shape, outputs)
                built[seed] = self.composition.extend(module, self.stream)
        return [built[seed] for seed in self.seeds]

    def _check_output(self, module: nn.Module) -> float:
        """Run one sample through the model: its outputs must fit the stream. Returns its multiply-adds."""
        program = replace(self.program, precision=None)
        one = {k: v[0] for k, v in self.params.items()}
        x = self.place.put(self.stream[0].train.take(torch.arange(1)).inputs())
        try:
            with torch.no_grad(), FlopCounterMode(display=False) as counter:
                net = replace(program.net({k: v[0] for k, v in self.buffers.items()}), masks=None)
                output = net(one, x, torch.zeros((), dtype=torch.int64, device=self.device))
        except (RuntimeError, TypeError, ValueError) as error:
            line = str(error).strip().splitlines()[0]
            raise PerdureError(
                f"the model does not take inputs of shape {tuple(x.shape[1:])}: {line}"
            ) from error
        if output.ndim != 2 or output.shape[1] != self.stream.outputs:
            raise PerdureError(
                f"the model must give {self.stream.outputs} outputs for each sample of {self.stream.name}; "
                f"found an output of shape {tuple(output.shape)} for one sample"
            )
        return float(counter.get_total_flops()) / 2

    def start(self) -> Replica:
        """Return the untrained replicas."""
        program = self.program

        def init(params: Params, buffers: Params, seed: Tensor) -> tuple[Any, Any, Any]:
            net = program.net(buffers)
            return (
                program.optimizer.init(params),
                program.objective.init(seed),
                program.strategy.init(net, params, self.stream),
            )

        with torch.no_grad():
            optim, carry, state = self.mapper(init, self.params, self.buffers, self.hyper["seed"])
        self._note_mapping()
        return unshare(  # type: ignore[no-any-return]
            {"params": self.params, "buffers": self.buffers, "optim": optim, "carry": carry, "state": state}
        )

    def _note_mapping(self) -> None:
        if self.program.mappable != self.mapper.mapped:
            self.program = replace(self.program, mappable=self.mapper.mapped)

    # ---- data -----------------------------------------------------------------------------------------

    def load(self, phase: Phase) -> Data:
        """Put the training samples of a phase on the device."""
        return self.place.train(self.stream, phase.tasks)

    def load_scored(self, some: Sequence[Part]) -> Scored:
        """Put the parts of all tasks on the device, to be scored."""
        return self.place.scored(some, self._eval_samples())

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
        total = self._whole(phase, lengths)
        return round(phase.portion[0] * total), round(phase.portion[1] * total), total

    def _whole(self, phase: Phase, lengths: Sequence[int]) -> int:
        if phase.steps is not None:
            return phase.steps
        epochs = 1 if self.stream.online else self.epochs
        epochs = epochs if phase.epochs is None else phase.epochs
        if phase.separate:
            return epochs * (max(lengths) // min(self.batch_size, *lengths))
        return epochs * -(-sum(lengths) // self.batch_size)

    # ---- training -------------------------------------------------------------------------------------

    def train(self, replica: Replica, phase: Phase, data: Data) -> Iterator[Replica]:
        """Run the steps of a phase, yielding the replicas after each."""
        first, last, total = self._span(phase, [b - a for a, b in data.spans])
        own = apart(self.strategy, phase.name)
        current = torch.tensor(phase.tasks[-1], device=self.device)
        arrays = data.arrays
        factor = torch.ones((), dtype=torch.float64, device=self.device)
        done, epoch, previous = 0, 0, 1.0
        # Draws go by the step in the stream: steps of a strategy's own phases are counted apart.
        start = self._draws_at(own) - first
        # Laid out at once: a tensor made from a number at every step would wait for a GPU each time.
        steps = torch.arange(start, start + total, device=self.device)
        while done < last:
            for index, weight, count in self.sampler.batches(phase, data, start + epoch):
                if done == last:
                    break
                if done < first:
                    done += 1
                    continue
                value = self.schedule(done, total)
                if value != previous:
                    factor = torch.tensor(value, dtype=torch.float64, device=self.device)
                previous = value
                at = {"step": steps[done], "factor": factor, "current": current}
                replica = self._step(replica, phase, arrays, index, weight, at, start + done)
                done += 1
                self.step_count += 1
                self.costs.steps += 1
                self.costs.steps_apart += own
                # A strategy's own phase fills the batch itself, padding and all.
                self.costs.samples_seen += index.shape[1] if own else count
                yield replica
            epoch += 1

    def _draws_at(self, own: bool) -> int:
        return APART + self.costs.steps_apart if own else self.step_count - self.costs.steps_apart

    def _step(
        self, replica: Replica, phase: Phase, arrays: dict[str, Tensor], index: Tensor, weight: Tensor,
        at: dict[str, Tensor], step: int,
    ) -> Replica:  # fmt: skip
        key = ("step", phase.name, tuple(index.shape), len(phase.tasks) if phase.separate else 0)

        def mapped(*args: Any) -> Any:
            return self._mapped(phase, *args)

        # A record holds for the strides that it was made with, and tails are laid out otherwise.
        arguments = (replica, self.hyper, arrays, index.contiguous(), weight, at)
        return self._run(key, mapped, arguments, step)  # type: ignore[no-any-return]

    def _gather(self, arrays: dict[str, Tensor], index: Tensor, weight: Tensor) -> dict[str, Tensor]:
        rows = index.reshape(-1)
        samples = {k: v.index_select(0, rows).view(*index.shape, *v.shape[1:]) for k, v in arrays.items()}
        samples["x"] = self.place.numbers(samples["x"])
        return {**samples, "weight": weight.expand(index.shape)}

    def _mapped(
        self, phase: Phase, replica: Replica, hyper: dict[str, Tensor], arrays: dict[str, Tensor],
        index: Tensor, weight: Tensor, at: dict[str, Tensor],
    ) -> Replica:  # fmt: skip
        samples = self._gather(arrays, index, weight)
        if phase.separate:
            entries = len(phase.tasks)
            slots = torch.arange(entries, device=index.device).repeat_interleave(index.shape[1] // entries)
            samples["slot"] = slots.expand(index.shape)

        def step(replica: Any, hyper: Any, samples: Any, at: Any) -> Any:
            return self.program.step(replica, hyper, samples, at, phase)

        return self.mapper(step, replica, hyper, samples, at, shared=(3,))  # type: ignore[no-any-return]

    def _measure(self, replica: Replica, phase: Phase, data: Data) -> Any:
        """Add up what the strategy measures over the phase's data, in chunks of the batch size."""
        wanted = self.composition.measured_samples
        n = len(data) if wanted is None else min(wanted, len(data))
        order = self.sampler.order(len(data), self.step_count, "measure")[:, :n]
        total: Any = None
        view = {k: replica[k] for k in ("params", "buffers", "state")}
        current = torch.tensor(phase.tasks[-1], device=self.device)
        for i, (index, weight, _) in enumerate(self.sampler.cut(order)):
            # Steps of their own, far from those of training and of other phases.
            step = (self.step_count << 24) + i
            at = {"step": torch.tensor(step, device=self.device), "current": current}
            total = self._add_measure(total, view, data.arrays, index, weight, at, phase, step)
        return total

    def _add_measure(
        self,
        total: Any,
        view: Any,
        arrays: Any,
        index: Tensor,
        weight: Tensor,
        at: Any,
        phase: Phase,
        step: int,
    ) -> Any:
        def mapped(total: Any, view: Any, hyper: Any, arrays: Any, index: Any, weight: Any, at: Any) -> Any:
            samples = self._gather(arrays, index, weight)

            def measure(total: Any, view: Any, hyper: Any, samples: Any, at: Any) -> Any:
                new = self.program.measure(view, hyper, samples, at, phase)
                return new if total is None else pytree.tree_map(torch.add, total, new)

            return self.mapper(measure, total, view, hyper, samples, at, shared=(4,) if total else (0, 4))

        arguments = (total, view, self.hyper, arrays, index.contiguous(), weight, at)
        if total is None:
            with torch.no_grad():
                return unshare(mapped(*arguments))
        key = ("measure", phase.name, tuple(index.shape))
        return self._run(key, mapped, arguments, step)

    def _run(self, key: Any, mapped: Callable[..., Any], arguments: tuple[Any, ...], step: int = 0) -> Any:
        """Run a mapped function, recording it the first time; one that refuses runs unrecorded."""
        if self.mapper.mapped and key not in self._records:
            try:
                with self.during("warmup"):
                    self._records[key] = Traced(mapped, arguments, donate=1)
            except PerdureError:
                raise
            except Exception as error:
                self.mapper.mapped = False
                self._note_mapping()
                with torch.no_grad():
                    result = mapped(*arguments)  # A failure that is not about mapping is reported as it is.
                self.mapper.refuse(error)
                return result
        with torch.no_grad():
            if not self.mapper.mapped:
                return mapped(*arguments)
            if key[0] != "score":
                self.costs.flops += self._records[key].flops / self.replicas
            return self._records[key](*arguments, step=step)

    def _moment(self, phase: Phase, data: Data, moment: str) -> Callable[[Tensor, Any], TaskData]:
        index = phase.tasks[-1]
        classes = torch.zeros(self.stream.outputs, dtype=torch.bool, device=self.device)
        for t in phase.tasks:
            classes[list(self.stream[t].classes)] = True
        step = torch.tensor(self._draws_at(apart(self.strategy, phase.name)), device=self.device)

        x = self.place.numbers(data.x)

        def of(seed: Tensor, measured: Any) -> TaskData:
            rng = Rng(seed, step, f"{moment}/{phase.name}/{index}/")
            return TaskData(index, x, data.y, data.task, classes, rng, phase, measured)

        return of

    def boundary(self, replica: Replica, phase: Phase, data: Data, hook: str) -> Replica:
        """Run ``begin_task`` or ``end_task`` on all replicas."""
        begins, own = hook == "begin_task", apart(self.strategy, phase.name)
        if phase.portion[0] > 0 if begins else phase.portion[1] < 1:
            return replica
        if own and begins:
            self._held = pytree.tree_map(torch.clone, replica["optim"])
        elif own:
            replica = {**replica, "optim": self._held}
        if begins and (phase.reset or own):
            with torch.no_grad():
                fresh = self.mapper(self.program.optimizer.init, replica["params"])
            replica = {**replica, "optim": unshare(fresh)}
        active = acting(self.strategy, phase.name)
        if not any(overrides(p, hook) for p in active):
            return replica
        moment = self._moment(phase, data, hook)
        buffers = set(replica["buffers"])

        def call(params: Params, own: Params, state: Any, seed: Tensor, measured: Any) -> Any:
            net = self.program.net(own)
            params, state = getattr(self.composition, hook)(net, params, state, moment(seed, measured))
            changed = {k: v for k, v in params.items() if k in buffers}
            return {k: v for k, v in params.items() if k not in buffers}, {**own, **changed}, state

        measured: Any = {}
        if not begins and any(overrides(p, "measure") for p in active):
            measured = self._measure(replica, phase, data)
        with torch.no_grad():
            params, own, state = self.mapper(
                call, replica["params"], replica["buffers"], replica["state"], self.hyper["seed"], measured
            )
        self._note_mapping()
        return unshare({**replica, "params": params, "buffers": own, "state": state})  # type: ignore[no-any-return]

    # ---- scoring --------------------------------------------------------------------------------------

    def evaluate(self, replica: Replica, scored: Scored | None = None) -> Tensor:
        """Score all tasks, ``[replicas, tasks]``, without waiting for the device."""
        scored = self.test if scored is None else scored
        tasks = len(scored.counts)
        view = {k: replica[k] for k in ("params", "buffers", "state")}

        def mapped(total: Tensor, view: Any, x: Tensor, y: Tensor, task: Tensor, owner: Tensor) -> Tensor:
            score = self.mapper(self.program.score, view, self.place.numbers(x), y, task, shared=(1, 2, 3))
            return total.index_add(1, owner, score.to(total.dtype))

        total = torch.zeros(self.replicas, tasks + 1, dtype=self.dtype, device=self.device)
        for chunk in scored.chunks:
            total = self._run(("score", chunk[0].shape), mapped, (total, view, *chunk))
        return total[:, :tasks] / scored.counts

    # ---- costs ----------------------------------------------------------------------------------------

    def note_pass(self, phase: Phase, data: Data) -> None:
        """Count what one forward and backward pass over a phase's data takes: three products per weight."""
        if not apart(self.strategy, phase.name):
            share = phase.portion[1] - phase.portion[0]
            self.costs.pass_flops += 6 * self.work * len(data) * share

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

    def diverged(self, replica: Replica) -> int:
        """Return how many replicas have weights that are not finite."""
        finite = [v.flatten(1).isfinite().all(1) for v in replica["params"].values()]
        return int((~torch.stack(finite).all(0)).sum())

    def sizes(self, replica: Replica) -> tuple[int, int]:
        """Return the trained numbers of one replica, and the bytes of its strategy's state."""
        numbers = sum(v[0].numel() for v in replica["params"].values())
        state = sum(v.nbytes for v in pytree.tree_leaves(replica["state"]) if isinstance(v, Tensor))
        return numbers, state // self.replicas
