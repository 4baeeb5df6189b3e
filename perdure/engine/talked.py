"""Episodes of a team, played once more to hear what its agents tell each other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from perdure.analysis.messages import Messages
from perdure.core.checks import check_whole
from perdure.core.entities import PRESENT
from perdure.core.errors import PerdureError
from perdure.core.layer_draws import NoDraws
from perdure.core.random import Rng
from perdure.engine.replicas import Replica
from perdure.engine.step import Program
from perdure.engine.worlds import STARTS, STEPS
from perdure.models.teams.channel import Passage
from perdure.models.teams.passages import Muted, Overheard, Shuffled, channel_of, talks, through
from perdure.scenarios.contract.world import World

# Episodes that are kept unless it is said how many.
USUAL = 100
Array = npt.NDArray[Any]


def talk(
    program: Program, one: Replica, seed: int, task: int, world: World, episodes: int | None
) -> Messages:
    """Play the first scored episodes of a world with the team of one replica, without a leading axis.

    They are played three times: with messages as they are, shuffled over all scored episodes, and silenced.
    """
    bits = channel_of(program.module).bits
    with torch.no_grad(), NoDraws():
        scene = _Scene.of(program, one, seed, task, world)
        who, count = scene.seed, scene.count
        if count < 2:
            raise PerdureError("expected 2 scored episodes or more, to hear messages of others; found 1")
        kept = min(USUAL, count) if episodes is None else check_whole("episodes", episodes, most=count)
        usual = scene.played(Passage(), kept)
        order = another(Rng(who, torch.zeros_like(who), "shuffled/"), count)
        shuffled, silent = (scene.played(passage, kept) for passage in (Shuffled(order), Muted()))
    said, links = usual["said"], usual["links"]
    return Messages(
        messages=np.moveaxis(said, 1, 3).reshape(len(said), kept, said.shape[3], -1),
        links=links.mean(1),
        bits=(links > 0).sum((1, 3, 4)) * float(bits),
        observations=usual["x"],
        actions=usual["action"],
        present=usual["x"][:, :, :, 0, PRESENT] > 0.5,
        on=usual["on"] > 0,
        returns=usual["return"],
        returns_shuffled=shuffled["return"],
        returns_silent=silent["return"],
    )


def costs_of_talk(program: Program, played: Iterable[tuple[Replica, int, int, World]]) -> dict[str, float]:
    """Return the bits sent, and the links kept, in a step of the scored episodes of some teams.

    The mean over the teams; nothing where nobody talks. A link is that one agent hears another in a round,
    and costs the bits of a message.
    """
    if not talks(program.module):
        return {}
    found = []
    with torch.no_grad(), NoDraws():
        for one, seed, task, world in played:
            scene = _Scene.of(program, one, seed, task, world)
            heard = scene.played(Passage(), min(USUAL, scene.count))
            links = (heard["links"] > 0).sum((1, 3, 4))
            found.append(links[heard["on"] > 0].mean())
    each = float(np.mean(found))
    return {"bits_per_step": each * channel_of(program.module).bits, "links_per_step": each}


def another(rng: Rng, n: int) -> Tensor:
    """Return for each of ``n`` rows another one, ``[n]``: all in one ring, in a random order."""
    ring = rng.permutation("ring", n)
    return torch.empty_like(ring).scatter(0, ring, ring.roll(1))


@dataclass(frozen=True)
class _Scene:
    """Who plays where: one replica of a program, of this seed, in the world of a task."""

    program: Program
    one: Replica
    seed: Tensor
    task: Tensor
    world: World

    @classmethod
    def of(cls, program: Program, one: Replica, seed: int, task: int, world: World) -> _Scene:
        device = next(iter(one.params.values())).device
        who, at = (torch.tensor(value, device=device) for value in (seed, task))
        return cls(program, one, who, at, world)

    def start(self) -> Any:
        return self.world.start(Rng(self.seed, torch.zeros_like(self.seed), STARTS))

    @property
    def count(self) -> int:
        """How many episodes are scored."""
        return len(self.world.score(self.start()))

    def played(self, passage: Passage, kept: int) -> dict[str, Array]:
        """Return what the first ``kept`` episodes tell, what is said and heard in each step, and returns.

        ``said [steps, rounds, kept, agents, size]``, ``links [steps, rounds, kept, agents, agents]``.
        """
        ears = Overheard(passage)
        program = replace(self.program, module=through(self.program.module, ears))
        rounds = channel_of(program.module).rounds
        state, rows = self.start(), []
        for at in torch.arange(self.world.limit, device=self.seed.device):
            rng = Rng(self.seed, at, STEPS)
            state, row = self.world.watch(program.act(self.one, self.task, rng), state, rng)
            # A strategy may ask the model more than once: what it acts by comes last.
            told = {"said": ears.said[-rounds:], "links": ears.heard[-rounds:]}
            heard = {k: torch.stack(v, 1) for k, v in told.items()}
            rows.append({k: v[:kept].cpu().numpy() for k, v in {**row, **heard}.items()})
            ears.forget()
            if bool(self.world.over(state)):
                break
        every = {k: np.stack([row[k] for row in rows]) for k in rows[0]}
        # Others may have gone on for longer than those that are kept.
        lived = {k: steps[: int(every["on"].sum(0).max())] for k, steps in every.items()}
        heard_by_round = {k: lived[k].swapaxes(1, 2).astype(np.float64) for k in ("said", "links")}
        returns = self.world.score(state)[:kept].cpu().numpy().astype(np.float64)
        return {**lived, **heard_by_round, "return": returns}
