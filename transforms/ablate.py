"""The loop of a variant, beside those of others in one job."""

from __future__ import annotations

from dataclasses import replace

from image2music.ablations import Variant
from image2music.composers import specs
from image2music.composers.base import Composer, Looking
from image2music.config import LoopSettings
from image2music.loop.compose import MAPS_ALONE
from transforms.compose import ComposeTunes


class ComposeVariant(ComposeTunes):
    """As `ComposeTunes`, by a composer that lacks a part."""

    def __init__(
        self,
        variant: Variant,
        composer_spec: str,
        loop: LoopSettings,
        seed: int,
        batch_size: int,
        looking: Looking = MAPS_ALONE,
    ) -> None:
        super().__init__(composer_spec, replace(loop, accept=variant.accept), seed, batch_size, looking)
        self.stage = f"compose_{variant.name}"
        self._alter = variant.alter

    def load_model(self) -> Composer:
        """The altered composer; the model inside is shared with all other stages of this process."""
        return self._alter(specs.load_composer(self._spec))
