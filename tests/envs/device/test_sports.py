"""Sports: the furthest activity by hand, counts, and a distance that has to be looked up."""

from perdure.envs.device import Action, Episode, get_task, templates

FURTHEST = {
    "sport": "Rowing", "title": "Lake loop", "far": "25", "near": "8", "nearer": "6", "further": "50",
}  # fmt: skip
DURATIONS = {"sport": "Skiing", "duration": "20", "second": "45", "third": "90"}


def begin(episode):
    episode.step(Action("open_app", app_name="Sports"))


def click(episode, *texts):
    """Click on the elements with some texts or labels, one after the other."""
    for text in texts:
        found = (one for one in episode.phone.elements() if text in (one.text, *one.details[:1]))
        episode.step(Action("click", index=next(found).index))


def declare(episode):
    return episode.step(Action("status", goal_status="complete"))


def answered(name, params, *texts):
    """Return the reward for some answers."""
    episode = Episode(templates()[name](params, seed=5))
    for text in texts:
        episode.step(Action("answer", text=text))
    return declare(episode)


def test_the_furthest_by_hand():
    episode = Episode(templates()["SportsFurthest"](FURTHEST, seed=5))
    episode.left = 30
    begin(episode)
    click(episode, "By sport", "Sport")
    spinner = next(one for one in episode.phone.elements() if one.class_name == "Spinner")
    episode.step(Action("click", index=spinner.index))
    click(episode, "Rowing")
    titles = [one.text for one in episode.phone.elements() if one.class_name == "ListItem"]
    found = {}
    for title in titles:
        click(episode, title)
        found[title] = next(
            int(one.text) for one in episode.phone.elements() if one.details == ("Kilometres",)
        )
        episode.step(Action("navigate_back"))
        click(episode, "By sport")
    assert sorted(found.values()) == [6, 8, 25]
    assert max(found, key=found.__getitem__) == "Lake loop"
    episode.step(Action("answer", text="Lake loop"))
    assert declare(episode) == 1.0


def test_another_sport_went_further_and_is_not_meant():
    episode = Episode(templates()["SportsFurthest"](FURTHEST, seed=5))
    other = next(one for one in episode.phone.records("sports.activity") if one["distance"] == 50)
    assert other["sport"] != "Rowing"
    assert answered("SportsFurthest", FURTHEST, str(other["title"])) == 0.0
    assert answered("SportsFurthest", FURTHEST, "Lake loop") == 1.0


def test_durations_count_in_any_order_but_none_may_lack():
    assert answered("SportsDurations", DURATIONS, "90, 20", "45") == 1.0
    assert answered("SportsDurations", DURATIONS, "90", "20") == 0.0
    assert answered("SportsDurations", DURATIONS, "90", "20", "45", "45") == 0.0


def test_counts_differ_from_instance_to_instance():
    counts = set()
    for index in range(12):
        task = get_task("SportsHowMany", index=index)
        phone = Episode(task).phone
        there = [one["sport"] for one in phone.records("sports.activity")].count(task.params["sport"])
        assert task.answers == [str(there)]
        counts.add(there)
    assert len(counts) > 2


def test_a_distance_is_known_once_it_has_been_seen():
    episode = Episode(get_task("SportsRepeat"))
    before = dict(zip(episode.task.params, episode.known, strict=True))
    assert [name for name, known in before.items() if not known] == ["distance", "before"]
    assert episode.play(episode.oracle()) == 1.0
    assert dict(zip(episode.task.params, episode.known, strict=True))["distance"]
