"""Merging: one model made of the weights of several.

Each task is learned by itself from a common start; no training on several tasks follows. ``merge`` keeps the
weights of all tasks, ``stream-merge`` only what its rule needs to go on. Rules are functions of weights, and
serve without a strategy too:

>>> import torch
>>> base, tasks = {"w": torch.zeros(2)}, {"w": torch.tensor([[1.0, 2.0], [3.0, 0.0]])}
>>> TaskArithmetic(scale=0.5).merge(base, tasks)["w"].tolist()
[2.0, 1.0]

``average`` and ``task-arithmetic`` come first. Where task vectors are in each other's way, ``ties`` and
``consensus`` leave entries out; ``dare`` thins them at random. ``magmax`` goes with sequential fine-tuning
(``start=previous``), ``opcm`` with long streams. ``tall-masks`` answers each task with weights of its own.
``doge`` shifts all task vectors so that their sum does each less harm, without data. ``adamerging`` and
``atlas`` learn how much of each task vector to take, from inputs or from labels; ``grafting`` learns which
entries. ``atm`` is a strategy of its own, which tunes and merges in turn and so needs all tasks at once.
"""

from perdure.strategies.merging.adamerging import AdaMerging
from perdure.strategies.merging.arithmetic import TaskArithmetic
from perdure.strategies.merging.atlas import Atlas
from perdure.strategies.merging.atm import ATM
from perdure.strategies.merging.average import Average
from perdure.strategies.merging.consensus import Consensus
from perdure.strategies.merging.dare import DARE
from perdure.strategies.merging.doge import DOGE
from perdure.strategies.merging.grafting import Grafting
from perdure.strategies.merging.learned import Learned
from perdure.strategies.merging.magmax import MagMax
from perdure.strategies.merging.merge import Merge
from perdure.strategies.merging.opcm import OPCM
from perdure.strategies.merging.rule import MERGING, Rule, Streaming
from perdure.strategies.merging.stream import StreamMerge
from perdure.strategies.merging.tall import TallMasks
from perdure.strategies.merging.ties import TIES

__all__ = [
    "ATM",
    "DARE",
    "DOGE",
    "MERGING",
    "OPCM",
    "TIES",
    "AdaMerging",
    "Atlas",
    "Average",
    "Consensus",
    "Grafting",
    "Learned",
    "MagMax",
    "Merge",
    "Rule",
    "StreamMerge",
    "Streaming",
    "TallMasks",
    "TaskArithmetic",
]
