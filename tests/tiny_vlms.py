"""Tiny random models of real vision-language architectures, with real processors, saved to a folder.

They know nothing and write gibberish; what they share with the real ones is every code path.
"""

from __future__ import annotations

from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

WIDTH, VISION_WIDTH, HEAD_WIDTH = 32, 16, 8
PATCH = 14
PAD, BOS, EOS = "<pad>", "<bos>", "<|im_end|>"
TILES = [f"<row_{row}_col_{col}>" for row in range(1, 7) for col in range(1, 7)]
QWEN = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
IDEFICS = ["<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>", "<video>", *TILES]
SPECIAL = {
    "qwen2_5_vl": QWEN,
    "qwen3_vl": QWEN,
    "smolvlm": IDEFICS,
    "idefics3": IDEFICS,
    "internvl": ["<img>", "</img>", "<IMG_CONTEXT>", "<video>"],
    "gemma3": ["<start_of_image>", "<end_of_image>", "<image_soft_token>"],
    "llava": ["<image>"],
    "llava_onevision": ["<image>", "<video>"],
}
FAMILIES = tuple(SPECIAL)
IDEFICS_NAMES = {
    "fake_image_token": "<fake_token_around_image>",
    "image_token": "<image>",
    "end_of_utterance_token": "<end_of_utterance>",
    "global_image_token": "<global-img>",
    "video_token": "<video>",
}
SAMPLE = "X:1 T:Morning M:4/4 L:1/8 Q:1/4=96 K:Am [V:1] CDEF GABc | c2 B2 A4 |] the tune is calm like the lake " * 4


_learned_from: ContextVar[tuple[str, int]] = ContextVar("learned_from", default=(SAMPLE, 320))


def save(family: str, folder: Path, *, layers: int = 2, width: int = WIDTH, text: str = "", tokens: int = 320) -> Path:
    """Builds the family's model and processor into `folder`; the tokenizer learns `tokens` tokens from `text`."""
    import torch

    torch.manual_seed(0)
    before = _learned_from.set((text or SAMPLE, tokens))
    model, processor = _build(family, layers, width)
    _learned_from.reset(before)
    model.generation_config.pad_token_id = 0
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@cache
def _letters(text: str, tokens: int) -> str:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=tokens,
        special_tokens=[PAD, BOS, EOS, "<|im_start|>"],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator([text], trainer)
    return tokenizer.to_str()


def tokenizer_of(family: str, names: dict[str, str] | None = None) -> Any:
    """A byte-level tokenizer with the special tokens of a family."""
    import transformers as t
    from tokenizers import Tokenizer

    tokenizer = t.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_letters(*_learned_from.get())),
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        padding_side="left",
        extra_special_tokens=names or {},
    )
    added = [t.AddedToken(text, special=True, normalized=False) for text in ("<|im_start|>", *SPECIAL[family])]
    tokenizer.add_tokens(added, special_tokens=True)
    return tokenizer


def _template(image: str) -> str:
    return (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}"
        "{% if c['type'] == 'image' %}" + image + "{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )


def _text(vocabulary: int, layers: int, width: int, **more: Any) -> dict[str, Any]:
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // HEAD_WIDTH,
        "num_key_value_heads": 2,
        "max_position_embeddings": 16384,
        "initializer_range": 0.3,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        **more,
    }


def _vision(**more: Any) -> dict[str, Any]:
    plain = {"hidden_size": VISION_WIDTH, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    return {**plain, **more}


def _build(family: str, layers: int, width: int) -> tuple[Any, Any]:
    if family in ("qwen2_5_vl", "qwen3_vl"):
        return _qwen(family, layers, width)
    if family in ("smolvlm", "idefics3"):
        return _idefics(family, layers, width)
    return {"internvl": _internvl, "gemma3": _gemma3, "llava": _llava, "llava_onevision": _llava_onevision}[family](
        layers, width
    )


def _qwen(family: str, layers: int, width: int) -> tuple[Any, Any]:
    import transformers as t

    tokenizer = tokenizer_of(family, {})
    ids = dict(zip(QWEN, tokenizer.convert_tokens_to_ids(QWEN), strict=True))
    names = {
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
    }
    template = _template("<|vision_start|><|image_pad|><|vision_end|>")
    section = [HEAD_WIDTH // 2 - 2, 1, 1]
    vision: dict[str, Any] = {"hidden_size": VISION_WIDTH, "intermediate_size": 32, "num_heads": 2}
    vision |= {"spatial_merge_size": 2, "out_hidden_size": width}
    if family == "qwen2_5_vl":
        rope = {"rope_type": "default", "mrope_section": section, "rope_theta": 1e6}
        config = t.Qwen2_5_VLConfig(
            text_config=_text(len(tokenizer), layers, width, rope_parameters=rope),
            vision_config=vision | {"depth": 1, "patch_size": PATCH, "fullatt_block_indexes": [0]},
            **names,
        )
        images = t.Qwen2VLImageProcessor(min_pixels=56 * 56, max_pixels=28 * 28 * 300)
        processor = t.Qwen2_5_VLProcessor(images, tokenizer, t.Qwen2VLVideoProcessor(), chat_template=template)
        return t.Qwen2_5_VLForConditionalGeneration(config), processor
    rope = {"rope_type": "default", "mrope_section": section, "mrope_interleaved": True, "rope_theta": 1e6}
    config = t.Qwen3VLConfig(
        text_config=_text(len(tokenizer), layers, width, head_dim=HEAD_WIDTH, rope_parameters=rope),
        vision_config=vision
        | {"depth": 2, "patch_size": 16, "num_position_embeddings": 64, "deepstack_visual_indexes": [0]},
        **names,
    )
    images = t.Qwen2VLImageProcessor(patch_size=16, min_pixels=64 * 64, max_pixels=32 * 32 * 300)
    processor = t.Qwen3VLProcessor(images, tokenizer, t.Qwen3VLVideoProcessor(), chat_template=template)
    return t.Qwen3VLForConditionalGeneration(config), processor


def _idefics(family: str, layers: int, width: int) -> tuple[Any, Any]:
    import transformers as t

    tokenizer = tokenizer_of(family, IDEFICS_NAMES)
    is_smol = family == "smolvlm"
    config = (t.SmolVLMConfig if is_smol else t.Idefics3Config)(
        text_config={"model_type": "llama", **_text(len(tokenizer), layers, width)},
        vision_config=_vision(image_size=64, patch_size=8),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=0,
        tie_word_embeddings=False,
    )
    sizes = {"size": {"longest_edge": 256}, "max_image_size": {"longest_edge": 64}, "do_image_splitting": True}
    template = _template("<image>")
    if is_smol:
        videos = t.SmolVLMVideoProcessor(size={"longest_edge": 64}, max_image_size={"longest_edge": 64})
        images = t.SmolVLMImageProcessor(**sizes)
        processor = t.SmolVLMProcessor(images, tokenizer, videos, image_seq_len=16, chat_template=template)
        return t.SmolVLMForConditionalGeneration(config), processor
    processor = t.Idefics3Processor(
        t.Idefics3ImageProcessor(**sizes), tokenizer, image_seq_len=16, chat_template=template
    )
    return t.Idefics3ForConditionalGeneration(config), processor


def _internvl(layers: int, width: int) -> tuple[Any, Any]:
    import transformers as t

    names = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    tokenizer = tokenizer_of("internvl", names)
    config = t.InternVLConfig(
        text_config={"model_type": "qwen2", **_text(len(tokenizer), layers, width)},
        vision_config=_vision(image_size=[112, 112], patch_size=[PATCH, PATCH]),
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=16,
        tie_word_embeddings=False,
    )
    size = {"height": 112, "width": 112}
    images = t.GotOcr2ImageProcessor(size=size, crop_to_patches=True, min_patches=1, max_patches=6)
    videos = t.InternVLVideoProcessor(size=size)
    processor = t.InternVLProcessor(
        images, tokenizer, videos, image_seq_length=16, chat_template=_template("<IMG_CONTEXT>")
    )
    return t.InternVLForConditionalGeneration(config), processor


def _gemma3(layers: int, width: int) -> tuple[Any, Any]:
    import transformers as t

    names = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    tokenizer = tokenizer_of("gemma3", names)
    text = _text(
        len(tokenizer),
        layers,
        width,
        head_dim=HEAD_WIDTH,
        sliding_window=32,
        query_pre_attn_scalar=16,
        layer_types=["sliding_attention"] * (layers - 1) + ["full_attention"],
    )
    config = t.Gemma3Config(
        text_config=text,
        vision_config=_vision(image_size=112, patch_size=PATCH),
        mm_tokens_per_image=16,
        boi_token_index=tokenizer.convert_tokens_to_ids("<start_of_image>"),
        eoi_token_index=tokenizer.convert_tokens_to_ids("<end_of_image>"),
        image_token_index=tokenizer.convert_tokens_to_ids("<image_soft_token>"),
    )
    images = t.Gemma3ImageProcessor(size={"height": 112, "width": 112})
    processor = t.Gemma3Processor(images, tokenizer, image_seq_length=16, chat_template=_template("<start_of_image>"))
    model = t.Gemma3ForConditionalGeneration(config)
    projection = model.model.multi_modal_projector.mm_input_projection_weight
    projection.data.normal_()  # a fresh one is all zeros, and every picture would look the same
    return model, processor


def _llava(layers: int, width: int) -> tuple[Any, Any]:
    import transformers as t

    tokenizer = tokenizer_of("llava", {"image_token": "<image>"})
    config = t.LlavaConfig(
        text_config={"model_type": "llama", **_text(len(tokenizer), layers, width)},
        vision_config={"model_type": "clip_vision_model", **_vision(image_size=112, patch_size=PATCH)},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=64,
        vision_feature_layer=-1,
    )
    images = t.CLIPImageProcessor(size={"shortest_edge": 112}, crop_size={"height": 112, "width": 112})
    processor = t.LlavaProcessor(
        images,
        tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_template("<image>"),
    )
    return t.LlavaForConditionalGeneration(config), processor


def _llava_onevision(layers: int, width: int) -> tuple[Any, Any]:
    import transformers as t

    tokenizer = tokenizer_of("llava_onevision", {"image_token": "<image>"})
    pinpoints = [[rows * 112, cols * 112] for rows in range(1, 4) for cols in range(1, 4)]
    config = t.LlavaOnevisionConfig(
        text_config={"model_type": "qwen2", **_text(len(tokenizer), layers, width)},
        vision_config={
            "model_type": "siglip_vision_model",
            "vision_use_head": False,
            **_vision(image_size=112, patch_size=PATCH),
        },
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=pinpoints,
        vision_feature_layer=-1,
    )
    size = {"height": 112, "width": 112}
    images = t.LlavaOnevisionImageProcessor(size=size, image_grid_pinpoints=pinpoints)
    processor = t.LlavaOnevisionProcessor(
        images,
        tokenizer,
        t.LlavaOnevisionVideoProcessor(size=size),
        num_image_tokens=64,
        vision_feature_select_strategy="full",
        chat_template=_template("<image>"),
    )
    return t.LlavaOnevisionForConditionalGeneration(config), processor
