import pytest
import torch

from image2music.composers.nano.model import NanoComposerModel, NanoConfig
from image2music.composers.nano.sampling import Steps
from image2music.composers.nano.vocabulary import CONTROL_SLOTS, Vocabulary

VOCABULARY = Vocabulary()


@pytest.fixture(scope="module")
def model() -> NanoComposerModel:
    torch.manual_seed(1)
    return NanoComposerModel(NanoConfig(width=32, layers=2, heads=2, feed_forward=64)).double().eval()


@pytest.fixture
def row() -> dict[str, torch.Tensor]:
    """A plan, then notes and bar lines, with patches and one reference out of three."""
    generator = torch.Generator().manual_seed(2)
    controls = [VOCABULARY.control_offsets[slot.name] + 1 for slot in CONTROL_SLOTS]
    notes = torch.randint(VOCABULARY.first_note, len(VOCABULARY), (30,), generator=generator)
    notes[9::10] = VOCABULARY.bar
    references = torch.zeros(1, 3, 32, dtype=torch.long)
    references[0, 0, :20] = torch.randint(VOCABULARY.first_note, len(VOCABULARY), (20,), generator=generator)
    return {
        "input_ids": torch.cat([torch.tensor([VOCABULARY.begin, *controls]), notes])[None],
        "patches": torch.randn(1, 49, 384, generator=generator).double() * 0.05,
        "references": references,
    }


def test_a_token_does_not_see_what_comes_after(model: NanoComposerModel, row: dict[str, torch.Tensor]) -> None:
    changed = dict(row, input_ids=row["input_ids"].clone())
    changed["input_ids"][0, 30:] = VOCABULARY.first_note

    before, after = model(**row).logits, model(**changed).logits

    assert torch.equal(before[0, :30], after[0, :30])


def test_steps_give_what_a_full_pass_gives(model: NanoComposerModel, row: dict[str, torch.Tensor]) -> None:
    tokens = row["input_ids"][0].tolist()
    full = model(**row).logits[0]

    with torch.inference_mode():
        steps = Steps(model, row["patches"], row["references"])
        stepped = torch.cat([steps.step([token]) for token in tokens])

    torch.testing.assert_close(stepped, full)


def test_rows_that_are_kept_go_on_as_if_alone(model: NanoComposerModel, row: dict[str, torch.Tensor]) -> None:
    tokens = row["input_ids"][0].tolist()
    three = {name: torch.cat([row[name], row[name], row[name]]) for name in ("patches", "references")}
    three["patches"][1] *= -1

    with torch.inference_mode():
        steps = Steps(model, **three)
        for token in tokens[:-1]:
            steps.step([token, token, token])
        steps.keep([2])
        stepped = steps.step(tokens[-1:])

    torch.testing.assert_close(stepped[0], model(**row).logits[0, -1])


def test_attention_is_one_distribution_over_patches_references_and_past(
    model: NanoComposerModel, row: dict[str, torch.Tensor]
) -> None:
    attentions = model(**row, output_attentions=True).attentions

    assert len(attentions) == model.config.layers
    for layer in attentions:
        torch.testing.assert_close(layer.sum(-1), torch.ones_like(layer.sum(-1)))
        assert (layer[..., 49 + 20 : 49 + 96] == 0).all(), "where there is no reference nothing is attended"
        assert (layer[..., :49] > 0).all()


def test_the_clock_tells_onset_bar_and_bars_left(model: NanoComposerModel) -> None:
    controls = [VOCABULARY.control_offsets[slot.name] for slot in CONTROL_SLOTS]
    controls[[slot.name for slot in CONTROL_SLOTS].index("bars")] = VOCABULARY.control_offsets["bars"] + 3
    note = VOCABULARY.first_note
    ids = torch.tensor([[VOCABULARY.begin, *controls, note, note, VOCABULARY.bar, note]])

    clock = model.clock(ids)[0, -4:]

    ticks = int(VOCABULARY.ticks[note])

    def at(onset: int, number: int, left: int) -> torch.Tensor:
        embedded = model.onset.weight[onset] + model.bar_number.weight[number] + model.bars_left.weight[left]
        return embedded

    torch.testing.assert_close(clock, torch.stack([at(ticks, 0, 5), at(2 * ticks, 0, 5), at(0, 1, 4), at(ticks, 1, 4)]))
