import ast
from pathlib import Path

import perdure.scenarios

ROOM = Path(perdure.scenarios.__file__).parent


def test_importing_the_room_is_light(fresh):
    heavy = {"torchvision", "pandas", "sklearn", "PIL", "matplotlib", "transformers", "scipy"}
    assert not heavy & fresh["scenarios"][1]


def imported(path):
    """What a file imports when it runs; what only type checkers read does not count."""
    tree = ast.parse(path.read_text())
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_the_room_imports_nothing_to_its_right():
    # Models stand to its left; of them it needs the loading of transformers alone, for sentences.
    allowed = tuple(
        f"perdure.{room}" for room in ("core", "scenarios", "envs", "models.backbones.huggingface")
    )
    for path in ROOM.rglob("*.py"):
        for name in imported(path):
            if name.startswith("perdure"):
                assert name.startswith(allowed), f"{path} imports {name}"


def test_nothing_is_unpickled():
    for path in ROOM.rglob("*.py"):
        text = path.read_text()
        for word in ("torch.load", "allow_pickle", "joblib", "import pickle", "np.load", "eval("):
            assert word not in text.replace("model.eval(", ""), f"{path} holds {word}"


def base(node):
    return getattr(node, "id", "")


def test_files_stay_small():
    for path in ROOM.rglob("*.py"):
        text = path.read_text()
        assert len(text.splitlines()) <= 300, path
        tree = ast.parse(text)
        # What a protocol asks for has no body.
        protocols = [
            n for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and "Protocol" in map(base, n.bases)
        ]
        asked = {one for protocol in protocols for one in protocol.body}
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node not in asked:
                body = node.body[1:] if ast.get_docstring(node) else node.body
                assert body, node.name
                assert node.end_lineno - body[0].lineno < 60, f"{path}: {node.name}"
