"""Messages that tell what their sender is about to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from perdure.core.batch import Batch, Params, State, weighted_mean
from perdure.core.checks import check_number, check_whole
from perdure.core.entities import PRESENT, TARGET
from perdure.core.errors import PerdureError
from perdure.core.net import Net
from perdure.models.teams.mcs import Pruned
from perdure.models.teams.team_net import NEVER, TeamNet
from perdure.strategies.communication.talking import Talking
from perdure.strategies.contract.registry import strategy

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


@strategy("mcs")
class MCS(Talking):
    """Multi-task communication skills: one encoder, pruned messages, tied to the sender's action.

    All agents of all tasks share an encoder of entities. A message is a linear map of the mean of an agent's
    entities; who listens attends to the messages, and links below ``threshold / (N - 1)`` are cut, with
    those above fading towards it (:class:`perdure.models.teams.mcs.Pruned`). In training alone, a predictor
    ``q(a_i | m_i)`` adds ``strength * mean_i -log q(a_i | m_i)``, a bound on how much a message tells of its
    sender's action (``I(A; M) >= H(A) + E log q``), whose gradient reaches the encoder.

    Parameters
    ----------
    strength:
        Of the predictor's loss.
    message:
        Numbers in a message.
    threshold:
        Links of less attention than this share of an even one are cut: 0 keeps all; below 1 somebody is
        always heard. From one less than there are agents on nobody could ever be heard, which is refused.

    Source: reconstructed from what is known of "Learning communication skills in multi-task multi-agent deep
    reinforcement learning", arXiv 2511.03348; its method section could not be read. Reconstructed too: all
    actions on entities are one in ``q``; no gradient goes through a link that is cut, though it keeps its
    share of the attention; links fade before they are cut, and what is heard is bounded by ``tanh``.
    """

    reads_inside: ClassVar[tuple[str, ...]] = ("talk.key",)
    strength: float = 0.1
    message: int = 16
    threshold: float = 0.5

    def __post_init__(self) -> None:
        check_number("strength", self.strength)
        check_whole("message", self.message)
        check_number("threshold", self.threshold)

    def extend(self, model: nn.Module, stream: Stream) -> nn.Module:
        made = super().extend(model, stream)
        most = max(task.objective.actions.agents for task in stream)  # type: ignore[attr-defined]
        if 1 < most <= self.threshold + 1:
            raise PerdureError(
                f"mcs: threshold must be below {most - 1} where there are {most} agents, or nobody is ever "
                f"heard; found {self.threshold:g}"
            )
        return made

    def channel(self, model: TeamNet) -> nn.Module:
        return Pruned(model.width, self.message, self.threshold, model.move.out_features + 1)

    def losses(self, net: Net, params: Params, state: State, batch: Batch, losses: Tensor) -> Tensor:
        if not self.strength:
            return losses
        message, _ = net.inside(params, batch.x, batch.task, "talk.key")
        predictor = net.module.get_submodule("talk.predict")
        names = {k: params[f"talk.predict.{k}"] for k, _ in predictor.named_parameters()}
        logits = functional_call(predictor, names, (message,))
        # All actions on entities are one here: which rows there are differs from task to task. It is left out
        # where there is nothing to act on.
        able = ((batch.x[..., TARGET] > 0.5) & (batch.x[..., PRESENT] > 0.5)).any(-1, keepdim=True)
        last = torch.arange(logits.shape[-1], device=logits.device) == logits.shape[-1] - 1
        logits = torch.where(able | ~last, logits, NEVER)
        action = batch.rows["action"].clamp_max(logits.shape[-1] - 1)
        each = -logits.log_softmax(-1).gather(-1, action.unsqueeze(-1)).squeeze(-1)
        there = batch.x[:, :, 0, PRESENT]
        told = (each * there).sum(1) / there.sum(1).clamp_min(1)
        return losses + self.strength * weighted_mean(told, batch.sample_weight)
