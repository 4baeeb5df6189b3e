"""Methods against loss of plasticity: a network that has learned many tasks learns the next one less well.

Weights grow, hidden units fall silent, and what the layers represent loses rank. Forgetting is another
matter, and none of these methods prevents it. ``watch-plasticity`` beside any strategy measures the three by
task; the learning accuracy says what they cost.

Which method? ``l2-init`` and ``shrink-and-perturb`` act on all weights, whatever the model, and have one or
two numbers to tune (``tune={"l2-init.strength": [...]}``). ``layer-norm`` changes the model and has none.
``cbp`` and ``redo`` renew single hidden units, and take a plain sequence of layers: ``cbp`` the least useful
ones, a few all the time, ``redo`` those that are nearly silent, now and then.

>>> from perdure import compare
>>> stream = "permuted-digits(tasks=3) | limit(200)"
>>> strategies = [f"{one} + watch-plasticity" for one in ("naive", "l2-init", "redo(every=5)")]
>>> results = compare(stream, strategies, model="mlp(hidden=[16])", epochs=1, seeds=2)
>>> table = results.plasticity()
>>> sorted(set(table["measure"]))
['dormant', 'rank', 'weight']
"""

from perdure.strategies.plasticity.cbp import CBP
from perdure.strategies.plasticity.l2_init import L2Init
from perdure.strategies.plasticity.layer_norm import LayerNorm
from perdure.strategies.plasticity.redo import ReDo
from perdure.strategies.plasticity.shrink_and_perturb import ShrinkAndPerturb
from perdure.strategies.plasticity.watch import WatchPlasticity

__all__ = ["CBP", "L2Init", "LayerNorm", "ReDo", "ShrinkAndPerturb", "WatchPlasticity"]
