"""This project's kinds of composers, for the registry. What a kind needs is imported when it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from image2music.composers.chat.backend import ChatBackend
    from image2music.composers.chat.composer import ChatComposer
    from image2music.composers.nano.composer import NanoComposer


class NanoKind:
    """The one composer that comes with this package."""

    form = "nano"
    is_remote = False

    def accepts(self, argument: str) -> bool:
        """It takes no argument."""
        return not argument

    def id_of(self, argument: str) -> str:
        """Hash the weights."""
        from image2music.composers.nano import patches

        return patches.nano_id()

    def load(self, argument: str) -> NanoComposer:
        """Load the weights."""
        from image2music.composers.nano.composer import load_nano

        return load_nano()

    def memory_report(self, argument: str, batch: int) -> dict[str, str]:
        """Nothing: it takes less than the libraries that run it."""
        return {}


class TransformersKind:
    """A vision-language model of the transformers library that runs in this process."""

    form = "transformers:ID_OR_PATH[@REVISION][+remote_code]"
    is_remote = False

    def accepts(self, argument: str) -> bool:
        """Any model."""
        return bool(argument)

    def id_of(self, argument: str) -> str:
        """Read the model's configuration for its revision."""
        from image2music.composers.chat.engine import loading

        return loading.model_id(loading.ModelName.parse(argument))

    def load(self, argument: str) -> ChatComposer:
        """Load weights and processor."""
        from image2music.composers.chat.composer import ChatComposer

        return ChatComposer(self.load_backend(argument))

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

    def accepts(self, argument: str) -> bool:
        """Any text; what is wrong with an address is said when it is parsed."""
        return bool(argument)

    def id_of(self, argument: str) -> str:
        """Name address and model, and the revision of the model that looks."""
        from image2music.composers.chat import server

        return server.served_id(argument)

    def load(self, argument: str) -> ChatComposer:
        """Make sure that the server answers, and load the model that looks, if one is named."""
        from image2music.composers.chat.composer import ChatComposer

        return ChatComposer(self.load_backend(argument))

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
