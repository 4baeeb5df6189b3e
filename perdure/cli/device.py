"""What ``perdure device`` does: a task on the simulated phone, in the terminal."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Iterator

from perdure.core.errors import PerdureError, shown, unknown
from perdure.envs.android_world import AndroidEpisode, AndroidWorld
from perdure.envs.device import Action, Episode, get_task, render, templates

HELP = """\
click N, hold N          the element with this index
type TEXT                replace the text of the field in focus; "add TEXT" types behind it
clear, enter             empty the field in focus; leave it
scroll down|up, back, home, open APP, wait
answer TEXT              several: with commas
done, impossible         declare the task complete, or infeasible
quit"""
# Of an index; no screen has so many elements.
DIGITS = 6
# Words that stand for an action by themselves.
ALONE = {
    "back": Action("navigate_back"), "home": Action("navigate_home"), "wait": Action("wait"),
    "enter": Action("keyboard_enter"), "done": Action("status", goal_status="complete"),
    "clear": Action("input_text", text="", clear_text=True),
    "impossible": Action("status", goal_status="infeasible"),
}  # fmt: skip
# Words that something follows.
FOLLOWED: dict[str, Callable[[str], Action]] = {
    "click": lambda rest: Action("click", index=_index(rest)),
    "hold": lambda rest: Action("long_press", index=_index(rest)),
    "type": lambda rest: Action("input_text", text=rest, clear_text=True),
    "add": lambda rest: Action("input_text", text=rest),
    "scroll": lambda rest: Action("scroll", direction=rest),
    "open": lambda rest: Action("open_app", app_name=rest),
    "answer": lambda rest: Action("answer", text=rest),
}


def listing() -> Iterator[str]:
    """Give a line for each template: its name and its wording."""
    every = templates()
    width = max(map(len, every))
    for name, kind in every.items():
        yield f"{name:<{width}}  {kind.template}"


def simulated(name: str, seed: int, index: int, oracle: bool) -> None:
    """Let the user, or the oracle, carry out a task on the simulated phone."""
    episode = Episode(get_task(name, seed, index))
    play(episode, episode.oracle() if oracle else None)


def real(python: str, name: str | None, seed: int, index: int, oracle: bool) -> None:
    """Let the user carry out a task of AndroidWorld's, which a Python of the user's has; or list them."""
    if oracle:
        raise PerdureError("expected --oracle or --android-world: AndroidWorld has no oracle; found both")
    with AndroidWorld(python) as world:
        if name is None:
            print("\n".join(world.tasks()))
            return
        play(world.episode(name, seed, index))


def play(episode: Episode | AndroidEpisode, actions: Iterable[Action] | None = None) -> None:
    """Let the user carry out a task, or show how actions do; print screens, and how it ended."""
    print(f"{episode.task.goal} ({episode.left} steps)\n\n{render(episode.phone)}")
    if actions is None:
        print(f"\n{HELP}")
    for action in asked() if actions is None else actions:
        if actions is not None:
            print(f"\n> {written(action)}")
        episode.step(action)
        print(f"\n{render(episode.phone)}")
        if episode.over:
            break
    result = "reached" if episode.reward else "not reached"
    print(f"\n{result}, {episode.left} steps left")


def asked() -> Iterator[Action]:
    """Give the actions that the user types, until there are no more; what is none is said to be."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    while True:
        print("\n> ", end="", flush=True)
        line = sys.stdin.readline()
        if not line or line.strip() == "quit":
            return
        try:
            yield read(line)
        except PerdureError as error:
            print(f"perdure: {error}")


def read(line: str) -> Action:
    """Return the action that a line means.

    >>> read("click 3")
    Action('click', index=3)
    """
    word, _, rest = line.strip().partition(" ")
    rest = rest.strip()
    if word in ALONE and not rest:
        return ALONE[word]
    if word in FOLLOWED and rest:
        return FOLLOWED[word](rest)
    if word in FOLLOWED or word in ALONE or word == "quit":
        raise PerdureError(
            f"expected {word}{' and what' if word in FOLLOWED else ' alone'}; found {shown(line.strip())}"
        )
    raise unknown("action", word, [*ALONE, *FOLLOWED, "quit"])


def written(action: Action) -> str:
    """Return what a user would type for an action.

    >>> written(Action("open_app", app_name="Settings"))
    'open Settings'
    """
    for word, one in ALONE.items():
        if one == action:
            return word
    rest = next(
        str(v) for v in (action.index, action.text, action.direction, action.app_name) if v is not None
    )
    words = FOLLOWED if action.index is None else ("click", "hold")
    return next(f"{word} {rest}" for word in words if _reads(f"{word} {rest}") == action)


def _reads(line: str) -> Action | None:
    """Return the action that a line means, if any."""
    try:
        return read(line)
    except PerdureError:
        return None


def _index(text: str) -> int:
    if not text.isdecimal() or len(text) > DIGITS:
        raise PerdureError(f"expected the index of an element; found {shown(text)}")
    return int(text)
