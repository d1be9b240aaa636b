"""A byte-level tokenizer of 50,000 tokens, as large models have, trained on text that is at hand.

The text is the source of Python's standard library and the ABC files of music21, so that the tokenizer has tokens of
several notes, bar lines among them. It is made once and kept under `build/`.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SIZE = 50_000
END = "<|im_end|>"
_MOST_CHARACTERS = 12_000_000
_KEPT = Path("build/bench/vocabulary.json")


def large_tokenizer() -> Any:
    """The tokenizer, in the form of the transformers library."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    if not _KEPT.is_file():
        _KEPT.parent.mkdir(parents=True, exist_ok=True)
        _trained().save(str(_KEPT))
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_file(str(_KEPT)), eos_token=END)


def _trained() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=SIZE, special_tokens=[END], initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(_texts(), trainer)
    return tokenizer


def _texts() -> Iterator[str]:
    import music21

    tunes = sorted((Path(music21.__file__).parent / "corpus").rglob("*.abc"))
    programs = sorted(Path(sysconfig.get_paths()["stdlib"]).rglob("*.py"))
    left = _MOST_CHARACTERS
    for path in [*tunes, *programs]:
        if "site-packages" in path.parts or left <= 0:
            continue
        text = path.read_text("utf-8", "replace")
        left -= len(text)
        yield text
