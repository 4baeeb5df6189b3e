"""An address book, in which contacts can be left as drafts."""

from perdure.envs.device.declare import App, Record
from perdure.envs.device.fields import Bool, Choice, Text
from perdure.envs.device.goals import Add
from perdure.envs.device.screens import crud
from perdure.envs.device.task import Slot, Task, template

NAMES = (
    "Ada Brook", "Ben Ito", "Cleo Marsh", "Dan Petrov", "Eva Lindgren", "Finn Abara", "Grace Liu",
    "Hugo Santos", "Iris Vogel", "Jon Meyer", "Kaya Demir", "Leo Fischer", "Mara Quinn", "Nils Berg",
    "Olga Ruiz",
)  # fmt: skip
NUMBERS = tuple(f"555 {number}" for number in range(1043, 2000, 68))
COMPANIES = (
    "North Bakery", "City Clinic", "Hill School", "Blue Travel", "Stone Works", "Green Energy", "Star Cinema",
    "Lake Hotel",
)  # fmt: skip
KINDS = ("Mobile", "Home", "Work", "Fax", "Other")

APP = App(
    "contacts",
    "Contacts",
    records=(
        Record("contact", {
            "name": Text(*NAMES), "phone": Text(*NUMBERS), "kind": Choice(*KINDS, label="Kind of number"),
            "company": Text(*COMPANIES), "draft": Bool(),
        }, noise=(3, 8)),
    ),
    screens=crud("contact", "Contacts", ("name", "phone"), search="name"),
)  # fmt: skip

NAME, PHONE = Slot("contacts.contact.name"), Slot("contacts.contact.phone")


class Contacts(Task):
    """What tasks of this app have in common."""

    app_names = ("contacts",)


@template
class ContactsAdd(Contacts):
    """Add a contact."""

    template = "Add {name} with the number {phone} to the contacts."
    complexity = 1.8
    tags = ("data_entry",)
    schema = {"name": NAME, "phone": PHONE}
    goals = (Add("contacts.contact", name="{name}", phone="{phone}"),)


@template
class ContactsDraft(Contacts):
    """Prepare a contact that stays a draft."""

    template = (
        "Prepare a contact, but only as a draft: {name} at {company}, number {phone}, of the kind {kind}."
    )
    complexity = 2.8
    difficulty = "medium"
    tags = ("data_entry", "complex_ui")
    schema = {
        "name": NAME, "company": Slot("contacts.contact.company"), "phone": PHONE,
        "kind": Slot("contacts.contact.kind", KINDS[1:]),
    }  # fmt: skip
    goals = (
        Add(
            "contacts.contact", name="{name}", phone="{phone}", kind="{kind}", company="{company}", draft=True
        ),
    )
