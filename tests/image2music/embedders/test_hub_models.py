"""CLIP, LongCLIP, SigLIP and SigLIP 2 loaded from folders: tiny random models of the real architectures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from image2music.embedders import base
from image2music.embedders.base import Embedder
from image2music.embedders.clip import OpenClip, TransformersClip
from image2music.errors import ModelError

WORDS = [
    "a",
    "the",
    "slow",
    "sad",
    "happy",
    "bright",
    "dark",
    "song",
    "piece",
    "in",
    "minor",
    "major",
    "cat",
    "sea",
    "stars",
    "red",
    "of",
    "and",
    "with",
    ".",
    ",",
]
TEXTS = ["a sad song in minor", "happy", "the bright sea and stars with a red cat"]
DIM = 16


def save_tokenizer(folder: Path, length: int) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: index for index, word in enumerate(["<pad>", "<unk>", "<s>", "</s>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 3)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )
    fast.model_max_length = length
    fast.save_pretrained(folder)


def tower(**more: object) -> dict[str, object]:
    return {"hidden_size": DIM, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, **more}


def save_clip(folder: Path, positions: int = 77) -> None:
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    text = tower(vocab_size=64, max_position_embeddings=positions, bos_token_id=2, eos_token_id=3, pad_token_id=0)
    config = CLIPConfig(text_config=text, vision_config=tower(image_size=32, patch_size=8), projection_dim=DIM)
    CLIPModel(config).save_pretrained(folder)
    sides = {"shortest_edge": 32}
    CLIPImageProcessor(size=sides, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    save_tokenizer(folder, positions)


def save_siglip(folder: Path) -> None:
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel

    text = tower(vocab_size=64, max_position_embeddings=64, projection_size=DIM)
    SiglipModel(SiglipConfig(text_config=text, vision_config=tower(image_size=32, patch_size=8))).save_pretrained(
        folder
    )
    SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    save_tokenizer(folder, 64)


def save_siglip2(folder: Path) -> None:
    from transformers import Siglip2Config, Siglip2ImageProcessor, Siglip2Model

    text = tower(vocab_size=64, max_position_embeddings=64, projection_size=DIM)
    Siglip2Model(Siglip2Config(text_config=text, vision_config=tower(num_patches=16, patch_size=8))).save_pretrained(
        folder
    )
    Siglip2ImageProcessor(patch_size=8, max_num_patches=16).save_pretrained(folder)
    save_tokenizer(folder, 64)


def save_open_clip(folder: Path) -> None:
    import open_clip

    towers = {
        "embed_dim": DIM,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
    }
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(open_clip.CLIP(**towers).state_dict(), folder / "open_clip_pytorch_model.bin")
    normal = {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28]}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": towers, "preprocess_cfg": normal}))


SAVERS: dict[str, Callable[[Path], None]] = {
    "clip": save_clip,
    "long_clip": lambda folder: save_clip(folder, 248),
    "siglip": save_siglip,
    "siglip2": save_siglip2,
    "open_clip": save_open_clip,
}


@pytest.fixture(scope="module", params=SAVERS)
def embedder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    folder = tmp_path_factory.mktemp(request.param) / "tiny"
    torch.manual_seed(0)
    SAVERS[request.param](folder)
    family = "open_clip:local-dir" if request.param == "open_clip" else "transformers"
    return base.load_embedder(f"{family}:{folder}")


@pytest.fixture
def pictures() -> list[Image.Image]:
    noise = np.random.default_rng(0).integers(0, 256, (3, 40, 60, 3)).astype(np.uint8)
    return [Image.fromarray(pixels) for pixels in noise]


def test_texts_and_pictures_share_a_space_of_unit_vectors(embedder: Embedder, pictures: list[Image.Image]) -> None:
    for vectors in (embedder.embed_texts(TEXTS), embedder.embed_images(pictures)):
        assert vectors.shape == (3, embedder.dim) == (3, DIM)
        assert vectors.dtype == np.float32
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_nothing_gives_nothing(embedder: Embedder) -> None:
    assert embedder.embed_texts([]).shape == embedder.embed_images([]).shape == (0, DIM)


def test_a_vector_does_not_depend_on_its_batch(embedder: Embedder, pictures: list[Image.Image]) -> None:
    together, images = embedder.embed_texts(TEXTS * 5), embedder.embed_images(pictures)
    for row, text in enumerate(TEXTS):
        assert embedder.embed_texts([text])[0].tobytes() == together[row].tobytes() == together[row + 12].tobytes()
        assert embedder.embed_images([pictures[row]])[0].tobytes() == images[row].tobytes()


def test_a_long_text_is_the_mean_of_its_sentences_runs(embedder: Embedder) -> None:
    first = " ".join(["a sad song in minor"] * (embedder.max_tokens // 6)) + "."
    second = " ".join(["the happy cat"] * (embedder.max_tokens // 4)) + "."
    parts = embedder.embed_texts([first, second])
    mean = parts.sum(axis=0) / np.linalg.norm(parts.sum(axis=0))
    assert np.allclose(embedder.embed_texts([f"{first} {second}"])[0], mean, atol=1e-5)


def test_a_sentence_without_end_is_truncated(embedder: Embedder) -> None:
    assert embedder.embed_texts(["dark sea " * 2000]).shape == (1, DIM)


def test_the_id_names_the_folder_and_what_is_in_it(embedder: Embedder) -> None:
    assert embedder.id.split(":")[0] in ("transformers", "open_clip")
    assert embedder.id.split(":")[1].startswith("tiny@")


def test_transformers_vectors_are_the_models_own(tmp_path: Path, pictures: list[Image.Image]) -> None:
    from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

    save_clip(tmp_path)
    model = CLIPModel.from_pretrained(tmp_path).eval()
    tokens = AutoTokenizer.from_pretrained(tmp_path)(TEXTS[0], return_tensors="pt")
    pixels = AutoImageProcessor.from_pretrained(tmp_path)(images=pictures[:1], return_tensors="pt")
    with torch.inference_mode():
        output = model(**tokens, **pixels)
    embedder = TransformersClip(str(tmp_path))
    assert np.allclose(embedder.embed_texts(TEXTS[:1]), output.text_embeds.numpy(), atol=1e-5)
    assert np.allclose(embedder.embed_images(pictures[:1]), output.image_embeds.numpy(), atol=1e-5)


def test_the_id_changes_with_the_weights_and_not_with_the_place(tmp_path: Path) -> None:
    ids = []
    for seed, place in ((0, "here"), (0, "there"), (1, "elsewhere")):
        torch.manual_seed(seed)
        save_clip(tmp_path / place / "tiny")
        ids.append(TransformersClip(str(tmp_path / place / "tiny")).id)
    assert ids[0] == ids[1] != ids[2]


def test_a_folder_without_a_model_is_a_model_error(tmp_path: Path) -> None:
    for load in (lambda: TransformersClip(str(tmp_path)), lambda: OpenClip(f"local-dir:{tmp_path}")):
        with pytest.raises(ModelError) as caught:
            load()
        assert caught.value.reason == "model_not_loaded"


def test_an_open_clip_folder_without_weights_is_not_used_with_random_ones(tmp_path: Path) -> None:
    save_open_clip(tmp_path)
    (tmp_path / "open_clip_pytorch_model.bin").unlink()
    with pytest.raises(ModelError):
        OpenClip(f"local-dir:{tmp_path}")


def test_an_unknown_tag_of_open_clip_is_a_model_error() -> None:
    with pytest.raises(ModelError) as caught:
        OpenClip("ViT-B-32", "no-such-weights")
    assert caught.value.reason == "model_not_loaded"


def test_a_language_model_is_no_embedder(tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel, CLIPImageProcessor

    BertModel(BertConfig(**tower(vocab_size=64))).save_pretrained(tmp_path)
    CLIPImageProcessor().save_pretrained(tmp_path)
    save_tokenizer(tmp_path, 64)
    with pytest.raises(ModelError) as caught:
        TransformersClip(str(tmp_path))
    assert caught.value.reason == "not_an_embedder"
