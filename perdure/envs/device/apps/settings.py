"""Settings of the phone: network, display, sound, battery, system."""

from typing import ClassVar

from perdure.envs.device.declare import App, Of, One, set_one
from perdure.envs.device.fields import Bool, Choice, Int
from perdure.envs.device.goals import Answer, Set
from perdure.envs.device.screens import Info, Page
from perdure.envs.device.task import Given, Slot, Task, template

NETWORKS = (
    "Home network", "Office network", "Cafe network", "Library network", "Guest network", "Station network",
)  # fmt: skip
TONES = (
    "Bell", "Chimes", "Waterfall", "Marimba", "Whistle", "Drums", "Harp", "Crickets", "Old phone", "Trumpet",
    "Raindrops", "Gong",
)  # fmt: skip
LANGUAGES = (
    "English", "German", "French", "Spanish", "Italian", "Portuguese", "Dutch", "Polish", "Turkish", "Greek",
    "Hindi", "Japanese", "Korean", "Arabic",
)  # fmt: skip
TIMEOUTS = ("15 seconds", "30 seconds", "1 minute", "2 minutes", "5 minutes", "10 minutes")
VERSIONS = tuple(f"Version {number}" for number in range(9, 16))

APP = App(
    "settings",
    "Settings",
    records=(
        One("network", {
            "wifi": Bool(label="Wi-Fi"), "network": Choice("No network", *NETWORKS), "bluetooth": Bool(),
            "airplane": Bool(label="Airplane mode"), "data": Bool(default=True, label="Mobile data"),
            "hotspot": Bool(),
        }),
        One("display", {
            "brightness": Int(0, 100, 10, default=50), "dark": Bool(label="Dark theme"),
            "timeout": Choice(*TIMEOUTS, label="Screen timeout"), "turns": Bool(label="Turn with the phone"),
            "size": Choice("Small", "Medium", "Large", "Huge", default="Medium", label="Text size"),
        }),
        One("sound", {
            "media": Int(0, 15, default=7, label="Media volume"),
            "ring": Int(0, 15, default=9, label="Ring volume"),
            "vibrates": Bool(label="Vibrate"), "quiet": Bool(label="Do not disturb"),
            "tone": Choice(*TONES, label="Ringtone"),
        }),
        One("battery", {"saver": Bool(label="Battery saver"), "level": Int(1, 100, default=80)}),
        One("system", {"language": Choice(*LANGUAGES), "clock": Bool(default=True, label="24-hour clock")}),
        One("about", {"version": Choice(*VERSIONS)}),
    ),
    screens=(
        Page("main", "Settings", links={
            "Network": "network", "Display": "display", "Sound": "sound", "Battery": "battery",
            "System": "system", "About phone": "about",
        }),
        Page("network", "Network", (
            "network.wifi", "network.network", "network.bluetooth", "network.airplane", "network.data",
            "network.hotspot",
        )),
        Page(
            "display", "Display",
            ("display.brightness", "display.dark", "display.timeout", "display.turns", "display.size"),
            {"Dimmest": set_one("display", brightness=0), "Brightest": set_one("display", brightness=100)},
        ),
        Page("sound", "Sound", ("sound.media", "sound.ring", "sound.vibrates", "sound.quiet", "sound.tone")),
        Page("battery", "Battery", ("battery.saver",), links={"Level": "level"}),
        Info("level", "Battery level", (Of("battery", "level"), "Percent of a full battery"), up="battery"),
        Page("system", "System", ("system.language", "system.clock")),
        Info("about", "About phone", ("Simulated phone", Of("about", "version"))),
    ),
)  # fmt: skip

# Slots of a task differ: the state before is the other one.
STATE, BEFORE = Slot(among=("on", "off")), Slot(among=("on", "off"))


class Settings(Task):
    """What tasks of this app have in common."""

    app_names = ("settings",)
    complexity = 1.0
    tags: ClassVar[tuple[str, ...]] = ("complex_ui",)


@template
class SettingsWifi(Settings):
    """Turn Wi-Fi on or off."""

    template = "Turn Wi-Fi {state}."
    schema = {"state": STATE, "before": BEFORE}
    setup = (Given("settings.network", wifi="{before}"),)
    goals = (Set("settings.network", wifi="{state}"),)


@template
class SettingsBluetooth(Settings):
    """Turn Bluetooth on or off."""

    template = "Turn Bluetooth {state}."
    schema = {"state": STATE, "before": BEFORE}
    setup = (Given("settings.network", bluetooth="{before}"),)
    goals = (Set("settings.network", bluetooth="{state}"),)


@template
class SettingsAirplane(Settings):
    """Turn airplane mode on or off."""

    template = "Turn airplane mode {state}."
    schema = {"state": STATE, "before": BEFORE}
    setup = (Given("settings.network", airplane="{before}"),)
    goals = (Set("settings.network", airplane="{state}"),)


@template
class SettingsBatterySaver(Settings):
    """Turn the battery saver on or off."""

    template = "Turn the battery saver {state}."
    schema = {"state": STATE, "before": BEFORE}
    setup = (Given("settings.battery", saver="{before}"),)
    goals = (Set("settings.battery", saver="{state}"),)


@template
class SettingsBrightness(Settings):
    """Set the brightness to a level."""

    template = "Set the brightness of the display to {level}."
    schema = {"level": Slot("settings.display.brightness"), "before": Slot("settings.display.brightness")}
    setup = (Given("settings.display", brightness="{before}"),)
    goals = (Set("settings.display", brightness="{level}"),)


@template
class SettingsBrightest(Settings):
    """Set the brightness to its maximum."""

    template = "Make the display as bright as it can be."
    goals = (Set("settings.display", brightness=100),)


@template
class SettingsDimmest(Settings):
    """Set the brightness to its minimum."""

    template = "Make the display as dim as it can be."
    goals = (Set("settings.display", brightness=0),)


@template
class SettingsTimeout(Settings):
    """Choose when the screen turns off."""

    template = "Let the screen turn off after {timeout}."
    schema = {"timeout": Slot("settings.display.timeout"), "before": Slot("settings.display.timeout")}
    setup = (Given("settings.display", timeout="{before}"),)
    goals = (Set("settings.display", timeout="{timeout}"),)


@template
class SettingsRingtone(Settings):
    """Choose a ringtone from a list that scrolls."""

    template = "Change the ringtone to {tone}."
    complexity = 1.2
    schema = {"tone": Slot("settings.sound.tone"), "before": Slot("settings.sound.tone")}
    setup = (Given("settings.sound", tone="{before}"),)
    goals = (Set("settings.sound", tone="{tone}"),)


@template
class SettingsLanguage(Settings):
    """Choose a language from a list that scrolls."""

    template = "Change the language of the phone to {language}."
    complexity = 1.2
    schema = {"language": Slot("settings.system.language"), "before": Slot("settings.system.language")}
    setup = (Given("settings.system", language="{before}"),)
    goals = (Set("settings.system", language="{language}"),)


@template
class SettingsVolume(Settings):
    """Set the volume of media."""

    template = "Set the media volume to {level}."
    schema = {"level": Slot("settings.sound.media"), "before": Slot("settings.sound.media")}
    setup = (Given("settings.sound", media="{before}"),)
    goals = (Set("settings.sound", media="{level}"),)


@template
class SettingsVersion(Settings):
    """Find out the system's version."""

    template = "Which version of the system does the phone have? Answer as it is shown."
    tags = ("information_retrieval",)
    schema = {"version": Slot("settings.about.version")}
    setup = (Given("settings.about", version="{version}"),)
    goals = (Answer("settings.about", "version"),)


@template
class SettingsBatteryLevel(Settings):
    """Find out how full the battery is."""

    template = "How many percent of the battery are left?"
    tags = ("information_retrieval",)
    schema = {"level": Slot("settings.battery.level")}
    setup = (Given("settings.battery", level="{level}"),)
    goals = (Answer("settings.battery", "level"),)


@template
class SettingsNetwork(Settings):
    """Turn Wi-Fi on and join a network."""

    template = "Turn Wi-Fi on and connect to {network}."
    complexity = 1.4
    difficulty = "medium"
    schema = {"network": Slot("settings.network.network", among=NETWORKS)}
    goals = (Set("settings.network", wifi=True, network="{network}"),)


@template
class SettingsSwapRadios(Settings):
    """Turn Wi-Fi off and Bluetooth on."""

    template = "Turn Wi-Fi off, then turn Bluetooth and the hotspot on."
    complexity = 1.4
    difficulty = "medium"
    tags = ("complex_ui", "repetition")
    setup = (Given("settings.network", wifi=True),)
    goals = (Set("settings.network", wifi=False, bluetooth=True, hotspot=True),)


@template
class SettingsNight(Settings):
    """Prepare the phone for the night, on several pages."""

    template = "Prepare the phone for the night: dark theme, do not disturb, ring volume {ring}, {size} text."
    complexity = 3.0
    difficulty = "medium"
    tags = ("complex_ui", "repetition")
    schema = {
        "ring": Slot("settings.sound.ring"),
        "size": Slot("settings.display.size", among=("Small", "Large", "Huge")),
        "before": Slot("settings.sound.ring"),
    }  # fmt: skip
    setup = (Given("settings.sound", ring="{before}"),)
    goals = (
        Set("settings.display", dark=True, size="{size}"),
        Set("settings.sound", quiet=True, ring="{ring}"),
    )
