import weakref

import torch
from chat_fakes import picture

from image2music.composers.chat.engine.cache import ROOM, KeyValues, LruByteCache, Prefix, picture_key
from image2music.composers.chat.engine.decode import DecodingRow, _handed_over


def test_what_was_not_used_for_longest_is_forgotten_first():
    cached = LruByteCache(10)
    cached.put("a", 1, 4)
    cached.put("b", 2, 4)
    cached.get("a")
    cached.put("c", 3, 4)
    assert [cached.get(key) for key in "abc"] == [1, None, 3]


def test_a_value_in_place_of_another_frees_its_room_and_one_larger_than_all_room_is_not_kept():
    cached = LruByteCache(10)
    for size in (8, 9, 10):
        cached.put("a", size, size)
    assert cached.get("a") == 10
    cached.put("a", 11, 11)
    assert cached.get("a") is None


def test_a_picture_is_known_by_its_pixels():
    assert picture_key(picture()) == picture_key(picture().copy())
    assert len({picture_key(shown) for shown in (picture(), picture(40, 60), picture().rotate(180))}) == 3


def prefix(tokens):
    layer = torch.rand(2, len(tokens), 4), torch.rand(2, len(tokens), 4)
    return Prefix(tuple(tokens), (layer,), 0)


def test_prefixes_of_different_lengths_are_joined_on_their_right():
    long, short = prefix([1, 2, 3]), prefix([4])
    ((keys, values),) = KeyValues.joined(zip(long.layers, short.layers, strict=True), 3)
    assert torch.equal(keys[0], long.layers[0][0])
    assert torch.equal(values[1, :, 2:], short.layers[0][1])
    assert not keys[1, :, :2].any()


def test_columns_grow_beyond_their_room_and_are_cropped_again():
    held = KeyValues.joined(zip(prefix([1, 2]).layers, strict=True), 2)
    new = torch.rand(1, 2, ROOM + 5, 4)
    keys, _ = held.update(new, new, 0)
    assert torch.equal(keys[:, :, 2:], new)
    held.crop(3)
    assert held.get_seq_length() == 3
    ((keys, _),) = held
    assert torch.equal(keys[:, :, 2:], new[:, :, :1])


def test_a_prefix_knows_how_far_another_text_begins_alike():
    assert [prefix([1, 2, 3]).shared_with(text) for text in ([1, 2, 4], [1, 2, 3, 4], [2], [])] == [2, 3, 0, 0]


def test_what_was_read_is_handed_over_to_a_batch_layer_by_layer():
    layers = tuple((torch.ones(1, 2, 4), torch.ones(1, 2, 4)) for _ in range(3))
    answer = DecodingRow(Prefix((1, 2), layers, 0), torch.zeros(5, dtype=torch.float64))
    held = [weakref.ref(keys) for keys, _ in layers]
    del layers
    parts = _handed_over([answer])
    next(parts)
    next(parts)
    assert [there() is not None for there in held] == [False, False, True]
