"""Maps: places, markers on them, and tracks over several of them."""

from perdure.envs.device.declare import App, Of, One, Record, add, set_one
from perdure.envs.device.fields import Choice, Text
from perdure.envs.device.goals import Add, Change, Set
from perdure.envs.device.screens import Detail, Info, List, New, Search, crud, searching
from perdure.envs.device.task import Given, Slot, Task, template

PLACES = (
    "Old mill", "Bird tower", "Harbour bridge", "Castle ruin", "Stone chapel", "Pine lake", "Fox hill",
    "Ferry landing", "Rose garden", "Signal rock", "Mountain hut", "Salt mine", "Lighthouse", "Water gate",
)  # fmt: skip
COUNTRIES = (
    "Liechtenstein", "Andorra", "Malta", "Iceland", "Slovenia", "Estonia", "Cyprus", "Luxembourg",
)  # fmt: skip
TRACKS = (
    "Autumn hike", "Easter ride", "Family walk", "Long Saturday", "Coast tour", "School trip",
    "Full moon run", "Three peaks",
)  # fmt: skip
GROUPS = ("No group", "Holidays", "Food", "Friends", "Sports", "Sights")
STOPS = ("first", "second", "third")

# A stop that is added is the last one: those before it move up.
STOP = {"first": Of("route", "second"), "second": Of("route", "third"), "third": Of("row", "name")}

APP = App(
    "maps",
    "Maps",
    records=(
        Record("place", {
            "name": Text(*PLACES), "country": Text(*COUNTRIES), "group": Choice(*GROUPS, label="Favourites"),
        }, noise=(4, 8)),
        Record("marker", {"place": Text(*PLACES), "country": Text(*COUNTRIES)}, 6, (0, 2)),
        Record("track", {"name": Text(*TRACKS), **dict.fromkeys(STOPS, Text(*PLACES))}, 6, (0, 2)),
        One("route", dict.fromkeys(STOPS, Text(*PLACES)), view=True),
    ),
    screens=(
        List(
            "places", "place", "Places", ("name", "country"), "place",
            buttons={
                "Search": set_one(searching("search"), "search", query=""), "Markers": "markers",
                "Route": "route", "Tracks": "track.list",
            },
        ),
        Detail(
            "place", "place", "Place", changes=("group",),
            buttons={"Marker": add("marker", place=Of("record", "name"), country=Of("record", "country"))},
        ),
        Search("search", "place", "name", ("name", "country"), "place"),
        List("markers", "marker", "Markers", ("place", "country"), "marker"),
        Detail("marker", "marker", "Marker", deletes="markers", up="markers"),
        Info(
            "route", "Route", tuple(Of("route", stop) for stop in STOPS),
            {
                "Stop": "stops", "Save track": New("track.form", {stop: Of("route", stop) for stop in STOPS}),
                "Clear": set_one("route", **dict.fromkeys(STOPS, "")),
            },
        ),
        List("stops", "place", "Add a stop", ("name", "country"), set_one("route", "", **STOP), up="route"),
        *crud("track", "Tracks", ("name", "first", "third"), up="places"),
    ),
)  # fmt: skip

PLACE, COUNTRY = Slot("maps.place.name"), Slot("maps.place.country")


class Maps(Task):
    """What tasks of this app have in common."""

    app_names = ("maps",)


@template
class MapsFavourite(Maps):
    """Put a place among the favourites."""

    template = "Put the place {name} in Maps among the favourites, in the group {group}."
    complexity = 1.2
    tags = ("data_edit",)
    schema = {"name": PLACE, "group": Slot("maps.place.group", GROUPS[1:])}
    setup = (Given("maps.place", name="{name}", group="No group"),)
    goals = (Change("maps.place", {"name": "{name}"}, group="{group}"),)


@template
class MapsMarker(Maps):
    """Set a marker on a place, and not on the one of the same name elsewhere."""

    template = "Set a marker on {name} in {country} in Maps."
    complexity = 1.0
    tags = ("search",)
    schema = {"name": PLACE, "country": COUNTRY, "other": COUNTRY}
    setup = (
        Given("maps.place", name="{name}", country="{country}"),
        Given("maps.place", name="{name}", country="{other}"),
    )
    goals = (Add("maps.marker", place="{name}", country="{country}"),)


@template
class MapsTrack(Maps):
    """Plan a route over several places in order, and save it as a track."""

    template = "Plan a route from {start} by way of {via} to {end} in Maps, and save it as the track {name}."
    complexity = 2.8
    difficulty = "hard"
    tags = ("complex_ui", "repetition")
    schema = {"start": PLACE, "via": PLACE, "end": PLACE, "name": Slot("maps.track.name")}
    setup = tuple(Given("maps.place", name=name) for name in ("{start}", "{via}", "{end}"))
    goals = (
        Set("maps.route", third="{start}"),
        Set("maps.route", third="{via}"),
        Set("maps.route", third="{end}"),
        Add("maps.track", "maps/route", name="{name}", first="{start}", second="{via}", third="{end}"),
    )
