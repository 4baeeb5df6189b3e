"""Messages: a reply by hand with the button for it, and what is recent in the inbox."""

from perdure.envs.device import Action, Episode, templates

LATEST = {
    "body": "On my way", "contact": "Ada", "latest": "Nov 10", "first": "Nov 2", "second": "Nov 7",
    "after": "Nov 13",
}  # fmt: skip
AGAIN = {"contact": "Emil", "date": "Nov 4", "body": "No problem", "other": "Nov 6"}


def begin(episode):
    episode.step(Action("open_app", app_name="Messages"))


def click(episode, *texts):
    """Click on the elements with some texts or labels, one after the other."""
    for text in texts:
        found = (one for one in episode.phone.elements() if text in (one.text, *one.details[:1]))
        episode.step(Action("click", index=next(found).index))


def declare(episode):
    return episode.step(Action("status", goal_status="complete"))


def reply(date):
    """Return an episode in which the message of some day has been replied to."""
    episode = Episode(templates()["SmsReplyToLatest"](LATEST, seed=3))
    begin(episode)
    row = next(one for one in episode.phone.elements() if date in one.details)
    episode.step(Action("click", index=row.index))
    click(episode, "Reply", "Message")
    episode.step(Action("input_text", text="On my way"))
    click(episode, "Save")
    return episode


def test_a_reply_by_hand():
    episode = reply("Nov 10")
    sent = {"contact": "Ada", "body": "On my way", "date": "Nov 15", "folder": "Sent"}
    assert sent in episode.phone.records("sms.message")
    assert declare(episode) == 1.0
    # The app, the row, Reply, the field, the text, Save, the declaration: the form knows whom it is for.
    assert episode.task.budget() - episode.left == 7


def test_neither_what_was_sent_later_nor_what_came_before_is_meant():
    for date in ("Nov 13", "Nov 7"):
        assert declare(reply(date)) == 0.0


def test_a_message_is_sent_again_with_one_button():
    for date, reward in (("Nov 4", 1.0), ("Nov 6", 0.0)):
        episode = Episode(templates()["SmsSendAgain"](AGAIN, seed=3))
        begin(episode)
        row = next(one for one in episode.phone.elements() if one.text == "Emil" and date in one.details)
        episode.step(Action("click", index=row.index))
        click(episode, "Send again")
        assert declare(episode) == reward


def test_folders_show_only_their_own():
    episode = Episode(templates()["SmsReplyToLatest"](LATEST, seed=3))
    episode.left = 20
    begin(episode)
    click(episode, "Folders")
    assert [one.text for one in episode.phone.elements()][:3] == ["Folder", "3", "Inbox"]
    click(episode, "Inbox", "Sent")
    assert [one.text for one in episode.phone.elements()][:3] == ["Folder", "1", "Sent"]


def test_the_place_of_the_event_is_what_is_sent():
    params = {"title": "Choir", "contact": "Rosa", "place": "School"}
    episode = Episode(templates()["SmsSendPlace"](params))
    assert episode.play(episode.oracle()) == 1.0
    assert [one["body"] for one in episode.phone.records("sms.message") if one["contact"] == "Rosa"] == [
        "School"
    ]
