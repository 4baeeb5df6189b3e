"""Model merging on the contract as it is: TIES, with a bank of task vectors in the state."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from perdure import compare
from perdure.strategies.contract.strategy import Strategy
from perdure.testing import check_strategy, tiny_stream


def ties(bank, density):
    """Trim ``bank [tasks, n]`` to its largest entries, elect signs, mean what agrees (Yadav et al., 2023)."""
    keep = max(1, int(density * bank.shape[1]))
    trimmed = torch.where(bank.abs() >= bank.abs().topk(keep).values[:, -1:], bank, 0.0)
    elected = trimmed.sum(0).sign()
    agrees = (trimmed.sign() == elected) & (trimmed != 0)
    return (trimmed * agrees).sum(0) / agrees.sum(0).clamp(min=1)


@dataclass(frozen=True)
class Ties(Strategy):
    """Train each task from the common start; the model is then the start and the merged task vectors."""

    name: ClassVar[str] = "ties"
    scales: ClassVar[tuple[str, ...]] = ("scale",)
    density: float = 0.2
    scale: float = 1.0

    def init(self, net, params, stream):
        bank = {k: torch.zeros(len(stream), *p.shape, dtype=p.dtype) for k, p in params.items()}
        return {"start": {k: p.clone() for k, p in params.items()}, "bank": bank}

    def begin_task(self, net, params, state, task):
        return state["start"], state

    def end_task(self, net, params, state, task):
        start, place = state["start"], torch.tensor([task.index])
        bank = {k: b.index_copy(0, place, (params[k] - start[k])[None]) for k, b in state["bank"].items()}
        # Trimmed over all weights of a task; what is not learned yet is zero, and agrees with nothing.
        merged = ties(torch.cat([b.flatten(1) for b in bank.values()], 1), self.density)
        parts = merged.split([p.numel() for p in params.values()])
        new = {
            k: start[k] + self.scale * part.view_as(start[k]) for k, part in zip(params, parts, strict=True)
        }
        return new, {**state, "bank": bank}


def test_the_rule_by_hand():
    bank = torch.tensor([[3.0, -1.0, 0.2, 2.0, 0.0], [-2.0, -3.0, 0.1, 4.0, 0.0]])
    # Two of five are kept: 3 and 2 of the first, -3 and 4 of the second; only the fourth is of both.
    assert ties(bank, 0.4).tolist() == [3.0, -3.0, 0.0, 3.0, 0.0]


@pytest.mark.parametrize("density", [0.1, 0.3, 0.9])
def test_the_rule_is_that_of_peft(density):
    from peft.utils.merge_utils import ties as of_peft

    bank = torch.randn(4, 50, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(ties(bank, density), of_peft(list(bank), torch.ones(4), density))


def test_it_keeps_the_contract():
    check_strategy(Ties(), level="quick")


def test_the_merged_model_is_what_the_models_of_the_tasks_merge_to():
    stream = tiny_stream("domain", tasks=3)
    found = compare(
        stream, [Ties(density=0.3), "single"], seeds=2, epochs=2, optimizer="sgd", keep=True, quiet=True
    )
    merged, alone = (one.replica for one in found.trained.values())
    assert all(extras["mapped"] for extras in found.extras.values())
    (own,), (of_each,) = merged.state.values(), alone.state.values()
    for seed in range(2):
        start = {k: v[seed] for k, v in own["start"].items()}
        # Each task learned alone, by the baseline that keeps a model for each.
        vectors = [
            torch.cat([(of_each["bank"][k][seed, t] - start[k]).flatten() for k in start]) for t in range(3)
        ]
        expected = torch.cat([v.flatten() for v in start.values()]) + ties(torch.stack(vectors), 0.3)
        model = torch.cat([merged.params[k][seed].flatten() for k in start])
        assert torch.allclose(model, expected, atol=1e-6)
        assert not torch.allclose(model, expected - ties(torch.stack(vectors), 0.3), atol=1e-2)


def test_its_scale_is_tuned_on_the_replica_axis():
    stream = tiny_stream("domain", tasks=2)
    one = compare(stream, {"ties": Ties()}, seeds=2, epochs=1, tune={"ties.scale": [0.0, 1.0]}, quiet=True)
    assert len(one.extras["ties"]["tried"]) == 2
    assert one.extras["ties"]["chosen"] == {"ties.scale": 1.0}
