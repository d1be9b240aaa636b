"""Composers by their spec: `nano`, `transformers:...`, `openai:...`, and the kinds of other packages.

What a kind of this project needs is imported when it is used.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from image2music.composers.base import Composer
from image2music.composers.chat.conversations import ChatBackend
from image2music.errors import ConfigError
from image2music.plugins import Kind, KindRegistry, card_licence
from image2music.settings import Protocol as Chain
from image2music.settings import SendingOptions, Steps

if TYPE_CHECKING:
    from image2music.composers.chat.batches import BatchDesk
    from image2music.composers.chat.composer import ChatComposer
    from image2music.composers.chat.conversations import ChatBackend
    from image2music.composers.nano.composer import NanoComposer


class ComposerKind(Kind, Protocol):
    """What an entry point of the group `image2music.composers` names: an object that makes composers of one kind."""

    @property
    def is_remote(self) -> bool:
        """Whether pictures leave this machine: a dry run sends nothing and so measures no such composer."""

    @property
    def protocols(self) -> tuple[Chain, ...]:
        """The chains that it can compose by, the default first."""

    @property
    def candidates(self) -> int:
        """How many tunes are written for a picture where nobody says: 1 where each costs money."""

    def id_of(self, argument: str) -> str:
        """Return the id that the loaded composer would have; load no model and ask no server.

        Raises:
            ConfigError, ModelError: as `load`.
        """

    def load(self, argument: str) -> Composer:
        """Load the composer.

        Raises:
            ConfigError: the argument names no model.
            ModelError: the model is not there, or cannot be used.
        """

    def memory_report(self, argument: str, batch: int) -> dict[str, str]:
        """Return name and text of each line about memory for a dry run; empty where it is not worth a line.

        Raises:
            ModelError: there is no such model, or it does not say how large it is.
        """


@runtime_checkable
class ChatKind(Protocol):
    """What a kind of composer has in addition where its models are chat models, which can judge, too."""

    def load_backend(self, argument: str) -> ChatBackend:
        """Load the chat model; raises as `ComposerKind.load`."""


@runtime_checkable
class SendingKind(Protocol):
    """What a kind of composer has in addition where its composers send requests, which cost money."""

    def load_sending(self, argument: str, sending: SendingOptions) -> Composer:
        """Load the composer, to send its requests as it is told; raises as `ComposerKind.load`."""


@runtime_checkable
class SteppingKind(Protocol):
    """What a kind of composer has in addition where its models go about a tune in more or fewer steps."""

    def steps_of(self, argument: str) -> Steps:
        """Return the steps of a model where nobody says; raises as `ComposerKind.load`."""


@runtime_checkable
class BatchKind(Protocol):
    """What a kind of composer has in addition where its requests can go out in batches."""

    def load_batch_desk(self, argument: str, sending: SendingOptions) -> BatchDesk:
        """Load what sends and takes in batches; no model, and no server is asked."""


KINDS: KindRegistry[ComposerKind] = KindRegistry(
    model="composer",
    group="image2music.composers",
    own={
        "nano": "image2music.composers.registry:NANO",
        "transformers": "image2music.composers.registry:TRANSFORMERS",
        "openai": "image2music.composers.registry:OPENAI",
    },
    reason="bad_composer_spec",
)


def composer_id(spec: str) -> str:
    """Return the id of a spec's composer without loading it.

    Raises:
        ConfigError, ModelError: as `load_composer`.
    """
    kind, argument = KINDS.find(spec)
    return kind.id_of(argument)


def is_remote_composer(spec: str) -> bool:
    """Return whether a spec's composer sends pictures to a server.

    Raises:
        ConfigError: as `load_composer`.
    """
    kind, _ = KINDS.find(spec)
    return kind.is_remote


def protocols_of(spec: str) -> tuple[Chain, ...]:
    """Return the chains that a spec's composer can compose by, the default first.

    Raises:
        ConfigError: as `load_composer`.
    """
    kind, _ = KINDS.find(spec)
    return kind.protocols


def default_candidates(spec: str) -> int:
    """Return how many tunes a spec's composer writes for a picture where nobody says.

    Raises:
        ConfigError: as `load_composer`.
    """
    kind, _ = KINDS.find(spec)
    return kind.candidates


@cache
def default_steps(spec: str) -> Steps:
    """Return the steps by which a spec's composer goes about a plan and its tune where nobody says.

    Raises:
        ConfigError, ModelError: as `load_composer`.
    """
    kind, argument = KINDS.find(spec)
    return kind.steps_of(argument) if isinstance(kind, SteppingKind) else "full"


def composer_memory_report(spec: str, batch: int) -> dict[str, str]:
    """Return what a dry run says of the memory that a composer takes, line by line.

    Raises:
        ConfigError: as `load_composer`.
        ModelError: there is no such model, or it does not say how large it is.
    """
    kind, argument = KINDS.find(spec)
    return kind.memory_report(argument, batch)


def load_composer(spec: str, sending: SendingOptions = SendingOptions()) -> Composer:  # noqa: B008 - frozen
    """Load a spec's composer, once a process; one that sends nothing is the same whatever `sending` says.

    Raises:
        ConfigError: no kind of composer has that spec (`bad_composer_spec`).
        ModelError: the composer cannot be loaded.
    """
    kind, _ = KINDS.find(spec)
    return _loaded(spec, sending if isinstance(kind, SendingKind) else None)


def has_batches(spec: str) -> bool:
    """Return whether the requests of a spec's composer can go out in batches.

    Raises:
        ConfigError: as `load_composer`.
    """
    kind, _ = KINDS.find(spec)
    return isinstance(kind, BatchKind)


def load_batch_desk(spec: str, sending: SendingOptions) -> BatchDesk | None:
    """Return what sends and takes in a composer's batches; None where it has none.

    Raises:
        ConfigError: as `load_composer`.
    """
    kind, argument = KINDS.find(spec)
    return kind.load_batch_desk(argument, sending) if isinstance(kind, BatchKind) else None


@cache
def _loaded(spec: str, sending: SendingOptions | None) -> Composer:
    kind, argument = KINDS.find(spec)
    if sending is not None and isinstance(kind, SendingKind):
        return kind.load_sending(argument, sending)
    return kind.load(argument)


@cache
def load_chat_backend(spec: str) -> ChatBackend:
    """Load the chat model behind a spec, once a process.

    Raises:
        ConfigError: the spec names no composer (`bad_composer_spec`), or one that is no chat model (`no_chat_model`).
        ModelError: the model cannot be loaded.
    """
    kind, argument = KINDS.find(spec)
    if not isinstance(kind, ChatKind):
        raise ConfigError(f"{spec!r} is no chat model", reason="no_chat_model")
    return kind.load_backend(argument)


class NanoKind:
    """The one composer that comes with this package."""

    form = "nano"
    is_remote = False
    protocols: tuple[Chain, ...] = ("plan", "paper")
    candidates = 4

    def accepts(self, argument: str) -> bool:
        """It takes no argument."""
        return not argument

    def id_of(self, argument: str) -> str:
        """Hash the weights."""
        from image2music.composers.nano import patches

        return patches.nano_id()

    def licence_of(self, argument: str) -> str:
        """As its model card says (nano/network/weights/MODEL_CARD.md)."""
        return "Apache-2.0; learned from music in the public domain or under CC0"

    def load(self, argument: str) -> NanoComposer:
        """Load the weights."""
        from image2music.composers.nano.composer import load_nano

        return load_nano()

    def memory_report(self, argument: str, batch: int) -> dict[str, str]:
        """Nothing: it takes less than the libraries that run it."""
        return {}


SMALL_MODEL = 8_900_000_000
"""Numbers of the largest models that are sold as having 8 billion."""


class TransformersKind:
    """A vision-language model of the transformers library that runs in this process."""

    form = "transformers:ID_OR_PATH[@REVISION][+remote_code]"
    is_remote = False
    protocols: tuple[Chain, ...] = ("plan", "paper")
    candidates = 1

    def accepts(self, argument: str) -> bool:
        """Any model."""
        return bool(argument)

    def id_of(self, argument: str) -> str:
        """Read the model's configuration for its revision."""
        from image2music.composers.chat.engine import loading

        return loading.model_id(loading.ModelName.parse(argument))

    def licence_of(self, argument: str) -> str | None:
        """Read the card in the model's folder; of one that a hub has, nothing is known here."""
        from image2music.composers.chat.engine import loading

        return card_licence(loading.ModelName.parse(argument).name)

    def load(self, argument: str) -> ChatComposer:
        """Load weights and processor."""
        from image2music.composers.chat.composer import ChatComposer

        return ChatComposer(self.load_backend(argument))

    def steps_of(self, argument: str) -> Steps:
        """Count the model's numbers by its configuration: up to `SMALL_MODEL` of them need smaller steps."""
        from image2music.composers.chat.engine import loading

        shape = loading.shape_of(loading.read_config(loading.ModelName.parse(argument)))
        return "small" if shape.parameters <= SMALL_MODEL else "full"

    def load_backend(self, argument: str) -> ChatBackend:
        """Load weights and processor."""
        from image2music.composers.chat.engine import transformers_backend

        return transformers_backend.load_transformers_backend(argument)

    def memory_report(self, argument: str, batch: int) -> dict[str, str]:
        """Calculate weights, keys and values from the model's configuration."""
        from image2music.composers.chat.engine import loading, transformers_backend

        return transformers_backend.memory_report(loading.read_config(loading.ModelName.parse(argument)), batch)


class OpenAiKind:
    """A model behind a server that speaks OpenAI's chat completions."""

    form = "openai:BASE_URL#MODEL[+attention=transformers:ID_OR_PATH]"
    is_remote = True
    protocols: tuple[Chain, ...] = ("plan", "paper")
    candidates = 1

    def accepts(self, argument: str) -> bool:
        """Any text; what is wrong with an address is said when it is parsed."""
        return bool(argument)

    def id_of(self, argument: str) -> str:
        """Name address and model, and the revision of the model that looks."""
        from image2music.composers.chat import server

        return server.served_id(argument)

    def load(self, argument: str) -> ChatComposer:
        """Make sure that the server answers, and load the model that looks, if one is named."""
        return self.load_sending(argument, SendingOptions())

    def load_sending(self, argument: str, sending: SendingOptions) -> ChatComposer:
        """As `load`."""
        from image2music.composers.chat import server
        from image2music.composers.chat.composer import ChatComposer

        return ChatComposer(server.load_served(argument, sending))

    def load_batch_desk(self, argument: str, sending: SendingOptions) -> BatchDesk:
        """Parse the address."""
        from image2music.composers.chat import batches, server
        from image2music.composers.chat.ledger import Ledger

        ledger = Ledger(sending.ledger, sending.price, sending.max_cost)
        return batches.BatchDesk(server.ServedSpec.parse(argument).endpoint, ledger)

    def load_backend(self, argument: str) -> ChatBackend:
        """As `load`."""
        from image2music.composers.chat import server

        return server.load_served(argument)

    def memory_report(self, argument: str, batch: int) -> dict[str, str]:
        """Calculate the memory of the model that looks; the server's is its own."""
        from image2music.composers.chat import server

        return server.served_memory_report(argument)


NANO = NanoKind()
TRANSFORMERS = TransformersKind()
OPENAI = OpenAiKind()
