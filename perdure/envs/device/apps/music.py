"""A music player: songs, what is played next, and playlists."""

from perdure.envs.device.declare import App, Of, One, Record, set_one
from perdure.envs.device.fields import Text
from perdure.envs.device.goals import Add, Answer, Set
from perdure.envs.device.screens import Detail, Info, List, New, Search, crud, searching
from perdure.envs.device.task import Given, Slot, Task, template

SONGS = (
    "Paper boats", "Northern road", "Slow rain", "Glass city", "Last tram", "Orange sky", "Echo valley",
    "Salt and honey", "Moonlit field", "Broken compass", "Winter coat", "Little engine", "River mouth",
    "Silver thread", "Open window", "Night train home",
)  # fmt: skip
ARTISTS = (
    "The Lanterns", "Mira Vale", "Quiet Harbour", "Otto Brandt", "Seven Foxes", "Lena Moss", "Tin Orchestra",
    "Juno Park",
)  # fmt: skip
LENGTHS = tuple(f"{minutes}:{seconds}" for minutes in range(2, 7) for seconds in ("05", "21", "38", "52"))
PLAYLISTS = (
    "Sunday morning", "Workout mix", "On the road", "Dinner music", "Deep focus", "Party starters",
    "Rainy days", "Old favourites",
)  # fmt: skip
PLACES = ("first", "second", "third", "fourth")

# A song that is to be played next moves those before it one place on.
NEXT = {"first": Of("row", "title"), "second": Of("queue", "first"), "third": Of("queue", "second"),
        "fourth": Of("queue", "third")}  # fmt: skip

APP = App(
    "music",
    "Music",
    records=(
        Record(
            "song", {"title": Text(*SONGS), "artist": Text(*ARTISTS), "length": Text(*LENGTHS)}, noise=(3, 6)
        ),
        Record("playlist", {"name": Text(*PLAYLISTS), **dict.fromkeys(PLACES, Text(*SONGS))}, 6, (1, 3)),
        One("queue", dict.fromkeys(PLACES, Text(*SONGS))),
    ),
    screens=(
        List(
            "songs", "song", "Songs", ("title", "artist"), "song",
            buttons={
                "Search": set_one(searching("search"), "search", query=""), "Play next": "next",
                "Queue": "queue", "Playlists": "playlist.list",
            },
        ),
        Detail("song", "song", "Song"),
        Search("search", "song", "title", ("title", "artist"), "song"),
        List("next", "song", "Play next", ("title", "artist"), set_one("queue", "", **NEXT)),
        Info(
            "queue", "Queue", tuple(Of("queue", place) for place in PLACES),
            {
                "Save as playlist": New("playlist.form", {place: Of("queue", place) for place in PLACES}),
                "Clear": set_one("queue", **dict.fromkeys(PLACES, "")),
            },
        ),
        *crud("playlist", "Playlists", ("name", "first", "second"), up="songs"),
    ),
)  # fmt: skip

SONG, PLAYLIST = Slot("music.song.title"), Slot("music.playlist.name")


class Music(Task):
    """What tasks of this app have in common."""

    app_names = ("music",)


@template
class MusicLength(Music):
    """Find out how long a song is, where another one has the same name."""

    template = "How long is the song {title} by {artist}?"
    complexity = 1.0
    tags = ("information_retrieval",)
    schema = {
        "title": SONG, "artist": Slot("music.song.artist"), "other": Slot("music.song.artist"),
        "length": Slot("music.song.length"),
    }  # fmt: skip
    setup = (
        Given("music.song", title="{title}", artist="{artist}", length="{length}"),
        Given("music.song", title="{title}", artist="{other}"),
    )
    goals = (Answer("music.song", "length", title="{title}", artist="{artist}"),)


@template
class MusicSaveQueue(Music):
    """Save what is in the queue as a playlist."""

    template = "Save the songs of the queue as a playlist called {name}."
    complexity = 1.4
    tags = ("data_entry",)
    schema = {"name": PLAYLIST, "one": SONG, "two": SONG, "three": SONG}
    setup = (Given("music.queue", first="{one}", second="{two}", third="{three}"),)
    goals = (
        Add("music.playlist", "music/queue", name="{name}", first="{one}", second="{two}", third="{three}"),
    )


@template
class MusicCreatePlaylist(Music):
    """Create a playlist of some songs in order."""

    template = "Create a playlist called {name} with the songs {one}, {two}, {three}, in this order."
    complexity = 2.4
    difficulty = "medium"
    tags = ("data_entry", "repetition")
    schema = {"name": PLAYLIST, "one": SONG, "two": SONG, "three": SONG}
    setup = tuple(Given("music.song", title=title) for title in ("{one}", "{two}", "{three}"))
    goals = (Add("music.playlist", name="{name}", first="{one}", second="{two}", third="{three}"),)


@template
class MusicPlayNext(Music):
    """Let songs come next in some order; each that is added comes before those that were."""

    template = "Let {one}, {two}, {three} be played next, in this order; what is in the queue by now follows."
    complexity = 2.0
    difficulty = "hard"
    tags = ("complex_ui", "repetition")
    schema = {"one": SONG, "two": SONG, "three": SONG, "before": SONG}
    setup = (
        *(Given("music.song", title=title) for title in ("{one}", "{two}", "{three}", "{before}")),
        Given("music.queue", first="{before}"),
    )
    goals = (
        Set("music.queue", first="{three}"),
        Set("music.queue", first="{two}"),
        Set("music.queue", first="{one}", second="{two}", third="{three}", fourth="{before}"),
    )
