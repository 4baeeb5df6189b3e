"""What people do with a phone, by the words that they see."""

from perdure.envs.device import Action, Episode, templates


def begin(template, app, /, **params):
    """Return an episode of a template with parameters of one's own, an app being open by then."""
    episode = Episode(templates()[template](params))
    start(episode, app)
    return episode


def start(episode, app):
    episode.step(Action("open_app", app_name=app))


def click(episode, *words):
    """Click on the elements with some texts, or labels, one after the other; scroll to find them."""
    for word in words:
        for direction in ("down", "up"):
            while _index(episode, word) is None and episode.phone.can_scroll(direction):
                episode.step(Action("scroll", direction=direction))
        index = _index(episode, word)
        assert index is not None, f"{word} is not on {episode.phone.screen}"
        episode.step(Action("click", index=index))


def write(episode, **texts):
    """Type into fields, by their labels."""
    for label, text in texts.items():
        click(episode, label)
        episode.step(Action("input_text", text=text, clear_text=True))


def back(episode):
    episode.step(Action("navigate_back"))


def answer(episode, text):
    episode.step(Action("answer", text=text))


def declare(episode):
    """Say that the task is done; return the reward."""
    return episode.step(Action("status", goal_status="complete"))


def seen(episode):
    """Return the texts on the screen."""
    return [element.text for element in episode.phone.elements()]


def known(episode):
    """Return the slots whose values can be typed by number."""
    return [name for name, able in zip(episode.task.params, episode.known, strict=True) if able]


def _index(episode, word):
    found = (one.index for one in episode.phone.elements() if word in (one.text, *one.details[:1]))
    return next(found, None)
