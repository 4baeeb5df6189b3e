"""A browser: a shop with an order form, and a museum whose rooms lead to each other."""

from perdure.envs.device.declare import App, One, Record, set_one
from perdure.envs.device.fields import Choice, Int, Text
from perdure.envs.device.goals import Add, Answer, Read, Set
from perdure.envs.device.screens import Act, Detail, Form, Info, List, New, Page
from perdure.envs.device.task import Given, Slot, Task, template

PRODUCTS = (
    "Desk lamp", "Water bottle", "Wool blanket", "Tea kettle", "Bread knife", "Rain jacket", "Wall clock",
    "Picture frame", "Door mat", "Garden hose", "Paint brush", "Travel pillow",
)  # fmt: skip
PRICES = tuple(f"{price} euros" for price in (5, 8, 12, 15, 19, 24, 29, 35, 42, 59))
CODES = ("KX4", "BR7", "MT2", "ZP9", "LQ5", "WD3", "HF8", "NV6", "CJ1", "SG0")
CUSTOMERS = (
    "Ms Keller", "Mr Okafor", "Dr Lind", "Ms Tanaka", "Mr Duarte", "Ms Novak", "Mr Haas", "Ms Farouk",
)  # fmt: skip
# The museum's doors: what is behind each door of a room.
DOORS = {
    "Entrance": {"East": "Map room"},
    "Map room": {"West": "Entrance", "East": "Coin room", "South": "Armoury"},
    "Coin room": {"West": "Map room"},
    "Armoury": {"North": "Map room", "South": "Library"},
    "Library": {"North": "Armoury", "West": "Greek hall", "East": "Tower"},
    "Greek hall": {"East": "Library", "North": "Cellar"},
    "Cellar": {"South": "Greek hall"},
    "Tower": {"West": "Library", "North": "Roof"},
    "Roof": {"South": "Tower"},
}
ROOMS = tuple(DOORS)


def _room(name: str) -> Info:
    doors: dict[str, Act] = {door: _screen(room) for door, room in DOORS[name].items()}
    stamp = set_one("museum", stamp=name)
    return Info(_screen(name), name, ("There is a stamp here",), {**doors, "Stamp": stamp})


def _screen(room: str) -> str:
    return f"museum.{room.lower().replace(' ', '_')}"


APP = App(
    "browser",
    "Browser",
    records=(
        Record(
            "product", {"name": Text(*PRODUCTS), "price": Text(*PRICES), "code": Text(*CODES)}, noise=(4, 7)
        ),
        Record("order", {"customer": Text(*CUSTOMERS), "code": Text(*CODES), "pieces": Int(1, 9)}, 6, (0, 2)),
        One("museum", {"stamp": Choice("No stamp", *ROOMS)}),
    ),
    screens=(
        Page("main", "Browser", links={"Shop": "shop", "Orders": "orders", "Museum": _screen("Entrance")}),
        List("shop", "product", "Shop", ("name",), "product", buttons={"Order form": New("form")}),
        Detail("product", "product", "Product", up="shop"),
        List("orders", "order", "Orders", ("customer", "code", "pieces"), "order", "form"),
        Detail("order", "order", "Order", up="orders"),
        Form("form", "order", "Order form", "orders", save="Send"),
        *(_room(name) for name in ROOMS),
    ),
)  # fmt: skip

PRODUCT = Slot("browser.product.name")


class Browser(Task):
    """What tasks of this app have in common."""

    app_names = ("browser",)


@template
class BrowserPrice(Browser):
    """Find out what a product costs."""

    template = "What does the {product} cost in the browser's shop?"
    complexity = 1.2
    tags = ("information_retrieval",)
    schema = {"product": PRODUCT, "price": Slot("browser.product.price")}
    setup = (Given("browser.product", name="{product}", price="{price}"),)
    goals = (Answer("browser.product", "price", name="{product}"),)


@template
class BrowserMuseum(Browser):
    """Find a room behind many doors, and stamp there."""

    template = "Walk through the museum in the browser to the room called {room}, and take its stamp."
    complexity = 2.4
    difficulty = "medium"
    tags = ("complex_ui",)
    schema = {"room": Slot("browser.museum.stamp", ("Library", "Greek hall", "Cellar", "Tower", "Roof"))}
    goals = (Set("browser.museum", stamp="{room}"),)


@template
class BrowserOrder(Browser):
    """Fill in a form with a code that another page shows."""

    template = (
        "Order {pieces} pieces of the {product} for {customer} in the browser's shop: the order form asks "
        "for the code that the product's page shows."
    )
    complexity = 3.0
    difficulty = "medium"
    tags = ("data_entry", "screen_reading", "transcription")
    schema = {
        "product": PRODUCT, "customer": Slot("browser.order.customer"), "code": Slot("browser.product.code"),
        "pieces": Slot("browser.order.pieces", tuple(map(str, range(2, 10)))),
    }  # fmt: skip
    setup = (Given("browser.product", name="{product}", code="{code}"),)
    goals = (
        Read("browser.product", name="{product}"),
        Add("browser.order", customer="{customer}", code="{code}", pieces="{pieces}"),
    )
