"""The stage that composes: the loop from plan to explanation (`image2music/loop`), or that of an ablation's variant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from apache_beam.metrics import Metrics

from image2music.composers import registry
from image2music.composers.base import AttentionOptions, Composer, ComposeRequest
from image2music.failures import map_catching
from image2music.loop.ablations import Variant
from image2music.loop.chain import MAPS_ALONE, compose_batch
from image2music.music.planning.lasting import duration_text
from image2music.rights import ModelLicences, longest_copied_run, rights_row
from image2music.settings import LoopSettings, SendingOptions, picture_seed
from image2music.types import ComposedTune, RefinedTune, RetrievedContext
from transforms.stage import NAMESPACE, StageHandler

WITHOUT_ATTENTION = "compose.without_attention."
"""Before the reason, the name of the counter of tunes whose attention is not known."""


class ComposeTunes(StageHandler[RetrievedContext, RefinedTune, Composer]):
    """Compose a finished tune for each picture.

    `seeds` are those of further takes, by image_id; `length` is how many seconds each lasts, `seamless` that it loops.
    """

    stage = "compose"

    def __init__(
        self,
        composer_spec: str,
        loop: LoopSettings,
        seed: int,
        batch_size: int,
        attention_options: AttentionOptions = MAPS_ALONE,
        seeds: Mapping[str, int] | None = None,
        style: str = "",
        sending: SendingOptions = SendingOptions(),  # noqa: B008 - frozen
        language: str = "en",
        licences: ModelLicences = ModelLicences(),  # noqa: B008 - frozen
        length: float | None = None,
        seamless: bool = False,
    ) -> None:
        super().__init__(batch_size)
        self._spec = composer_spec
        self._loop = loop
        self._seed = seed
        self._seeds = seeds or {}
        self._attention_options = attention_options
        self._style = style
        self._sending = sending
        self._language = language
        self._licences = licences
        self._length = "" if length is None else duration_text(length)
        self._seamless = seamless

    def load_model(self) -> Composer:
        """Load the composer, which the describing stage of this process shares."""
        return registry.load_composer(self._spec, self._sending)

    def place(self, element: RetrievedContext) -> tuple[str, str]:
        """Return the picture's id and place."""
        return element.described.ref.image_id, element.described.ref.uri

    def work(self, batch: Sequence[RetrievedContext], model: Composer) -> list[RefinedTune | Exception]:
        """Run the whole batch through the loop."""
        tunes = compose_batch(model, [self._request(context) for context in batch], self._loop, self._attention_options)
        for tune in tunes:
            if not isinstance(tune, Exception) and tune.explanation.attention_missing:
                Metrics.counter(NAMESPACE, WITHOUT_ATTENTION + tune.explanation.attention_missing).inc()
        return map_catching(lambda made: self._refined(*made, model.id), list(zip(batch, tunes, strict=True)))

    def _refined(self, context: RetrievedContext, tune: ComposedTune | Exception, composer_id: str) -> RefinedTune:
        if isinstance(tune, Exception):
            raise tune
        references = [vars(reference) for reference in context.references]
        copied = longest_copied_run(tune.draft.abc, tune.plan, references)
        return RefinedTune(context, tune, rights=rights_row(composer_id, self._licences, references, copied))

    def _request(self, context: RetrievedContext) -> ComposeRequest:
        described = context.described
        return ComposeRequest(
            image_id=described.ref.image_id,
            image=described.image,
            description=described.description,
            references=context.references,
            seed=picture_seed(self._seeds.get(described.ref.image_id, self._seed), described.ref.image_id),
            album=described.ref.brief.part,
            constraints=described.ref.brief.constraints(self._style, self._length, self._seamless),
            plan=described.ref.brief.plan,
            steps=self._loop.steps,
            hint=described.ref.brief.hint or "",
            language=self._language,
        )


class ComposeVariant(ComposeTunes):
    """Do as `ComposeTunes`, with a composer that lacks a part."""

    def __init__(
        self,
        variant: Variant,
        composer_spec: str,
        loop: LoopSettings,
        seed: int,
        batch_size: int,
        attention_options: AttentionOptions = MAPS_ALONE,
        sending: SendingOptions = SendingOptions(),  # noqa: B008 - frozen
        language: str = "en",
        licences: ModelLicences = ModelLicences(),  # noqa: B008 - frozen
    ) -> None:
        loop = variant.loop(loop)
        super().__init__(composer_spec, loop, seed, batch_size, attention_options, sending=sending, licences=licences)
        self.stage = f"compose_{variant.name}"
        self._alter = variant.alter

    def load_model(self) -> Composer:
        """Load the altered composer; all other stages of this process share the model inside."""
        return self._alter(registry.load_composer(self._spec, self._sending))
