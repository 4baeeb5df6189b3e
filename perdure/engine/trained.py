"""What is left of a strategy's run: the trained replicas, to be asked, scored and taken apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from perdure.analysis.messages import Messages
from perdure.core.batch import Params, Rows
from perdure.core.checks import check_whole
from perdure.core.errors import PerdureError, unknown
from perdure.core.net import Net, takes_task
from perdure.engine.played import Episode, play
from perdure.engine.replicas import Mapper, Replica
from perdure.engine.step import Program
from perdure.engine.talked import costs_of_talk, talk
from perdure.scenarios.contract.several import totals
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.contract.world import World
from perdure.strategies.contract.accepts import Fits, check_index
from perdure.strategies.contract.composition import NUMBERS, overrides


@dataclass(frozen=True, eq=False)
class Trained:
    """The replicas of one strategy after its last phase: ``compare(..., keep=True).trained[name]``.

    Parameters
    ----------
    program:
        The architecture, the strategy and the objective, which all replicas share.
    replica:
        Tensors of all replicas with a leading axis, in the order of ``results.seeds``: ``params``,
        ``buffers`` and the strategy's ``state``, each a dictionary.
    seeds:
        Seed of each replica.
    worlds:
        Of each task its name and the world that was scored, ``None`` for samples: :meth:`play` plays there.
    """

    program: Program
    replica: Replica
    seeds: Sequence[int] = ()
    worlds: tuple[tuple[str, World | None], ...] = ()

    def __repr__(self) -> str:
        return "\n".join([f"Trained {self.program.strategy}", *(f"  {k}: {v}" for k, v in self._facts())])

    def _repr_html_(self) -> str:
        facts = "<br>".join(escape(f"{k}: {v}") for k, v in self._facts())
        return f"<p><b>{escape(f'Trained {self.program.strategy}')}</b><br>{facts}</p>"

    def _facts(self) -> list[tuple[str, str]]:
        size = sum(v[0].numel() for v in self.replica.params.values())
        kept = [name for name in self.replica.state if name != NUMBERS and self.replica.state[name]]
        return [
            ("replicas", str(self.replicas)),
            ("model", f"{type(self.module).__name__}, {size:,} parameters"),
            ("input shape", f"{list(self.fits.shape)}, outputs: {self.fits.outputs}"),
            ("state", ", ".join(kept) or "none"),
        ]

    @property
    def replicas(self) -> int:
        """How many replicas there are."""
        return len(next(iter(self.replica.params.values())))

    @property
    def module(self) -> nn.Module:
        """The architecture."""
        return self.program.module

    @property
    def fits(self) -> Fits:
        """What the model takes."""
        return self.program.fits

    def chosen(self, kept: slice) -> Trained:
        """Return some of the replicas."""
        chosen = pytree.tree_map(lambda v: v[kept], self.replica)
        return replace(self, replica=chosen, seeds=self.seeds[kept])

    def params(self, k: int = 0) -> Params:
        """Trained tensors of replica ``k``."""
        return dict(self._one("params", k))

    def buffers(self, k: int = 0) -> Params:
        """Tensors of replica ``k`` that are not trained: running statistics, frozen weights."""
        return dict(self._one("buffers", k))

    def state(self, kind: str, k: int = 0) -> dict[str, Any]:
        """State of replica ``k`` of a part of the strategy, by its kind (``"replay"``)."""
        states = [name for name in self.replica.state if name != NUMBERS]
        if not isinstance(kind, str) or kind not in states:
            raise PerdureError(f"expected one of {', '.join(states)}; found {kind!r}")
        return dict(self._one("state", k)[kind])

    def report(self) -> dict[str, dict[str, Tensor]]:
        """Return what each part of the strategy tells of its state, by kind; a leading axis of replicas."""
        view, strategy = self.replica.view(), self.program.strategy

        def one(k: int) -> dict[str, dict[str, Tensor]]:
            state = pytree.tree_map(lambda v: v[k], view.state)
            return {name: part.report(own) for name, part, own in strategy.each(state)}

        if not overrides(strategy, "report"):
            return {}
        with torch.no_grad():
            found = [one(k) for k in range(self.replicas)]
        return {n: {k: torch.stack([f[n][k] for f in found]) for k in own} for n, own in found[0].items()}

    def net(self, k: int = 0) -> Net:
        """Return the model of replica ``k`` as a function of its parameters, in evaluation mode."""
        return self.program.net(self.buffers(k))

    def _one(self, what: str, k: int) -> Any:
        k = check_index("a replica", k, self.replicas)
        return pytree.tree_map(lambda v: v[k], getattr(self.replica, what))

    def predict(
        self, x: Tensor | npt.NDArray[Any], task: int | Tensor | npt.NDArray[Any] = 0, batch: int = 512
    ) -> Tensor:
        """Return the outputs of all replicas, ``[replicas, n, outputs]``.

        Parameters
        ----------
        x:
            Inputs ``[n, ...]``, like those that were learned: a tensor or an array.
        task:
            Index of the task that all inputs, or each of them ``[n]``, belong to. In the task-incremental
            setting the outputs of other tasks are closed.
        batch:
            How many inputs go through the model at a time.
        """
        first = next(iter(self.replica.params.values()))
        x = self.program.fits.inputs(x).to(first.device)
        x = x.to(first.dtype) if x.is_floating_point() else x
        tasks = self.program.fits.tasks_of(task, len(x)).to(first.device)

        def outputs(view: Replica, rows: Rows) -> Tensor:
            return self.program.outputs(view, rows["x"], rows["task"])

        return torch.cat(self._batched(outputs, batch, {"x": x, "task": tasks}), 1)

    def evaluate(self, stream: Stream, part: str = "test", batch: int = 512) -> npt.NDArray[np.float64]:
        """Score every task of a stream with the same inputs and outputs, ``[replicas, tasks]``.

        The stream's setting decides which outputs compete, so a run in the task-incremental setting can be
        scored over all classes too.

        Parameters
        ----------
        stream:
            What to score on.
        part:
            ``"test"``, ``"val"`` or ``"train"``.
        batch:
            How many inputs go through the model at a time.
        """
        needs_tasks = takes_task(self.program.module) or overrides(self.program.strategy, "forward")
        self.program.fits.check(stream, part, at_most=needs_tasks)
        first = next(iter(self.replica.params.values()))
        masks = stream.masks()
        open_masks = None if bool(masks.all()) else masks.to(first.device)
        program = replace(self.program, masks=open_masks, objective=stream.objective)

        def score(view: Replica, rows: Rows) -> Tensor:
            return program.score(view, rows, None)[0]

        check_whole("batch", batch)
        sums, counts = [], []
        for index, one in enumerate(stream):
            data = getattr(one, part)
            pieces, labels = [], stream.labels(data)
            for i, x in enumerate(data.read(batch)):
                rows = {k: v[i * batch : (i + 1) * batch] for k, v in labels.items()}
                rows = {k: v.to(first.device) for k, v in {"x": x, **rows}.items()}
                rows["x"] = rows["x"].to(first.dtype) if x.is_floating_point() else rows["x"]
                rows["task"] = torch.full((len(x),), index, device=first.device)
                pieces += self._batched(score, batch, rows)
            found = torch.cat(pieces, 1).double()
            sums.append((found.unsqueeze(-1) if found.ndim == 2 else found).sum(1))
            counts.append(len(data))
        count = torch.tensor(counts, device=first.device)
        return totals(stream.objective, torch.stack(sums, 1), count).cpu().numpy()

    def play(self, task: int | str = 0, replica: int = 0, episodes: int = 1) -> list[Episode]:
        """Let the policy of a replica play in the environment of a task: the first episodes that were scored.

        They start as they did when the task was scored, and take the likeliest action each time, so their
        rewards add up to what was scored.

        Parameters
        ----------
        task:
            Index or name of a task of the stream that was learned.
        replica:
            Whose policy.
        episodes:
            How many, up to those that were scored.

        Examples
        --------
        >>> from perdure import compare
        >>> stream = "catch-shift(tasks=1, steps=256)"
        >>> results = compare(stream, "naive", seeds=1, quiet=True, keep=True)
        >>> episode, = results.trained["naive"].play(task=0)
        >>> episode.frames.shape, episode.rewards.shape
        ((10, 80, 80, 3), (9,))
        """
        return play(self.program, *self._there(task, replica), episodes)

    def messages(self, task: int | str = 0, replica: int = 0, episodes: int | None = None) -> Messages:
        """Hear what the agents of a team tell each other: in the first episodes that were scored.

        They are played as :meth:`play` does, and twice more: with messages shuffled over the episodes, and in
        silence. A strategy lets agents talk (``mcs``, ``commnet``, ``tarmac``, ``dial``).

        Parameters
        ----------
        task:
            Index or name of a task of the stream that was learned.
        replica:
            Whose policy.
        episodes:
            How many, up to those that were scored; by default 100, or all where there are fewer.

        Examples
        --------
        >>> from perdure import compare
        >>> stream = "referential-games(steps=256, episodes=20)"
        >>> results = compare(stream, "dial(bits=3)", seeds=1, quiet=True, keep=True)
        >>> heard = results.trained["dial(bits=3)"].messages(task=0)
        >>> heard.messages.shape, heard.links.shape, heard.bits_per_step
        ((1, 20, 2, 3), (1, 20, 2, 2), 6.0)
        """
        return talk(self.program, *self._there(task, replica), episodes)

    def talk_costs(self) -> dict[str, float]:
        """Return what a team's agents send in a step of the first scored episodes; nothing if silent.

        ``bits_per_step`` and ``links_per_step`` (one agent hears another, in a round), the mean over the
        tasks with an environment and the replicas.
        """
        places = [(t, k) for t, (_, world) in enumerate(self.worlds) if world for k in range(self.replicas)]
        return costs_of_talk(self.program, (self._there(*place) for place in places)) if places else {}

    def _there(self, task: int | str, replica: int) -> tuple[Replica, int, int, World]:
        """Return a replica without its axis, its seed, the index of a task with an environment, and that."""
        names = [name for name, _ in self.worlds]
        if not any(world for _, world in self.worlds):
            raise PerdureError("expected a stream of environments to play in; found one of samples")
        if isinstance(task, str) and task not in names:
            raise unknown("task", task, names)
        t = names.index(task) if isinstance(task, str) else check_index("a task", task, len(names))
        k = check_index("a replica", replica, self.replicas)
        world = self.worlds[t][1]
        if world is None:
            raise PerdureError(f"expected a task with an environment; found {names[t]!r}, which has samples")
        return pytree.tree_map(lambda v: v[k], self.replica.view()), self.seeds[k], t, world

    def _batched(self, function: Callable[..., Tensor], batch: int, rows: Rows) -> list[Tensor]:
        check_whole("batch", batch)
        mapper = Mapper(self.replicas, self.replicas == 1)
        view = self.replica.view()
        with torch.no_grad():
            cut = zip(*(torch.split(v, batch) for v in rows.values()), strict=True)
            pieces = [dict(zip(rows, piece, strict=True)) for piece in cut]
            try:
                return [mapper(function, view, piece, shared=(1,)) for piece in pieces]
            except (RuntimeError, IndexError, TypeError) as error:
                # Token ids beyond the model's table, for one.
                line = (str(error).strip().splitlines() or [type(error).__name__])[0]
                raise PerdureError(f"the model does not take these inputs: {line}") from error
