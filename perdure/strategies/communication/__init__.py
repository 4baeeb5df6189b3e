"""Strategies of communication: what the agents of a team tell each other before they act.

Each puts a channel into the policy ``team-net``, which all agents share and without which they are silent,
and takes a stream of teams; the rest is learned as without. One channel fits teams and tables of any size,
so that what is said can be learned from task to task, beside any other strategy (``mcs + ewc``).

Which method? ``commnet`` has nothing to choose and lets all hear the mean of all. ``tarmac`` and ``mcs``
attend to messages, so that in larger teams each hears whom it needs; ``mcs`` cuts what is hardly attended to,
and ties messages to what their sender does. ``dial`` says a few bits, which is hardest to learn and cheapest
to send. What is said, what it costs, and what is left of the return without it:

>>> from perdure import compare
>>> strategies = ["mcs", "dial(bits=3)"]
>>> results = compare("referential-games(steps=256, episodes=20)", strategies, seeds=1, quiet=True, keep=True)
>>> [results.trained[name].messages().bits_per_step for name in strategies]
[1024.0, 6.0]

A channel of your own is a :class:`perdure.models.teams.Channel`, returned by a strategy of class
:class:`Talking`.
"""

from perdure.strategies.communication.commnet import CommNet
from perdure.strategies.communication.dial import DIAL
from perdure.strategies.communication.mcs import MCS
from perdure.strategies.communication.talking import Talking
from perdure.strategies.communication.tarmac import TarMAC

__all__ = ["DIAL", "MCS", "CommNet", "Talking", "TarMAC"]
