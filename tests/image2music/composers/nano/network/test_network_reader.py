"""What the network is asked, with the weights that come with the package."""

import numpy as np
import pytest
import torch

from image2music.composers.nano.network.model import KeysAndValues, LineConfig, LineDecoder, load_decoder, save_decoder
from image2music.composers.nano.network.reader import load_network
from image2music.composers.nano.network.tokens import METERS, encode_sketch
from image2music.composers.nano.sketch import Sketch, SketchBar, bar_ticks
from image2music.errors import ModelError

# The first strain of "Speed the Plough" (traditional) in A, one note a line of eighths.
PLOUGH = (
    (69, 71, 73, 76, 73, 71, 69, 71), (73, 76, 78, 76, 73, 71, 69, 71),
    (73, 76, 73, 76, 78, 76, 73, 71), (69, 71, 73, 69, 71, 69, 66, 68),
)  # fmt: skip


def tune(bars, chords=("A", "D", "A", "E7"), key="A"):
    return Sketch(
        key, "4/4", 120.0, "playful",
        tuple(
            SketchBar((chords[i % 4],), tuple((6 * k, 6, p) for k, p in enumerate(bar)), i // 4,
                      "statement" if i < 4 else "again", "mf", 1, 110)
            for i, bar in enumerate(bars)
        ),
    )  # fmt: skip


@pytest.fixture(scope="module")
def network():
    return load_network()


@pytest.fixture(scope="module")
def motifs(network):
    return network.propose_motifs("D", "4/4", (("D",), ("G", "A7")), "flowing", 90.0, 62, 81, 16, 1)


def test_motifs_are_two_full_bars_in_range_and_mostly_in_the_key(motifs):
    assert len(motifs) >= 14 and len(set(motifs)) == len(motifs)
    pitches = [pitch for motif in motifs for bar in motif for _, _, pitch in bar]
    assert min(pitches) >= 62 and max(pitches) <= 81
    assert np.mean([pitch % 12 in {2, 4, 6, 7, 9, 11, 1} for pitch in pitches]) > 0.95
    for motif in motifs:
        for bar in motif:
            ends = [0]
            for onset, length, _ in bar:
                assert onset >= ends[-1]
                ends.append(onset + length)
            assert ends[-1] <= 48


def test_a_motif_does_not_depend_on_how_many_are_drawn(network, motifs):
    alone = network.propose_motifs("D", "4/4", (("D",), ("G", "A7")), "flowing", 90.0, 62, 81, 1, 1)
    assert alone[0] in motifs
    other = network.propose_motifs("D", "4/4", (("D",), ("G", "A7")), "flowing", 90.0, 62, 81, 1, 2)
    assert other != alone


@pytest.mark.parametrize("meter", METERS)
def test_every_meter_is_kept(network, meter):
    for motif in network.propose_motifs("F#m", meter, (("F#m",), ()), "dark", 60.0, 50, 69, 2, 3):
        assert all(0 <= o < o + d <= bar_ticks(meter) and 50 <= p <= 69 for bar in motif for o, d, p in bar)


def test_shuffled_notes_surprise_more_and_are_less_lively(network):
    dice = np.random.Generator(np.random.Philox(0))
    human = tune(PLOUGH * 2)
    pitches = dice.permutation([pitch for bar in PLOUGH * 2 for pitch in bar]).reshape(8, 8).tolist()
    spoiled = tune(pitches)
    calm, wild = network.surprise([human, spoiled])
    assert calm + 1 < wild
    assert network.liveliness([human])[0] > network.liveliness([spoiled])[0]


def test_a_line_is_judged_alone_whatever_stands_beside_it(network):
    lines = [tune(PLOUGH * 2), tune(PLOUGH[::-1]), tune(PLOUGH[:2] * 3)]
    together = network.surprise(lines)
    assert together.tolist() == [network.surprise([line])[0] for line in lines]
    assert together.tolist() == np.round(together, 3).tolist()


def test_surprise_by_bar_has_the_mean_of_the_line(network):
    line = tune(PLOUGH * 2)
    bars = network.surprise_by_bar(line)
    assert bars.shape == (8,)
    assert bars.mean() == pytest.approx(network.surprise([line])[0], abs=2e-3)
    assert bars[4:].mean() < bars[:4].mean(), "what is repeated is expected"


def test_maps_are_shares_of_attention_and_spans_average(network):
    dice = np.random.Generator(np.random.Philox(1))
    cells = dice.normal(0, 0.05, (49, 384)).astype(np.float32)
    reading = network.read(tune(PLOUGH * 2), cells, [range(8), range(4), [2], [99]])
    assert reading.by_layer.shape == (6, 4, 49)
    assert reading.maps.shape == reading.baseline.shape == (4, 49)
    assert (reading.maps[:3] > 0).all() and (reading.maps.sum(1) < 1).all()
    assert not reading.maps[3].any()
    assert np.abs(reading.maps[1] - reading.maps[2]).max() > 1e-4


def test_the_keys_that_are_kept_give_what_reading_at_once_gives():
    torch.manual_seed(0)
    model = LineDecoder(LineConfig(width=48, layers=2, heads=3, feed_forward=64, cell_dim=16)).double().eval()
    rows = torch.from_numpy(encode_sketch(tune(PLOUGH)).astype(np.int64))[None]
    n_bars, cells = torch.tensor([4]), torch.randn(1, 49, 16, dtype=torch.float64)
    with torch.inference_mode():
        whole, _, maps = model(rows, n_bars, model.memory(cells))
        fused, _, _ = model(rows, n_bars, model.memory(cells), fused=True)
        kept: KeysAndValues = model.memory(cells)
        parts = []
        for at in (slice(0, 9), slice(9, 10), slice(10, None)):
            part, kept, _ = model(rows[:, at], n_bars, kept)
            parts.append(part)
    assert torch.allclose(whole, torch.cat(parts, 1), atol=1e-9)
    assert torch.allclose(whole, fused, atol=1e-9)
    assert torch.allclose(maps[0].sum(-1), torch.ones((), dtype=torch.float64))


def test_weights_are_kept_in_sixteen_bits(tmp_path):
    model = LineDecoder(LineConfig(width=48, layers=1, heads=3, feed_forward=64, cell_dim=16))
    save_decoder(model, tmp_path)
    again = load_decoder(tmp_path)
    assert again.config == model.config
    assert torch.equal(again.place.weight, model.place.weight.bfloat16().float())


def test_unknown_meters_and_missing_weights_are_named(network, tmp_path):
    with pytest.raises(ModelError, match="11/16"):
        network.propose_motifs("C", "11/16", (("C",), ("C",)), "calm", 60.0, 60, 72, 1, 0)
    with pytest.raises(ModelError) as found:
        load_network(tmp_path)
    assert found.value.reason == "no_weights"
