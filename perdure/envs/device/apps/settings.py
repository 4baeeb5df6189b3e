"""Settings of the phone: network, display, sound, battery, storage."""

from perdure.envs.device.declare import App, Of, One
from perdure.envs.device.fields import Bool, Choice, Int
from perdure.envs.device.goals import Answer, Set
from perdure.envs.device.screens import Info, Page
from perdure.envs.device.task import Given, Slot, Task, template

NETWORKS = ("Home network", "Office network", "Cafe network", "Library network", "Guest network")

APP = App(
    "settings",
    "Settings",
    records=(
        One("network", {
            "wifi": Bool(label="Wi-Fi"), "network": Choice("None", *NETWORKS), "bluetooth": Bool(),
            "airplane": Bool(label="Airplane mode"), "data": Bool(default=True, label="Mobile data"),
        }),
        One("display", {
            "brightness": Int(0, 100, 10, default=50), "dark": Bool(label="Dark theme"),
            "timeout": Choice("1 minute", "2 minutes", "5 minutes", "10 minutes", label="Screen timeout"),
        }),
        One("about", {"version": Choice("Version 12", "Version 13", "Version 14")}),
    ),
    screens=(
        Page("main", "Settings", links={"Network": "network", "Display": "display", "About phone": "about"}),
        Page("network", "Network", ("network.wifi", "network.network", "network.bluetooth", "network.airplane",
                                    "network.data")),
        Page("display", "Display", ("display.brightness", "display.dark", "display.timeout")),
        Info("about", "About phone", ("Perdure phone", Of("about", "version"))),
    ),
)  # fmt: skip


@template
class SettingsWifi(Task):
    """Turn Wi-Fi on."""

    template = "Turn Wi-Fi on."
    app_names = ("settings",)
    complexity = 1.0
    goals = (Set("settings.network", wifi=True),)


@template
class SettingsBrightness(Task):
    """Set the brightness to a level."""

    template = "Set the brightness of the display to {level}."
    app_names = ("settings",)
    complexity = 1.0
    schema = {"level": Slot("settings.display.brightness")}
    goals = (Set("settings.display", brightness="{level}"),)


@template
class SettingsVersion(Task):
    """Find out the version."""

    template = "Which version of the system does the phone have?"
    app_names = ("settings",)
    complexity = 1.0
    tags = ("information_retrieval",)
    schema = {"version": Slot("settings.about.version")}
    setup = (Given("settings.about", version="{version}"),)
    goals = (Answer("settings.about", "version"),)
