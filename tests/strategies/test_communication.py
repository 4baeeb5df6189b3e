"""What agents of a team tell each other: channels by hand, and what must hold of them."""

import math
from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from perdure import PerdureError, compare
from perdure.analysis import mutual_information
from perdure.core.batch import Batch
from perdure.core.entities import FEATURES, PRESENT, TARGET
from perdure.core.layer_draws import OwnDraws
from perdure.core.net import Net
from perdure.core.random import Rng
from perdure.envs.actions import Team
from perdure.envs.multi_agent import Referential
from perdure.models import team_net
from perdure.models.teams.commnet import Averaged
from perdure.models.teams.dial import Bits
from perdure.models.teams.mcs import Pruned
from perdure.models.teams.passages import Overheard, channel_of, through
from perdure.models.teams.tarmac import Targeted
from perdure.models.teams.team_net import TeamNet
from perdure.scenarios.rl.team import TeamPPO
from perdure.strategies import DIAL, MCS, Talking, get
from perdure.strategies.contract.composition import Composition, parts
from perdure.testing import tiny_model, tiny_stream, tiny_team, tiny_team_stream
from perdure.testing.runs import Place

TALKING = ("mcs", "commnet", "tarmac", "dial")
WIDTH, MOVES = 8, 3


def policy(name, moves=MOVES, seed=0):
    """A team-net whose agents talk, in evaluation mode and in double precision."""
    torch.manual_seed(seed)
    strategy = get(name)
    model = TeamNet(FEATURES, moves, WIDTH, 1, 2)
    model.talk = strategy.channel(model)
    return model.double().eval()


def tables(n=4, agents=3, entities=5, seed=0):
    """Tables in which everybody is there, and some entities can be acted on."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, agents, entities, FEATURES, generator=generator, dtype=torch.float64)
    x[..., PRESENT] = 1
    x[..., TARGET] = torch.arange(entities).double() % 2
    return x


def said(model, x):
    """What the agents say, all rounds side by side."""
    ears = Overheard(channel_of(model).passage)
    through(model, ears)(x)
    return torch.cat(ears.said, -1)


def by_agent(model, x):
    """Logits ``[n, agents, moves + entities]`` and values ``[n]``."""
    out = model(x)
    return out[:, :-1].unflatten(1, (x.shape[1], -1)), out[:, -1]


def rows(*values):
    return torch.tensor(values, dtype=torch.float64).unsqueeze(0)


def put(layer, weight, bias=None):
    with torch.no_grad():
        layer.weight.copy_(torch.as_tensor(weight, dtype=torch.float64))
        if bias is not None:
            layer.bias.copy_(torch.as_tensor(bias, dtype=torch.float64))


# ---- all channels -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TALKING)
def test_one_encoder_takes_3_and_12_entities(name):
    model = policy(name)
    for entities in (3, 12):
        logits, value = by_agent(model, tables(entities=entities))
        assert logits.shape == (4, 3, MOVES + entities)
        assert value.isfinite().all()


@pytest.mark.parametrize("name", TALKING)
def test_the_order_of_entities_does_not_matter(name):
    model, x = policy(name), tables(entities=12)
    order = torch.cat([torch.zeros(1, dtype=torch.int64), 1 + torch.randperm(11)])
    turned = x[:, :, order]
    torch.testing.assert_close(said(model, turned), said(model, x), rtol=0, atol=1e-5)
    (logits, value), (mixed, same) = by_agent(model, x), by_agent(model, turned)
    torch.testing.assert_close(same, value, rtol=0, atol=1e-5)
    torch.testing.assert_close(mixed[..., MOVES + torch.arange(12)], logits[..., MOVES + order])
    # Another row of one's own is another agent.
    assert not torch.allclose(by_agent(model, x.roll(1, 2))[0], logits, atol=1e-3)


# With one link in two cut: who is not there must not count in what is an even share.
@pytest.mark.parametrize("name", [*TALKING, "mcs(threshold=1.0)"])
def test_padding_changes_nothing(name):
    model, x = policy(name), tables()
    (logits, value) = by_agent(model, x)
    padded, same = by_agent(model, nn.functional.pad(x, (0, 0, 0, 4, 0, 2)))
    torch.testing.assert_close(same, value)
    torch.testing.assert_close(padded[:, :3, : MOVES + 5], logits)
    assert padded[:, :3, MOVES + 5 :].max() < -1e8


@pytest.mark.parametrize("name", TALKING)
def test_padding_of_an_environment_changes_nothing(name):
    plain, wide = Referential(objects=3), Referential(objects=3, seats=4, slots=7)
    model, zero = policy(name, moves=1), torch.tensor(0)
    state = plain.reset(Rng(zero, zero), 5)
    logits, value = by_agent(model, plain.observe(state).double())
    padded, same = by_agent(model, wide.observe(state).double())
    torch.testing.assert_close(same, value)
    torch.testing.assert_close(padded[:, :2, :5], logits)


@pytest.mark.parametrize("name", TALKING)
def test_agents_are_alike(name):
    model, x = policy(name), tables(agents=4)
    order = torch.tensor([2, 0, 3, 1])
    (logits, value), (turned, same) = by_agent(model, x), by_agent(model, x[:, order])
    torch.testing.assert_close(turned, logits[:, order])
    torch.testing.assert_close(same, value)


def ends(name, present, seed=0):
    """What agents hear of random states, some of them absent."""
    generator = torch.Generator().manual_seed(seed)
    own, pooled = torch.randn(2, 4, len(present), WIDTH, generator=generator, dtype=torch.float64)
    return channel_of(policy(name)), own, pooled, torch.tensor(present).expand(4, -1)


@pytest.mark.parametrize("name", TALKING)
def test_one_agent_alone_hears_nothing(name):
    for present in ([True], [False, True, False]):
        channel, *given = ends(name, present)
        assert torch.equal(channel(*given), torch.zeros_like(given[0]))


@pytest.mark.parametrize("name", TALKING)
def test_who_is_absent_is_not_heard(name):
    channel, own, pooled, there = ends(name, [True, False, True])
    heard = channel(own, pooled, there)
    louder = torch.tensor([0.0, 5.0, 0.0]).view(1, 3, 1).double()
    again = channel(own + louder, pooled + louder, there)
    assert torch.equal(heard[:, [0, 2]], again[:, [0, 2]])
    assert torch.equal(heard[:, 1], torch.zeros_like(heard[:, 1]))
    assert heard[:, [0, 2]].abs().min() > 0
    two = channel(own[:, [0, 2]], pooled[:, [0, 2]], there[:, [0, 2]])
    torch.testing.assert_close(heard[:, [0, 2]], two)


# ---- by hand ------------------------------------------------------------------------------------------


def test_commnet_by_hand():
    # C doubles and swaps. One hears (1, 2) of the other: tanh(4, 2); and the other way round tanh(-1, 6).
    own, both = rows([3.0, -0.5], [1.0, 2.0]), torch.ones(1, 2, dtype=torch.bool)
    channel = Averaged(2, rounds=1).double()
    put(channel.value, [[0, 2], [2, 0]])
    first = torch.tanh(rows([4.0, 2.0], [-1.0, 6.0]))
    torch.testing.assert_close(channel(own, own, both), first)
    # In a second round they speak of what they have heard; and with three, of the mean.
    channel.rounds = 2
    second = torch.tanh(2 * (own + first).flip(1).flip(2))
    torch.testing.assert_close(channel(own, own, both), first + second)
    channel.rounds, three = 1, rows([9.0, 9.0], [1.0, 2.0], [3.0, 4.0])
    heard = channel(three, three, torch.ones(1, 3, dtype=torch.bool))
    torch.testing.assert_close(heard[0, 0], torch.tanh(torch.tensor([6.0, 4.0]).double()))


def test_tarmac_by_hand():
    # Of h = (a, b): the signature is a, the value 3 b, the query 2 b. Two agents hear each other wholly.
    channel = Targeted(2, 1, 1, rounds=1).double()
    put(channel.say, [[1, 0], [0, 3]], [0, 0])
    put(channel.query, [[0, 2]], [0])
    put(channel.take, [[0.5], [-1]])
    own, both = rows([1.0, 0.1], [0.5, 0.2]), torch.ones(1, 2, dtype=torch.bool)
    torch.testing.assert_close(channel(own, own, both), torch.tanh(rows([0.3, -0.6], [0.15, -0.3])))
    # A third: the first one asks 2 * 0.1, signatures 0.5 and -1 score 0.1 and -0.2.
    three = rows([1.0, 0.1], [0.5, 0.2], [-1.0, 0.4])
    share = 1 / (1 + math.exp(-0.3))
    found = 0.6 * share + 1.2 * (1 - share)
    heard = channel(three, three, torch.ones(1, 3, dtype=torch.bool))
    torch.testing.assert_close(heard[:, 0], torch.tanh(rows(0.5 * found, -found)))


def test_tarmac_speaks_again_of_what_it_heard():
    channel, own, pooled, there = ends("tarmac(rounds=2)", [True] * 3)
    two = channel(own, pooled, there)
    channel.rounds = 1
    one = channel(own, pooled, there)
    torch.testing.assert_close(two, one + channel(own + one, pooled, there))


def test_bits_by_hand():
    # s = (a, a - b): the first says 1 and 0, the second 0 and 1. Bits are worth (.1, 1) and (.2, 2).
    channel = Bits(2, 2, noise=0.0).double()
    put(channel.say, [[1, 0], [1, -1]], [0, 0])
    put(channel.value, [[0.1, 0.2], [1, 2]], [0, 0])
    own = rows([1.0, 3.0], [-1.0, -2.0]).requires_grad_()
    message = channel.messages(own, own)
    assert message.tolist() == [[[1.0, 0.0], [0.0, 1.0]]]
    heard = channel(own, own, torch.ones(1, 2, dtype=torch.bool))
    torch.testing.assert_close(heard, torch.tensor([[[0.2, 2.0], [0.1, 1.0]]]).double().tanh())
    # The slope of what the second hears before tanh, 1.1 m_0 + 2.2 m_1, by the first one's b.
    heard[0, 1].atanh().sum().backward()
    slope = 1 / (1 + math.exp(2)) * (1 - 1 / (1 + math.exp(2)))
    assert own.grad[0, 0, 1].item() == pytest.approx(-2.2 * slope)
    assert own.grad[0, 1].tolist() == [0.0, 0.0]


def test_noise_is_there_in_training_only_and_each_seed_has_its_own():
    torch.manual_seed(0)
    channel, own = Bits(2, 50, noise=1.0), torch.zeros(3, 2, 2)
    silent, drawn = channel.eval().messages(own, own), []
    assert not silent.any()
    for seed in (1, 1, 2):
        with OwnDraws(Rng(torch.tensor(seed), torch.tensor(0))):
            drawn.append(channel.train().messages(own, own).detach())
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert set(drawn[0].unique().tolist()) == {0.0, 1.0}
    assert abs(drawn[0].mean().item() - 0.5) < 0.15


def test_noise_changes_what_is_learned():
    quiet, loud = (learned(DIAL(noise=noise)) for noise in (0.0, 2.0))
    assert not torch.equal(quiet["talk.say.weight"], loud["talk.say.weight"])


# ---- MCS ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mcs", "mcs + ewc", "ewc + mcs"])
def test_what_messages_tell_costs_no_second_run_of_the_policy(name):
    model, x = policy("mcs"), tables()
    calls, strategy = [], get(name)
    model.register_forward_hook(lambda *_: calls.append(1))
    params, task = {k: v.detach() for k, v in model.named_parameters()}, torch.zeros(len(x)).long()
    net = Net(model, {}, None, TeamPPO(Team(3, MOVES + 5)), training=True, kept=strategy.reads_inside)
    net(params, x, task)
    net.inside(params, x, task, "talk.key")
    assert len(calls) == 1


def test_mcs_by_hand():
    # Of pooled (a, b) the message is a, its key (a, 0), its value (0, a); queries are (1, 0).
    channel = Pruned(2, 1, 0.5, 2).double()
    put(channel.say, [[1, 0]], [0])
    put(channel.query, torch.zeros(2, 2), [1, 0])
    put(channel.key, [[1], [0]], [0, 0])
    put(channel.value, [[0], [1]], [0, 0])
    pooled, there = rows([7.0, 0.0], [2.0, 0.0], [0.0, 0.0]), torch.ones(1, 3, dtype=torch.bool)
    share = 1 / (1 + math.exp(-2 / math.sqrt(2)))
    assert 1 - share < 0.25  # and so is cut: 0.5 / (3 - 1)
    links = channel.links(pooled, channel.messages(pooled, pooled), there)
    torch.testing.assert_close(links[0, 0], torch.tensor([0.0, 1, 0]).double())
    heard = channel(pooled, pooled, there)
    torch.testing.assert_close(heard[0, 0], torch.tensor([0, math.tanh(2)]).double())
    channel.threshold = 0.3
    links = channel.links(pooled, channel.messages(pooled, pooled), there)
    left = torch.tensor([0, share - 0.15, 1 - share - 0.15]).double()
    torch.testing.assert_close(links[0, 0], left / 0.7)
    channel.threshold = 0.0
    links = channel.links(pooled, channel.messages(pooled, pooled), there)
    torch.testing.assert_close(links[0, 0], torch.tensor([0, share, 1 - share]).double())


def test_a_link_fades_before_it_is_cut():
    channel, own, pooled, there = ends("mcs(threshold=0.0)", [True] * 3)
    said = channel.messages(own, pooled)
    share = channel.links(own, said, there)
    weaker = share[0, 0][share[0, 0] > 0].min()
    before, after = [], []
    for aside, found in ((-1e-7, before), (1e-7, after)):
        channel.threshold = (2 * weaker + aside).item()
        found.append(channel.links(own, said, there)[0, 0])
    assert (before[0] > 0).sum() == 2
    assert (after[0] > 0).sum() == 1
    torch.testing.assert_close(before[0], after[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", TALKING)
def test_what_is_heard_is_bounded(name):
    channel, *given = ends(name, [True] * 3)
    with torch.no_grad():
        for weight in channel.parameters():
            weight *= 1000
    assert 0.5 < channel(*given).abs().max() <= channel.rounds


def test_a_high_threshold_cuts_all_links():
    channel, *given = ends("mcs(threshold=3.0)", [True] * 3)
    assert torch.equal(channel(*given), torch.zeros_like(given[0]))


def test_nothing_goes_back_through_a_cut_link():
    model = policy("mcs(threshold=1.0)")
    x = tables(n=6).requires_grad_()
    ears = Overheard(channel_of(model).passage)
    through(model, ears)(x)
    kept = ears.heard[0] > 0
    # Two others, and links of half the attention or more: one of them, the other one is cut.
    assert kept.sum(-1).eq(1).all()
    for hears in range(3):
        (slope,) = torch.autograd.grad(by_agent(model, x)[0][:, hears].cos().sum(), x)
        for speaks in {0, 1, 2} - {hears}:
            moved = slope[:, speaks].flatten(1).abs().amax(1) > 0
            assert torch.equal(moved, kept[:, hears, speaks])


def test_without_the_predictor_actions_are_the_same():
    model, x = policy("mcs"), tables()
    before = model(x)
    for part in model.talk.predict.parameters():
        part.data.normal_()
    assert torch.equal(model(x), before)
    del model.talk.predict
    assert torch.equal(model(x), before)


@cache
def lived(strategy):
    """Weights of a tiny team after two tasks, and the state of its strategy after the first one."""
    stops, place = [], Place("here", tiny_team_stream(), tiny_team)
    ran = place.alone(strategy, Composition(parts(strategy)), stops)
    return {k: v[0] for k, v in ran.params.items()}, stops[-1].replica.state


def learned(strategy):
    return lived(strategy)[0]


@dataclass(frozen=True)
class Unpredicted(Talking):
    """The channel of MCS, without its loss."""

    name: ClassVar[str] = "unpredicted"

    def channel(self, model):
        return MCS().channel(model)


def test_strength_zero_is_no_predictor():
    plain, zero, usual = (learned(strategy) for strategy in (Unpredicted(), MCS(strength=0.0), MCS()))
    assert all(torch.equal(zero[k], v) for k, v in plain.items())
    changed = {k for k, v in plain.items() if not torch.equal(usual[k], v)}
    # The predictor's gradient reaches what messages are made of.
    assert {"talk.predict.0.weight", "talk.say.weight", "embed.weight"} <= changed


def test_the_predictors_loss_by_hand():
    # q(wait) = 3/4 and q(act) = 1/4, whatever the message; the sender has nothing to act on: q(wait) = 1.
    env, zero, strategy = Referential(objects=2), torch.tensor(0), MCS(strength=2.0)
    model = strategy.extend(
        team_net(width=8, heads=1)(env.shape, env.actions.outputs + 1), tiny_team_stream()
    )
    put(model.talk.predict[2], torch.zeros(2, 8), [math.log(3), 0])
    params = dict(model.named_parameters())
    x = env.observe(env.reset(Rng(zero, zero), 3))
    action = torch.tensor([[0, 2], [0, 0], [0, 3]])
    batch = Batch(
        {
            "x": x, "y": torch.zeros(3).long(), "task": torch.zeros(3).long(), "action": action,
            "weight": torch.tensor([1.0, 1.0, 0.0]),
        }, zero, Rng(zero, zero),
    )  # fmt: skip
    net = Net(model, {}, None, tiny_team_stream()[0].objective)
    more = strategy.losses(net, params, {}, batch, torch.zeros(1)).item()
    assert more == pytest.approx(2.0 * (math.log(4) / 2 + math.log(4 / 3) / 2) / 2, rel=1e-5)


def test_the_predictor_bounds_what_a_message_tells():
    # Of 8 pairs of a message and an action: p(a | m = 0) = (3/4, 1/4), p(a | m = 1) = (0, 1).
    message, action = np.array([0] * 4 + [1] * 4), np.array([0, 0, 0, 1, 1, 1, 1, 1])
    told = mutual_information(message, action).bits * math.log(2)
    share = np.bincount(action) / 8
    entropy = -(share * np.log(share)).sum()
    assert told == pytest.approx(entropy + (3 * math.log(3 / 4) + math.log(1 / 4)) / 8)
    for q in ([[0.5, 0.5], [0.5, 0.5]], [[0.8, 0.2], [0.1, 0.9]], [[0.1, 0.9], [0.9, 0.1]]):
        bound = entropy + np.log(np.array(q)[message, action]).mean()
        assert bound < told


# ---- in company ---------------------------------------------------------------------------------------


def test_elastic_weights_protect_what_is_said():
    (alone, _), (held, state) = (lived(get(spec)) for spec in ("mcs", "mcs + ewc(strength=1000)"))
    fisher = state["ewc"]["fisher"]
    for name in ("talk.say.weight", "talk.value.weight", "embed.weight", "on.weight"):
        assert fisher[name].abs().max() > 0, name
        assert not torch.equal(alone[name], held[name]), name
    assert not fisher["talk.predict.0.weight"].any()


def test_memories_hold_what_teams_lived_through():
    (alone, _), (beside, state) = (lived(get(spec)) for spec in ("mcs", "mcs + replay(6)"))
    memory = state["replay"]
    assert memory["action"].shape == (1, 6, 2)
    assert bool(memory["filled"].all())
    assert not torch.equal(alone["talk.say.weight"], beside["talk.say.weight"])


# ---- refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "stream", "model", "line"),
    [
        (
            "commnet", tiny_stream(), tiny_model,
            "commnet lets agents of a team talk, and needs a stream of teams, such as referential-games; "
            "found tiny",
        ),
        (
            "dial", tiny_team_stream(), tiny_model,
            "dial lets agents of a team talk, and needs the model team-net; found Sequential",
        ),
        (
            "mcs + tarmac", tiny_team_stream(), tiny_team,
            "tarmac beside another strategy of communication: agents talk one way only",
        ),
    ],
)  # fmt: skip
def test_who_cannot_talk_is_told_before_any_work(spec, stream, model, line):
    with pytest.raises(PerdureError) as caught:
        compare(stream, [spec], model=model, seeds=1, quiet=True)
    assert str(caught.value).endswith(line)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("commnet(rounds=0)", "rounds must be a whole number of at least 1; found 0"),
        ("tarmac(signature=0)", "signature must be a whole number of at least 1"),
        ("tarmac(value=-1)", "value must be a whole number of at least 1"),
        ("dial(bits=0)", "bits must be a whole number of at least 1"),
        ("dial(noise=-0.1)", "noise must be at least 0"),
    ],
)
def test_parameters_out_of_range_are_refused(spec, line):
    with pytest.raises(PerdureError, match=line):
        get(spec)


def test_agents_that_could_never_hear_each_other_are_refused():
    for threshold in (1, 5):
        with pytest.raises(PerdureError, match="threshold must be below 1 where there are 2 agents"):
            compare("alicebob-agents(tasks=1)", f"mcs(threshold={threshold})", seeds=1, quiet=True)


def test_who_is_absent_surprises_nobody():
    # Whatever the model is: only team-net closes what absent agents could do.
    objective, x = TeamPPO(Team(2, 5)), torch.zeros(1, 2, 3, FEATURES)
    x[:, 0, 0, PRESENT] = 1
    rows = {
        "action": torch.zeros(1, 2, dtype=torch.long), "logp": torch.zeros(1, 2), "gain": torch.ones(1),
        "value": torch.zeros(1),
    }  # fmt: skip
    output = torch.zeros(1, 11)
    zero = torch.tensor(0)
    batch = Batch({"x": x, **rows}, zero, Rng(zero, zero))
    before = objective.surprise(output, batch), objective.loss(output, batch)
    output[:, 5] = 3.0
    assert (objective.surprise(output, batch), objective.loss(output, batch)) == before
    assert before[0].item() == pytest.approx(np.log(5))


def test_a_strategy_that_says_nothing_is_refused():
    with pytest.raises(PerdureError, match="does not say what agents tell: override `channel`"):
        replace(Talking()).channel(None)
