"""Exact continuation: what a run has reached, on disk after every phase.

Random numbers are functions of (seed, purpose, step), so the tensors of the replicas and the number of steps
are all there is to keep. Files are written beside and moved in, so a kill leaves the last whole one.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree

from perdure.analysis.store import begin
from perdure.engine.costs import Costs
from perdure.engine.engine import Engine
from perdure.engine.step import Replica
from perdure.errors import PerdureError
from perdure.outcome import Outcome

FOLDER, CONFIG = "checkpoint", "config.json"


class Checkpoints:
    """The checkpoints of a run, one per strategy, in ``folder/checkpoint``.

    Parameters
    ----------
    folder:
        The run's folder.
    config:
        The run's configuration; a run with another one is not continued.
    resume:
        Keep what is there; otherwise start anew.
    """

    def __init__(self, folder: str | os.PathLike[str], config: dict[str, Any], resume: bool) -> None:
        self.folder = Path(folder) / FOLDER
        comparable = json.loads(json.dumps({k: v for k, v in config.items() if k != "versions"}))
        if resume and (self.folder / CONFIG).exists():
            before = json.loads((self.folder / CONFIG).read_text())
            changed = [k for k in comparable if before.get(k) != comparable[k]]
            if changed:
                what = ", ".join(changed)
                raise PerdureError(f"expected the settings of the run in {folder}; found another {what}")
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        begin(folder, config)
        self.folder.mkdir(parents=True)
        (self.folder / CONFIG).write_text(json.dumps(comparable))

    def of(self, index: int) -> Checkpoint:
        """Return the checkpoint of the strategy at a position of the list."""
        return Checkpoint(self.folder / f"{index}.safetensors")

    def clear(self) -> None:
        """Remove the checkpoints of a finished run."""
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Where one strategy has got to; ``path`` ``None`` keeps nothing."""

    path: Path | None = None

    def save(self, engine: Engine, replica: Replica, outcome: Outcome, phases: int) -> None:
        """Keep the replicas and the outcome after ``phases`` phases."""
        if self.path is None:
            return
        from safetensors.torch import save_file

        leaves = pytree.tree_leaves(replica)
        tensors = {f"replica/{i}": v.detach().cpu().clone() for i, v in enumerate(leaves)}
        notes = {
            "phases": phases,
            "steps": engine.step_count,
            "costs": dataclasses.asdict(engine.costs),
            "curve": [(step, stage) for step, stage, _ in outcome.curve],
            "warnings": outcome.warnings,
        }
        for name, values in (("scores", outcome.scores), ("curve", [c[2] for c in outcome.curve])):
            tensors |= {f"{name}/{i}": v.cpu().clone() for i, v in enumerate(values)}
        tensors["untrained"] = outcome.untrained.cpu().clone()
        draft = self.path.with_suffix(".part")
        save_file(tensors, draft, metadata={"notes": json.dumps(notes)})
        os.replace(draft, self.path)

    def restore(self, engine: Engine, replica: Replica, outcome: Outcome) -> tuple[Replica, int]:
        """Fill engine, replicas and outcome with what was kept; returns the number of phases done."""
        if self.path is None or not self.path.exists():
            return replica, 0
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path, framework="pt", device=str(engine.device)) as file:
                notes = json.loads(file.metadata()["notes"])
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, ValueError, KeyError, TypeError):
            raise PerdureError(f"expected a checkpoint; found {self.path} unreadable: start anew") from None
        leaves, spec = pytree.tree_flatten(replica)
        kept = [tensors.get(f"replica/{i}") for i in range(len(leaves))]
        if any(k is None or k.shape != v.shape for k, v in zip(kept, leaves, strict=True)):
            raise PerdureError(f"expected a checkpoint of this model and strategy; {self.path} holds another")
        engine.step_count = notes["steps"]
        engine.costs = Costs(**notes["costs"])
        outcome.untrained = tensors["untrained"]
        outcome.scores = numbered(tensors, "scores")
        scores = numbered(tensors, "curve")
        outcome.curve = [(step, stage, s) for (step, stage), s in zip(notes["curve"], scores, strict=True)]
        outcome.warnings = notes["warnings"]
        return pytree.tree_unflatten(kept, spec), notes["phases"]


def numbered(tensors: dict[str, Tensor], name: str) -> list[Tensor]:
    """Return ``name/0``, ``name/1``, ... in order."""
    count = sum(key.startswith(f"{name}/") for key in tensors)
    return [tensors[f"{name}/{i}"] for i in range(count)]
