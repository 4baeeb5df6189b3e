"""Text messages: received, sent, and not yet sent."""

from typing import ClassVar

from perdure.envs.device.declare import App, Of, One, Record, add
from perdure.envs.device.fields import Choice, Date, Text
from perdure.envs.device.goals import Add, Read
from perdure.envs.device.screens import List, New, crud
from perdure.envs.device.task import Given, Slot, Task, template

NAMES = (
    "Ada", "Bela", "Chen", "Dora", "Emil", "Fatima", "Goran", "Hanna", "Ivo", "Jasmin", "Kofi", "Lena",
    "Mateo", "Nadia", "Omar", "Paula", "Quentin", "Rosa", "Stefan", "Tomoko",
)  # fmt: skip
BODIES = (
    "On my way", "Are you free tonight?", "The train is late", "Happy birthday!", "Call me back please",
    "Dinner is ready", "See you at eight", "I have found your keys", "Thanks for yesterday",
    "Can we move it?", "The parcel is here", "Good luck for the test", "Did you lock the door?",
    "The meeting is over", "Bring an umbrella", "Which bus do I take?", "I will be ten minutes late",
    "Same place as always", "No problem", "Who is picking up the kids?",
)  # fmt: skip
TODAY = "Nov 15"
FOLDERS = ("Sent", "Inbox", "Drafts")

APP = App(
    "sms",
    "Messages",
    records=(
        Record("message", {
            "contact": Text(*NAMES), "body": Text(*BODIES, label="Message"), "date": Date(TODAY),
            "folder": Choice(*FOLDERS),
        }),
        One("view", {"folder": Choice(*FOLDERS, default="Inbox")}, view=True),
    ),
    screens=(
        *crud(
            "message", "Messages", ("contact", "body", "date"), search="contact",
            buttons={"Folders": "folder"},
            actions={
                "Reply": New("message.form", {"contact": Of("record", "contact")}),
                "Forward": New("message.form", {"body": Of("record", "body")}),
                "Send again": add(
                    "message", "message.list", contact=Of("record", "contact"), body=Of("record", "body")
                ),
            },
        ),
        List(
            "folder", "message", "Folder", ("contact", "body", "date"), "message.detail",
            controls=("view.folder",), where=("folder", Of("view", "folder")),
        ),
    ),
)  # fmt: skip

CONTACT, BODY, DATE = Slot("sms.message.contact"), Slot("sms.message.body"), Slot("sms.message.date")
FIRST = Slot("sms.message.date", among=tuple(f"Nov {day}" for day in range(1, 5)))
SECOND = Slot("sms.message.date", among=tuple(f"Nov {day}" for day in range(5, 9)))
LATEST = Slot("sms.message.date", among=tuple(f"Nov {day}" for day in range(9, 13)))
AFTER = Slot("sms.message.date", among=("Nov 13", "Nov 14"))


class Sms(Task):
    """What tasks of this app have in common."""

    app_names: ClassVar[tuple[str, ...]] = ("sms",)


@template
class SmsSend(Sms):
    """Send a message."""

    template = "Send {contact} a text message: {body}."
    complexity = 1.6
    tags = ("data_entry",)
    schema = {"contact": CONTACT, "body": BODY}
    goals = (Add("sms.message", contact="{contact}", body="{body}"),)


@template
class SmsSendAgain(Sms):
    """Send a message once more, and not the other one to the same person."""

    template = "The text message to {contact} of {date} has not arrived: send it again."
    complexity = 1.0
    tags = ("data_entry",)
    schema = {"contact": CONTACT, "date": DATE, "body": BODY, "other": DATE}
    setup = (
        Given("sms.message", contact="{contact}", body="{body}", date="{date}", folder="Sent"),
        Given("sms.message", contact="{contact}", date="{other}", folder="Sent"),
    )
    goals = (Add("sms.message", contact="{contact}", body="{body}"),)


@template
class SmsForward(Sms):
    """Forward a message to somebody else."""

    template = "Forward the text message that came from {contact} on {date} to {other}."
    complexity = 2.0
    tags = ("data_entry", "transcription")
    schema = {"contact": CONTACT, "date": DATE, "other": CONTACT, "body": BODY, "before": DATE}
    setup = (
        Given("sms.message", contact="{contact}", body="{body}", date="{date}", folder="Inbox"),
        Given("sms.message", contact="{contact}", date="{before}", folder="Inbox"),
    )
    goals = (
        Read("sms.message", contact="{contact}", date="{date}"),
        Add("sms.message", contact="{other}", body="{body}"),
    )


@template
class SmsReplyToLatest(Sms):
    """Reply to whoever has written last; what was sent later does not count."""

    template = "Reply to the most recent text message in the inbox: {body}."
    complexity = 2.0
    difficulty = "medium"
    tags = ("data_entry", "screen_reading")
    schema = {
        "body": BODY, "contact": CONTACT, "latest": LATEST, "first": FIRST, "second": SECOND, "after": AFTER,
    }  # fmt: skip
    setup = (
        Given("sms.message", contact="{contact}", date="{latest}", folder="Inbox"),
        Given("sms.message", date="{first}", folder="Inbox"),
        Given("sms.message", date="{second}", folder="Inbox"),
        Given("sms.message", date="{after}", folder="Sent"),
    )
    goals = (
        Read("sms.message", contact="{contact}"),
        Add("sms.message", contact="{contact}", body="{body}"),
    )
    # Others might be more recent.
    noise = {"sms.message": (0, 0)}


@template
class SmsSendPlace(Sms):
    """Send the place of an event in the calendar."""

    template = (
        "Look up in the calendar where the event {title} is, and send {contact} the place as a text message."
    )
    app_names = ("sms", "calendar")
    complexity = 2.2
    difficulty = "medium"
    tags = ("data_entry", "multi_app", "transcription")
    schema = {
        "title": Slot("calendar.event.title"),
        "contact": CONTACT,
        "place": Slot("calendar.event.place"),
    }
    setup = (Given("calendar.event", title="{title}", place="{place}"),)
    goals = (
        Read("calendar.event", title="{title}"),
        Add("sms.message", contact="{contact}", body="{place}"),
    )


@template
class SmsReplyToAll(Sms):
    """Reply to all who have written the same."""

    template = "Three people have sent the text message {question}: reply to each of them with {body}."
    complexity = 5.0
    difficulty = "hard"
    tags = ("data_entry", "repetition", "screen_reading")
    schema = {"question": BODY, "body": BODY, "contact": CONTACT, "second": CONTACT, "third": CONTACT}
    setup = tuple(
        Given("sms.message", contact=contact, body="{question}", folder="Inbox")
        for contact in ("{contact}", "{second}", "{third}")
    )
    goals = (
        Read("sms.message", body="{question}"),
        *(
            Add("sms.message", contact=contact, body="{body}")
            for contact in ("{contact}", "{second}", "{third}")
        ),
    )
