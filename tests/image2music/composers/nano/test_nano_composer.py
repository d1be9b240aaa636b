"""nano with the weights that come with the package, on photographs that come with scikit-image."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from image2music.abc.checker import check
from image2music.abc.diagnostics import Severity
from image2music.abc.playback import abc_to_score
from image2music.composers.base import AttentionOptions, ComposeRequest, ExplainRequest, WriteRequest
from image2music.composers.nano.composer import NanoComposer, load_nano
from image2music.composers.nano.decoding import CLOSE
from image2music.composers.nano.explaining import control_and_music_tokens
from image2music.composers.nano.patches import SeenPicture
from image2music.composers.nano.reading import read_controls_and_melody
from image2music.composers.nano.sampling import GUIDANCE, PREFIX, Steps
from image2music.composers.nano.vocabulary import Controls, control_distance
from image2music.music.metrics import metrics_of_score
from image2music.music.planning.plan import plan_of_json
from image2music.music.score import count_bars
from image2music.types import Description, Explanation


@pytest.fixture(scope="module")
def nano() -> NanoComposer:
    return load_nano()


def written(nano: NanoComposer, requests: list[ComposeRequest]) -> list[str]:
    """Tunes by a composer that remembers nothing."""
    fresh = NanoComposer(nano._embedder, nano.poles, nano.sampler, nano.id)
    return fresh.write([WriteRequest(request) for request in requests])


@pytest.fixture(scope="module")
def requests(nano: NanoComposer) -> list[ComposeRequest]:
    """Three photographs with one seed and no references."""
    images = [Image.fromarray(picture).convert("RGB") for picture in (data.coffee(), data.camera(), data.rocket())]
    descriptions = nano.look(images)
    return [
        ComposeRequest(str(i), image, seen, (), seed=11)
        for i, (image, seen) in enumerate(zip(images, descriptions, strict=True))
    ]


@pytest.fixture(scope="module")
def tunes(nano: NanoComposer, requests: list[ComposeRequest]) -> list[str]:
    return written(nano, requests)


@pytest.fixture(scope="module")
def explained(nano: NanoComposer, requests: list[ComposeRequest], tunes: list[str]) -> Explanation:
    metrics = metrics_of_score(abc_to_score(tunes[0]))
    return nano.explain([ExplainRequest(requests[0], tunes[0], "Coffee", metrics)])[0]


@pytest.mark.slow
def test_tunes_pass_the_check_and_have_some_sixteen_bars_and_two_to_five_voices(tunes: list[str]) -> None:
    for abc in tunes:
        assert [found for found in check(abc) if found.severity is Severity.ERROR] == []
        assert 16 <= len(read_controls_and_melody(abc)[1].bars) <= 20
        assert 2 <= len(abc_to_score(abc).tracks) <= 5


def test_a_tune_does_not_depend_on_its_batch(
    nano: NanoComposer, requests: list[ComposeRequest], tunes: list[str]
) -> None:
    assert written(nano, requests[1:2]) == tunes[1:2]


def test_single_precision_errs_far_less_than_what_counts_as_close(
    nano: NanoComposer, requests: list[ComposeRequest], tunes: list[str]
) -> None:
    tokens = control_and_music_tokens(tunes[0])
    seen = requests[0].description.features
    assert isinstance(seen, SeenPicture)
    patches, references = torch.from_numpy(seen.patches[None]), torch.zeros(1, 3, 32, dtype=torch.long)

    with torch.inference_mode():
        exact = nano.sampler.model(torch.tensor([tokens]), patches.double(), references).logits[0]
        steps = Steps(nano.sampler.single, patches, references)
        stepped = torch.cat([steps.step([token]) for token in tokens])

    guided_error = (1 + 2 * GUIDANCE) * (stepped - exact).abs().max()
    assert guided_error < CLOSE / 10


def test_choices_that_are_close_are_settled_in_double_precision(
    nano: NanoComposer, requests: list[ComposeRequest], tunes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("image2music.composers.nano.decoding.CLOSE", 0.2)

    assert written(nano, requests[:1]) == tunes[:1]


def test_one_seed_gives_different_pictures_different_tunes(tunes: list[str]) -> None:
    assert len({read_controls_and_melody(abc)[1] for abc in tunes}) == len(tunes)


def test_another_processors_last_bits_change_no_tune(
    nano: NanoComposer, requests: list[ComposeRequest], tunes: list[str]
) -> None:
    random = np.random.default_rng(0)

    def nudged(request: ComposeRequest) -> ComposeRequest:
        seen = request.description.features
        assert isinstance(seen, SeenPicture)
        noise = random.normal(scale=1e-7, size=seen.patches.shape)
        other = replace(seen, patches=(seen.patches + noise).astype(np.float32))
        return replace(request, description=replace(request.description, features=other))

    assert written(nano, [nudged(request) for request in requests]) == tunes


def test_the_seed_is_the_pictures_by_its_id(
    nano: NanoComposer, requests: list[ComposeRequest], tunes: list[str]
) -> None:
    assert written(nano, [replace(requests[0], image_id="another")]) != tunes[:1]


def test_another_seed_gives_another_tune(nano: NanoComposer, requests: list[ComposeRequest], tunes: list[str]) -> None:
    assert written(nano, [replace(requests[0], seed=12)]) != tunes[:1]


@pytest.mark.slow
def test_a_persons_plan_is_written_to(nano: NanoComposer, requests: list[ComposeRequest]) -> None:
    plan = plan_of_json(
        {
            "title": "Asked",
            "key": "Dm",
            "meter": "3/4",
            "voices": [
                {"id": 1, "name": "Oboe", "program": 68, "low": "Bb3", "high": "F6"},
                {"id": 2, "name": "Harp", "program": 46, "low": "C3", "high": "C6"},
                {"id": 3, "name": "Cello", "program": 42, "low": "C2", "high": "G3"},
            ],
            "sections": [
                {"bars": "1-4", "qpm": 72, "roles": {"1": "melody", "2": "figure", "3": "bass"}},
                {"bars": "5-8", "qpm": 72, "roles": {"1": "rest", "2": "melody", "3": "bass"}},
            ],
            "harmony": ["Dm", "Gm", "A", "Dm", "Bb", "F", "A7", "Dm"],
        }
    )
    asked = [WriteRequest(replace(requests[0], plan=plan), plan), WriteRequest(requests[1])]
    abc, own = nano.write(asked)
    score = abc_to_score(abc)
    assert [found for found in check(abc) if found.severity is Severity.ERROR] == []
    assert [track.program for track in score.tracks] == [68, 46, 42]
    assert (score.tempos[0].qpm, count_bars(score), score.keys[0].tonic) == (72, 8, 2)
    assert score.tracks[0].onsets.max() < 4 * 3 * 480
    assert own == nano.write(asked[1:])[0]


@pytest.mark.slow
def test_what_is_asked_for_is_delivered(nano: NanoComposer, requests: list[ComposeRequest]) -> None:
    abc = nano.write_as_asked(requests[:1], {"mode": ("minor",), "tempo": ("slow",), "range": ("lowest",)})[0]

    controls, _ = read_controls_and_melody(abc)

    assert (controls["mode"], controls["tempo"], controls["range"]) == ("minor", "slow", "lowest")


def test_attention_is_that_of_the_musics_own_tokens(
    nano: NanoComposer, requests: list[ComposeRequest], tunes: list[str], explained: Explanation
) -> None:
    tokens = torch.tensor([control_and_music_tokens(tunes[0])])
    seen = requests[0].description.features
    assert isinstance(seen, SeenPicture)

    with torch.inference_mode():
        layers = nano.sampler.model(
            tokens,
            patches=torch.from_numpy(seen.patches[None]).double(),
            references=torch.zeros(1, 3, 32, dtype=torch.long),
            output_attentions=True,
        ).attentions
    rows = torch.stack(layers)[:, 0, :, PREFIX - 1 : -1, :49]
    whole = next(found for found in explained.attention if found.kind == "all")

    np.testing.assert_allclose(whole.weights.ravel(), rows.mean((0, 1, 2)).numpy(), rtol=1e-4)


def test_maps_are_shares_of_attention_that_differ_between_bars(tunes: list[str], explained: Explanation) -> None:
    groups = [found.weights for found in explained.attention if found.kind == "bars"]

    assert {found.kind for found in explained.attention} == {"all", "voice", "bars", "motivation"}
    assert len(groups) == -(-len(read_controls_and_melody(tunes[0])[1].bars) // 4)
    for found in explained.attention:
        assert found.weights.shape == found.baseline.shape == (7, 7)
        assert np.isfinite(found.weights).all()
        assert 0 < found.weights.sum() < 1
        assert found.weights.std() > 0
    assert not np.allclose(groups[0], groups[-1])


@pytest.mark.slow
def test_layers_and_faithfulness_are_there_when_asked_for(
    nano: NanoComposer, requests: list[ComposeRequest], tunes: list[str], explained: Explanation
) -> None:
    metrics = metrics_of_score(abc_to_score(tunes[0]))
    asked = ExplainRequest(requests[0], tunes[0], "Coffee", metrics, AttentionOptions(layers=True, faithfulness=True))
    (detailed,) = nano.explain([asked])
    for found, plain in zip(detailed.attention, explained.attention, strict=True):
        assert found.layers is not None
        assert np.allclose(found.layers.mean(0), plain.weights, atol=1e-6)
        assert found.faithfulness is not None
        assert set(found.faithfulness) >= {"deletion", "deletion_random", "deletion_centre", "insertion"}
        assert (plain.layers, plain.faithfulness) == (None, None)


def test_each_sentence_on_what_control_tokens_decided_has_a_map(explained: Explanation) -> None:
    sentences = [found.text for found in explained.attention if found.kind == "motivation"]

    assert len(sentences) == 3
    assert explained.motivation.endswith(" ".join(sentences))


def test_distance_counts_levels_and_words_that_were_not_delivered() -> None:
    asked = {"range": ("highest",), "mode": ("minor",), "tempo": ("slow",)}

    assert control_distance(asked, Controls(range="middle", mode="major", tempo="slow")) == 3


def test_a_description_that_is_not_nanos_is_refused(nano: NanoComposer, requests: list[ComposeRequest]) -> None:
    with pytest.raises(TypeError, match="call look first"):
        written(nano, [replace(requests[0], description=Description("a cup"))])
