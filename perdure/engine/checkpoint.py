"""Exact continuation: what a run has reached, on disk after every phase.

Random numbers are functions of (seed, purpose, step), so the tensors of the replicas and the number of steps
are all there is to keep. Files are written beside and moved in, so a kill leaves the last whole one; each
has a checksum over its whole content, and belongs to one strategy under one set of settings.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from perdure.analysis.files import FolderError, regular, write_beside
from perdure.engine.costs import Costs
from perdure.engine.engine import Engine
from perdure.engine.film import Film
from perdure.engine.outcome import Outcome
from perdure.engine.replicas import Replica


@dataclass(frozen=True)
class Checkpoint:
    """Where one strategy has got to; ``path`` ``None`` keeps nothing.

    Parameters
    ----------
    path:
        The file.
    owner:
        Whose it is: the checksum of the run's settings and of the strategy with its parameters.
    """

    path: Path | None = None
    owner: str = ""

    def save(self, engine: Engine, replica: Replica, outcome: Outcome, phases: int) -> None:
        """Keep the replicas and the outcome after ``phases`` phases."""
        if self.path is None:
            return
        from safetensors.torch import save

        notes = {
            "owner": self.owner,
            "phases": phases,
            "steps": engine.step_count,
            "costs": asdict(engine.costs),
            "mapped": engine.mapper.mapped,
            "stages": len(outcome.scores),
            "confusions": [list(c.shape) for c in outcome.confusions],
            "curve": [(step, stage) for step, stage, _ in outcome.curve],
            "warnings": outcome.warnings,
            "film": asdict(outcome.film),
        }
        tensors = leaves({"replica": replica, "held": engine.held, "untrained": outcome.untrained})
        tensors |= leaves({"scores": outcome.scores, "curve": [scores for _, _, scores in outcome.curve]})
        tensors |= leaves({"confusions": outcome.confusions})
        tensors = {k: v.detach().contiguous().to("cpu", copy=True) for k, v in tensors.items()}
        text = json.dumps(notes)
        metadata = {"notes": text, "sha256": checksum(text, tensors)}
        write_beside(self.path, save(tensors, metadata=metadata))

    def read(self, device: torch.device | str = "cpu") -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        """Return what was kept, notes and tensors; ``None`` where nothing was."""
        if self.path is None or not self.path.exists():
            return None
        from safetensors import safe_open

        try:
            with safe_open(regular(self.path), framework="pt") as file:
                metadata = file.metadata()
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            whole = checksum(metadata["notes"], tensors) == metadata["sha256"]
        except Exception:  # Whatever reading stumbles over, it is the content that is at fault.
            whole = False
        if not whole:
            raise FolderError(
                f"expected a checkpoint as it was written; found {self.path} damaged: without that file its "
                "strategy starts anew"
            )
        notes = json.loads(metadata["notes"])
        if notes["owner"] != self.owner:
            raise self._foreign()
        return notes, {k: v.to(device) for k, v in tensors.items()}

    def restore(self, engine: Engine, replica: Replica, outcome: Outcome) -> tuple[Replica, int]:
        """Fill engine, replicas and outcome with what was kept; returns the number of phases done."""
        kept = self.read(engine.device)
        if kept is None:
            return replica, 0
        notes, tensors = kept
        holds = any(name.startswith("['held']") for name in tensors)
        tree = {"replica": replica, "held": replica.optim if holds else {}, "untrained": outcome.untrained}
        expected, layout = leaves(tree), pytree.tree_structure(tree)
        numbers = {"scores": notes["stages"], "curve": len(notes["curve"])}
        scores = {f"['{k}'][{i}]": outcome.untrained for k, n in numbers.items() for i in range(n)}
        answers = leaves({"confusions": [torch.zeros(shape) for shape in notes["confusions"]]})
        if form(tensors) != form({**expected, **scores, **answers}):
            raise self._foreign()
        tree = pytree.tree_unflatten([tensors[name] for name in expected], layout)
        engine.go_on(notes["steps"], Costs(**notes["costs"]), notes["mapped"], tree["held"])
        outcome.untrained = tree["untrained"]
        outcome.scores = [tensors[f"['scores'][{i}]"] for i in range(notes["stages"])]
        outcome.confusions = [tensors[name] for name in answers]
        outcome.curve = [
            (step, stage, tensors[f"['curve'][{i}]"]) for i, (step, stage) in enumerate(notes["curve"])
        ]
        outcome.warnings = notes["warnings"]
        outcome.film = Film(**notes.get("film", {}))  # checkpoints of before there were films have none
        return tree["replica"], notes["phases"]

    def _foreign(self) -> FolderError:
        return FolderError(
            f"expected a checkpoint of this strategy, model and settings; {self.path} holds another: without "
            "that file the strategy starts anew"
        )


def leaves(tree: Any) -> dict[str, Tensor]:
    """Return the tensors of a tree by their paths, such as ``['replica']['params']['0.weight']``."""
    return {pytree.keystr(path): leaf for path, leaf in pytree.tree_leaves_with_path(tree)}


def form(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """Return names, shapes and kinds of numbers."""
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


def checksum(notes: str, tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of notes and tensors: names, kinds of numbers, shapes and every bit."""
    total = hashlib.sha256(notes.encode())
    for name, tensor in sorted(tensors.items()):
        total.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def plain(value: dict[str, Any]) -> dict[str, Any]:
    """Return what JSON gives back."""
    back: dict[str, Any] = json.loads(json.dumps(value))
    return back
