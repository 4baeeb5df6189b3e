"""A simulated phone: apps, screens, and tasks on them, in the manner of AndroidWorld (arXiv 2405.14573).

A task says in words what is to be done. An agent clicks, scrolls and types until it declares that it is done;
it has succeeded if the phone holds exactly what was asked for, and all else as before.

>>> from perdure.envs.device import Action, Episode, get_task, render
>>> episode = Episode(get_task("SettingsWifi"))
>>> episode.task.goal
'Turn Wi-Fi on.'
>>> episode.step(Action("open_app", app_name="Settings"))
0.0
>>> print(render(episode.phone).splitlines()[0])
settings/main

There are two forms of the same phone. The readable one, :class:`Phone`, holds typed records and shows a
list of elements; the other, :class:`Device`, is an :class:`perdure.envs.Env` that runs thousands of phones
at once over tensors. Both follow the same declarations, and tests hold them against each other step by
step. No score here is a score on AndroidWorld, which runs real apps; :mod:`perdure.envs.android_world` brings
what was made for the readable phone there.

Both can be varied: parameters from a part of their values, ``get_task(name, part=0, parts=2)``, other screens
for the same apps, ``get_task(name, version=1)`` (:mod:`~perdure.envs.device.versions`), and for the batched
phone other places of all elements, ``Device(layout=1)`` (:mod:`~perdure.envs.device.layouts`).

**To add an app**, add one file ``perdure/envs/device/apps/<app>.py``. It is found by itself. It has:

``APP``, an :class:`~perdure.envs.device.declare.App`: name (that of the file), title (what the icon says),
``records``, ``screens``. The first screen is where the app opens.

*Records* (:mod:`~perdure.envs.device.declare`): ``Record(name, fields)`` is a type that the app holds up to
12 of (``capacity``), ``One(name, fields)`` one that there is exactly one of: settings, or with
``view=True`` what is looked at, such as the folder that a list shows. At most ten fields; the first of a
`Record` is a ``Text`` that its rows are known by. Fields (:mod:`~perdure.envs.device.fields`):
``Text(*values)`` (typed; the vocabulary that contents and parameters are drawn from), ``Choice(*values)``
(picked from a list; the first is the default), ``Bool()``, ``Int(low, high, step)``, ``Date()``, ``Time()``
(typed), all with ``default=`` and ``label=``. Texts have no commas. Other apps' records are called
``"calendar.event"``.

*Screens* (:mod:`~perdure.envs.device.screens`): ``List``, ``Search``, ``Detail``, ``Form``, ``Page``
(settings), ``Info`` (lines to read), ``Confirm``; pickers of choices are made by themselves. ``crud(record,
title, shows)`` gives list, detail, form, and with ``search="title"`` a search: ``"event.list"``,
``"event.detail"``, ... What a button does is the name of a screen, ``New(form)``, ``Edit(form)``, or an
effect of :mod:`~perdure.envs.device.declare`: ``put(done=True)`` (fields of the open record),
``set_one("timer", running=True)``, ``add("photo", mode=Of("camera", "mode"))`` (a record without a form;
not beside rows), ``go(screen)``, or ``Effect(...)`` itself. An effect writes to one record, besides drafts
and views. A click on a row may write too: ``opens=set_one("view", "note.list", folder=Of("row", "name"))``.

*Templates*: classes derived from :class:`Task` with ``@template``. ``schema`` maps slots to
``Slot("app.record.field")`` or ``Slot(among=(...))``; all slots of a task get different values. ``setup``
is what is there before: ``Given("app.record", title="{title}")``, other fields are drawn. A few random
records of each type are there besides (``noise``); none has a slot's value in the slot's own field, or in
one that a goal writes it to, so nothing is ambiguous that ``setup`` does not make so, and nothing is done
before. ``goals`` (:mod:`~perdure.envs.device.goals`): ``Add``, ``Change(record, where, **new)``,
``Remove``, ``Set`` (a `One`), ``Answer(record, field, **where)``, ``Number(record, field=value)`` (how
many; needs a `List` whose ``where`` is by that field), ``Read`` (look at a record whose hidden slots are
needed later). Expected contents, success and the oracle's steps follow from the goals. A slot that the
wording does not name is hidden. Where a goal writes it, it can be typed by number once a screen has shown
it, and observations say where it stands; other hidden slots, such as what is asked for, have to be found
(:meth:`Task.usable`). ``complexity`` is a tenth of the budget in steps; the oracle needs fewer.

*Test*: ``tests/envs/device/test_every_template.py`` runs every template; add a file of your own for what is
special.
"""

from perdure.envs.device.actions import Action
from perdure.envs.device.declare import App
from perdure.envs.device.episode import Episode
from perdure.envs.device.oracle import Oracle
from perdure.envs.device.phone import Element, Phone
from perdure.envs.device.render import render
from perdure.envs.device.task import Given, Slot, Task, get_task, template, templates
from perdure.envs.device.world import Device

__all__ = [
    "Action", "App", "Device", "Element", "Episode", "Given", "Oracle", "Phone", "Slot", "Task", "get_task",
    "render", "template", "templates",
]  # fmt: skip
